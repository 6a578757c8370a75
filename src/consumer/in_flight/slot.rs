//! The place of a held message. Pure.

use std::time::Instant;

use super::{deadlines::Place, ticket::Ticket};
use crate::{consumer::backoff::Window, protocol::MessageId};

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) state: State,
    /// Index of the connection.
    pub(super) connection: u32,
    pub(super) id: MessageId,
    pub(super) attempts: u16,
    pub(super) received: Instant,
    pub(super) deadline: Instant,
    /// Where it is set when the slot expires or is to be touched; unset if it has expired.
    pub(super) place: Place,
}

#[derive(Debug)]
pub(super) enum State {
    Free,
    Waiting,
    Started(Start),
    /// With a handler; the deadline has passed.
    Expired(Start),
}

/// When a message was started. All that are started together have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::consumer) struct Start {
    pub(in crate::consumer) window: Window,
    /// Nanoseconds since the first start of all.
    pub(super) nanos: u64,
}

impl Slot {
    /// Whether it has the message of this ticket.
    pub(super) fn is_of(&self, ticket: Ticket) -> bool {
        self.generation == ticket.generation
    }
}
