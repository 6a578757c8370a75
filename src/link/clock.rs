//! Points in time of an actor.

use std::time::{Duration, Instant};

/// Now, by tokio's clock, which tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// `now + after`; about 30 years from now if that overflows.
pub(crate) fn deadline_after(now: Instant, after: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(1 << 30);
    now.checked_add(after).unwrap_or(now + FAR)
}
