//! Failures of publishes whose result is discarded (`do_send`, `try_send`): they go to a subscriber
//! or to the log.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::Context as TaskContext,
    time::{Duration, Instant},
};

use actix::{Message, Recipient, dev::OneshotSender};
use log::warn;

use super::{
    message::{AnyPublish, PublishRequest},
    queue::{Reply, Usage},
};
use crate::{error::PublishError, link::Feed};

/// Shortest time between two log records about failures.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// A publish sent by `do_send` or `try_send` has failed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct PublishFailure {
    /// Address of the nsqd, as it was configured.
    pub address: Arc<str>,
    /// The message; it can be published again.
    pub publish: AnyPublish,
    /// Why it failed, and whether nsqd may have stored it.
    pub error: PublishError,
}

impl PublishFailure {
    /// Creates a failure, for the tests of applications that handle them.
    pub fn new(
        address: impl Into<Arc<str>>,
        publish: impl Into<AnyPublish>,
        error: PublishError,
    ) -> Self {
        Self {
            address: address.into(),
            publish: publish.into(),
            error,
        }
    }
}

/// Sends to this recipient each failure of a publish that is accepted from now on and whose result
/// is discarded (`do_send`, `try_send`). It replaces the log record (at most one per second) and an
/// earlier recipient; [`Unsubscribe`](crate::Unsubscribe) ends it.
///
/// Failures that do not fit into the recipient's mailbox wait, at most `max_pending` with
/// `max_pending_bytes`; what exceeds that is counted and logged instead. A recipient that holds the
/// producer's address keeps the producer running, as any other address does.
///
/// ```no_run
/// use std::time::Duration;
///
/// use actix::prelude::*;
/// use actix_nsq::{
///     Producer, ProducerConfig, Publish, PublishFailure, SubscribeFailures, producer::Drain,
/// };
///
/// struct Failures;
///
/// impl Actor for Failures {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<PublishFailure> for Failures {
///     type Result = ();
///
///     fn handle(&mut self, failure: PublishFailure, _: &mut Context<Self>) {
///         println!("{}: {}", failure.address, failure.error);
///     }
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::start(ProducerConfig::new("127.0.0.1:4150")?);
/// producer.do_send(SubscribeFailures(Failures.start().recipient()));
/// producer.do_send(Publish::new("orders", "an order"));
/// // Before the program ends: messages that are still queued would be lost without a report.
/// producer.send(Drain { timeout: Duration::from_secs(10) }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeFailures(pub Recipient<PublishFailure>);

/// Where the result of a publish goes.
pub(super) enum ReplyTo {
    /// To the caller of `send`, who may have dropped the request meanwhile.
    Caller(OneshotSender<Result<(), PublishError>>),
    /// Sent by `do_send` or `try_send`. The message is kept only for a subscriber.
    Detached(Rc<FailureSink>, Option<Box<AnyPublish>>),
}

impl ReplyTo {
    pub(super) fn detached(failures: &Rc<FailureSink>, request: &PublishRequest) -> Self {
        let has_subscriber = failures.feed.borrow().is_some();
        let kept = has_subscriber.then(|| Box::new(request.clone().into_any()));
        Self::Detached(Rc::clone(failures), kept)
    }
}

impl Reply for ReplyTo {
    fn is_closed(&self) -> bool {
        match self {
            Self::Caller(sender) => sender.is_closed(),
            Self::Detached(..) => false,
        }
    }

    fn answer(self, answer: Result<(), PublishError>) {
        match (self, answer) {
            // Fails if the caller has dropped its request.
            (Self::Caller(sender), answer) => drop(sender.send(answer)),
            (Self::Detached(..), Ok(())) => {}
            (Self::Detached(failures, publish), Err(error)) => failures.report(publish, error),
        }
    }
}

/// Receives failures whose result is discarded: passes them to the subscriber, or counts and logs
/// them.
pub(super) struct FailureSink {
    address: Arc<str>,
    /// What may wait for the subscriber.
    limit: Usage,
    feed: RefCell<Option<Feed<PublishFailure>>>,
    /// Failures since the last log record.
    count: Cell<u64>,
    latest: Cell<Option<PublishError>>,
    logged: Cell<Option<Instant>>,
}

impl FailureSink {
    pub(super) fn new(address: Arc<str>, limit: Usage) -> Self {
        Self {
            address,
            limit,
            feed: RefCell::default(),
            count: Cell::default(),
            latest: Cell::default(),
            logged: Cell::default(),
        }
    }

    pub(super) fn subscribe(&self, to: Recipient<PublishFailure>) {
        let Usage { publishes, bytes } = self.limit;
        self.feed.replace(Some(Feed::new(to, publishes, bytes)));
    }

    pub(super) fn unsubscribe(&self, to: &Recipient<PublishFailure>) {
        self.feed
            .borrow_mut()
            .take_if(|feed| feed.recipient() == to);
    }

    /// Passes failures on that waited.
    pub(super) fn poll(&self, cx: &mut TaskContext<'_>) {
        if let Some(feed) = self.feed.borrow_mut().as_mut() {
            feed.poll(cx);
        }
    }

    fn report(&self, publish: Option<Box<AnyPublish>>, error: PublishError) {
        let mut feed = self.feed.borrow_mut();
        let feed = feed.as_mut().filter(|feed| feed.is_connected());
        let error = match (publish, feed) {
            (Some(publish), Some(feed)) => {
                let size = publish.size();
                let failure = PublishFailure {
                    address: Arc::clone(&self.address),
                    publish: *publish,
                    error,
                };
                match feed.send(failure, size) {
                    Ok(()) => return,
                    Err(failure) => failure.error,
                }
            }
            _ => error,
        };
        self.count.set(self.count.get().saturating_add(1));
        self.latest.set(Some(error));
    }

    /// When failures are to be logged that were held back; `None` if that is at once, or there are
    /// none.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let logged = self.logged.get().filter(|_| self.count.get() > 0);
        logged.map(|logged| logged + LOG_INTERVAL)
    }

    pub(super) fn log_if_due(&self, now: Instant) {
        if self.deadline().is_none_or(|due| due <= now) && self.log() {
            self.logged.set(Some(now));
        }
    }

    /// Logs the failures since the last log record; returns whether there were any.
    pub(super) fn log(&self) -> bool {
        let count = self.count.take();
        let latest = self.latest.take();
        if let Some(error) = &latest {
            let address = &self.address;
            let delivery = error.delivery();
            warn!(
                "{address}: {count} publishes failed whose result is discarded; the latest ({delivery:?}): {error}"
            );
        }
        latest.is_some()
    }
}

impl Drop for FailureSink {
    fn drop(&mut self) {
        self.log();
    }
}
