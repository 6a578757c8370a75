//! What leaves without a word of nsqd: whose time is over, whose caller is gone, what nsqd is known to refuse.

use std::time::Instant;

use super::{
    TransactionQueue,
    admission::Waiter,
    pending::{Pending, Reply},
};
use crate::error::{Cause, ConnectionError, Delivery, PublishError};

impl<R: Reply> TransactionQueue<R> {
    /// Answers, in one pass, all that is not to be handed over; the room goes to those who wait for it.
    pub(super) fn purge(&mut self) {
        let server_limits = std::mem::take(&mut self.server_limits);
        self.sweep(|publish, in_flight| {
            if in_flight {
                return None;
            }
            publish
                .undeliverable(&server_limits)
                .map(|cause| PublishError::new(cause, publish.not_written()))
        });
        self.server_limits = server_limits;
        self.admission.purge();
        self.admit_waiters();
    }

    /// Answers so many publishes right behind those of a lane that are in flight, none of which is to be handed over; the
    /// room goes to those who wait for it.
    pub(super) fn remove_undeliverable(&mut self, index: usize, count: usize) {
        let Some(topic_queue) = self.topics.get_mut(index) else {
            return;
        };
        for mut publish in topic_queue
            .pending
            .drain(topic_queue.sent..topic_queue.sent + count)
        {
            let cause = publish.undeliverable(&self.server_limits);
            let cause = cause.unwrap_or_else(|| publish.overdue(None));
            let error = PublishError::new(cause, publish.not_written());
            self.accounting.answer(&mut publish, Err(error));
            self.accounting.release(&publish);
        }
        self.topics.rest(index);
        self.admit_waiters();
    }

    /// Lets go of what is not handed over and whose caller is gone; the room goes to those who wait for it.
    pub(crate) fn remove_cancelled(&mut self) {
        self.sweep(|publish, in_flight| {
            let gone = !in_flight && publish.reply.as_ref().is_some_and(Reply::is_closed);
            gone.then(|| PublishError::new(Cause::Closed, publish.not_written()))
        });
        self.admission.purge();
        self.admit_waiters();
    }

    /// Answers every publish whose dead-line has come. `last` is why there is no connection, if there is none.
    pub(crate) fn expire(&mut self, now: Instant, last: Option<&ConnectionError>) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let mut due: Option<Instant> = None;
        self.sweep(|publish, in_flight| {
            let deadline = publish.deadline;
            if deadline > now {
                due = Some(due.map_or(deadline, |due| due.min(deadline)));
                return None;
            }
            let cause = match in_flight {
                true => Cause::Unanswered {
                    after: publish.timeout(),
                },
                false => publish.overdue(last),
            };
            Some(PublishError::new(cause, publish.unsettled(in_flight)))
        });
        for Waiter {
            transaction, reply, ..
        } in self.admission.overdue(now)
        {
            let (after, last) = (transaction.timeout, last.cloned());
            let error = PublishError::new(Cause::NotSent { after, last }, Delivery::NotWritten);
            self.accounting.reject(reply, error);
        }
        self.due = [due, self.pings.expire(now, last), self.admission.due()]
            .into_iter()
            .flatten()
            .min();
    }

    /// Answers everything with `cause`. What was handed over and not settled may be written.
    pub(crate) fn fail_all(&mut self, cause: &Cause) {
        self.sweep(|publish, in_flight| {
            Some(PublishError::new(
                cause.clone(),
                publish.unsettled(in_flight),
            ))
        });
        self.pings.fail_all(cause);
        while self.admission.first().is_some()
            && let Some(waiting) = self.admission.pop()
        {
            let error = PublishError::new(cause.clone(), Delivery::NotWritten);
            self.accounting.reject(waiting.reply, error);
        }
        self.due = None;
    }

    /// Answers each publish for which `verdict`, told whether it is in flight, has an error. One in flight leaves an empty
    /// place, another one leaves.
    pub(super) fn sweep(
        &mut self,
        mut verdict: impl FnMut(&Pending<R>, bool) -> Option<PublishError>,
    ) {
        for topic_queue in self.topics.iter_mut() {
            let mut index = 0;
            let sent = topic_queue.sent;
            topic_queue.pending.retain_mut(|publish| {
                let in_flight = index < sent;
                index += 1;
                if publish.reply.is_some()
                    && let Some(error) = verdict(publish, in_flight)
                {
                    self.accounting.answer(publish, Err(error));
                }
                let keep = in_flight || publish.reply.is_some();
                if !keep {
                    self.accounting.release(publish);
                }
                keep
            });
        }
        self.topics.rest_all();
    }
}
