//! Messages that change a consumer while it runs.

use std::time::Duration;

use actix::Message;

use crate::error::{AddNsqdError, WaitError};

/// Changes `max_in_flight`. 0 pauses the consumer.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SetMaxInFlight(pub usize);

/// Pauses the consumer: it requests no more messages until [`Resume`]. Messages that have been
/// received are handled.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Pause;

/// Ends a [`Pause`]. It cannot replace a handler that is gone: start another consumer.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Resume;

/// Adds an nsqd to consume from. An address that is there already is ignored; another name of the
/// same nsqd is a second connection to it. One that was discovered by nsqlookupd is kept from now
/// on, also if no nsqlookupd names it any more.
///
/// # Errors
///
/// [`AddNsqdError`] if the address is invalid or the consumer is drained.
///
/// # Cancel safety
///
/// A request dropped before the consumer has received it has no effect. Later, the nsqd is added.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), AddNsqdError>")]
pub struct AddNsqd(pub String);

/// Stops consuming from an nsqd: messages that no handler has are returned, and handlers may still
/// answer theirs. Returns whether the nsqd was there. Addresses are compared without regard to
/// case, and IP addresses by their value.
///
/// An nsqd that an nsqlookupd names is not connected to again as long as one names it, until
/// [`AddNsqd`]. To exclude it for longer, use `node_filter` of the configuration.
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub struct RemoveNsqd(pub String);

/// Waits until the consumer is subscribed at one nsqd at least.
///
/// # Errors
///
/// [`WaitError::Timeout`] with the last error of a connection, which may be nsqd's rejection of the
/// subscription, when `timeout` passes first, and [`WaitError::Drained`] when the consumer will not
/// connect any more. [`WaitError::RequestTimeout`] and [`WaitError::Closed`] come from the mailbox.
///
/// # Cancel safety
///
/// Dropping the request stops the waiting and has no other effect.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), WaitError>")]
pub struct WaitSubscribed {
    /// Maximum time to wait.
    pub timeout: Duration,
}

impl WaitSubscribed {
    /// Waits for at most this time.
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}
