//! The messages that are not settled: without a result, or with `Ok` and not handled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_nsq::bytes::Bytes;
use actix_nsq::{Delivery, IncomingMessage, PublishError, Requeue};

/// Timeout of a publish.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(15);

/// A result is missing if it comes later than this after the timeout.
const GRACE: Duration = Duration::from_secs(2);

/// For this time it is remembered that a message has failed, in case it is handled.
const MEMORY: Duration = Duration::from_secs(30);

/// One of this number of messages is requeued once.
const REQUEUE_EVERY: u64 = 500;

const BODY: usize = 200;

/// Shared by all publishers and consumers.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Inner>>);

struct Inner {
    open: HashMap<u64, Open>,
    counts: Counts,
    last_handled: Instant,
}

/// A message that is not settled.
struct Open {
    published: Instant,
    result: Option<Result<(), Delivery>>,
    is_handled: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub published: u64,
    pub ok: u64,
    pub not_written: u64,
    pub maybe_written: u64,
    /// Handled more than once, or long after it has failed.
    pub again: u64,
    /// Handled, although the result was `NotWritten`.
    pub misattributed: u64,
    /// Without a result in time.
    pub unanswered: u64,
    /// With a body that was not published.
    pub corrupt: u64,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            counts: Counts::default(),
            last_handled: Instant::now(),
        }
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a handler or the caller of a publish has it.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Number of publishes without a result.
    pub fn outstanding(&self) -> usize {
        let counts = self.counts();
        let answered = counts.ok + counts.not_written + counts.maybe_written + counts.unanswered;
        (counts.published - answered) as usize
    }

    /// Number of messages with `Ok` that were not handled.
    pub fn unhandled(&self) -> usize {
        let inner = self.lock();
        let open = inner.open.values();
        open.filter(|it| it.result == Some(Ok(()))).count()
    }

    /// Time since a message was handled.
    pub fn quiet(&self) -> Duration {
        self.lock().last_handled.elapsed()
    }

    /// A message that is about to be published: its number and body.
    pub fn offer(&self) -> (u64, Bytes) {
        let mut inner = self.lock();
        let number = inner.counts.published;
        inner.counts.published += 1;
        let open = Open {
            published: Instant::now(),
            result: None,
            is_handled: false,
        };
        inner.open.insert(number, open);
        (number, body(number))
    }

    pub fn answered(&self, number: u64, result: &Result<(), PublishError>) {
        let mut inner = self.lock();
        let Inner { open, counts, .. } = &mut *inner;
        let result = result.as_ref().copied().map_err(PublishError::delivery);
        // Otherwise it was counted as unanswered.
        let Some(message) = open.get_mut(&number) else {
            return;
        };
        match result {
            Ok(()) => counts.ok += 1,
            Err(Delivery::NotWritten) => {
                counts.not_written += 1;
                counts.misattributed += u64::from(message.is_handled);
            }
            Err(_) => counts.maybe_written += 1,
        }
        message.result = Some(result);
        if message.is_handled {
            open.remove(&number);
        }
    }

    /// Handles a message: finishes it, or requeues it once.
    pub fn handle(&self, message: IncomingMessage) {
        let Some(number) = number(message.body()) else {
            self.lock().counts.corrupt += 1;
            return message.settle(Ok::<_, PublishError>(()));
        };
        if number % REQUEUE_EVERY == 0 && message.attempts() == 1 {
            // Fails if the connection is lost: the message comes again.
            let _ = message.requeue(Requeue::now().without_backoff());
            return;
        }
        self.lock().handled(number);
        let _ = message.finish();
    }

    /// Forgets messages that have failed long ago, and counts those without a result.
    pub fn sweep(&self) {
        let mut inner = self.lock();
        let Inner { open, counts, .. } = &mut *inner;
        open.retain(|_, message| {
            let age = message.published.elapsed();
            match message.result {
                Some(Ok(())) => true,
                Some(Err(_)) => age < MEMORY,
                None if age < PUBLISH_TIMEOUT + GRACE => true,
                None => {
                    counts.unanswered += 1;
                    false
                }
            }
        });
    }
}

impl Inner {
    fn handled(&mut self, number: u64) {
        self.last_handled = Instant::now();
        let Some(message) = self.open.get_mut(&number) else {
            self.counts.again += 1;
            return;
        };
        match message.result {
            None if message.is_handled => self.counts.again += 1,
            None => message.is_handled = true,
            Some(result) => {
                self.counts.misattributed += u64::from(result == Err(Delivery::NotWritten));
                self.open.remove(&number);
            }
        }
    }
}

fn body(number: u64) -> Bytes {
    number.to_be_bytes().repeat(BODY / 8).into()
}

/// The number of a body, if all of it is as it was published.
fn number(body: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(*body.first_chunk()?);
    (*body == self::body(number)).then_some(number)
}
