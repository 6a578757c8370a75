//! The messages that publish, and how each becomes a transaction with its caller's reply in it.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use actix::{
    Context, Handler, Message,
    dev::{MessageResponse, OneshotSender},
};
use bytes::Bytes;
use log::warn;

use super::{
    Producer,
    payload::Payload,
    transaction::{Reply, Transaction, TransactionQueue},
};
use crate::{
    error::{Cause, Delivery, Error},
    protocol::Topic,
};

/// Publishes one message: PUB.
///
/// The answer is `Ok` when nsqd's `OK` for this very message was read. An [`Error`] tells by its
/// [`delivery`](Error::delivery) whether nsqd may have stored the message all the same.
///
/// # Cancel safety
///
/// A request dropped before the message was handed to the connection is never sent. Later it is sent all the same, and
/// its answer is dropped; nobody else's answer is touched.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct Publish(Outgoing);

impl Publish {
    /// A message with `body` for `topic`. A body of 1 byte to `max_publish_size` is accepted; a large one is not
    /// copied.
    pub fn new(topic: impl Into<Topic>, body: impl Into<Bytes>) -> Self {
        Self(Outgoing::new(topic, Payload::Publish(body.into())))
    }
}

/// Publishes several messages of one topic with one command, MPUB, and one answer for all.
///
/// nsqd checks the whole batch before it stores any of it. When its disk fails then, or it is killed, a part may be
/// stored, which [`Delivery::MaybePartly`] tells. See [`Publish`] for the answer and for cancel safety.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct MultiPublish(Outgoing);

impl MultiPublish {
    /// A batch of `bodies` for `topic`: at least one, each of 1 byte to `max_publish_size`, and all together with 4
    /// bytes each and 4 for the batch at most `max_batch_size`.
    pub fn new<B: Into<Bytes>>(
        topic: impl Into<Topic>,
        bodies: impl IntoIterator<Item = B>,
    ) -> Self {
        let bodies = bodies.into_iter().map(Into::into).collect();
        Self(Outgoing::new(topic, Payload::Batch(bodies)))
    }
}

/// Publishes one message that nsqd holds back for a while: DPUB.
///
/// nsqd counts the delay from when it receives the message, and keeps it in memory: after a restart of nsqd, or when
/// the topic's queue went to disk before it had a channel, the message comes at once. See [`Publish`] for the answer
/// and for cancel safety.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct DeferredPublish(Outgoing);

impl DeferredPublish {
    /// A message with `body` for `topic`, delivered after `delay`: at most `max_req_timeout`, and rounded down to
    /// milliseconds.
    pub fn new(topic: impl Into<Topic>, delay: Duration, body: impl Into<Bytes>) -> Self {
        let delay_ms = delay.as_millis().try_into().unwrap_or(u64::MAX);
        Self(Outgoing::new(
            topic,
            Payload::Deferred {
                body: body.into(),
                delay_ms,
            },
        ))
    }
}

/// What every message that publishes holds.
#[derive(Debug, Clone)]
struct Outgoing {
    topic: Topic,
    payload: Payload,
    timeout: Option<Duration>,
}

impl Outgoing {
    fn new(topic: impl Into<Topic>, payload: Payload) -> Self {
        Self {
            topic: topic.into(),
            payload,
            timeout: None,
        }
    }
}

macro_rules! publishing {
    ($($message:ident)+) => {$(
        impl $message {
            /// Shortens the time to the answer; `publish_timeout` is the longest.
            #[must_use]
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.0.timeout = Some(timeout);
                self
            }
        }

        impl Handler<$message> for Producer {
            type Result = Receipt;

            fn handle(&mut self, $message(outgoing): $message, ctx: &mut Context<Self>) -> Receipt {
                self.accept(outgoing, ctx)
            }
        }
    )+};
}

publishing! { Publish MultiPublish DeferredPublish }

impl Producer {
    fn accept(&mut self, outgoing: Outgoing, ctx: &mut Context<Self>) -> Receipt {
        let now = self.handling(ctx);
        let Outgoing {
            topic,
            payload,
            timeout,
        } = outgoing;
        let longest = self.config.publish_timeout();
        let timeout = timeout.map_or(longest, |timeout| timeout.min(longest));
        let checked = if self.is_draining() {
            Err(Cause::Drained)
        } else {
            payload.check(&self.config)
        };
        let outcome = match checked {
            Ok(()) => Ok(Transaction {
                topic,
                payload,
                timeout,
            }),
            Err(cause) => Err(Error::new(cause, Delivery::NotWritten)),
        };
        Receipt {
            desk: Rc::clone(&self.desk),
            outcome,
            now,
        }
    }
}

/// The producer's transaction queue.
pub(super) type Queue = TransactionQueue<Caller>;

/// What a handler returns for a publish: it goes into the queue together with the sender that actix answers by, which
/// is known only once the handler has returned.
#[derive(Debug)]
pub struct Receipt {
    pub(super) desk: Rc<Desk>,
    pub(super) outcome: Result<Transaction, Error>,
    pub(super) now: Instant,
}

/// What the producer shares with the receipts that it gives out.
pub(super) struct Desk {
    pub(super) queue: RefCell<Queue>,
    pub(super) unheard: Rc<Unheard>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl<M: Message<Result = Result<(), Error>>> MessageResponse<Producer, M> for Receipt {
    fn handle(self, _: &mut Context<Producer>, sender: Option<OneshotSender<M::Result>>) {
        let caller = match sender {
            Some(sender) => Caller::Waiting(sender),
            None => Caller::Nobody(Rc::clone(&self.desk.unheard)),
        };
        match self.outcome {
            Ok(transaction) => self
                .desk
                .queue
                .borrow_mut()
                .push(transaction, self.now, caller),
            Err(error) => caller.answer(Err(error)),
        }
    }
}

/// Who sent a publish.
pub(super) enum Caller {
    /// By `send`: somebody may be waiting.
    Waiting(OneshotSender<Result<(), Error>>),
    /// By `do_send` or `try_send`: nobody hears the answer.
    Nobody(Rc<Unheard>),
}

impl Reply for Caller {
    fn is_closed(&self) -> bool {
        match self {
            Self::Waiting(sender) => sender.is_closed(),
            Self::Nobody(_) => false,
        }
    }

    fn answer(self, answer: Result<(), Error>) {
        match (self, answer) {
            // A caller that went away meanwhile does not want it.
            (Self::Waiting(sender), answer) => drop(sender.send(answer)),
            (Self::Nobody(_), Ok(())) => {}
            (Self::Nobody(unheard), Err(error)) => unheard.note(error),
        }
    }
}

/// Failures that nobody awaits: they are counted, and logged at most once a second.
#[derive(Default)]
pub(super) struct Unheard {
    failed: Cell<u64>,
    latest: Cell<Option<Error>>,
    logged: Cell<Option<Instant>>,
}

impl Unheard {
    const PAUSE: Duration = Duration::from_secs(1);

    fn note(&self, error: Error) {
        self.failed.set(self.failed.get().saturating_add(1));
        self.latest.set(Some(error));
    }

    /// When there is something to log that has waited long enough, unless that is at once.
    pub(super) fn due(&self) -> Option<Instant> {
        let logged = self.logged.get().filter(|_| self.failed.get() > 0);
        logged.map(|logged| logged + Self::PAUSE)
    }

    pub(super) fn log_if_due(&self, now: Instant) {
        if self.due().is_none_or(|due| due <= now) && self.log() {
            self.logged.set(Some(now));
        }
    }

    /// Logs what there is; returns whether there was anything.
    pub(super) fn log(&self) -> bool {
        let failed = self.failed.take();
        let latest = self.latest.take();
        if let Some(error) = &latest {
            let delivery = error.delivery();
            warn!(
                "publishes that failed and whose answers nobody awaits: {failed}; the latest ({delivery:?}): {error}"
            );
        }
        latest.is_some()
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        self.log();
    }
}
