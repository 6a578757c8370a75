//! The messages of the producer's graceful shutdown.

use std::{fmt, time::Duration};

use actix::Message;
use serde::Serialize;

use super::queue::Counters;

/// Shuts a producer down gracefully: new publishes are rejected from now on, outstanding ones may
/// be finished for up to `timeout`, and the rest is answered with what is known about it.
///
/// When the result arrives, the producer holds no connection, no timer and no other actor; its
/// address stays valid and rejects every publish with
/// [`ErrorKind::Drained`](crate::ErrorKind::Drained). A producer that is not connected keeps trying
/// to connect until the deadline. A second `Drain` gets the same result as the first; the earliest
/// deadline applies.
///
/// # Cancel safety
///
/// A request dropped before the producer has received it has no effect. Later, the drain goes on.
///
/// ```no_run
/// # use actix::Addr;
/// use std::time::Duration;
///
/// use actix_nsq::{Producer, producer::Drain};
///
/// # async fn example(producer: Addr<Producer>) -> Result<(), actix::MailboxError> {
/// let report = producer.send(Drain { timeout: Duration::from_secs(10) }).await?;
/// if !report.is_clean() {
///     eprintln!("lost publishes: {report}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "DrainReport")]
pub struct Drain {
    /// Time for the outstanding publishes.
    pub timeout: Duration,
}

impl Drain {
    /// A drain with this time for the outstanding publishes.
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

/// How the publishes that were outstanding when a drain began were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DrainReport {
    /// Stored by nsqd.
    pub ok: u64,
    /// Not stored.
    pub not_written: u64,
    /// May be stored.
    pub maybe_written: u64,
    /// Batches of which a part may be stored.
    pub maybe_partial: u64,
}

impl DrainReport {
    /// Returns whether every outstanding publish was stored.
    pub fn is_clean(&self) -> bool {
        self.not_written == 0 && self.maybe_written == 0 && self.maybe_partial == 0
    }

    pub(crate) fn between(before: Counters, after: Counters) -> Self {
        Self {
            ok: after.ok - before.ok,
            not_written: after.not_written - before.not_written,
            maybe_written: after.maybe_written - before.maybe_written,
            maybe_partial: after.maybe_partial - before.maybe_partial,
        }
    }
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ok,
            not_written,
            maybe_written,
            maybe_partial,
        } = self;
        write!(
            f,
            "{ok} ok, {not_written} not written, {maybe_written} maybe written, \
             {maybe_partial} maybe partial"
        )
    }
}
