//! What must be so after every step, whatever happened.

use super::*;

impl World<'_> {
    pub(super) fn check(&mut self, due: Due) {
        self.check_answers(due);
        self.check_books();
    }

    /// The answers given since the last step are those that are due, and they are true.
    pub(super) fn check_answers(&mut self, mut due: Due) {
        for (id, place) in self.nsqd.stored.split_off(0) {
            let fate = &mut self.fates[id];
            fate.copies[place] += 1;
            if fate.copies[place] > 1 {
                assert!(fate.may_repeat, "{id} was stored twice");
                self.count.add("stored twice");
            }
            self.count.add("stored");
            self.is_true(id);
        }
        let mut told = self.book.told.take();
        for (id, said) in &told {
            let before = self.fates[*id].said.replace(*said);
            assert_eq!(before, None, "{id} was answered twice");
            // A ping is in no count.
            if self.fates[*id].ping {
                continue;
            }
            match said {
                Said::Failed(ErrorKind::Full, _) => self.tally.full += 1,
                Said::Failed(ErrorKind::Timeout, _) => self.tally.timed_out += 1,
                _ => {}
            }
            match said {
                Said::Ok => self.tally.ok += 1,
                Said::Failed(_, Delivery::NotWritten) => self.tally.not_written += 1,
                Said::Failed(_, Delivery::MaybeWritten) => self.tally.maybe_written += 1,
                Said::Failed(_, Delivery::MaybePartial) => self.tally.maybe_partial += 1,
            }
            if *said == Said::Ok {
                let lane = match self.reference.limits.batch {
                    Some(_) => self.fates[*id].topic,
                    None => "",
                };
                let last = self.last_ok.insert(lane, *id);
                assert!(last < Some(*id), "{id} was confirmed out of order");
            }
            self.is_true(*id);
        }
        told.sort_by_key(|(id, _)| *id);
        due.sort_by_key(|(id, _)| *id);
        assert_eq!(told, due, "told, and due");
    }

    pub(super) fn is_true(&self, id: usize) {
        let Fate {
            said,
            copies,
            guilty,
            batch,
            ..
        } = &self.fates[id];
        match said {
            // Whatever company it was in.
            Some(Said::Failed(ErrorKind::Refused(ErrorCode::BadMessage), _)) => {
                assert!(guilty, "{id}: innocent");
            }
            Some(Said::Failed(ErrorKind::Refused(ErrorCode::BadBody), _)) => {
                assert!(batch, "{id}: no batch of its caller's");
            }
            _ => {}
        }
        match said {
            Some(Said::Ok) => assert!(copies.iter().all(|n| *n > 0), "{id}: Ok, not stored"),
            Some(Said::Failed(_, Delivery::NotWritten)) => {
                assert!(copies.iter().all(|n| *n == 0), "{id}: NotWritten, stored");
            }
            _ => {}
        }
    }

    pub(super) fn check_books(&self) {
        let (queue, reference) = (&self.queue, &self.reference);
        let published = reference.published;
        let expected = Tally {
            published,
            ..self.tally
        };
        assert_eq!(queue.tally(), expected);
        assert_eq!(queue.ledger.held, reference.held(), "held");
        assert_eq!(queue.flying, reference.flying(), "flying");
        let (pending, window) = (reference.limits.pending, reference.limits.window);
        let (held, flying) = (queue.ledger.held, queue.flying);
        assert!(held.publishes <= pending.publishes && held.bytes <= pending.bytes);
        let within = flying.publishes <= window.publishes && flying.bytes <= window.bytes;
        assert!(within || flying.publishes == 1, "{flying:?}");
        let waiting = queue.waiting();
        let together = (
            waiting.publishes + flying.publishes,
            waiting.bytes + flying.bytes,
        );
        assert_eq!(together, (held.publishes, held.bytes), "waiting and flying");
        let end = reference.flight.first().map(|flight| flight.end);
        assert_eq!(queue.in_flight(), end.is_some(), "in flight");
        assert_eq!(queue.oldest_end(), end, "oldest end");
        let earliest = reference.unanswered().map(|entry| entry.deadline).min();
        assert_eq!(queue.is_empty(), earliest.is_none());
        if let Some(earliest) = earliest {
            assert!(queue.due().is_some_and(|due| due <= earliest), "due");
        }
    }
}
