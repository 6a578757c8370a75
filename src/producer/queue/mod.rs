//! The transaction queue: all publishes from acceptance to answer. Time is passed in.
//!
//! A publish keeps its place: it is pushed at the back of its topic queue and leaves when it is
//! answered. A command in flight covers the publishes at the front of a topic queue:
//!
//! ```text
//!   topic a  | publish | publish | publish | publish | publish | ...
//!            '--- command 1 ----'  '-command 3-'  '-- unsent
//!            '------------- in flight --------'
//!   topic b  | publish | publish | ...
//!            '-command 2-'
//! ```
//!
//! With automatic batching each topic has a queue, the queues take turns, and one command may carry
//! several publishes. Without it there is a single queue, and each publish is one command.
//!
//! nsqd's response completes the oldest command. A lost connection discards the commands; publishes
//! that nsqd did not execute are still in their place, in order, and are sent again. A publish that
//! times out in flight leaves an empty entry, so that later responses still match.
//!
//! One poll of the producer visits a bounded number of publishes ([`Budget`]), so that other tasks
//! of the arbiter do not wait. What concerns all publishes is a [`Job`] of several polls.

mod accounting;
mod admission;
mod batching;
mod blocks;
mod budget;
mod capacity;
mod disconnect;
mod dispatch;
mod expiry;
mod in_flight;
mod in_flight_limit;
mod jobs;
mod limits;
mod moving;
mod overlap;
mod parts;
mod pending;
mod ping;
mod pooled;
mod rejection;
mod round_trip;
mod server_limits;
mod service_time;
mod sweep;
mod topic_counts;
mod topic_limit;
mod topic_queue;
mod tried;

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use self::{
    accounting::Accounting,
    admission::Admission,
    batching::Batching,
    budget::{Budget, pass_interval},
    disconnect::Disconnect,
    dispatch::{Bounds, Selection, encode, may_be_held_back, select_batch, waits_for_more},
    expiry::Expiry,
    in_flight::{CommandsInFlight, InFlight},
    jobs::{Job, Jobs},
    moving::{GiveBack, pass_on, take_in},
    parts::Parts,
    ping::Pings,
    rejection::{Rejection, Scope},
    server_limits::ServerLimits,
    sweep::{Reason, Sweep},
    topic_queue::TopicQueues,
};
pub(crate) use self::{
    accounting::Counters,
    capacity::Capacity,
    disconnect::{ConnectionEnd, DisconnectOutcome},
    limits::{Batch, Limits, Usage, WhenFull},
    moving::{Route, Routed},
    pending::{Pending, Reply, Transaction},
    pooled::{Moving, Pooled},
    tried::MemberSet,
};
use crate::{
    error::{Cause, ConnectionError},
    metrics::Latency,
    protocol::{Command, Outbox, ServerError, Topic},
};

/// The publishes and pings of a producer. When it is dropped, it answers all of them.
pub(crate) struct TransactionQueue<R: Reply> {
    topics: TopicQueues<R>,
    in_flight: CommandsInFlight,
    batching: Batching,
    server_limits: ServerLimits,
    /// The topic queue of the last rejected command. It is the last to send on the next connection:
    /// if it were the first, each rejection would hold up all other topics.
    last_rejected: Option<usize>,
    retry_maybe_written: bool,
    pings: Pings<R>,
    admission: Admission<R>,
    accounting: Accounting,
    expiry: Expiry,
    budget: Budget,
    jobs: Jobs,
    /// `None`: the queue is not that of a pool's member.
    pooled: Option<Pooled<R>>,
}

impl<R: Reply> TransactionQueue<R> {
    /// A queue that accepts as much as `capacity` allows, which other queues may share.
    pub(crate) fn new(limits: Limits, capacity: Rc<Capacity>) -> Self {
        Self {
            topics: match limits.batch {
                Some(_) => TopicQueues::per_topic(),
                None => TopicQueues::single(),
            },
            in_flight: CommandsInFlight::new(&limits),
            batching: Batching::new(limits.batch),
            server_limits: ServerLimits::default(),
            last_rejected: None,
            retry_maybe_written: limits.retry_maybe_written,
            pings: Pings::new(),
            admission: Admission::new(),
            accounting: Accounting::new(capacity),
            expiry: Expiry::default(),
            budget: Budget::new(limits.budget),
            jobs: Jobs::default(),
            pooled: limits.is_pooled.then(Pooled::new),
        }
    }

    /// Returns whether every publish and ping is answered.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.accounting.unanswered == 0
            && self.pings.is_empty()
            && (!self.admission.has_waiters()
                || !self.has_work() && self.admission.is_empty(&mut self.budget))
    }

    /// Returns the offset of the end of the oldest command in flight.
    pub(crate) fn oldest_end(&self) -> Option<u64> {
        self.in_flight.oldest().map(|command| command.end)
    }

    /// Returns when the oldest command in flight was sent.
    pub(crate) fn oldest_since(&self) -> Option<Instant> {
        self.in_flight.oldest().map(|command| command.since)
    }

    /// Returns what concerns the pool, if the queue is that of a member.
    pub(crate) fn pooled(&mut self) -> Option<&mut Pooled<R>> {
        self.pooled.as_mut()
    }

    /// Returns what all queues hold that share the capacity of this one.
    pub(crate) fn capacity(&self) -> &Rc<Capacity> {
        &self.accounting.capacity
    }

    /// Returns the number of publishes that have no result yet.
    pub(crate) fn unanswered(&self) -> usize {
        self.accounting.unanswered
    }

    /// Returns the topic of the oldest command in flight; a ping has none.
    pub(crate) fn oldest_topic(&self) -> Option<Topic> {
        let command = self.in_flight.oldest()?;
        let topic = self.topics.oldest_topic(command.topic_queue);
        topic.filter(|_| !command.is_ping()).cloned()
    }

    /// Returns a time before which no deadline passes.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.expiry.next()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.accounting.counters
    }

    pub(crate) fn latency(&self) -> Latency {
        self.accounting.latency.clone()
    }

    /// Returns what is accepted and not in flight.
    pub(crate) fn queued(&self) -> Usage {
        self.accounting.held.minus(self.in_flight.usage())
    }

    /// Returns whether what is queued waits to be written with more. A ping never waits.
    pub(crate) fn waits_for_larger_write(&self) -> bool {
        !self.pings.has_unsent() && self.in_flight.waits_for_larger_write(self.queued())
    }

    /// Returns what is in flight.
    pub(crate) fn in_flight(&self) -> Usage {
        self.in_flight.usage()
    }

    /// Returns whether publishes wait for capacity, perhaps cancelled ones.
    pub(crate) fn has_waiters(&self) -> bool {
        self.admission.has_waiters()
    }

    /// Returns how many publishes wait for capacity; for a while, cancelled ones may count.
    pub(crate) fn waiting_for_capacity(&mut self) -> usize {
        // A pass does not see removals by others.
        if !self.has_work() {
            self.admission.is_empty(&mut self.budget);
        }
        self.admission.len()
    }

    /// Adds a ping. It needs no capacity, and is sent before all queued publishes.
    pub(crate) fn ping(&mut self, timeout: Duration, now: Instant, reply: R) {
        let deadline = self.pings.push(timeout, now, reply);
        self.expiry.add(deadline);
    }

    /// Accepts a publish if there is capacity; otherwise rejects it or lets it wait. Publishes that
    /// wait already come first.
    ///
    /// A waiting publish is counted when it is accepted or answered; one that is cancelled before
    /// is not counted.
    pub(crate) fn push(
        &mut self,
        transaction: Transaction,
        when_full: WhenFull,
        now: Instant,
        reply: R,
    ) {
        let (topic, usage) = (&transaction.topic, transaction.usage());
        if !self.admission.has_waiters_before(topic)
            && self.accounting.capacity.has_capacity(usage)
            && !self.accounting.capacity.is_topic_full(topic)
        {
            return self.accept(transaction, now, reply);
        }
        self.admit_waiters();
        let mut obstacle = self.obstacle(&transaction);
        if obstacle.is_some() && self.purge(now) {
            obstacle = self.obstacle(&transaction);
        }
        let Some(cause) = obstacle else {
            return self.accept(transaction, now, reply);
        };
        if when_full == WhenFull::Reject || !self.accounting.capacity.may_fit(usage) {
            return self.accounting.reject(reply, cause);
        }
        let is_crowded = self.admission.is_crowded();
        let deadline = (self.admission).push(transaction, now, reply, &mut self.accounting);
        self.expiry.add(deadline);
        if is_crowded {
            self.begin(Job::Sweep(Sweep::of_waiters(Reason::Cancelled)));
        }
    }

    /// Returns why a publish cannot be accepted now.
    fn obstacle(&mut self, transaction: &Transaction) -> Option<Cause> {
        let has_work = self.has_work();
        let (accounting, budget) = (&self.accounting, &mut self.budget);
        self.admission
            .obstacle(transaction, has_work, accounting, budget)
    }

    /// Accepts publishes that wait for capacity, in order of arrival, as far as there is capacity.
    /// Returns whether there were any.
    #[inline]
    pub(crate) fn admit_waiters(&mut self) -> bool {
        self.admission.has_waiters() && self.admit_some()
    }

    fn admit_some(&mut self) -> bool {
        let before = self.accounting.counters.published;
        // A pass might miss those that are moved.
        while self.jobs.is_empty()
            && let Some(waiter) = self.admission.pop(&mut self.accounting, &mut self.budget)
        {
            if let Some(reply) = waiter.reply {
                self.accept(waiter.transaction, waiter.since, reply);
            }
        }
        self.accounting.counters.published > before
    }

    fn accept(&mut self, transaction: Transaction, since: Instant, reply: R) {
        let publish = Pending::new(transaction, since, reply);
        self.budget.spend(1);
        self.accounting.accept(&publish);
        self.expiry.add(publish.deadline);
        self.topics.push(publish);
    }

    /// Shortest time between two passes over all publishes.
    pub(crate) fn pass_interval(&self) -> Duration {
        pass_interval(self.accounting.held.publishes + self.admission.len())
    }

    /// Removes publishes that will not be sent, unless that was done a short time ago, and accepts
    /// waiting ones instead. Returns whether it has removed all of them.
    fn purge(&mut self, now: Instant) -> bool {
        let interval = self.pass_interval();
        let is_due = self.admission.start_purge(interval, now);
        if is_due {
            self.begin(Job::Sweep(Sweep::new(Reason::Undeliverable)));
        }
        is_due && !self.has_work()
    }

    /// Removes cancelled publishes that are not in flight, and accepts waiting ones instead.
    pub(crate) fn remove_cancelled(&mut self) {
        self.begin(Job::Sweep(Sweep::new(Reason::Cancelled)));
    }

    fn begin(&mut self, job: Job) {
        self.jobs.begin(job);
        self.advance_jobs();
    }

    /// Returns whether jobs are not complete. Until they are, publishes may only be added.
    pub(crate) fn has_work(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Goes on with the jobs as long as the budget allows. Returns whether all are complete.
    #[inline]
    pub(crate) fn work(&mut self) -> bool {
        !self.has_work() || self.advance_jobs()
    }

    fn split(&mut self) -> (&mut Jobs, Parts<'_, R>) {
        let parts = Parts {
            topics: &mut self.topics,
            admission: &mut self.admission,
            accounting: &mut self.accounting,
            expiry: &mut self.expiry,
            server_limits: &self.server_limits,
            budget: &mut self.budget,
            pooled: &mut self.pooled,
        };
        (&mut self.jobs, parts)
    }

    fn advance_jobs(&mut self) -> bool {
        let (jobs, mut parts) = self.split();
        let is_complete = jobs.advance(&mut parts);
        if is_complete {
            self.admit_waiters();
        }
        is_complete
    }

    /// Removes what is queued and not in flight, for [`Pooled::take_given_back`].
    pub(crate) fn give_back(&mut self) {
        self.begin(Job::GiveBack(GiveBack::default()));
    }

    /// Adds publishes of another queue of the pool. Returns the memory of the list.
    pub(crate) fn take_in(&mut self, publishes: Moving<R>) -> Moving<R> {
        let has_work = self.has_work();
        take_in(publishes, &mut self.split().1, has_work)
    }

    /// Passes queued publishes on to the members of a pool, as far as the budget allows.
    pub(crate) fn pass_on(&mut self, router: &mut impl Route<R>, now: Instant) {
        pass_on(router, &mut self.split().1, now);
        // Those that are not sent leave room for others.
        while self.admit_waiters() {
            pass_on(router, &mut self.split().1, now);
        }
    }

    /// Another poll begins. Returns whether the last one has left something undone.
    pub(crate) fn renew_budget(&mut self) -> bool {
        let is_left = self.budget.is_exhausted() || self.has_work();
        self.budget.renew();
        is_left
    }

    /// A connection was made, whose handshake took `round_trip` for one response.
    pub(crate) fn on_connected(&mut self, round_trip: Duration) {
        self.in_flight.limit_mut().on_connected(round_trip);
    }

    /// Encodes the next command into `out`, if there is one and the window allows it. `ping` is the
    /// body of the IDENTIFY that is sent as a ping.
    ///
    /// All commands of a connection must be encoded into the same `out`: its total identifies them.
    pub(crate) fn next_command(&mut self, ping: &[u8], out: &mut Outbox, now: Instant) -> bool {
        if self.pings.send_next(now) {
            Command::Identify(ping).encode(out);
            self.in_flight.push(InFlight::ping(out.total(), now));
            return true;
        }
        while !self.in_flight.waits_to_measure()
            && !self.budget.is_exhausted()
            && let Some((index, was_held_back)) =
                self.topics
                    .next_turn(&mut self.in_flight, self.pings.in_flight(), now)
            && let Some(queue) = self.topics.get_mut(index)
        {
            let suspended = queue.batching_suspended;
            let limit = self.in_flight.limit();
            let batch = self.batching.limits(suspended, &self.server_limits);
            if batch.is_some() && may_be_held_back(queue) {
                if !was_held_back {
                    self.topics.hold_back(index);
                    continue;
                }
                // Its next publish or response gives it another turn.
                if waits_for_more(queue, limit) {
                    continue;
                }
            }
            let bounds = Bounds {
                batch: batch
                    .and_then(|it| limit.batch(it, queue.unsent(), self.accounting.unanswered)),
                capacity: self.in_flight.capacity(),
                any_in_flight: self.in_flight.usage().publishes > 0,
                server_limits: &self.server_limits,
                now,
            };
            let selected = select_batch(queue, &bounds, &mut self.accounting, &mut self.budget);
            let Selection { usage, blocked, .. } = selected;
            let publishes = usage.publishes;
            if publishes > 0 {
                encode(queue, usage, out);
                self.accounting.command_sent(publishes, selected.requeued);
                self.in_flight
                    .push_publishes(index, usage, out.total(), now);
            }
            if blocked {
                // Before a publish is accepted below, which could give the queue a later turn.
                self.topics.keep_turn(index);
            }
            if selected.has_discarded {
                self.topics.free_if_empty(index);
                self.admit_waiters();
            }
            if blocked {
                return false;
            }
            self.topics.make_ready(index);
            if publishes > 0 {
                return true;
            }
        }
        false
    }

    /// Returns whether the budget allows to complete the oldest command.
    pub(crate) fn may_complete_oldest(&self) -> bool {
        let oldest = self.in_flight.oldest();
        oldest.is_none_or(|command| self.budget.allows(command.usage.publishes))
    }

    /// nsqd's `OK` for the oldest command was read. `written` is the number of bytes that the
    /// transport has accepted.
    ///
    /// # Errors
    ///
    /// The problem, if the response cannot belong to the command; nothing is answered then.
    pub(crate) fn on_ok(&mut self, written: u64, now: Instant) -> Result<(), &'static str> {
        let (command, time) = self.in_flight.pop_ok(written, now)?;
        if command.is_ping() {
            self.pings.answer_oldest(Ok(()));
            return Ok(());
        }
        self.batching.resume();
        if let Some(pooled) = &mut self.pooled {
            pooled.on_answer(time.since_sent());
        }
        let (index, count) = (command.topic_queue, command.usage.publishes);
        self.budget.spend(count);
        if let Some(queue) = self.topics.get_mut(index) {
            queue.batching_suspended = false;
        }
        self.topics
            .complete_oldest(&command, &mut self.accounting, |publish, accounting| {
                accounting.confirm(publish, &time);
            });
        self.accounting.record_latency(&time);
        self.topics.make_ready(index);
        Ok(())
    }

    /// nsqd's error response for the oldest command was read. It is the last response of the
    /// connection: [`on_disconnected`](Self::on_disconnected) must follow.
    ///
    /// # Errors
    ///
    /// The problem, if no command is in flight; nothing is answered then.
    pub(crate) fn on_error(&mut self, error: &ServerError) -> Result<(), &'static str> {
        let command = *self
            .in_flight
            .oldest()
            .ok_or("an error while no command is in flight")?;
        if command.is_ping() {
            self.in_flight.pop_oldest();
            self.pings.reject_oldest(error);
            return Ok(());
        }
        let (index, count) = (command.topic_queue, command.usage.publishes);
        let rejection = Rejection::new(error, count);
        self.last_rejected = Some(index);
        self.budget.spend(count);
        self.server_limits.learn(error);
        let Some(queue) = self.topics.get_mut(index) else {
            return Ok(());
        };
        if rejection.suspends_batching {
            queue.batching_suspended = true;
            self.batching.suspend();
        }
        if let Some(pooled) = self.pooled.as_mut().filter(|_| rejection.is_of_server) {
            // The end of the connection makes them queued again.
            pooled.is_rejected = true;
            let publishes = queue.oldest(count);
            publishes.for_each(|publish| publish.note_rejection(error));
            return Ok(());
        }
        if rejection.scope == Scope::Retry {
            return Ok(());
        }
        if rejection.scope != Scope::Members {
            self.in_flight.pop_oldest();
        }
        let topic = rejection.answer(&command, &mut self.topics, &mut self.accounting);
        if let Scope::Topic | Scope::All = rejection.scope {
            self.begin(Job::Sweep(Sweep::new(Reason::Rejected(rejection, topic))));
        }
        if error.named_limit().is_some() {
            // Those in the queue are answered when it is their turn.
            self.begin(Job::Sweep(Sweep::of_waiters(Reason::Undeliverable)));
        }
        Ok(())
    }

    /// The connection has ended and can write no more. Settles the publishes in flight, once per
    /// connection.
    pub(crate) fn on_disconnected(&mut self, end: ConnectionEnd<'_>) {
        let (written, cause) = match end {
            ConnectionEnd::Rejected => (0, None),
            ConnectionEnd::Lost { written, cause } => {
                self.forget_server_limits();
                self.in_flight.limit_mut().on_lost();
                (written, Some(cause).filter(|_| !self.retry_maybe_written))
            }
        };
        self.pings.take_back();
        let last = self.last_rejected.take();
        let disconnect = Disconnect::new(&mut self.in_flight, written, cause.cloned(), last);
        self.begin(Job::Disconnect(disconnect));
    }

    /// Returns what became of the publishes in flight on the connection that ended last, once the
    /// work is complete.
    pub(crate) fn disconnect_outcome(&self) -> DisconnectOutcome {
        self.jobs.disconnect_outcome()
    }

    /// The next connection may be to another nsqd.
    pub(crate) fn forget_server_limits(&mut self) {
        self.server_limits.clear();
    }

    /// Answers all publishes and pings whose deadline has passed. `last` is the reason why there is
    /// no connection, if there is none.
    pub(crate) fn expire(&mut self, now: Instant, last: Option<&ConnectionError>) {
        if self.expiry.start_pass(now) {
            self.pings.expire(now, last, &mut self.expiry);
            let reason = Reason::Expired {
                due: now,
                last: last.cloned(),
            };
            self.begin(Job::Sweep(Sweep::new(reason)));
        }
    }

    /// Answers all publishes and pings with `cause`.
    pub(crate) fn fail_all(&mut self, cause: &Cause) {
        self.pings.fail_all(cause);
        self.expiry.clear();
        self.begin(Job::Sweep(Sweep::new(Reason::Closed(cause.clone()))));
    }
}

/// An actor that is dropped for any reason leaves no caller without an answer.
impl<R: Reply> Drop for TransactionQueue<R> {
    fn drop(&mut self) {
        self.budget = Budget::new(usize::MAX);
        self.fail_all(&Cause::Closed);
    }
}

#[cfg(test)]
mod tests;
