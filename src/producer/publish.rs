//! The messages that publish, and how each becomes a transaction with its caller's reply in it.

use std::{
    cell::RefCell,
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use actix::{
    Context, Handler, Message,
    dev::{MessageResponse, OneshotSender},
};
use bytes::Bytes;

use super::{
    Producer,
    caller::{Caller, Unheard},
    payload::Payload,
    queue::{Reply, Transaction, TransactionQueue, WhenFull},
};
use crate::{
    error::{Cause, Delivery, PublishError},
    protocol::Topic,
};

/// Publishes one message: PUB.
///
/// Those of one topic that wait at the same moment leave as one MPUB, unless `auto_batch` is off; a lone one leaves at once.
///
/// The answer is `Ok` when nsqd's `OK` for the command with this very message was read. A [`PublishError`] tells by its
/// [`delivery`](PublishError::delivery) whether nsqd may have stored the message all the same.
///
/// # Cancel safety
///
/// A request dropped before the message was handed to the connection is never sent. Later it is sent all the same, and
/// its answer is dropped; nobody else's answer is touched.
///
/// An error does not bring the message back: whoever may want to publish it again keeps a clone, which copies no body.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub struct Publish(pub(super) Outgoing);

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
/// stored, which [`Delivery::MaybePartial`] tells. See [`Publish`] for the answer and for cancel safety.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub struct MultiPublish(pub(super) Outgoing);

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
#[rtype(result = "Result<(), PublishError>")]
pub struct DeferredPublish(pub(super) Outgoing);

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

impl DeferredPublish {
    /// How long nsqd is to hold the message back, in whole milliseconds.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.0.payload.delay_ms())
    }
}

/// What every message that publishes holds.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) topic: Topic,
    pub(super) payload: Payload,
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

    /// Time from its arrival to its answer, where `longest` is the longest that any publish has.
    fn time(&self, longest: Duration) -> Duration {
        self.timeout.map_or(longest, |timeout| timeout.min(longest))
    }
}

/// A message that publishes, from one who waits for room where there is none.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub(crate) struct Patient(Outgoing);

macro_rules! publishing {
    ($($message:ident)+) => {$(
        impl $message {
            /// The topic.
            pub fn topic(&self) -> &Topic {
                &self.0.topic
            }

            /// The bodies, of which a batch has several.
            pub fn bodies(&self) -> &[Bytes] {
                self.0.payload.bodies()
            }

            /// Shortens the time to the answer; `publish_timeout` is the longest.
            #[must_use]
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.0.timeout = Some(timeout);
                self
            }
        }

        impl From<$message> for Patient {
            fn from($message(outgoing): $message) -> Self {
                Self(outgoing)
            }
        }

        impl Handler<$message> for Producer {
            type Result = Receipt;

            fn handle(&mut self, $message(outgoing): $message, ctx: &mut Context<Self>) -> Receipt {
                self.accept(outgoing, WhenFull::Reject, ctx)
            }
        }
    )+};
}

publishing! { Publish MultiPublish DeferredPublish }

impl Handler<Patient> for Producer {
    type Result = Receipt;

    fn handle(&mut self, Patient(outgoing): Patient, ctx: &mut Context<Self>) -> Receipt {
        self.accept(outgoing, WhenFull::Wait, ctx)
    }
}

impl Producer {
    fn accept(
        &mut self,
        outgoing: Outgoing,
        when_full: WhenFull,
        ctx: &mut Context<Self>,
    ) -> Receipt {
        let now = self.handling(ctx);
        let timeout = outgoing.time(self.config.publish_timeout());
        let cause = match self.is_draining() {
            true => Some(Cause::Drained),
            false => outgoing.payload.check(&self.config).err(),
        };
        let cause = cause.or_else(|| self.forbidden.cause(&outgoing.topic, now));
        let refused = cause.map(|cause| PublishError::new(cause, Delivery::NotWritten));
        self.watched.refused += u64::from(refused.is_some());
        Receipt {
            desk: Rc::clone(&self.desk),
            outgoing,
            refused,
            when_full,
            timeout,
            now,
        }
    }
}

/// The producer's transaction queue.
pub(super) type Queue = TransactionQueue<Caller>;

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

/// What a handler returns for a publish: it goes into the queue together with the sender that actix answers by, which
/// is known only once the handler has returned.
#[derive(Debug)]
pub struct Receipt {
    desk: Rc<Desk>,
    outgoing: Outgoing,
    refused: Option<PublishError>,
    when_full: WhenFull,
    timeout: Duration,
    now: Instant,
}

impl<M: Message<Result = Result<(), PublishError>>> MessageResponse<Producer, M> for Receipt {
    fn handle(self, _: &mut Context<Producer>, sender: Option<OneshotSender<M::Result>>) {
        let Self {
            desk,
            outgoing,
            refused,
            when_full,
            timeout,
            now,
        } = self;
        let caller = match sender {
            Some(sender) => Caller::Waiting(sender),
            None => Caller::nobody(&desk.unheard, &outgoing),
        };
        match refused {
            Some(error) => caller.answer(Err(error)),
            None => {
                let Outgoing { topic, payload, .. } = outgoing;
                let transaction = Transaction {
                    topic,
                    payload,
                    timeout,
                };
                let mut queue = desk.queue.borrow_mut();
                queue.push(transaction, when_full, now, caller);
            }
        }
    }
}
