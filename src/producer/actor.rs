//! The producer actor.

use std::{
    cell::RefCell,
    fmt,
    rc::Rc,
    sync::Arc,
    task::Context as TaskContext,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Running, Supervised, Supervisor};
use actix_rt::ArbiterHandle;
use log::info;

use super::{
    denied_topics::DeniedTopics,
    drain::DrainReport,
    failures::FailureSink,
    limits::limits,
    membership::{MemberReport, Membership},
    publish::{Shared, accept_after_restart},
    queue::{Capacity, Counters, Limits, Pooled, TransactionQueue},
    session::Publishing,
    stats::{ProducerEvent, ProducerState},
    submissions::SubmissionList,
};
use crate::{
    config::ProducerConfig,
    conn::Connected,
    error::{Cause, ConnectionError},
    link::{
        Burst, ConnectionEvent, Connectivity, DrainState, Ended, Link, LinkOwner, LinkState, Pump,
        Pumped, Subscribers, Supervision, Waiters, work,
    },
};

/// Publishes to one nsqd.
///
/// Start it, keep its address, and send it [`Publish`](super::Publish),
/// [`MultiPublish`](super::MultiPublish) and [`DeferredPublish`](super::DeferredPublish) messages.
/// The address works from every thread. The producer reconnects indefinitely, with backoff; its
/// address, mailbox and queued publishes survive. It stops within 100 ms when its last address is
/// dropped and everything it accepted is answered; when the System ends before, for example because
/// `main` returns, queued publishes are lost: send a [`Drain`](super::Drain) first.
///
/// It answers nsqd's heartbeats on its arbiter: code that blocks that arbiter for two heartbeat
/// intervals (1 minute by default) loses the connection.
/// [`start_in_arbiter`](Self::start_in_arbiter) gives the producer an arbiter of its own.
///
/// Like everything that uses threads it does not survive a `fork`: start producers in the child. A
/// child that drops its copy of a producer does not disturb the connection of the parent.
///
/// ```no_run
/// use actix_nsq::{Producer, ProducerConfig, PublishExt};
///
/// #[actix::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let producer = Producer::start(ProducerConfig::new("127.0.0.1:4150")?);
///     producer.publish("orders", r#"{"id":1}"#).await?;
///     Ok(())
/// }
/// ```
///
/// # States
///
/// ```text
///            started, or               handshake
///            first publish                done
///   Idle ----------------> Connecting ------------> Connected
///                           ^      |                    | lost, closed
///                   backoff |      | failed             v
///                           |      v              Disconnecting
///                          BackingOff <---------------- | publishes settled;
///                                                       | the actor restarts
///
///   any state, after Drain -----------> Draining ----------> Drained, for good
/// ```
pub struct Producer {
    pub(super) config: ProducerConfig,
    pub(super) shared: Rc<Shared>,
    /// The publishes of handles.
    pub(super) submissions: SubmissionList,
    pub(super) link: Link<Publishing>,
    pub(super) waiters: Waiters,
    pub(super) drain: DrainState<DrainReport>,
    pub(super) counters_before_drain: Counters,
    pub(super) observers: Observers,
    /// Publishes that were rejected before the queue.
    pub(super) rejected: u64,
    pub(super) denied_topics: Rc<RefCell<DeniedTopics>>,
    /// When deadlines are checked again at the earliest.
    next_expiry: Option<Instant>,
    pub(super) burst: Burst,
    /// How the next context begins to connect; `None` if it waits for the first publish.
    connect_after: Option<Duration>,
    /// What it has of its pool, if it is the member of one.
    pub(super) membership: Option<Membership>,
    supervision: Supervision<Self>,
}

/// The subscribers to the producer's events.
#[derive(Default)]
pub(super) struct Observers {
    pub(super) connection: Subscribers<ConnectionEvent>,
    pub(super) producer: Subscribers<ProducerEvent>,
}

impl Producer {
    /// Starts a supervised producer on the current arbiter.
    ///
    /// # Panics
    ///
    /// Outside of an actix `System` and a tokio `LocalSet`. A message of tokio may precede; with
    /// `panic = "abort"` only that one appears.
    #[track_caller]
    pub fn start(config: ProducerConfig) -> Addr<Self> {
        Self::start_with(config, SubmissionList::default(), None)
    }

    /// Starts a supervised producer on `arbiter`, together with its connection. On an arbiter that
    /// has stopped already, every message to the returned address fails with
    /// `MailboxError::Closed`.
    ///
    /// Until the arbiter has started the producer, actix's own mailbox limit of 16 applies: of more
    /// concurrent `send`s the excess enters the queue in the order in which the futures are polled.
    /// Await the first result if that order matters.
    pub fn start_in_arbiter(arbiter: &ArbiterHandle, config: ProducerConfig) -> Addr<Self> {
        Self::start_in_arbiter_with(arbiter, config, SubmissionList::default())
    }

    /// Starts a producer with a list of submissions. It drops `guard` when it has stopped for good.
    #[track_caller]
    pub(crate) fn start_with(
        config: ProducerConfig,
        submissions: SubmissionList,
        guard: Option<Box<dyn Send>>,
    ) -> Addr<Self> {
        crate::runtime::assert_can_spawn("a Producer");
        Supervisor::start(|ctx| Self::new(config, submissions, guard, None, ctx))
    }

    /// Starts a producer with a list of submissions on `arbiter`.
    pub(crate) fn start_in_arbiter_with(
        arbiter: &ArbiterHandle,
        config: ProducerConfig,
        submissions: SubmissionList,
    ) -> Addr<Self> {
        Supervisor::start_in_arbiter(arbiter, |ctx| {
            Self::new(config, submissions, None, None, ctx)
        })
    }

    /// Starts a producer on the current arbiter as the member of a pool.
    pub(crate) fn start_as_member(config: ProducerConfig, membership: Membership) -> Addr<Self> {
        let submissions = SubmissionList::default();
        Supervisor::start(|ctx| Self::new(config, submissions, None, Some(membership), ctx))
    }

    fn new(
        config: ProducerConfig,
        submissions: SubmissionList,
        guard: Option<Box<dyn Send>>,
        membership: Option<Membership>,
        ctx: &mut Context<Self>,
    ) -> Self {
        // A mailbox without a bound keeps the order of the calls and never parks a caller; the
        // queue is what bounds memory.
        ctx.set_mailbox_capacity(0);
        let limits = Limits {
            is_pooled: membership.is_some(),
            ..limits(&config)
        };
        let link = Link::new(
            config.conn_options(),
            config.connection().reconnect_backoff(),
            config.connection().max_reconnect_backoff(),
        );
        let address = link.shared_address();
        let (queue, failures, denied_topics) = match &membership {
            Some(membership) => (
                TransactionQueue::new(limits, Rc::clone(&membership.capacity)),
                membership.failures.of_member(address),
                Rc::clone(&membership.denied_topics),
            ),
            None => (
                TransactionQueue::new(limits, Rc::new(Capacity::new(&limits))),
                FailureSink::new(address, limits.pending),
                Rc::default(),
            ),
        };
        let shared = Shared {
            queue: RefCell::new(queue),
            failures: Arc::new(failures),
            publish_timeout: config.publish_timeout(),
        };
        Self {
            shared: Rc::new(shared),
            submissions,
            link,
            waiters: Waiters::default(),
            drain: DrainState::new(),
            counters_before_drain: Counters::default(),
            observers: Observers::default(),
            rejected: 0,
            denied_topics,
            next_expiry: None,
            burst: Burst::default(),
            connect_after: config.connect_at_start().then_some(Duration::ZERO),
            membership,
            supervision: Supervision::new(guard),
            config,
        }
    }

    pub(super) fn connect_if_idle(&mut self, ctx: &mut Context<Self>) {
        if self.link.state() == LinkState::Idle {
            self.connect_now((), ctx);
        }
    }

    fn has_outstanding(&self) -> bool {
        !self.shared.queue.borrow_mut().is_empty()
    }

    /// Gives back what is queued, if this is a member of a pool without a connection, and shows the
    /// pool the present state. Returns whether everything is given back.
    fn flush_membership(&mut self) -> bool {
        let Some(membership) = &self.membership else {
            return true;
        };
        let mut queue = self.shared.queue.borrow_mut();
        let state = self.link.state();
        let has_connection = matches!(state, LinkState::Connected | LinkState::Closing);
        if state == LinkState::Closing {
            membership.view.is_replacing.set(self.link.is_available());
        }
        let is_replacing = membership.view.is_replacing.get();
        if !has_connection && !is_replacing && queue.queued().publishes > 0 && membership.has_pool()
        {
            queue.give_back();
        }
        let given_back = queue.pooled().map(Pooled::take_given_back);
        if let Some(given_back) = given_back.filter(|given_back| !given_back.is_empty()) {
            membership.give_back(given_back);
        }
        membership.view.is_up.set(state == LinkState::Connected);
        membership.view.show(&mut queue);
        !queue.has_work()
    }

    /// Answers the publishes whose deadlines have passed at `due`, and closes a connection on which
    /// nsqd has stalled until then.
    fn judge(&mut self, due: Instant, now: Instant) {
        if self.next_pass().is_some_and(|next| next <= due) {
            let interval = self.shared.queue.borrow().pass_interval();
            self.next_expiry = Some(now + interval);
            let is_up = self.link.up().is_some();
            let not_connected = self.link.last_error().filter(|_| !is_up);
            self.shared.queue.borrow_mut().expire(due, not_connected);
        }
        if let Some(session) = self.link.up_mut() {
            let queue = self.shared.queue.borrow();
            session.check_stall(&queue, self.config.ack_timeout(), due, now);
        }
    }

    /// When publishes and pings are answered whose deadlines have passed until then.
    fn next_pass(&self) -> Option<Instant> {
        let due = self.shared.queue.borrow().next_deadline()?;
        Some(self.next_expiry.map_or(due, |earliest| due.max(earliest)))
    }

    /// When nsqd has stalled if it responds to nothing until then.
    fn next_stall(&self) -> Option<Instant> {
        let session = self.link.up()?;
        let queue = self.shared.queue.borrow();
        session.stall_deadline(&queue, self.config.ack_timeout())
    }

    /// Answers those who wait for a connection, if there is one or their deadlines have passed at
    /// `due`.
    fn answer_waiters(&mut self, due: Option<Instant>) {
        if self.waiters.is_empty() {
            return;
        }
        let connectivity = if self.drain.has_begun() {
            Connectivity::Drained
        } else if self.link.is_connected() {
            Connectivity::Connected
        } else {
            Connectivity::Pending(self.link.last_error())
        };
        self.waiters.answer(&connectivity, due);
    }

    /// Both sides of the connection have closed: settles what was in flight, and restarts.
    pub(super) fn on_disconnected(&mut self, ended: Ended, now: Instant, ctx: &mut Context<Self>) {
        let is_drained = self.drain.end_if_over(self.has_outstanding(), now);
        ended.settle(&mut self.shared.queue.borrow_mut(), is_drained);
        self.after_jobs(ctx, move |producer, ctx| {
            if is_drained {
                producer.finish_drain(ctx);
            } else {
                producer.on_settled(&ended, ctx);
            }
        });
    }

    /// Completes the jobs of the queue, in several polls if need be, and then does `next`.
    pub(super) fn after_jobs(
        &mut self,
        ctx: &mut Context<Self>,
        next: impl FnOnce(&mut Self, &mut Context<Self>) + Unpin + 'static,
    ) {
        let mut next = Some(next);
        work(self, ctx, move |producer, ctx| {
            let is_complete = producer.shared.queue.borrow_mut().work();
            if is_complete && let Some(next) = next.take() {
                next(producer, ctx);
            }
            is_complete
        });
    }

    /// What was in flight on a connection is settled: restarts.
    fn on_settled(&mut self, ended: &Ended, ctx: &mut Context<Self>) {
        self.connect_after = Some(self.link.after_end(ended));
        let mut queue = self.shared.queue.borrow_mut();
        let outcome = queue.disconnect_outcome();
        if let Some(membership) = &self.membership {
            let is_unused = ended.is_rejected && !ended.end.had_served;
            let is_of_server = queue.pooled().is_some_and(Pooled::take_rejected);
            let is_replacing = self.link.is_available() && !is_unused && !is_of_server;
            membership.view.is_replacing.set(is_replacing);
        }
        drop(queue);
        let event = ConnectionEvent::Disconnected {
            address: self.link.shared_address(),
            reason: ended.reason.clone(),
        };
        self.emit((), event);
        self.emit_event(|address| ProducerEvent::Settled {
            address,
            requeued: outcome.requeued,
            maybe_written: outcome.maybe_written,
        });
        ctx.stop();
    }

    /// Ends a drain for which nothing is waited any more.
    pub(super) fn check_drain(&mut self, now: Instant, ctx: &mut Context<Self>) {
        if !self.drain.has_begun() || !self.drain.end_if_over(self.has_outstanding(), now) {
            return;
        }
        match self.link.up_mut() {
            Some(session) => session.abort(ConnectionError::ClosedLocally, now),
            None => self.finish_drain(ctx),
        }
    }

    /// Answers what is left, and restarts the actor: after the restart it holds no timer and no
    /// future, and sends the report.
    pub(super) fn finish_drain(&mut self, ctx: &mut Context<Self>) {
        self.shared.queue.borrow_mut().fail_all(&Cause::Drained);
        self.after_jobs(ctx, Self::on_drained);
    }

    /// The drain has ended, and everything is answered.
    fn on_drained(&mut self, ctx: &mut Context<Self>) {
        let counters = self.shared.queue.borrow().counters();
        if let Some(membership) = &self.membership {
            membership.view.show(&mut self.shared.queue.borrow_mut());
        }
        let report = DrainReport::between(self.counters_before_drain, counters);
        // No timer is left that would log them later.
        self.shared.failures.log();
        self.link.close(ctx);
        info!("{}: drained: {report}", self.link.shared_address());
        self.drain.finish(report);
        let address = self.link.shared_address();
        self.emit((), ConnectionEvent::Closed { address });
        self.emit_event(|address| ProducerEvent::Drained { address, report });
        self.forget_subscribers_if_drained();
        ctx.stop();
    }

    /// Emits an event of the producer; `event` is given the address of nsqd.
    pub(super) fn emit_event(&mut self, event: impl FnOnce(Arc<str>) -> ProducerEvent) {
        let event = event(self.link.shared_address());
        self.observers.producer.emit(&event);
    }

    /// No event follows `Drained` and `Closed`.
    pub(super) fn forget_subscribers_if_drained(&mut self) {
        if self.drain.report().is_some() {
            self.observers.connection.clear();
            self.observers.producer.clear();
        }
    }

    pub(super) fn state(&self) -> ProducerState {
        if self.drain.report().is_some() {
            return ProducerState::Drained;
        }
        if self.drain.has_begun() {
            return ProducerState::Draining;
        }
        match self.link.state() {
            LinkState::Idle => ProducerState::Idle,
            LinkState::BackingOff => ProducerState::BackingOff,
            LinkState::Connecting => ProducerState::Connecting,
            LinkState::Connected => ProducerState::Connected,
            LinkState::Closing => ProducerState::Disconnecting,
            LinkState::Closed => ProducerState::Drained,
        }
    }
}

impl Pumped for Producer {
    fn burst(&mut self) -> &mut Burst {
        &mut self.burst
    }

    fn flush(&mut self, now: Instant, due: Option<Instant>, ctx: &mut Context<Self>) {
        if let Some(due) = due {
            self.judge(due, now);
        }
        let mut queue = self.shared.queue.borrow_mut();
        if !queue.work() {
            drop(queue);
            return self.after_jobs(ctx, |_, _| {});
        }
        queue.admit_waiters();
        let has_outstanding = !queue.is_empty();
        drop(queue);
        let has_waiters = !self.waiters.is_empty() && !self.drain.has_begun();
        if !self.drain.is_expired(now) && (has_waiters || has_outstanding) {
            self.connect_if_idle(ctx);
        }
        self.answer_waiters(due);
        if let Some(session) = self.link.up_mut()
            && !self.drain.is_expired(now)
        {
            session.hand_over(&mut self.shared.queue.borrow_mut(), now);
        }
        if self.membership.is_some() && !self.flush_membership() {
            return self.after_jobs(ctx, |_, _| {});
        }
        // Comes last: removing cancelled publishes while handing over may leave nothing
        // outstanding, and no other flush may follow.
        self.check_drain(now, ctx);
        self.shared.failures.log_if_due(now);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.next_pass(),
            self.next_stall(),
            self.drain.deadline(),
            self.waiters.deadline(),
            self.shared.failures.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn is_busy(&self) -> bool {
        self.has_outstanding() || self.drain.has_waiters() || !self.waiters.is_empty()
    }

    fn poll_subscribers(&mut self, cx: &mut TaskContext<'_>) {
        self.observers.connection.poll(cx);
        self.observers.producer.poll(cx);
        self.shared.failures.poll(cx);
    }

    fn remove_cancelled(&mut self) {
        self.shared.queue.borrow_mut().remove_cancelled();
    }

    fn renew_budget(&mut self) -> bool {
        self.shared.queue.borrow_mut().renew_budget()
    }

    fn stop_unused(&mut self, ctx: &mut Context<Self>) {
        self.supervision.set_unused();
        ctx.stop();
    }
}

/// The producer has one link.
impl LinkOwner for Producer {
    type Key = ();
    type Session = Publishing;

    fn link(&mut self, (): ()) -> Option<&mut Link<Publishing>> {
        Some(&mut self.link)
    }

    fn connection_subscribers(&mut self) -> &mut Subscribers<ConnectionEvent> {
        &mut self.observers.connection
    }

    fn on_connected(&mut self, (): (), connected: &Connected, now: Instant) -> Publishing {
        self.shared
            .queue
            .borrow_mut()
            .on_connected(connected.round_trip);
        Publishing::new(self.config.identify().names_only().to_json(), now)
    }

    fn on_connect_failed(&mut self, (): ()) {
        self.shared.queue.borrow_mut().forget_server_limits();
        if let Some(membership) = &self.membership {
            membership.view.is_replacing.set(false);
        }
    }

    fn on_event(&mut self, event: &ConnectionEvent) {
        if let Some(membership) = &self.membership {
            let is_up = matches!(event, ConnectionEvent::Connected { .. });
            membership.view.is_up.set(is_up);
            membership.report(MemberReport::Connection(event.clone()));
        }
    }
}

impl Actor for Producer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(Pump::default());
        accept_after_restart(self, ctx);
        if let Some(delay) = self.connect_after.take()
            && self.link.state() == LinkState::Idle
        {
            self.connect((), delay, ctx);
        }
    }

    fn stopping(&mut self, ctx: &mut Context<Self>) -> Running {
        self.supervision.on_stopping(ctx);
        Running::Stop
    }
}

impl Supervised for Producer {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.supervision.on_restarting();
        self.link.on_restarted();
        self.drain.answer_waiters();
    }
}

/// However the producer ends, it is the last event.
impl Drop for Producer {
    fn drop(&mut self) {
        let address = self.link.shared_address();
        let event = ConnectionEvent::Closed { address };
        self.on_event(&event);
        self.observers.connection.emit(&event);
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
