//! Polls a condition until a deadline.

use std::panic::Location;
use std::time::{Duration, Instant};

/// Timeout for steps that normally take milliseconds, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

const INTERVAL: Duration = Duration::from_millis(5);

/// Polls until `look` returns something. Blocks the thread.
pub fn poll<T>(timeout: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Polls until `holds`, without blocking the runtime. Returns false after the timeout.
pub async fn comes_to_hold(timeout: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + timeout;
    while !holds() {
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(INTERVAL).await;
    }
    true
}

/// Polls until `holds`, without blocking the runtime. Panics after [`PATIENCE`].
#[track_caller]
pub fn until(what: &str, holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        assert!(
            comes_to_hold(PATIENCE, holds).await,
            "{caller}: not within {PATIENCE:?}: {what}"
        );
    }
}
