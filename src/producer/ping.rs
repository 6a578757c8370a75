//! The message that checks that nsqd responds.

use std::time::Duration;

use actix::Message;

use crate::error::PublishError;

/// Sends nsqd a command and waits for its response. Success proves that nsqd executes commands, not
/// that a publish would succeed.
///
/// NSQ has no such command for producers: the producer repeats the names in its IDENTIFY, to which
/// nsqd responds `OK` and which changes nothing. A ping is sent before queued publishes. nsqd may
/// take 5 s to respond to a publish of a new topic while a nsqlookupd hangs, so `timeout` should be
/// longer. If the connection is lost, the ping is sent on the next one.
///
/// # Errors
///
/// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) when `timeout` passes first,
/// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when nsqd rejects it, and
/// [`ErrorKind::Drained`](crate::ErrorKind::Drained) or
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed) when the producer ends. It writes nothing to a
/// topic.
///
/// # Cancel safety
///
/// If the request is dropped before the ping was sent, it is never sent; later its result is
/// discarded.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub struct Ping {
    /// Maximum time to wait, including for a connection.
    pub timeout: Duration,
}

impl Ping {
    /// A ping that waits for at most this time.
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}
