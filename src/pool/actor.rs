//! The pool actor.

use std::{
    cell::RefCell,
    fmt,
    rc::Rc,
    sync::Arc,
    task::Context as TaskContext,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Running, Supervised,
    Supervisor, WrapFuture,
};
use actix_rt::ArbiterHandle;
use futures::future::join_all;
use log::{info, warn};

#[cfg(feature = "lookup")]
use super::discovering::Discovering;
use super::{
    event::PoolEvent,
    member::{Members, PoolMember, Routing},
    route::{MAX_MEMBERS, Router},
    stats::{PoolPhase, PoolState},
};
use crate::{
    config::{PoolConfig, ProducerConfig},
    error::{Cause, ConnectionError},
    link::{
        Burst, ConnectionEvent, Connectivity, DrainState, Pump, Pumped, Reconnect, Subscribers,
        Supervision, Waiters, work,
    },
    producer::{
        Capacity, Counters, DeniedTopics, Drain, DrainReport, FailureSink, GiveBack, Limits,
        Shared, SubmissionList, TransactionQueue, Usage, accept_after_restart, batch_limits,
        limits,
    },
};

/// Publishes to several nsqds: one of them gets each publish.
///
/// Start it, keep its address, and send it the messages that a [`Producer`](crate::Producer)
/// handles. Its members are producers. If one is not connected, slow or unable to store, the
/// others get its publishes, as far as it has certainly not stored them.
///
/// The pool stops when its last address is dropped and everything it accepted is answered. When the
/// System ends before, for example because `main` returns, queued publishes are lost: send a
/// [`Drain`] first.
///
/// ```no_run
/// use actix_nsq::{PoolConfig, ProducerPool, PublishExt};
///
/// #[actix::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let pool = ProducerPool::start(PoolConfig::new(["nsqd-1:4150", "nsqd-2:4150"])?);
///     pool.publish("orders", r#"{"id":1}"#).await?;
///     Ok(())
/// }
/// ```
#[doc = include_str!("contract.md")]
pub struct ProducerPool {
    pub(super) config: PoolConfig,
    /// The options of the members.
    pub(super) producer: ProducerConfig,
    /// The queue of what no member has.
    pub(super) shared: Rc<Shared>,
    /// The publishes of handles.
    pub(super) submissions: SubmissionList,
    pub(super) router: Router,
    pub(super) members: Members,
    pub(super) waiters: Waiters,
    pub(super) drain: DrainState<DrainReport>,
    counters_before_drain: Counters,
    pub(super) observers: Observers,
    /// Publishes that were rejected before the queue.
    pub(super) rejected: u64,
    /// Counters of the members that were removed.
    pub(super) removed: Counters,
    /// Publishes that members gave back.
    pub(super) moved: u64,
    pub(super) denied_topics: Rc<RefCell<DeniedTopics>>,
    /// When deadlines are checked again at the earliest.
    next_expiry: Option<Instant>,
    /// When publishes may go to members again that had them before.
    retry_at: Option<Instant>,
    pub(super) burst: Burst,
    /// Number of members that the pool has had.
    pub(super) ids: u64,
    /// The members have begun to connect.
    pub(super) is_started: bool,
    /// A member has been connected.
    pub(super) has_connected: bool,
    /// A member is connected.
    pub(super) is_up: bool,
    /// The members are being drained, as the last step of the drain.
    is_closing: bool,
    /// Why a member was last not connected.
    pub(super) last_error: Option<ConnectionError>,
    #[cfg(feature = "lookup")]
    pub(super) discovering: Discovering,
    supervision: Supervision<Self>,
}

/// The subscribers to the pool's events.
#[derive(Default)]
pub(super) struct Observers {
    pub(super) connection: Subscribers<ConnectionEvent>,
    pub(super) pool: Subscribers<PoolEvent>,
}

impl ProducerPool {
    /// Starts a supervised pool on the current arbiter.
    ///
    /// # Panics
    ///
    /// Outside of an actix `System` and a tokio `LocalSet`. A message of tokio may precede; with
    /// `panic = "abort"` only that one appears.
    #[track_caller]
    pub fn start(config: PoolConfig) -> Addr<Self> {
        Self::start_with(config, SubmissionList::default(), None)
    }

    /// Starts a supervised pool on `arbiter`, together with its members and their connections. On
    /// an arbiter that has stopped already, every message to the returned address fails with
    /// `MailboxError::Closed`.
    pub fn start_in_arbiter(arbiter: &ArbiterHandle, config: PoolConfig) -> Addr<Self> {
        Self::start_in_arbiter_with(arbiter, config, SubmissionList::default())
    }

    /// Starts a pool with a list of submissions. It drops `guard` when it has stopped for good.
    #[track_caller]
    pub(crate) fn start_with(
        config: PoolConfig,
        submissions: SubmissionList,
        guard: Option<Box<dyn Send>>,
    ) -> Addr<Self> {
        crate::runtime::assert_can_spawn("a ProducerPool");
        Supervisor::start(|ctx| Self::new(config, submissions, guard, ctx))
    }

    /// Starts a pool with a list of submissions on `arbiter`.
    pub(crate) fn start_in_arbiter_with(
        arbiter: &ArbiterHandle,
        config: PoolConfig,
        submissions: SubmissionList,
    ) -> Addr<Self> {
        Supervisor::start_in_arbiter(arbiter, |ctx| Self::new(config, submissions, None, ctx))
    }

    fn new(
        config: PoolConfig,
        submissions: SubmissionList,
        guard: Option<Box<dyn Send>>,
        ctx: &mut Context<Self>,
    ) -> Self {
        // A mailbox without a bound keeps the order of the calls and never parks a caller; the
        // queue is what bounds memory.
        ctx.set_mailbox_capacity(0);
        let producer = config.producer();
        let run = batch_limits(&producer);
        let limits = Limits {
            // One queue per topic: a topic that waits holds up no other.
            batch: Some(run),
            ..limits(&producer)
        };
        let name = name(&config);
        let shared = Shared {
            queue: RefCell::new(TransactionQueue::new(
                limits,
                Rc::new(Capacity::new(&limits)),
            )),
            failures: Arc::new(FailureSink::new(name, limits.pending)),
            publish_timeout: producer.publish_timeout(),
        };
        let mut pool = Self {
            shared: Rc::new(shared),
            submissions,
            router: Router::new(
                config.strategy(),
                config.failback_after(),
                Usage {
                    publishes: run.messages,
                    bytes: run.bytes,
                },
            ),
            members: Members::default(),
            waiters: Waiters::default(),
            drain: DrainState::new(),
            counters_before_drain: Counters::default(),
            observers: Observers::default(),
            rejected: 0,
            removed: Counters::default(),
            moved: 0,
            denied_topics: Rc::default(),
            next_expiry: None,
            retry_at: None,
            burst: Burst::default(),
            ids: 0,
            is_started: producer.connect_at_start(),
            has_connected: false,
            is_up: false,
            is_closing: false,
            last_error: None,
            #[cfg(feature = "lookup")]
            discovering: Discovering::default(),
            supervision: Supervision::new(guard),
            producer,
            config,
        };
        for member in pool.config.members().to_vec() {
            pool.start_member(member, false, ctx);
        }
        pool
    }

    /// The members begin to connect, if they have not: `connect_at_start` is off.
    pub(super) fn connect_if_idle(&mut self) {
        if !std::mem::replace(&mut self.is_started, true) {
            for (_, member) in self.members.iter() {
                member.producer.do_send(Reconnect);
            }
        }
    }

    /// Counters of the pool and of all members that it has had.
    pub(super) fn counters(&self) -> Counters {
        let own = self.shared.queue.borrow().counters();
        let members = self.members.iter().map(|(_, it)| it.view.counters.get());
        let all = members.fold(own.plus(self.removed), Counters::plus);
        // A publish is counted where it was accepted, and once.
        Counters {
            published: own.published,
            ..all
        }
    }

    pub(super) fn has_outstanding(&self) -> bool {
        let mut members = self.members.iter();
        !self.shared.queue.borrow_mut().is_empty() || members.any(|(_, member)| !member.is_idle())
    }

    /// Notes what the members show. Those that are slow at `due` give back what is queued, as soon
    /// as another one is not.
    fn observe_members(&mut self, now: Instant, due: Option<Instant>) {
        self.router.decay(now);
        let mut is_one_slow = false;
        for (slot, member) in self.members.iter_mut() {
            if member.is_leaving {
                continue;
            }
            member.is_slow |= self.router.observe(slot, member.observed(), now, due);
            // It may have failed since the last time, too.
            let is_suspect = self.router.is_suspect(slot);
            member.is_slow &= is_suspect;
            is_one_slow |= member.is_slow;
            if std::mem::replace(&mut member.was_suspect, is_suspect) != is_suspect {
                let address = Arc::clone(&member.address);
                self.observers.pool.emit(&if is_suspect {
                    PoolEvent::Suspect { address }
                } else {
                    PoolEvent::Recovered { address }
                });
            }
        }
        if is_one_slow && self.router.has_trusted() {
            for (_, member) in self.members.iter_mut() {
                if std::mem::take(&mut member.is_slow) {
                    member.producer.do_send(GiveBack);
                }
            }
        }
    }

    /// Reports whether a member is up, when that changes.
    fn observe_up(&mut self) {
        let is_up = self.router.up() != 0;
        if std::mem::replace(&mut self.is_up, is_up) == is_up {
            return;
        }
        let had_connected = std::mem::replace(&mut self.has_connected, true);
        if is_up {
            if had_connected {
                info!("{}: a member is connected again", name(&self.config));
            }
            self.observers.pool.emit(&PoolEvent::UpAgain);
        } else if !self.drain.has_begun() {
            warn!("{}: no member is connected", name(&self.config));
            self.observers.pool.emit(&PoolEvent::NoneUp);
        }
    }

    /// Passes what is queued on to the members, unless they are being drained or none is up.
    fn pass_on(&mut self, now: Instant) {
        if self.is_closing || self.router.up() == 0 {
            self.retry_at = None;
            return;
        }
        let mut routing = Routing {
            router: &mut self.router,
            members: &mut self.members,
            now,
            retry_at: None,
        };
        self.shared.queue.borrow_mut().pass_on(&mut routing, now);
        self.retry_at = routing.retry_at;
        self.members.send();
    }

    /// When publishes are answered that no member has and whose deadlines have passed until then.
    fn next_pass(&self) -> Option<Instant> {
        let due = self.shared.queue.borrow().next_deadline()?;
        Some(self.next_expiry.map_or(due, |earliest| due.max(earliest)))
    }

    /// Answers the publishes whose deadlines have passed at `due`.
    fn judge(&mut self, due: Instant, now: Instant) {
        if self.next_pass().is_some_and(|next| next <= due) {
            let mut queue = self.shared.queue.borrow_mut();
            self.next_expiry = Some(now + queue.pass_interval());
            let not_connected = self.last_error.as_ref().filter(|_| !self.is_up);
            queue.expire(due, not_connected);
        }
    }

    /// Answers those who wait for a connection, if there is one or their deadlines have passed at
    /// `due`.
    fn answer_waiters(&mut self, due: Option<Instant>) {
        if self.waiters.is_empty() {
            return;
        }
        let connectivity = if self.drain.has_begun() {
            Connectivity::Drained
        } else if self.is_up {
            Connectivity::Connected
        } else {
            Connectivity::Pending(self.last_error.as_ref())
        };
        self.waiters.answer(&connectivity, due);
    }

    pub(super) fn begin_drain(&mut self) {
        if !self.drain.has_begun() {
            self.counters_before_drain = self.counters();
            #[cfg(feature = "lookup")]
            self.discovering.end();
            self.observers.pool.emit(&PoolEvent::Draining);
        }
    }

    /// Ends a drain for which nothing is waited any more: drains the members, which answer what
    /// they hold.
    fn check_drain(&mut self, now: Instant, ctx: &mut Context<Self>) {
        if self.is_closing
            || !self.drain.has_begun()
            || !self.drain.end_if_over(self.has_outstanding(), now)
        {
            return;
        }
        self.is_closing = true;
        let members = self.members.iter();
        let drains = members.map(|(_, member)| member.producer.send(Drain::new(Duration::ZERO)));
        let drained = join_all(drains).into_actor(self);
        ctx.spawn(drained.map(|_, pool, ctx| pool.finish_drain(ctx)));
    }

    /// The members are drained: answers what is left, and restarts the actor. After the restart it
    /// holds no timer and no future, and sends the report.
    fn finish_drain(&mut self, ctx: &mut Context<Self>) {
        self.shared.queue.borrow_mut().fail_all(&Cause::Drained);
        work(self, ctx, |pool, ctx| {
            let is_complete = pool.shared.queue.borrow_mut().work();
            if is_complete && pool.drain.report().is_none() {
                pool.on_drained(ctx);
            }
            is_complete
        });
    }

    fn on_drained(&mut self, ctx: &mut Context<Self>) {
        let report = DrainReport::between(self.counters_before_drain, self.counters());
        // No timer is left that would log them later.
        self.shared.failures.log();
        info!("{}: drained: {report}", name(&self.config));
        for slot in 0..MAX_MEMBERS {
            if let Some(member) = self.members.remove(slot) {
                self.removed = self.removed.plus(member.view.counters.get());
                self.router.remove(slot);
            }
        }
        self.drain.finish(report);
        self.observers.pool.emit(&PoolEvent::Drained { report });
        self.forget_subscribers_if_drained();
        ctx.stop();
    }

    /// No event follows `Drained`.
    pub(super) fn forget_subscribers_if_drained(&mut self) {
        if self.drain.report().is_some() {
            self.observers.connection.clear();
            self.observers.pool.clear();
            #[cfg(feature = "lookup")]
            self.discovering.observers.clear();
        }
    }

    pub(super) fn state(&self) -> PoolState {
        let phase = if self.drain.report().is_some() {
            PoolPhase::Drained
        } else if self.drain.has_begun() {
            PoolPhase::Draining
        } else {
            PoolPhase::Accepting
        };
        let is_up =
            |(_, member): &(usize, &PoolMember)| member.view.is_up.get() && !member.is_leaving;
        let up = self.members.iter().filter(is_up).count();
        PoolState::new(phase, up, self.members.len())
    }
}

/// The name of a pool in the log: some of its addresses, or else of its nsqlookupds.
pub(super) fn name(config: &PoolConfig) -> Arc<str> {
    let addresses: Vec<_> = config.addresses().collect();
    #[cfg(feature = "lookup")]
    let addresses = if addresses.is_empty() {
        config.lookup().lookupds().collect()
    } else {
        addresses
    };
    let more = if addresses.len() > 3 { ", .." } else { "" };
    let first: Vec<_> = addresses.into_iter().take(3).collect();
    format!("pool ({}{more})", first.join(", ")).into()
}

impl Pumped for ProducerPool {
    fn burst(&mut self) -> &mut Burst {
        &mut self.burst
    }

    fn flush(&mut self, now: Instant, due: Option<Instant>, ctx: &mut Context<Self>) {
        if let Some(due) = due {
            self.judge(due, now);
        }
        if !self.shared.queue.borrow_mut().work() {
            return work(self, ctx, |pool, _| pool.shared.queue.borrow_mut().work());
        }
        self.shared.queue.borrow_mut().admit_waiters();
        if !self.waiters.is_empty() && !self.drain.has_begun() {
            self.connect_if_idle();
        }
        self.observe_members(now, due);
        self.observe_up();
        self.pass_on(now);
        self.answer_waiters(due);
        self.check_drain(now, ctx);
        self.shared.failures.log_if_due(now);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.next_pass(),
            // A member may have become slow.
            self.router.next_deadline(),
            // A publish may go to a member again that had it before.
            self.retry_at,
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
        self.observers.pool.poll(cx);
        #[cfg(feature = "lookup")]
        self.discovering.observers.poll(cx);
        self.shared.failures.poll(cx);
        let queue = self.shared.queue.borrow();
        let has_slow = self.members.iter().any(|(_, member)| member.is_slow);
        if queue.has_waiters() || self.drain.has_begun() || has_slow {
            // A member makes capacity, answers the last publish, or recovers.
            queue.capacity().wait(cx.waker());
        }
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

impl Actor for ProducerPool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(Pump::default());
        accept_after_restart(self, ctx);
        #[cfg(feature = "lookup")]
        self.start_discovery(ctx);
    }

    fn stopping(&mut self, ctx: &mut Context<Self>) -> Running {
        self.supervision.on_stopping(ctx);
        Running::Stop
    }
}

impl Supervised for ProducerPool {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.supervision.on_restarting();
        self.drain.answer_waiters();
    }
}

impl fmt::Debug for ProducerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerPool")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
