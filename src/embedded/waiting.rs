//! Waiting for a condition on the state of an embedded server, up to a limit.

use std::{
    error::Error,
    fmt,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::AbortHandle};

/// What was waited for did not happen within the limit. `Display` says what there is instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitTimeout {
    pub(super) limit: Duration,
    pub(super) expected: String,
    pub(super) found: String,
}

impl fmt::Display for WaitTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            limit,
            expected,
            found,
        } = self;
        write!(f, "{expected} not within {limit:?}")?;
        if found.is_empty() {
            Ok(())
        } else {
            write!(f, "; there are {found}")
        }
    }
}

impl Error for WaitTimeout {}

/// Aborts a task when it is dropped.
struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Returns whether the condition came to hold within the limit. It is checked now and after every
/// change. `notify_at` notifies `changes` at a time of the real clock: that of the caller may be
/// paused.
pub(super) async fn reaches(
    changes: &watch::Sender<()>,
    notify_at: impl FnOnce(Instant) -> AbortHandle,
    limit: Duration,
    mut condition: impl FnMut() -> bool,
) -> bool {
    // Subscribed before the first check, so that no change is missed.
    let mut changes = changes.subscribe();
    // Later than any clock can show: without a limit.
    let deadline = Instant::now().checked_add(limit);
    let _notification = deadline.map(|deadline| Abort(notify_at(deadline)));
    while !condition() {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return false;
        }
        if changes.changed().await.is_err() {
            // Impossible: the caller holds the sender.
            return false;
        }
    }
    true
}
