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
    payload::{Payload, batch_size},
    transaction::{Reply, Transaction, TransactionQueue},
};
use crate::{
    config::Config,
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
/// A request dropped before the message was handed to the connection is never sent. Later it is sent all the
/// same, and its answer is dropped; nobody else's answer is touched.
#[derive(Clone, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct Publish {
    topic: Topic,
    body: Bytes,
    timeout: Option<Duration>,
}

impl Publish {
    /// A message with `body` for `topic`. A body of 1 byte to `max_publish_size` is accepted; a large one is not copied.
    pub fn new(topic: impl Into<Topic>, body: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            body: body.into(),
            timeout: None,
        }
    }

    /// Shortens the time to the answer; `publish_timeout` is the longest.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// Publishes several messages of one topic with one command, MPUB, and one answer for all.
///
/// nsqd checks the whole batch before it stores any of it. Only when its disk fails may a part be stored, which
/// [`Delivery::MaybePartly`] tells. See [`Publish`] for the answer and for cancel safety.
#[derive(Clone, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct MultiPublish {
    topic: Topic,
    bodies: Vec<Bytes>,
    timeout: Option<Duration>,
}

impl MultiPublish {
    /// A batch of `bodies` for `topic`: at least one, each of 1 byte to `max_publish_size`, and all together with 4
    /// bytes each and 4 for the batch at most `max_batch_size`.
    pub fn new<B: Into<Bytes>>(
        topic: impl Into<Topic>,
        bodies: impl IntoIterator<Item = B>,
    ) -> Self {
        Self {
            topic: topic.into(),
            bodies: bodies.into_iter().map(Into::into).collect(),
            timeout: None,
        }
    }

    /// Shortens the time to the answer; `publish_timeout` is the longest.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// Publishes one message that nsqd holds back for a while: DPUB.
///
/// nsqd counts the delay from when it receives the message, and keeps it in memory: after a restart of nsqd, or when
/// the topic's queue went to disk before it had a channel, the message comes at once. See [`Publish`] for the answer
/// and for cancel safety.
#[derive(Clone, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct DeferredPublish {
    topic: Topic,
    delay: Duration,
    body: Bytes,
    timeout: Option<Duration>,
}

impl DeferredPublish {
    /// A message with `body` for `topic`, delivered after `delay`: at most `max_req_timeout`, rounded down to
    /// milliseconds.
    pub fn new(topic: impl Into<Topic>, delay: Duration, body: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            delay,
            body: body.into(),
            timeout: None,
        }
    }

    /// Shortens the time to the answer, not the delay; `publish_timeout` is the longest.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("topic", &self.topic)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl fmt::Debug for MultiPublish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiPublish")
            .field("topic", &self.topic)
            .field("bodies", &format_args!("{} messages", self.bodies.len()))
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl fmt::Debug for DeferredPublish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredPublish")
            .field("topic", &self.topic)
            .field("delay", &self.delay)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl Handler<Publish> for Producer {
    type Result = Receipt;

    fn handle(
        &mut self,
        Publish {
            topic,
            body,
            timeout,
        }: Publish,
        ctx: &mut Context<Self>,
    ) -> Receipt {
        self.accept(topic, timeout, ctx, |config| {
            check_body(&body, config)?;
            Ok(Payload::Publish(body))
        })
    }
}

impl Handler<MultiPublish> for Producer {
    type Result = Receipt;

    fn handle(&mut self, batch: MultiPublish, ctx: &mut Context<Self>) -> Receipt {
        let MultiPublish {
            topic,
            bodies,
            timeout,
        } = batch;
        self.accept(topic, timeout, ctx, |config| {
            check_batch(&bodies, config)?;
            Ok(Payload::Batch(bodies))
        })
    }
}

impl Handler<DeferredPublish> for Producer {
    type Result = Receipt;

    fn handle(&mut self, deferred: DeferredPublish, ctx: &mut Context<Self>) -> Receipt {
        let DeferredPublish {
            topic,
            delay,
            body,
            timeout,
        } = deferred;
        self.accept(topic, timeout, ctx, |config| {
            check_body(&body, config)?;
            Ok(Payload::Deferred {
                body,
                delay_ms: check_delay(delay, config)?,
            })
        })
    }
}

fn check_body(body: &Bytes, config: &Config) -> Result<(), Cause> {
    let (size, limit) = (body.len(), config.max_publish_size());
    match size {
        0 => Err(Cause::EmptyBody { index: None }),
        _ if size > limit => Err(Cause::TooLarge { size, limit }),
        _ => Ok(()),
    }
}

fn check_batch(bodies: &[Bytes], config: &Config) -> Result<(), Cause> {
    if bodies.is_empty() {
        return Err(Cause::EmptyBatch);
    }
    for (index, body) in bodies.iter().enumerate() {
        check_body(body, config).map_err(|cause| match cause {
            Cause::TooLarge { size, limit } => Cause::MemberTooLarge { index, size, limit },
            _ => Cause::EmptyBody { index: Some(index) },
        })?;
    }
    let (size, limit) = (batch_size(bodies), config.max_batch_size());
    if size > limit {
        return Err(Cause::BatchTooLarge {
            count: bodies.len(),
            size,
            limit,
        });
    }
    Ok(())
}

fn check_delay(delay: Duration, config: &Config) -> Result<u64, Cause> {
    let limit = config.max_req_timeout();
    if delay > limit {
        return Err(Cause::DelayTooLong { delay, limit });
    }
    Ok(delay.as_millis().try_into().unwrap_or(u64::MAX))
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
            (Self::Nobody(unheard), Err(error)) => unheard.log(&error),
        }
    }
}

/// Failures that nobody awaits: they are logged, at most once a second.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    failed: Cell<u64>,
    logged: Cell<Option<Instant>>,
}

impl Unheard {
    const PAUSE: Duration = Duration::from_secs(1);

    fn log(&self, error: &Error) {
        self.failed.set(self.failed.get().saturating_add(1));
        if self
            .logged
            .get()
            .is_none_or(|last| last.elapsed() >= Self::PAUSE)
        {
            self.logged.set(Some(Instant::now()));
            let (failed, delivery) = (self.failed.replace(0), error.delivery());
            warn!(
                "{failed} publishes failed whose answers nobody awaits; the latest ({delivery:?}): {error}"
            );
        }
    }
}

impl Producer {
    fn accept(
        &mut self,
        topic: Topic,
        timeout: Option<Duration>,
        ctx: &mut Context<Self>,
        check: impl FnOnce(&Config) -> Result<Payload, Cause>,
    ) -> Receipt {
        let now = self.handling(ctx);
        let longest = self.config.publish_timeout();
        let timeout = timeout.map_or(longest, |timeout| timeout.min(longest));
        let checked = if self.is_draining() {
            Err(Cause::Drained)
        } else {
            check(&self.config)
        };
        let outcome = match checked {
            Ok(payload) => Ok(Transaction {
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
