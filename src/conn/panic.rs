//! Turns a panic in the program's own code into an error: a connector, a secret provider, or a
//! stream must not end the actor that uses it.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures::FutureExt;

use crate::error::ConnectionError;

/// Awaits a future. If it panics, the error says that `what` has panicked, without the message,
/// which may contain a secret; the panic hook has printed it.
pub(super) async fn catch_panic<T>(
    what: &'static str,
    future: impl Future<Output = T>,
) -> io::Result<T> {
    // After a panic the future is dropped, so a broken invariant is not observed.
    let caught = AssertUnwindSafe(future).catch_unwind().await;
    caught.map_err(|_| io::Error::other(format!("{what} panicked")))
}

/// Returns why an actor stops: `reason`, or that it is dropped by a panic of the stream.
pub(super) fn stop_reason(reason: &ConnectionError) -> ConnectionError {
    if std::thread::panicking() {
        io::Error::other("the stream panicked").into()
    } else {
        reason.clone()
    }
}

/// Calls a function while an actor stops. A panic is ignored, and one is not added to another,
/// which would abort the process.
pub(super) fn ignore_panic(call: impl FnOnce()) {
    if !std::thread::panicking() {
        let _ = catch_unwind(AssertUnwindSafe(call));
    }
}
