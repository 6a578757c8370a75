//! A thread with an actix `System` for one actor.

use std::{io, thread};

use actix::System;
use actix_rt::Arbiter;
use tokio::sync::oneshot;

/// Starts an actor in a thread of its own, which ends when the actor drops the guard that it gets.
///
/// # Errors
///
/// The operating system's error if the thread cannot be started, or an error if its `System`
/// cannot be.
pub(super) fn start_in_thread<T: Send + 'static>(
    start: impl FnOnce(Box<dyn Send>) -> T + Send + 'static,
) -> io::Result<T> {
    let (started, address) = std::sync::mpsc::sync_channel(1);
    thread::Builder::new()
        .name("actix-nsq".into())
        .spawn(move || {
            System::new().block_on(async move {
                let (guard, stopped) = oneshot::channel::<()>();
                // Fails only if the starter has panicked: then the address is dropped at once.
                let _ = started.send(start(Box::new(guard)));
                // Fails when the guard is dropped together with the actor.
                let _ = stopped.await;
                Arbiter::current().stop();
            });
        })?;
    address.recv().map_err(io::Error::other)
}
