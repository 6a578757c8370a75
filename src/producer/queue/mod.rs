//! The transaction queue: every publish from its acceptance to its answer. Pure: time and counts come in as arguments.
//!
//! It is the one place that bounds memory and the one place that answers. A publish never moves: it is pushed at the
//! back of its lane and leaves when its fate is known. A command in flight is a [`InFlight`] over the front of a lane:
//!
//! ```text
//!   lane a   | publish | publish | publish | publish | publish | ...
//!            '---- window 1 ----'  '-window 3-'  '-- not handed over
//!            '------------ sent --------------'
//!   lane b   | publish | publish | ...
//!            '-window 2-'
//! ```
//!
//! With automatic batching each topic has its lane, the lanes take turns, and one command may carry several publishes;
//! without it there is a single lane, and each publish is a command. An answer takes the oldest window and answers the
//! publishes under it. A lost connection takes the windows away; what nsqd did not execute still stands in its place, in
//! order, and is handed over again. A publish that timed out after it was handed over leaves an empty place, so that no
//! answer is ever shifted.
//!
//! `slot` is one publish and what is known of it; `lane` is where they stand; `next` forms the next command, for which
//! `fold` decides what it carries, and `pace` how many are in flight; `line` is where publishes wait for room that is not there; `ending` is
//! what the end of a connection means; `leaving` is what leaves without a word of nsqd; `ledger` counts what is held and
//! how it was answered.

mod accounting;
mod admission;
mod batching;
mod disconnect;
mod dispatch;
mod expiry;
mod in_flight;
mod latency;
mod limits;
mod pending;
mod ping;
mod topic_queue;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub use self::latency::Latency;
use self::{
    accounting::Accounting,
    admission::{Admission, Waiter},
    in_flight::InFlightLimit,
    pending::Pending,
    ping::Pings,
    topic_queue::TopicQueues,
};
pub(crate) use self::{
    accounting::Counters,
    disconnect::{ConnectionEnd, DisconnectOutcome},
    limits::{Batch, Limits, Usage, WhenFull},
    pending::{Reply, Transaction},
};
use crate::{
    error::{Cause, Delivery, PublishError},
    protocol::{ServerError, Topic},
};

/// A command in flight.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    topic_queue: usize,
    /// It carries so many publishes of the lane, those behind the older windows; a ping carries none.
    load: Usage,
    /// Where its last byte is in the connection's stream of commands.
    end: u64,
    since: Instant,
}

/// The publishes outstanding. When it is dropped, it answers what it holds.
pub(crate) struct TransactionQueue<R: Reply> {
    window: Usage,
    batch: Option<Batch>,
    retry_maybe_written: bool,
    topics: TopicQueues<R>,
    in_flight: VecDeque<InFlight>,
    in_flight_load: Usage,
    limit: InFlightLimit,
    /// The lane of the command that nsqd refused: on the next connection it stands last, or the others would not get far.
    last_rejected: Option<usize>,
    /// nsqd had trouble: nothing is folded until it has answered a publish with `OK`.
    batching_suspended: bool,
    pings: Pings<R>,
    admission: Admission<R>,
    /// No dead-line is earlier than this.
    due: Option<Instant>,
    /// Refusals in which nsqd named a limit of its own: what exceeds it is refused here, not by a lost connection.
    server_limits: Vec<ServerError>,
    accounting: Accounting,
}

impl<R: Reply> TransactionQueue<R> {
    pub(crate) fn new(limits: Limits) -> Self {
        let Limits {
            pending,
            window,
            batch,
            retry_maybe_written,
        } = limits;
        Self {
            window,
            batch,
            retry_maybe_written,
            topics: match batch {
                Some(_) => TopicQueues::per_topic(),
                None => TopicQueues::single(),
            },
            in_flight: VecDeque::new(),
            in_flight_load: Usage::default(),
            limit: InFlightLimit::default(),
            last_rejected: None,
            batching_suspended: false,
            pings: Pings::new(),
            admission: Admission::new(),
            due: None,
            server_limits: Vec::new(),
            accounting: Accounting::new(pending),
        }
    }

    /// Whether every publish and every ping is answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.accounting.unanswered == 0 && self.pings.is_empty() && self.admission.is_empty()
    }

    /// Whether commands are in flight.
    pub(crate) fn has_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Where the last byte of the oldest command in flight is.
    pub(crate) fn oldest_end(&self) -> Option<u64> {
        self.in_flight.front().map(|window| window.end)
    }

    /// The topic of the oldest command in flight; a ping has none.
    pub(crate) fn oldest_topic(&mut self) -> Option<Topic> {
        let window = self
            .in_flight
            .front()
            .filter(|window| window.load.publishes > 0)?;
        let publish = self.topics.get_mut(window.topic_queue)?.pending.front()?;
        Some(publish.topic.clone())
    }

    /// The time before which no dead-line passes.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn counters(&self) -> Counters {
        self.accounting.counters
    }

    pub(crate) fn latency(&self) -> Latency {
        self.accounting.latency.clone()
    }

    /// What waits to be handed over.
    pub(crate) fn queued(&self) -> Usage {
        let (held, in_flight_load) = (self.accounting.held, self.in_flight_load);
        Usage {
            publishes: held.publishes.saturating_sub(in_flight_load.publishes),
            bytes: held.bytes.saturating_sub(in_flight_load.bytes),
        }
    }

    /// Returns the number of publishes that wait for capacity.
    pub(crate) fn waiting_for_capacity(&self) -> usize {
        self.admission.waiting()
    }

    /// What is handed over and not answered by nsqd.
    pub(crate) fn in_flight(&self) -> Usage {
        self.in_flight_load
    }

    /// Accepts a ping. It needs no room, and is sent before any publish that waits.
    pub(crate) fn ping(&mut self, timeout: Duration, now: Instant, reply: R) {
        let deadline = self.pings.push(timeout, now, reply);
        self.expect(deadline);
    }

    fn expect(&mut self, deadline: Instant) {
        if self.due.is_none_or(|due| deadline < due) {
            self.due = Some(deadline);
        }
    }

    /// Accepts a publish if there is capacity; otherwise rejects it or lets it wait. Publishes that wait already come first.
    ///
    /// A waiting publish is counted when it is accepted or answered; one that is cancelled before is not counted.
    pub(crate) fn push(
        &mut self,
        transaction: Transaction,
        when_full: WhenFull,
        now: Instant,
        reply: R,
    ) {
        let usage = transaction.usage();
        if self.admission.first().is_none() && self.accounting.has_capacity(usage) {
            return self.accept(transaction, now, reply);
        }
        if self.admission.may_purge(now) {
            self.purge();
        } else {
            self.admit_waiters();
        }
        let mut required = usage;
        if let Some(first) = self.admission.first() {
            required.add(first.publishes, first.bytes);
        }
        if self.accounting.has_capacity(required) {
            self.accept(transaction, now, reply);
        } else if when_full == WhenFull::Wait && self.accounting.may_fit(usage) {
            let waiter = Waiter {
                transaction,
                came: now,
                reply,
            };
            self.expect(waiter.deadline());
            self.admission.push(waiter);
        } else {
            let cause = self.accounting.full_cause(required);
            let error = PublishError::new(cause, Delivery::NotWritten);
            self.accounting.reject(reply, error);
        }
    }

    /// Accepts those who wait for room, the longest first, as far as there is room.
    pub(crate) fn admit_waiters(&mut self) {
        while let Some(load) = self.admission.first()
            && self.accounting.has_capacity(load)
            && let Some(waiting) = self.admission.pop()
        {
            let Waiter {
                transaction,
                came,
                reply,
            } = waiting;
            self.accept(transaction, came, reply);
        }
    }

    fn accept(&mut self, transaction: Transaction, came: Instant, reply: R) {
        let publish = Pending::new(transaction, came, reply);
        self.accounting.accept(&publish);
        self.expect(publish.deadline);
        self.topics.push(publish);
    }

    /// A connection is up, whose handshake took `round_trip` for one answer.
    pub(crate) fn on_connected(&mut self, round_trip: Duration) {
        self.limit.begin(round_trip);
    }

    /// Forgets the limits that nsqd named: the next nsqd may be another one.
    pub(crate) fn forget_server_limits(&mut self) {
        self.server_limits.clear();
    }

    /// nsqd's `OK` for the oldest command. `written` is how many bytes the socket has written.
    ///
    /// # Errors
    ///
    /// What is out of step: an `OK` for no command, or for one that is not wholly sent, answers nothing.
    pub(crate) fn on_ok(&mut self, written: u64, now: Instant) -> Result<(), &'static str> {
        match self.in_flight.front() {
            None => Err("OK while no command is in flight"),
            Some(window) if window.end > written => Err("OK for a command that is not wholly sent"),
            Some(window) if window.load.publishes == 0 => {
                self.in_flight.pop_front();
                self.pings.answer_oldest(Ok(()));
                Ok(())
            }
            Some(window) => {
                self.limit
                    .heard(now.saturating_duration_since(window.since));
                self.batching_suspended = false;
                if let Some(topic_queue) = self.topics.get_mut(window.topic_queue) {
                    topic_queue.batching_suspended = false;
                    let members = topic_queue.pending.range(..window.load.publishes);
                    let waiting = members.filter(|publish| publish.reply.is_some());
                    let accepted = waiting.map(|publish| publish.accepted);
                    self.accounting.latency.record_all(accepted, now);
                }
                self.answer_oldest(|_| Ok(()));
                Ok(())
            }
        }
    }
    /// Answers the publishes of the oldest command, which leave.
    fn answer_oldest(&mut self, answer: impl Fn(&Pending<R>) -> Result<(), PublishError>) {
        let Some(InFlight {
            topic_queue: index,
            load,
            ..
        }) = self.in_flight.pop_front()
        else {
            return;
        };
        self.in_flight_load.remove(load.publishes, load.bytes);
        let Some(topic_queue) = self.topics.get_mut(index) else {
            return;
        };
        topic_queue.sent = topic_queue.sent.saturating_sub(load.publishes);
        for mut publish in topic_queue.pending.drain(..load.publishes) {
            let answer = answer(&publish);
            self.accounting.answer(&mut publish, answer);
            self.accounting.release(&publish);
        }
        self.topics.rest(index);
    }
}

/// The last answer: an actor that is dropped, whatever the reason, leaves nobody waiting.
impl<R: Reply> Drop for TransactionQueue<R> {
    fn drop(&mut self) {
        self.fail_all(&Cause::Closed);
    }
}

#[cfg(test)]
mod tests;
