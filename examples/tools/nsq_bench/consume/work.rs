//! What the handlers share: the count of messages, and when the measurement began and ended.

use std::{
    convert::Infallible,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use actix_nsq::{IncomingMessage, Requeue};
use tokio::{sync::Notify, time::timeout};

use super::options::Options;
use crate::report::process_time;

pub(super) struct Work {
    /// Messages to finish.
    messages: u64,
    /// Number of the message that ends the measurement.
    measured: u64,
    /// Messages that handlers have ended with.
    handled: AtomicU64,
    bytes: AtomicU64,
    first: OnceLock<Moment>,
    last: OnceLock<Moment>,
    /// All messages are finished.
    finished: Notify,
}

#[derive(Debug)]
struct Moment {
    time: Instant,
    cpu_time: Duration,
}

impl Moment {
    fn now() -> Self {
        Self {
            time: Instant::now(),
            cpu_time: process_time(),
        }
    }
}

/// The time between the first and the last measured message.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Messages in this time; 0 if it has not ended.
    pub(super) messages: u64,
    pub(super) duration: Duration,
    pub(super) cpu_time: Duration,
    /// Mean size of a body.
    pub(super) size: f64,
}

impl Work {
    pub(super) fn new(options: &Options) -> Self {
        let messages = options.messages;
        Self {
            messages,
            measured: (messages - messages / 100).max(2),
            handled: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            first: OnceLock::new(),
            last: OnceLock::new(),
            finished: Notify::new(),
        }
    }

    /// Finishes a message, unless enough are finished.
    pub(super) fn handle(&self, message: IncomingMessage) {
        let size = message.body().len();
        if self.count(size) {
            message.settle(Ok::<_, Infallible>(()));
        } else {
            return_now(message);
        }
    }

    /// The same for a closure, whose result finishes the message.
    pub(super) fn handle_in_closure(&self, message: IncomingMessage) -> Result<(), Infallible> {
        if !self.count(message.body().len()) {
            return_now(message);
        }
        Ok(())
    }

    /// Counts a message. Returns whether it is one of those to finish.
    fn count(&self, size: usize) -> bool {
        let number = self.handled.fetch_add(1, Relaxed) + 1;
        self.bytes.fetch_add(size as u64, Relaxed);
        if number == 1 {
            self.first.get_or_init(Moment::now);
        }
        if number == self.measured {
            self.last.get_or_init(Moment::now);
        }
        if number == self.messages {
            self.finished.notify_one();
        }
        number <= self.messages
    }

    /// Waits until all messages are finished, or none has come for this time.
    pub(super) async fn wait(&self, idle_timeout: Duration) {
        let mut before = 0;
        while timeout(idle_timeout, self.finished.notified())
            .await
            .is_err()
        {
            let handled = self.handled.load(Relaxed);
            if handled == before {
                break;
            }
            before = handled;
        }
    }

    pub(super) fn measured(&self) -> Measured {
        let handled = self.handled.load(Relaxed);
        let size = self.bytes.load(Relaxed) as f64 / handled.max(1) as f64;
        match (self.first.get(), self.last.get()) {
            (Some(first), Some(last)) => Measured {
                messages: self.measured - 1,
                duration: last.time - first.time,
                cpu_time: last.cpu_time.saturating_sub(first.cpu_time),
                size,
            },
            _ => Measured {
                size,
                ..Measured::default()
            },
        }
    }
}

/// Requeues a message beyond those to finish.
fn return_now(message: IncomingMessage) {
    // Without effect if the consumer is drained already, which returns the message as well.
    let _ = message.requeue(Requeue::now().without_backoff());
}
