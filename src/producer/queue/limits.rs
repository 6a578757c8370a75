//! Limits of the queue, and the small types that its parts share.

use std::time::Duration;

/// Body size in bytes above which a publish is never batched: nsqd's flush per command costs little
/// beside such a body.
pub(super) const LARGE: usize = 64 << 10;

/// Limits of one automatic batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    /// Maximum number of messages.
    pub(crate) messages: usize,
    /// Maximum size in bytes, as nsqd compares it with its `max_body_size`.
    pub(crate) bytes: usize,
}

/// A number of publishes and the bytes of their bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) publishes: usize,
    pub(crate) bytes: usize,
}

impl Usage {
    /// The usage of one publish.
    pub(crate) fn one(bytes: usize) -> Self {
        Self {
            publishes: 1,
            bytes,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.publishes = self.publishes.saturating_add(other.publishes);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.publishes = self.publishes.saturating_sub(other.publishes);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    pub(crate) fn plus(mut self, other: Self) -> Self {
        self.add(other);
        self
    }

    pub(crate) fn minus(mut self, other: Self) -> Self {
        self.remove(other);
        self
    }

    pub(crate) fn fits(self, limit: Self) -> bool {
        self.publishes <= limit.publishes && self.bytes <= limit.bytes
    }
}

/// Configuration of the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Maximum of publishes accepted and not answered.
    pub(crate) pending: Usage,
    /// Maximum of publishes of one topic accepted and not answered; `None` for no limit of its own.
    pub(crate) pending_per_topic: Option<usize>,
    /// Number of topics whose results are counted separately; `None`: none is.
    pub(crate) topic_stats: Option<usize>,
    /// Maximum of publishes in flight.
    pub(crate) window: Usage,
    /// Limits of an automatic batch; `None` turns batching off.
    pub(crate) batch: Option<Batch>,
    /// Time within which a batch is expected to be answered.
    pub(crate) batch_time: Duration,
    /// Whether publishes that may be stored are retried after a lost connection.
    pub(crate) retry_maybe_written: bool,
    /// Maximum of publishes visited in one poll of the producer.
    pub(crate) budget: usize,
    /// The queue is one of a pool: a publish that is rejected because of its nsqd is not answered,
    /// because another nsqd may accept it.
    pub(crate) is_pooled: bool,
}

/// What happens to a publish for which the queue has no capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// It is rejected at once.
    Reject,
    /// It waits for capacity until its deadline.
    Wait,
}
