//! The messages that no handler has, in the order of arrival.

use std::{collections::VecDeque, time::Instant};

use super::{
    in_flight::{InFlight, Start},
    incoming::IncomingMessage,
};

/// Messages that wait for the handler. Some may have expired or been returned meanwhile: only the
/// held messages know.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: VecDeque<IncomingMessage>,
    /// Messages before the queue whose deadlines have passed; they are judged next.
    overdue: Vec<IncomingMessage>,
}

impl Waiting {
    #[inline(always)]
    pub(super) fn push(&mut self, message: IncomingMessage) {
        self.queue.push_back(message);
    }

    /// Starts the message that has waited longest. Messages whose deadlines have passed are left
    /// until these are judged. To be followed by [`end_burst`](Self::end_burst).
    pub(super) fn start(
        &mut self,
        in_flight: &mut InFlight,
        at: Start,
        now: Instant,
    ) -> Option<IncomingMessage> {
        loop {
            let mut message = self.queue.pop_front()?;
            if start(&mut message, in_flight, at, now) {
                return Some(message);
            }
            if in_flight.is_waiting(message.ticket()) {
                self.overdue.push(message);
            }
        }
    }

    /// Puts what was left back into its place.
    pub(super) fn end_burst(&mut self) {
        while let Some(message) = self.overdue.pop() {
            self.queue.push_front(message);
        }
    }

    /// Starts all messages except those whose deadlines have passed.
    pub(super) fn start_all(
        &mut self,
        in_flight: &mut InFlight,
        at: Start,
        now: Instant,
    ) -> Vec<IncomingMessage> {
        // The next read is about as large.
        let next = VecDeque::with_capacity(self.queue.len());
        let mut messages = Vec::from(std::mem::replace(&mut self.queue, next));
        let mut are_all_started = true;
        for message in &mut messages {
            are_all_started &= start(message, in_flight, at, now);
        }
        if !are_all_started {
            let (started, others): (_, Vec<_>) =
                messages.into_iter().partition(IncomingMessage::is_started);
            let is_overdue = |it: &IncomingMessage| in_flight.is_waiting(it.ticket());
            self.queue.extend(others.into_iter().filter(is_overdue));
            messages = started;
        }
        messages
    }

    /// Drops messages that do not wait any more, if they are more than those that do.
    pub(super) fn forget_others(&mut self, in_flight: &InFlight) {
        if self.queue.len() > 2 * in_flight.waiting() {
            self.queue
                .retain(|message| in_flight.is_waiting(message.ticket()));
        }
    }
}

/// Starts a message; returns whether it still waited.
#[inline(always)]
fn start(message: &mut IncomingMessage, in_flight: &mut InFlight, at: Start, now: Instant) -> bool {
    match in_flight.start(message.ticket(), at, now) {
        Some((attempts, received)) => {
            message.start(attempts, received);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{
        consumer::{
            answers::{AnswerQueue, Source},
            backoff::{Backoff, BackoffOptions, BackoffStrategy, Window},
            connection_key::ConnectionKey,
            in_flight::{Received, Timing},
        },
        protocol::{Channel, Message, Topic},
    };

    const KEY: ConnectionKey = ConnectionKey { nsqd: 0, serial: 1 };
    const TIMEOUT: Duration = Duration::from_secs(1);

    fn window() -> Window {
        let options = BackoffOptions {
            strategy: BackoffStrategy::Exponential,
            multiplier: TIMEOUT,
            max: TIMEOUT,
        };
        Backoff::new(options).window()
    }

    /// Messages of an open connection, and the answers of those that are dropped.
    struct Bench {
        waiting: Waiting,
        in_flight: InFlight,
        source: Arc<Source>,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let mut in_flight = InFlight::new(false);
            let timing = Timing {
                timeout: TIMEOUT,
                max_timeout: TIMEOUT,
                margin: Duration::ZERO,
            };
            in_flight.open(KEY, timing);
            let names = (Topic::from_static("t"), Channel::from_static("c"));
            let answers = Arc::new(AnswerQueue::new());
            let times = (TIMEOUT, TIMEOUT);
            let source = Source::new("nsqd".into(), names.0, names.1, answers, times, false);
            Self {
                waiting: Waiting::default(),
                in_flight,
                source: Arc::new(source),
                now: Instant::now(),
            }
        }

        fn receive(&mut self, number: u8, attempts: u16) {
            let data = [
                &[0; 8][..],
                &attempts.to_be_bytes(),
                &[number; 16],
                &[number],
            ]
            .concat();
            let message = Message::decode(data.into()).unwrap();
            let received = self.in_flight.receive(KEY, message.id, attempts, self.now);
            if let Received::Waiting(ticket) = received {
                let source = Arc::clone(&self.source);
                let message = IncomingMessage::waiting(message, source, ticket, self.now);
                self.waiting.push(message);
            }
        }

        fn start(&mut self) -> Option<(u8, u16)> {
            let at = self.in_flight.start_at(window(), self.now);
            let message = self.waiting.start(&mut self.in_flight, at, self.now);
            self.waiting.end_burst();
            let message = message?;
            Some((message.body()[0], message.attempts()))
        }

        fn start_all(&mut self) -> Vec<IncomingMessage> {
            let at = self.in_flight.start_at(window(), self.now);
            self.waiting.start_all(&mut self.in_flight, at, self.now)
        }

        /// Lets the messages expire.
        fn expire(&mut self) {
            self.now += TIMEOUT;
            while self.in_flight.take_due(self.now, self.now).is_some() {}
            self.waiting.forget_others(&self.in_flight);
        }
    }

    /// consumer contract: 9
    #[test]
    fn messages_are_started_in_order_of_arrival() {
        let mut bench = Bench::new();
        (1..=3).for_each(|number| bench.receive(number, 1));
        bench.receive(2, 2);
        assert_eq!(bench.start(), Some((1, 1)));
        assert_eq!(
            bench.start(),
            Some((2, 2)),
            "the second copy arrived before the start"
        );
        bench.receive(4, 1);
        let rest = bench.start_all();
        let rest: Vec<u8> = rest.iter().map(|message| message.body()[0]).collect();
        assert_eq!(rest, [3, 4]);
        assert_eq!(bench.start(), None);
    }

    /// consumer contract: 7
    #[test]
    fn overdue_messages_are_left_until_they_are_judged() {
        let mut bench = Bench::new();
        bench.receive(1, 1);
        bench.receive(2, 1);
        bench.now += TIMEOUT;
        bench.receive(3, 1);
        assert_eq!(bench.start(), Some((3, 1)));
        bench.receive(4, 1);
        let rest = bench.start_all();
        assert_eq!(rest.len(), 1);
        // nsqd delivers one again before its deadline is judged.
        bench.receive(1, 2);
        assert_eq!(bench.start(), Some((1, 2)));
        while bench.in_flight.take_due(bench.now, bench.now).is_some() {}
        assert_eq!(bench.start(), None);
        assert!(bench.waiting.queue.is_empty());
    }

    /// consumer contract: 1, 10
    #[test]
    fn messages_that_expire_unstarted_are_forgotten_unanswered() {
        let mut bench = Bench::new();
        for _ in 0..1_000 {
            bench.receive(1, 1);
            bench.receive(2, 1);
            bench.expire();
        }
        assert!(bench.waiting.queue.is_empty());
        bench.receive(3, 1);
        bench.expire();
        assert_eq!(bench.start(), None);
        assert_eq!(bench.source.answers.all(), []);
    }
}
