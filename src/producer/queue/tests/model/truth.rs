//! What holds after every step, whatever happened.

use super::*;
use crate::protocol::ErrorCode;

impl World<'_> {
    pub(super) fn check(&mut self, due: Due) {
        self.finish_jobs();
        self.admit();
        self.check_answers(due);
        self.check_usage();
        self.check_waiting();
    }

    /// The answers since the last step are those that are due, and agree with what is stored.
    pub(super) fn check_answers(&mut self, mut due: Due) {
        for (id, member) in self.nsqd.stored.split_off(0) {
            let publish = &mut self.publishes[id];
            publish.copies[member] += 1;
            if publish.copies[member] > 1 {
                let retry = self.kind.limits.retry_maybe_written;
                assert!(publish.maybe && retry, "{id} is stored twice");
                self.count.add("stored twice");
            }
            self.is_true(id);
        }
        let mut answers = self.log.answers.take();
        // Cancelled pings that are not in flight are removed at any time.
        let is_removed = |id: usize| {
            let publish = &self.publishes[id];
            publish.is_ping() && publish.cancelled.get()
        };
        answers.retain(|(id, _)| !is_removed(*id));
        due.retain(|(id, _)| !is_removed(*id));
        for (id, outcome) in &answers {
            let before = self.publishes[*id].outcome.replace(*outcome);
            assert_eq!(before, None, "{id} is answered twice");
            self.is_true(*id);
            if !self.publishes[*id].is_ping() {
                self.counters(*outcome);
            }
            if *outcome == Outcome::Ok && !self.publishes[*id].is_ping() {
                let order = self.order(&self.publishes[*id]);
                let last = self.last_ok.get(order).copied();
                let has_moved = self.publishes[*id].moved;
                assert!(
                    last < Some(*id) || has_moved,
                    "{id} is confirmed out of order"
                );
                self.last_ok
                    .insert(order, last.max(Some(*id)).unwrap_or(*id));
            }
        }
        answers.sort_by_key(|(id, _)| *id);
        due.sort_by_key(|(id, _)| *id);
        assert_eq!(answers, due, "answers and what is due");
        let mut live = self.publishes.iter().skip(self.done);
        let done = live.position(|publish| publish.stage != Stage::Done);
        self.done = done.map_or(self.publishes.len(), |done| self.done + done);
    }

    fn counters(&mut self, outcome: Outcome) {
        let counters = &mut self.counters;
        match outcome {
            Outcome::Failed(ErrorKind::Full, _) => counters.rejected_full += 1,
            Outcome::Failed(ErrorKind::Timeout, _) => counters.timed_out += 1,
            _ => {}
        }
        *match outcome {
            Outcome::Ok => &mut counters.ok,
            Outcome::Failed(_, Delivery::NotWritten) => &mut counters.not_written,
            Outcome::Failed(_, Delivery::MaybeWritten) => &mut counters.maybe_written,
            Outcome::Failed(_, Delivery::MaybePartial) => &mut counters.maybe_partial,
        } += 1;
    }

    fn is_true(&self, id: usize) {
        let publish = &self.publishes[id];
        let copies = &publish.copies;
        match publish.outcome {
            Some(Outcome::Ok) => assert!(copies.iter().all(|n| *n > 0), "{id}: Ok, not stored"),
            Some(Outcome::Failed(kind, delivery)) => {
                let stored = copies.iter().any(|n| *n > 0);
                let not_written = delivery == Delivery::NotWritten;
                assert!(!(not_written && stored), "{id}: NotWritten, stored");
                match kind {
                    ErrorKind::Rejected(ErrorCode::BadMessage) => assert!(publish.invalid),
                    ErrorKind::Rejected(ErrorCode::BadBody) => assert_eq!(publish.verb, Verb::Mpub),
                    _ => {}
                }
            }
            None => {}
        }
    }

    fn check_usage(&mut self) {
        let is_empty = self.queue.is_empty();
        let (queue, held) = (&self.queue, self.held());
        assert_eq!(queue.counters(), self.counters);
        assert_eq!(queue.accounting.held, held, "held");
        let used = self.used();
        assert_eq!(queue.accounting.capacity.held(), used, "used");
        let in_flight = queue.in_flight();
        let (pending, window) = (self.kind.limits.pending, self.kind.limits.window);
        assert!(used.publishes <= pending.publishes && used.bytes <= pending.bytes);
        let within = in_flight.publishes <= window.publishes && in_flight.bytes <= window.bytes;
        assert!(within || in_flight.publishes == 1, "{in_flight:?}");
        let mut together = queue.queued();
        together.add(in_flight);
        assert_eq!(together, held, "waiting and in flight");
        assert_eq!(queue.oldest_end(), self.oldest_end(), "oldest end");
        let is_open = |publish: &&Publish| {
            // A cancelled ping is not awaited.
            publish.is_in_queue() && !(publish.is_ping() && publish.cancelled.get())
        };
        let open = self.publishes[self.done..].iter().filter(is_open);
        let earliest = open.map(|publish| publish.deadline).min();
        assert_eq!(is_empty, earliest.is_none());
        if let Some(earliest) = earliest {
            assert!(
                queue.next_deadline().is_some_and(|due| due <= earliest),
                "due"
            );
        }
    }
}
