//! What happens to messages between connections and handlers.
//!
//! ```text
//!   Frames --> receive --> in flight --> start --> handler
//!                             ^                       |
//!   write_burst <-- writes <--+---- take_answers <----+  (answer queue)
//!        ^
//!        +-- RDYs of flow control
//! ```

use std::{sync::Arc, task::Context as TaskContext, time::Instant};

use log::warn;

use super::{
    answered_in_time::AnsweredInTime,
    answers::{Answer, AnswerQueue},
    backoff::{BackoffState, Outcome, Window},
    connection_key::ConnectionKey,
    event::ConsumerEvent,
    flow::Flow,
    handler::{Delivery, Unreadable},
    in_flight::{Answered, Due, InFlight, Received, Returned, Ticket},
    incoming::IncomingMessage,
    log::LimitedLog,
    nsqds::Nsqds,
    options::{Rules, as_u32},
    requeue::Requeue,
    session::Subscribed,
    stats::Counters,
    subscription::{DeadLetter, DeadLetterReason},
    waiting::Waiting,
    write::{RequeueReason, Write},
};
use crate::{
    error::ConnectionError,
    protocol::{Command, Frame, Message, MessageId, ServerError},
};

/// The messages of a read.
#[derive(Debug, Default)]
pub(super) struct Read {
    received: u32,
    /// Earlier copies that had not expired yet.
    expired: u32,
    /// Messages that were finished at once.
    finished: u32,
}

/// The messages of a consumer.
pub(super) struct Messages {
    rules: Rules,
    pub(super) in_flight: InFlight,
    waiting: Waiting,
    pub(super) flow: Flow,
    pub(super) answers: Arc<AnswerQueue>,
    pub(super) delivery: Delivery,
    pub(super) counters: Counters,
    pub(super) in_time: AnsweredInTime,
    /// Events that are to be emitted.
    pub(super) events: Vec<ConsumerEvent>,
    /// Memory for the answers of a burst.
    taken: Vec<(Ticket, Answer)>,
    /// Answers to write, in order.
    writes: Vec<(ConnectionKey, MessageId, Write)>,
    /// The latest `max_in_flight` that was not 0.
    max_in_flight: usize,
    /// Changes of the backoff.
    backoff_log: LimitedLog,
    /// Handlers that take too long.
    slow_log: LimitedLog,
    pub(super) is_handler_gone: bool,
    /// Nothing is started: the consumer is drained.
    is_draining: bool,
}

impl Messages {
    pub(super) fn new(rules: Rules, flow: Flow, delivery: Delivery, auto_touch: bool) -> Self {
        Self {
            rules,
            in_flight: InFlight::new(auto_touch),
            waiting: Waiting::default(),
            flow,
            answers: Arc::new(AnswerQueue::new()),
            delivery,
            counters: Counters::default(),
            in_time: AnsweredInTime::default(),
            events: Vec::new(),
            taken: Vec::new(),
            writes: Vec::new(),
            max_in_flight: 1,
            backoff_log: LimitedLog::default(),
            slow_log: LimitedLog::default(),
            is_handler_gone: false,
            is_draining: false,
        }
    }

    /// Topic and channel, for the log.
    pub(super) fn name(&self) -> &str {
        &self.rules.name
    }

    /// Changes `max_in_flight`. With 0 nothing is requested, and what has arrived is handled.
    pub(super) fn set_max(&mut self, max: usize) {
        self.flow.set_max(as_u32(max));
        if max > 0 {
            self.max_in_flight = max;
        }
    }

    /// nsqd has accepted the subscription of a connection.
    pub(super) fn open(&mut self, connection: &Subscribed, now: Instant) {
        let key = connection.key;
        self.in_flight.open(key, connection.timing);
        self.flow
            .open(key, connection.max_rdy, connection.round_trip, now);
    }

    /// A write has failed: what nsqd has sent is still read, and nothing can be answered.
    pub(super) fn on_write_failed(&mut self, connection: &mut Subscribed) {
        connection.on_write_failed();
        self.in_flight.stop_answers(connection.key);
    }

    /// A connection ends: answers of its messages cannot be written any more.
    pub(super) fn detach(&mut self, connection: &mut Subscribed) {
        if !std::mem::replace(&mut connection.is_detached, true) {
            connection.source.set_lost();
            self.in_flight.close(connection.key);
            self.flow.close(connection.key);
        }
    }

    /// Takes a message of a read.
    pub(super) fn receive(
        &mut self,
        connection: &Subscribed,
        message: Message,
        read: &mut Read,
        now: Instant,
    ) {
        let key = connection.key;
        let (id, attempts) = (message.id, message.attempts);
        read.received += 1;
        match self.in_flight.receive(key, id, attempts, now) {
            Received::Waiting(ticket) => {
                let source = Arc::clone(&connection.source);
                let waiting = IncomingMessage::waiting(message, source, ticket, now);
                self.waiting.push(waiting);
                if self.in_flight.is_with_a_handler_elsewhere(key, id) {
                    self.counters.redelivered_elsewhere += 1;
                }
            }
            Received::Replaced => {
                read.expired += 1;
                self.counters.expired += 1;
            }
            Received::Attached { was_held } => {
                read.expired += u32::from(was_held);
                self.counters.timed_out += u64::from(was_held);
                self.counters.attached += 1;
            }
            Received::FinishedBefore => {
                read.finished += 1;
                self.counters.finished_again += 1;
                self.writes.push((key, id, Write::Finish { is_late: true }));
            }
        }
    }

    /// Reports the messages of a read to flow control.
    ///
    /// # Errors
    ///
    /// If nsqd has sent more than twice as many as it may.
    pub(super) fn end_read(
        &mut self,
        connection: &mut Subscribed,
        read: Read,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        if read.received == 0 {
            return Ok(());
        }
        let key = connection.key;
        connection.last_message = Some(now);
        self.counters.received += u64::from(read.received);
        // In this order: an earlier copy may have arrived in the same read.
        self.flow.received(key, read.received, now);
        if read.expired > 0 {
            self.flow.expired(key, read.expired, now);
        }
        if read.finished > 0 {
            self.flow.answered(key, read.finished, false, now);
        }
        // After a channel was emptied, nsqd does not count what is held. Messages of lost
        // connections count, or a peer that closes each connection could send any number.
        let limit = connection.largest_max.saturating_mul(2);
        if self.in_flight.held_of_nsqd(key.nsqd) > limit {
            // They cannot be answered, and the next connection may have more.
            self.return_waiting(Some(key), now);
            let problem = format!("more than {limit} messages, twice max_in_flight");
            return Err(ConnectionError::UnexpectedResponse { problem });
        }
        Ok(())
    }

    /// nsqd has rejected an answer.
    pub(super) fn on_answer_failed(&mut self, connection: &Subscribed, error: ServerError) {
        self.counters.answers_failed += 1;
        let address = Arc::clone(&connection.source.address);
        self.events
            .push(ConsumerEvent::AnswerFailed { address, error });
    }

    /// Takes what arrives while a connection closes.
    pub(super) fn on_last_frames(
        &mut self,
        connection: &Subscribed,
        frames: impl Iterator<Item = Frame>,
    ) {
        for frame in frames {
            if let Frame::Error(error) = frame
                && !error.code().is_fatal()
            {
                self.on_answer_failed(connection, error);
            }
        }
    }

    /// Takes what handlers have answered.
    pub(super) fn take_answers(&mut self, now: Instant) {
        let mut taken = std::mem::take(&mut self.taken);
        self.answers.swap(&mut taken);
        for (ticket, answer) in taken.drain(..) {
            if matches!(answer, Answer::Touch | Answer::Return) {
                self.touch_or_return(ticket, answer, now);
                continue;
            }
            let is_finish = matches!(answer, Answer::Finish);
            let Some(answered) = self.in_flight.answer(ticket, is_finish, now) else {
                continue;
            };
            let is_written = self.count(&answered, true, now);
            match answer {
                Answer::Finish => self.finish(&answered, now),
                Answer::Requeue(requeue) => {
                    let reason = RequeueReason::Handler;
                    self.requeue(&answered, is_written, (requeue, reason), now);
                }
                Answer::Dropped => {
                    let requeue = (Requeue::default(), RequeueReason::Dropped);
                    self.requeue(&answered, is_written, requeue, now);
                }
                Answer::TimedOut => {
                    let requeue = (Requeue::default(), RequeueReason::HandlerTimeout);
                    self.requeue(&answered, is_written, requeue, now);
                    let name = &self.rules.name;
                    self.slow_log.warn(format_args!(
                        "{name}: a handler exceeded handler_timeout; its message is requeued"
                    ));
                }
                Answer::Touch | Answer::Return => {}
            }
        }
        self.taken = taken;
        self.in_time.report(&mut self.flow, &self.in_flight, now);
    }

    #[inline(never)]
    fn touch_or_return(&mut self, ticket: Ticket, answer: Answer, now: Instant) {
        if matches!(answer, Answer::Touch) {
            if let Some((key, id)) = self.in_flight.touch(ticket, now) {
                self.writes.push((key, id, Write::Touch));
            }
        } else if let Some(answered) = self.in_flight.answer(ticket, false, now)
            && self.count(&answered, false, now)
        {
            self.push_returned(answered.key, answered.id);
        }
    }

    fn push_returned(&mut self, key: ConnectionKey, id: MessageId) {
        let write = Write::Requeue {
            delay_ms: 0,
            reason: RequeueReason::Returned,
        };
        self.writes.push((key, id, write));
    }

    fn finish(&mut self, answered: &Answered, now: Instant) {
        if answered.is_open {
            // Also if it is too late: if nsqd has delivered it again to this connection, it is
            // finished now.
            let is_late = answered.is_expired;
            let write = Write::Finish { is_late };
            self.writes.push((answered.key, answered.id, write));
        }
        if self.flow.backoff() != BackoffState::Off {
            self.outcome(answered.start.window, Outcome::Success, now);
        }
    }

    /// A late answer is not written: it would requeue the next delivery.
    fn requeue(
        &mut self,
        answered: &Answered,
        is_written: bool,
        (requeue, reason): (Requeue, RequeueReason),
        now: Instant,
    ) {
        if is_written {
            let delay_ms = requeue.delay_ms(
                answered.attempts,
                self.rules.default_requeue_delay,
                self.rules.max_requeue_delay,
            );
            let write = Write::Requeue { delay_ms, reason };
            self.writes.push((answered.key, answered.id, write));
        }
        let outcome = if requeue.is_failure() {
            Outcome::Failure
        } else {
            Outcome::Neutral
        };
        self.outcome(answered.start.window, outcome, now);
    }

    /// Counts an answer; returns whether it is in time and can be written.
    #[inline(always)]
    fn count(&mut self, answered: &Answered, is_handled: bool, now: Instant) -> bool {
        if answered.is_expired {
            self.on_late(answered, is_handled, now);
            return false;
        }
        let (flow, in_flight) = (&mut self.flow, &mut self.in_flight);
        self.in_time.add(answered, is_handled, flow, in_flight, now);
        self.counters.unwritten += u64::from(!answered.is_open);
        answered.is_open
    }

    #[inline(never)]
    fn on_late(&mut self, answered: &Answered, is_handled: bool, now: Instant) {
        if answered.was_held {
            self.flow.expired(answered.key, 1, now);
            self.on_timed_out(answered.start.window, now);
        }
        self.counters.late += 1;
        if is_handled {
            let time = self.in_flight.time_since(answered.start, now);
            self.in_time.handling.record(time, 1);
        }
    }

    /// The deadline of a message has passed while a handler had it.
    fn on_timed_out(&mut self, window: Window, now: Instant) {
        self.counters.timed_out += 1;
        let name = &self.rules.name;
        self.slow_log.warn(format_args!(
            "{name}: a handler took longer than the timeout of its message, which nsqd delivers \
             again"
        ));
        if self.rules.backoff_on_expired {
            self.outcome(window, Outcome::Failure, now);
        }
    }

    fn outcome(&mut self, window: Window, outcome: Outcome, now: Instant) {
        let random = fastrand::f64();
        if self.flow.outcome(window, outcome, random, now) {
            self.on_backoff_changed(now);
        }
    }

    fn on_backoff_changed(&mut self, now: Instant) {
        let name = &self.rules.name;
        self.events.push(match self.flow.backoff() {
            BackoffState::Waiting { until } => {
                let level = self.flow.backoff_level();
                let delay = until.saturating_duration_since(now);
                self.backoff_log.warn(format_args!(
                    "{name}: handlers fail: no messages for {delay:?} (backoff level {level})"
                ));
                ConsumerEvent::BackingOff { level, delay }
            }
            BackoffState::Off | BackoffState::Probing => {
                let message = format_args!("{name}: handlers succeed again: the backoff has ended");
                self.backoff_log.info(message);
                ConsumerEvent::BackoffEnded
            }
        });
    }

    /// Expires and touches what is due at `due`, and frees the capacity that is settled then.
    pub(super) fn judge(&mut self, due: Instant, now: Instant) {
        while let Some(due) = self.in_flight.take_due(due, now) {
            match due {
                Due::Touch { key, id } => self.writes.push((key, id, Write::Touch)),
                Due::Expired { key, started, .. } => {
                    self.flow.expired(key, 1, now);
                    let Some(start) = started else {
                        self.counters.expired += 1;
                        continue;
                    };
                    self.on_timed_out(start.window, now);
                }
            }
        }
        self.flow.settle(due);
        self.waiting.forget_others(&self.in_flight);
    }

    /// How many messages the handler works on. A closure may go on after its answer.
    pub(super) fn with_handlers(&self) -> usize {
        self.in_flight.started().max(self.delivery.running())
    }

    /// Starts nothing more, and takes back what no handler has taken from a stream.
    pub(super) fn begin_drain(&mut self) {
        self.is_draining = true;
        self.delivery.take_back();
    }

    /// Passes waiting messages to the handler, as many as it may have.
    pub(super) fn start(&mut self, now: Instant) {
        if self.in_flight.waiting() == 0 {
            return;
        }
        if self.is_draining || self.is_handler_gone {
            return self.return_waiting(None, now);
        }
        if !self.delivery.is_connected() {
            let name = &self.rules.name;
            warn!("{name}: the handler is gone: no messages are requested");
            self.is_handler_gone = true;
            self.flow.pause();
            self.events.push(ConsumerEvent::HandlerGone);
            return self.return_waiting(None, now);
        }
        let limit = match self.rules.concurrency {
            0 => self.max_in_flight,
            limit => limit,
        };
        let start = self.in_flight.start_at(self.flow.window(), now);
        let max_attempts = self.rules.max_attempts;
        // Closures that go on after their answers.
        let answered = self.with_handlers() - self.in_flight.started();
        let limit = limit.saturating_sub(answered);
        let free = limit.saturating_sub(self.in_flight.started());
        if self.delivery.takes_batches() && max_attempts == 0 && self.in_flight.waiting() <= free {
            let messages = self.waiting.start_all(&mut self.in_flight, start, now);
            self.counters.started += messages.len() as u64;
            return self.delivery.deliver_batch(messages);
        }
        while self.in_flight.started() < limit {
            let Some(message) = self.waiting.start(&mut self.in_flight, start, now) else {
                break;
            };
            self.counters.started += 1;
            if (1..usize::from(message.attempts())).contains(&max_attempts) {
                self.on_exhausted(message, now);
            } else if let Err(unreadable) = self.delivery.deliver(message) {
                self.on_unreadable(*unreadable);
            }
        }
        self.waiting.end_burst();
        self.delivery.end_batch();
    }

    /// The body of a message is not the JSON of the handler's type.
    fn on_unreadable(&mut self, Unreadable { message, error }: Unreadable) {
        self.counters.unreadable += 1;
        let Some(to) = &self.rules.dead_letters else {
            let (address, id) = (message.address(), message.id());
            warn!("{address}: the body of message {id} cannot be read: {error}");
            return message.settle(Err::<(), _>(error));
        };
        let reason = DeadLetterReason::InvalidJson(error);
        to.send(DeadLetter { message, reason });
    }

    /// A message has exceeded `max_attempts`.
    fn on_exhausted(&mut self, mut message: IncomingMessage, now: Instant) {
        self.counters.dead_letters += 1;
        if let Some(to) = &self.rules.dead_letters {
            let reason = DeadLetterReason::TooManyAttempts;
            return to.send(DeadLetter { message, reason });
        }
        message.end();
        let Some(answered) = self.in_flight.answer(message.ticket(), true, now) else {
            return;
        };
        if self.count(&answered, false, now) {
            let write = Write::Finish { is_late: false };
            self.writes.push((answered.key, answered.id, write));
        }
        self.in_time.report(&mut self.flow, &self.in_flight, now);
        let (address, id, attempts) = (message.address(), message.id(), message.attempts());
        warn!("{address}: message {id} was delivered {attempts} times and is discarded");
        self.events.push(ConsumerEvent::Discarded {
            address: address.into(),
            id,
            attempts,
            body: message.body().clone(),
        });
    }

    /// Returns messages that no handler has, of one connection or of all.
    pub(super) fn return_waiting(&mut self, of: Option<ConnectionKey>, now: Instant) {
        let returned = self.in_flight.return_waiting(of, now);
        self.write_returned(returned, now);
        self.waiting.forget_others(&self.in_flight);
    }

    /// Returns messages that handlers have, of one connection or of all.
    pub(super) fn return_started(&mut self, of: Option<ConnectionKey>, now: Instant) {
        let returned = self.in_flight.return_started(of, now);
        self.write_returned(returned, now);
    }

    fn write_returned(&mut self, returned: Vec<Returned>, now: Instant) {
        for message in returned.into_iter().filter(|it| it.is_held) {
            self.flow.answered(message.key, 1, message.is_late, now);
            if message.is_open {
                self.push_returned(message.key, message.id);
            } else {
                self.counters.unwritten += 1;
            }
        }
    }

    /// Encodes a burst: the RDYs that lower, the answers, and the RDYs that raise. With another
    /// order nsqd could send messages for which there is no capacity.
    pub(super) fn write_burst(&mut self, nsqds: &mut Nsqds, now: Instant) {
        let plan = self.flow.plan(now);
        write_ready(&plan.lowered, nsqds);
        // The answers of a burst are mostly to messages of the same read.
        for writes in self.writes.chunk_by(|one, next| one.0 == next.0) {
            let Some(session) = writes.first().and_then(|it| nsqds.open(it.0)) else {
                let outcomes = writes.iter().filter(|it| it.2.is_outcome());
                self.counters.unwritten += outcomes.count() as u64;
                continue;
            };
            for &(_, id, write) in writes {
                write.encode(id, &mut session.out);
                write.count(&mut self.counters);
            }
            if self.is_draining {
                let answers = writes.iter().filter(|it| it.2.is_answer());
                session.state.answers_in_drain += answers.count() as u64;
            }
        }
        self.writes.clear();
        if !plan.raised.is_empty() {
            // What the other connections free is written first, so that the sum of the RDYs written
            // is never above the maximum.
            let is_raised = |key| plan.raised.iter().any(|(raised, _)| *raised == key);
            let others = nsqds.sessions_mut().filter(|it| !it.is_closing());
            for session in others.filter(|it| !is_raised(it.state.key)) {
                session.flush();
            }
        }
        write_ready(&plan.raised, nsqds);
    }

    /// The consumer has ended: futures are dropped, and answers are rejected.
    pub(super) fn end(&mut self) {
        self.delivery.end();
        self.answers.close();
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = [self.in_flight.due(), self.flow.due()];
        due.into_iter().flatten().min()
    }

    /// Runs the futures of a closure, and wakes the consumer at the next answer.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) {
        self.delivery.poll(cx);
        self.answers.register(cx.waker());
    }
}

fn write_ready(ready: &[(ConnectionKey, u32)], nsqds: &mut Nsqds) {
    for (key, count) in ready {
        if let Some(session) = nsqds.open(*key) {
            Command::Ready(*count).encode(&mut session.out);
        }
    }
}
