//! Failures of publishes whose result is discarded (`do_send`, `try_send`): they go to a subscriber
//! or to the log.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Context as TaskContext,
    time::{Duration, Instant},
};

use actix::{Message, Recipient, dev::OneshotSender};
use log::warn;

use super::{
    message::{AnyPublish, PublishRequest},
    queue::{Reply, Usage},
    submissions::SlotReply,
};
use crate::{error::PublishError, link::Feed};

/// Shortest time between two log records about failures.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// A publish sent by `do_send` or `try_send` has failed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct PublishFailure {
    /// Address of the nsqd, as it was configured; the name of the pool if no member had the
    /// publish.
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
pub(crate) enum ReplyTo {
    /// To the caller of `send`, who may have dropped the request meanwhile.
    Caller(OneshotSender<Result<(), PublishError>>),
    /// To the caller of a handle, likewise.
    Submitter(SlotReply),
    /// Sent by `do_send` or `try_send`.
    Detached(Arc<FailureSink>),
    /// The same, with the message for a subscriber.
    Subscribed(Box<(Arc<FailureSink>, AnyPublish)>),
}

impl ReplyTo {
    pub(super) fn detached(failures: &Arc<FailureSink>, request: &PublishRequest) -> Self {
        let has_subscriber = failures.reports.has_subscriber.load(Ordering::Relaxed);
        let failures = Arc::clone(failures);
        if has_subscriber {
            Self::Subscribed(Box::new((failures, request.clone().into_any())))
        } else {
            Self::Detached(failures)
        }
    }

    /// From now on a failure is one of the nsqd of this sink.
    pub(super) fn set_sink(&mut self, sink: &Arc<FailureSink>) {
        match self {
            Self::Caller(_) | Self::Submitter(_) => {}
            Self::Detached(failures) => *failures = Arc::clone(sink),
            Self::Subscribed(kept) => kept.0 = Arc::clone(sink),
        }
    }
}

impl Reply for ReplyTo {
    fn is_closed(&self) -> bool {
        match self {
            Self::Caller(sender) => sender.is_closed(),
            Self::Submitter(reply) => reply.is_closed(),
            Self::Detached(_) | Self::Subscribed(_) => false,
        }
    }

    fn answer(self, answer: Result<(), PublishError>) {
        match (self, answer) {
            // Fails if the caller has dropped its request.
            (Self::Caller(sender), answer) => drop(sender.send(answer)),
            (Self::Submitter(reply), answer) => reply.answer(answer),
            (Self::Detached(_) | Self::Subscribed(_), Ok(())) => {}
            (Self::Detached(failures), Err(error)) => failures.report(None, error),
            (Self::Subscribed(kept), Err(error)) => {
                let (failures, publish) = *kept;
                failures.report(Some(publish), error);
            }
        }
    }
}

/// Receives the failures of one nsqd whose result is discarded.
pub(crate) struct FailureSink {
    address: Arc<str>,
    /// Those of a pool's members go to one place.
    reports: Arc<FailureReports>,
}

/// Passes failures to the subscriber, or counts and logs them.
struct FailureReports {
    /// Address of nsqd, or name of the pool.
    name: Arc<str>,
    /// What may wait for the subscriber.
    limit: Usage,
    has_subscriber: AtomicBool,
    /// There are failures to be logged.
    has_failures: AtomicBool,
    /// Publishes travel between actors, and their sinks with them. No lock is ever contended,
    /// because these actors share an arbiter.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    feed: Option<Feed<PublishFailure>>,
    /// Failures since the last log record.
    count: u64,
    latest: Option<PublishError>,
    logged: Option<Instant>,
}

impl FailureSink {
    pub(crate) fn new(address: Arc<str>, limit: Usage) -> Self {
        let reports = FailureReports {
            name: Arc::clone(&address),
            limit,
            has_subscriber: AtomicBool::new(false),
            has_failures: AtomicBool::new(false),
            state: Mutex::default(),
        };
        Self {
            address,
            reports: Arc::new(reports),
        }
    }

    /// The sink of a pool's member, whose failures go to the same place.
    pub(crate) fn of_member(&self, address: Arc<str>) -> Self {
        Self {
            address,
            reports: Arc::clone(&self.reports),
        }
    }

    pub(crate) fn subscribe(&self, to: Recipient<PublishFailure>) {
        let Usage { publishes, bytes } = self.reports.limit;
        self.reports.state().feed = Some(Feed::new(to, publishes, bytes));
        self.reports.has_subscriber.store(true, Ordering::Relaxed);
    }

    pub(crate) fn unsubscribe(&self, to: &Recipient<PublishFailure>) {
        let mut state = self.reports.state();
        state.feed.take_if(|feed| feed.recipient() == to);
        let has_subscriber = state.feed.is_some();
        self.reports
            .has_subscriber
            .store(has_subscriber, Ordering::Relaxed);
    }

    /// Passes failures on that waited.
    pub(crate) fn poll(&self, cx: &mut TaskContext<'_>) {
        if !self.reports.has_subscriber.load(Ordering::Relaxed) {
            return;
        }
        if let Some(feed) = &mut self.reports.state().feed {
            feed.poll(cx);
        }
    }

    fn report(&self, publish: Option<AnyPublish>, error: PublishError) {
        let mut state = self.reports.state();
        let feed = state.feed.as_mut().filter(|feed| feed.is_connected());
        let error = match (publish, feed) {
            (Some(publish), Some(feed)) => {
                let size = publish.size();
                let failure = PublishFailure {
                    address: Arc::clone(&self.address),
                    publish,
                    error,
                };
                match feed.send(failure, size) {
                    Ok(()) => return,
                    Err(failure) => failure.error,
                }
            }
            _ => error,
        };
        state.count = state.count.saturating_add(1);
        state.latest = Some(error);
        self.reports.has_failures.store(true, Ordering::Relaxed);
    }

    #[inline(always)]
    fn has_failures(&self) -> bool {
        self.reports.has_failures.load(Ordering::Relaxed)
    }

    /// When failures are to be logged that were held back; `None` if that is at once, or there are
    /// none.
    #[inline(always)]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.has_failures() {
            self.deadline_of_failures()
        } else {
            None
        }
    }

    #[cold]
    #[inline(never)]
    fn deadline_of_failures(&self) -> Option<Instant> {
        self.reports.state().deadline()
    }

    #[inline(always)]
    pub(crate) fn log_if_due(&self, now: Instant) {
        if self.has_failures() {
            self.log_failures_if_due(now);
        }
    }

    #[cold]
    #[inline(never)]
    fn log_failures_if_due(&self, now: Instant) {
        if self.deadline_of_failures().is_none_or(|due| due <= now) {
            self.log();
            self.reports.state().logged = Some(now);
        }
    }

    /// Logs the failures since the last log record.
    pub(crate) fn log(&self) {
        self.reports.has_failures.store(false, Ordering::Relaxed);
        self.reports.state().log(&self.reports.name);
    }
}

impl FailureReports {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn deadline(&self) -> Option<Instant> {
        let logged = self.logged.filter(|_| self.count > 0);
        logged.map(|logged| logged + LOG_INTERVAL)
    }

    /// Logs the failures since the last log record.
    fn log(&mut self, name: &str) {
        let count = mem::take(&mut self.count);
        let latest = self.latest.take();
        if let Some(error) = &latest {
            let delivery = error.delivery();
            warn!(
                "{name}: {count} publishes failed whose result is discarded; the latest \
                 ({delivery:?}): {error}"
            );
        }
    }
}

impl Drop for FailureReports {
    fn drop(&mut self) {
        self.state().log(&self.name);
    }
}
