//! The messages of the consumer's graceful shutdown.

use std::{fmt, time::Duration};

use actix::Message;
use serde::Serialize;

use super::stats::Counters;

/// Shuts a consumer down gracefully. It requests no more messages and returns those that no handler
/// has started; handlers may end for up to `timeout`, and the rest is returned then. At the end
/// each connection is closed in a way that proves that nsqd has executed every answer: nsqd ends
/// its side after it has read all that was written. The proof has one exception: an nsqd, or a
/// proxy, that closes the connection by itself at that very moment.
///
/// When the result arrives, the consumer holds no connection, no timer and no other actor. A
/// returned message is delivered again at once, to any consumer, with one more attempt. A second
/// `Drain` gets the same result as the first; the earliest deadline applies. It may be sent from a
/// handler, but not awaited there: the message of that handler is waited for.
///
/// # Cancel safety
///
/// A request dropped before the consumer has received it has no effect. Later, the drain goes on.
///
/// ```no_run
/// # use actix::Addr;
/// use std::time::Duration;
///
/// use actix_nsq::{Consumer, consumer::Drain};
///
/// # async fn example(consumer: Addr<Consumer>) -> Result<(), actix::MailboxError> {
/// let report = consumer.send(Drain { timeout: Duration::from_secs(10) }).await?;
/// if !report.is_clean() {
///     eprintln!("some messages may be delivered again: {report}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "DrainReport")]
pub struct Drain {
    /// Time for the handlers.
    pub timeout: Duration,
}

impl Drain {
    /// Creates a drain with this time for the handlers.
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

/// What became of the messages that a consumer held when a drain began. Messages answered before
/// that are counted in [`Counters`](super::Counters) only. So are those whose deadline has passed
/// while a handler had them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DrainReport {
    /// Finished by handlers.
    pub finished: u64,
    /// Requeued by handlers.
    pub requeued: u64,
    /// Returned, because no handler had started them or ended in time.
    pub returned: u64,
    /// Answers and touches that nsqd has rejected, because it had taken the message back: those
    /// messages are delivered again.
    pub rejected: u64,
    /// Answers of which it is not known whether nsqd executed them: those messages may be
    /// delivered again.
    pub not_confirmed: u64,
}

impl DrainReport {
    /// Returns whether nsqd has executed every answer.
    pub fn is_clean(&self) -> bool {
        self.not_confirmed == 0 && self.rejected == 0
    }

    pub(super) fn between(before: Counters, after: Counters, not_confirmed: u64) -> Self {
        Self {
            finished: after.finished - before.finished,
            requeued: after.requeued - before.requeued,
            returned: after.returned - before.returned,
            rejected: after.answers_failed - before.answers_failed,
            not_confirmed: not_confirmed + after.unwritten - before.unwritten,
        }
    }
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            finished,
            requeued,
            returned,
            rejected,
            not_confirmed,
        } = self;
        write!(
            f,
            "{finished} finished, {requeued} requeued, {returned} returned, \
             {rejected} rejected, {not_confirmed} not confirmed"
        )
    }
}
