//! What holds after every step, whatever happened.

use super::*;
use crate::protocol::ErrorCode;

impl World<'_> {
    pub(super) fn check(&mut self, due: Due) {
        self.check_answers(due);
        self.check_books();
    }

    /// The answers given since the last step are those that are due, and they agree with what is stored.
    pub(super) fn check_answers(&mut self, mut due: Due) {
        for (id, place) in self.nsqd.stored.split_off(0) {
            let publish = &mut self.publishes[id];
            publish.copies[place] += 1;
            if publish.copies[place] > 1 {
                let retry = self.kind.limits.retry_maybe_written;
                assert!(publish.maybe && retry, "{id} is stored twice");
                self.count.add("stored twice");
            }
            self.is_true(id);
        }
        let mut told = self.book.told.take();
        for (id, said) in &told {
            let before = self.publishes[*id].said.replace(*said);
            assert_eq!(before, None, "{id} is answered twice");
            self.is_true(*id);
            if !self.publishes[*id].is_ping() {
                self.counters(*said);
            }
            if *said == Said::Ok && !self.publishes[*id].is_ping() {
                let lane = self.lane(&self.publishes[*id]);
                let last = self.last_ok.insert(lane, *id);
                assert!(last < Some(*id), "{id} is confirmed out of order");
            }
        }
        told.sort_by_key(|(id, _)| *id);
        due.sort_by_key(|(id, _)| *id);
        assert_eq!(told, due, "told, and due");
        let mut live = self.publishes.iter().skip(self.done);
        let done = live.position(|publish| publish.place != Place::Done);
        self.done = done.map_or(self.publishes.len(), |done| self.done + done);
    }

    fn counters(&mut self, said: Said) {
        let counters = &mut self.counters;
        match said {
            Said::Failed(ErrorKind::Full, _) => counters.rejected_full += 1,
            Said::Failed(ErrorKind::Timeout, _) => counters.timed_out += 1,
            _ => {}
        }
        *match said {
            Said::Ok => &mut counters.ok,
            Said::Failed(_, Delivery::NotWritten) => &mut counters.not_written,
            Said::Failed(_, Delivery::MaybeWritten) => &mut counters.maybe_written,
            Said::Failed(_, Delivery::MaybePartial) => &mut counters.maybe_partial,
        } += 1;
    }

    fn is_true(&self, id: usize) {
        let publish = &self.publishes[id];
        let copies = &publish.copies;
        match publish.said {
            Some(Said::Ok) => assert!(copies.iter().all(|n| *n > 0), "{id}: Ok, not stored"),
            Some(Said::Failed(kind, delivery)) => {
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

    fn check_books(&self) {
        let (queue, held) = (&self.queue, self.held());
        assert_eq!(queue.counters(), self.counters);
        assert_eq!(queue.accounting.held, held, "held");
        let in_flight = queue.in_flight();
        let (pending, window) = (self.kind.limits.pending, self.kind.limits.window);
        assert!(held.publishes <= pending.publishes && held.bytes <= pending.bytes);
        let within = in_flight.publishes <= window.publishes && in_flight.bytes <= window.bytes;
        assert!(within || in_flight.publishes == 1, "{in_flight:?}");
        let mut together = queue.queued();
        together.add(in_flight);
        assert_eq!(together, held, "waiting and in flight");
        assert_eq!(queue.oldest_end(), self.oldest_end(), "oldest end");
        let is_open = |publish: &&Publish| {
            // Nobody waits for a ping whose caller is gone.
            publish.is_unanswered() && !(publish.is_ping() && publish.gone.get())
        };
        let open = self.publishes[self.done..].iter().filter(is_open);
        let earliest = open.map(|publish| publish.deadline).min();
        assert_eq!(queue.is_empty(), earliest.is_none());
        if let Some(earliest) = earliest {
            assert!(
                queue.next_deadline().is_some_and(|due| due <= earliest),
                "due"
            );
        }
    }
}
