//! What leaves without a word of nsqd: whose time is over, whose caller is gone, what nsqd is known to refuse.

use std::time::Instant;

use super::{
    TransactionQueue,
    line::Waiting,
    slot::{Reply, Slot},
};
use crate::error::{Cause, ConnectionError, Delivery, PublishError};

impl<R: Reply> TransactionQueue<R> {
    /// Answers, in one pass, all that is not to be handed over; the room goes to those who wait for it.
    pub(crate) fn purge(&mut self) {
        let named = std::mem::take(&mut self.named);
        self.sweep(|slot, in_flight| {
            if in_flight {
                return None;
            }
            slot.unfit(&named)
                .map(|cause| PublishError::new(cause, slot.not_written()))
        });
        self.named = named;
        self.line.purge();
        self.admit();
    }

    /// Answers so many publishes right behind those of a lane that are in flight, none of which is to be handed over; the
    /// room goes to those who wait for it.
    pub(super) fn let_go(&mut self, place: usize, count: usize) {
        let Some(lane) = self.lanes.get_mut(place) else {
            return;
        };
        for mut slot in lane.slots.drain(lane.sent..lane.sent + count) {
            let cause = slot.unfit(&self.named);
            let cause = cause.unwrap_or_else(|| slot.overdue(None));
            let error = PublishError::new(cause, slot.not_written());
            self.ledger.answer(&mut slot, Err(error));
            self.ledger.release(&slot);
        }
        self.lanes.rest(place);
        self.admit();
    }

    /// Lets go of what is not handed over and whose caller is gone; the room goes to those who wait for it.
    pub(crate) fn forget_gone(&mut self) {
        self.sweep(|slot, in_flight| {
            let gone = !in_flight && slot.reply.as_ref().is_some_and(Reply::is_closed);
            gone.then(|| PublishError::new(Cause::Closed, slot.not_written()))
        });
        self.line.purge();
        self.admit();
    }

    /// Answers every publish whose dead-line has come. `last` is why there is no connection, if there is none.
    pub(crate) fn expire(&mut self, now: Instant, last: Option<&ConnectionError>) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let mut due: Option<Instant> = None;
        self.sweep(|slot, in_flight| {
            let deadline = slot.deadline;
            if deadline > now {
                due = Some(due.map_or(deadline, |due| due.min(deadline)));
                return None;
            }
            let cause = match in_flight {
                true => Cause::Unanswered {
                    after: slot.timeout(),
                },
                false => slot.overdue(last),
            };
            Some(PublishError::new(cause, slot.unsettled(in_flight)))
        });
        for Waiting {
            transaction, reply, ..
        } in self.line.overdue(now)
        {
            let (after, last) = (transaction.timeout, last.cloned());
            let error = PublishError::new(Cause::Unsent { after, last }, Delivery::NotWritten);
            self.ledger.turn_away(reply, error);
        }
        self.due = [due, self.pings.expire(now, last), self.line.due()]
            .into_iter()
            .flatten()
            .min();
    }

    /// Answers everything with `cause`. What was handed over and not settled may be written.
    pub(crate) fn fail_all(&mut self, cause: &Cause) {
        self.sweep(|slot, in_flight| {
            Some(PublishError::new(cause.clone(), slot.unsettled(in_flight)))
        });
        self.pings.fail_all(cause);
        while self.line.first().is_some()
            && let Some(waiting) = self.line.pop()
        {
            let error = PublishError::new(cause.clone(), Delivery::NotWritten);
            self.ledger.turn_away(waiting.reply, error);
        }
        self.due = None;
    }

    /// Answers each publish for which `verdict`, told whether it is in flight, has an error. One in flight leaves an empty
    /// place, another one leaves.
    pub(super) fn sweep(
        &mut self,
        mut verdict: impl FnMut(&Slot<R>, bool) -> Option<PublishError>,
    ) {
        for lane in self.lanes.iter_mut() {
            let mut place = 0;
            let sent = lane.sent;
            lane.slots.retain_mut(|slot| {
                let in_flight = place < sent;
                place += 1;
                if slot.reply.is_some()
                    && let Some(error) = verdict(slot, in_flight)
                {
                    self.ledger.answer(slot, Err(error));
                }
                let keep = in_flight || slot.reply.is_some();
                if !keep {
                    self.ledger.release(slot);
                }
                keep
            });
        }
        self.lanes.rest_all();
    }
}
