//! Limits of the queue and how much it holds: the small types that every part of the queue shares.

use std::time::{Duration, Instant};

/// A body larger than this is never batched: nsqd's flush per command costs little beside it.
pub(super) const LARGE: usize = 64 << 10;

/// What may be combined into one MPUB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    /// Maximum number of messages.
    pub(crate) messages: usize,
    /// Maximum size, as nsqd counts it against its `max_body_size`.
    pub(crate) bytes: usize,
}

/// A number of publishes and the bytes of their bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) publishes: usize,
    pub(crate) bytes: usize,
}

impl Usage {
    pub(super) fn add(&mut self, publishes: usize, bytes: usize) {
        self.publishes = self.publishes.saturating_add(publishes);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn remove(&mut self, publishes: usize, bytes: usize) {
        self.publishes = self.publishes.saturating_sub(publishes);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// What the queue may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Accepted and not answered.
    pub(crate) pending: Usage,
    /// Sent and not answered.
    pub(crate) window: Usage,
    /// Limits of an automatic batch; `None` turns batching off.
    pub(crate) batch: Option<Batch>,
    /// Whether publishes that may be stored are retried after a lost connection.
    pub(crate) retry_maybe_written: bool,
}

/// What happens to a publish for which the queue has no capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// It is rejected at once.
    Reject,
    /// It waits for capacity until its deadline.
    Wait,
}

/// `now + after`; about 30 years from now where that overflows.
pub(crate) fn deadline_after(now: Instant, after: Duration) -> Instant {
    now.checked_add(after)
        .unwrap_or(now + Duration::from_secs(1 << 30))
}
