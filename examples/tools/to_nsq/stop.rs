//! The end of the program before the end of the input: a signal, or a failure.

use std::{convert::Infallible, future::pending, process};

use tokio::sync::watch;

use crate::signal;

/// Requests that the program ends: it stops reading, and publishes what it has read.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Sender<bool>);

impl Stop {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn request(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the request.
    pub(crate) async fn requested(&self) {
        // Cannot fail: this is a sender of the channel.
        let _ = self
            .0
            .subscribe()
            .wait_for(|is_requested| *is_requested)
            .await;
    }

    /// Requests it on SIGINT and SIGTERM. A second signal ends the program at once.
    pub(crate) async fn on_signal(&self) -> Infallible {
        match signal::terminated(|| process::exit(1)) {
            Ok(terminated) => {
                terminated.await;
                self.request();
            }
            Err(error) => log::warn!("cannot handle signals: {error}"),
        }
        pending().await
    }
}
