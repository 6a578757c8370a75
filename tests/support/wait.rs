//! Waiting for a thing by looking at the thing: short naps inside a dead-line, never a blind sleep.

use std::panic::Location;
use std::time::{Duration, Instant};

/// How long a thing that normally takes milliseconds may take on a busy machine before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(15);

const NAP: Duration = Duration::from_millis(5);

/// Polls `look` until it finds something; `None` when `dead_line` passed first. Blocks the thread.
pub fn poll<T>(dead_line: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + dead_line;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(NAP);
    }
}

/// The same without blocking the runtime: whether it came to hold before `dead_line` passed.
pub async fn comes_to_hold(dead_line: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + dead_line;
    while !holds() {
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(NAP).await;
    }
    true
}

/// Waits, without blocking the runtime, until `holds`; panics with `what` when it does not within [`PATIENCE`].
#[track_caller]
pub fn until(what: &str, holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        assert!(
            comes_to_hold(PATIENCE, holds).await,
            "{caller}: waited {PATIENCE:?} in vain: {what}"
        );
    }
}
