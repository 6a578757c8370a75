//! What happens in a schedule.

use super::nsqd::{Command, Delivery};
use crate::consumer::{backoff::Window, connection_key::ConnectionKey};

pub(super) enum Event {
    Publish(usize),
    Connect(usize),
    Cut(usize, u32),
    Command(usize, u32, Command),
    Frame(Delivery),
    /// nsqd's timeout of a delivery.
    TimedOut(Delivery),
    /// The delay of a REQ is over.
    Requeued(usize, usize),
    /// The consumer learns of it when its actor runs.
    Input(Input),
    Timer(u64),
    Poll,
}

pub(super) enum Input {
    Opened(usize, u32, u64),
    Closed(usize, u32),
    Frame(Delivery),
    HandlerEnded(HeldKey, Start),
    Deadline(HeldKey, usize),
    SetMax(u32),
    Pause(bool),
    Leave(usize, u64),
}

/// nsqd, connection, message.
pub(super) type HeldKey = (usize, u32, usize);

/// A message that the consumer has not answered.
pub(super) struct Held {
    pub(super) number: usize,
    pub(super) received: u64,
    pub(super) is_expired: bool,
    pub(super) in_handler: bool,
}

/// When a handler started a message.
#[derive(Clone, Copy)]
pub(super) struct Start {
    pub(super) window: Window,
    /// Changes of the backoff before it.
    pub(super) changes: usize,
}

pub(super) fn connection(nsqd: usize, serial: u32) -> ConnectionKey {
    ConnectionKey {
        nsqd: nsqd as u32,
        serial,
    }
}
