//! What the steps of held messages result in. Pure.

use super::{slot::Start, ticket::Ticket};
use crate::{consumer::connection_key::ConnectionKey, protocol::MessageId};

/// What a received message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::consumer) enum Received {
    /// It waits to be started, by this ticket.
    Waiting(Ticket),
    /// An earlier copy waits; it is replaced. That copy had not expired yet.
    Replaced,
    /// An earlier copy is with a handler, whose answer answers this one.
    Attached {
        /// The earlier copy had not expired yet.
        was_held: bool,
    },
    /// It was finished too late and has to be finished again. It is not held.
    FinishedBefore,
}

/// How an answer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::consumer) struct Answered {
    pub(in crate::consumer) key: ConnectionKey,
    pub(in crate::consumer) id: MessageId,
    pub(in crate::consumer) attempts: u16,
    /// When its handler got it.
    pub(in crate::consumer) start: Start,
    /// The deadline has passed: nsqd has requeued the message, or will.
    pub(in crate::consumer) is_expired: bool,
    /// It was held until this answer: if it has expired, `InFlight::take_due` has not said so.
    pub(in crate::consumer) was_held: bool,
    /// The deadline is so near that the answer may come too late.
    pub(in crate::consumer) is_late: bool,
    /// The connection is open, so that the answer can be written.
    pub(in crate::consumer) is_open: bool,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::consumer) enum Due {
    Expired {
        key: ConnectionKey,
        id: MessageId,
        /// When a handler has it: its window.
        started: Option<Start>,
    },
    /// The message is to be touched, and its deadline has been extended.
    Touch { key: ConnectionKey, id: MessageId },
}

/// A message that is taken back without an answer of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::consumer) struct Returned {
    pub(in crate::consumer) key: ConnectionKey,
    pub(in crate::consumer) id: MessageId,
    /// It has not expired.
    pub(in crate::consumer) is_held: bool,
    /// The deadline is so near that nsqd may have requeued it.
    pub(in crate::consumer) is_late: bool,
    pub(in crate::consumer) is_open: bool,
}
