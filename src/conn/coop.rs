//! Cooperative scheduling inside hand-written polls.

use std::{pin::pin, task::Context};

use tokio::task::yield_now;

/// Schedules the current task again, after tokio has checked sockets and timers and run other
/// tasks.
///
/// Waking the waker directly would run the task again before sockets and timers are checked.
pub(crate) fn wake_deferred(cx: &mut Context<'_>) {
    let _ = pin!(yield_now()).poll(cx);
}
