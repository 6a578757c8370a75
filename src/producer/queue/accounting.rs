//! What the queue holds, how it answered, and how long that took.

use std::{rc::Rc, time::Instant};

use super::{
    capacity::Capacity,
    in_flight::AnswerTime,
    limits::Usage,
    pending::{Pending, Reply},
};
use crate::{
    error::{Cause, Delivery, ErrorKind, PublishError},
    metrics::Latency,
    protocol::Topic,
};

/// Numbers of publishes and commands since the queue was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Accepted, or rejected by the queue.
    pub(crate) published: u64,
    pub(crate) ok: u64,
    pub(crate) not_written: u64,
    pub(crate) maybe_written: u64,
    pub(crate) maybe_partial: u64,
    /// Of `not_written`: rejected because the queue was full.
    pub(crate) rejected_full: u64,
    /// Of all that failed: timed out.
    pub(crate) timed_out: u64,
    /// Sent again after a connection that did not execute them.
    pub(crate) requeued: u64,
    /// Commands sent that publish.
    pub(crate) commands: u64,
    /// Of `commands`: automatic batches.
    pub(crate) batches: u64,
    /// Publishes in automatic batches.
    pub(crate) batched: u64,
}

impl Counters {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            published: self.published + other.published,
            ok: self.ok + other.ok,
            not_written: self.not_written + other.not_written,
            maybe_written: self.maybe_written + other.maybe_written,
            maybe_partial: self.maybe_partial + other.maybe_partial,
            rejected_full: self.rejected_full + other.rejected_full,
            timed_out: self.timed_out + other.timed_out,
            requeued: self.requeued + other.requeued,
            commands: self.commands + other.commands,
            batches: self.batches + other.batches,
            batched: self.batched + other.batched,
        }
    }

    /// Publishes that have their result.
    pub(crate) fn answered(&self) -> u64 {
        self.ok + self.not_written + self.maybe_written + self.maybe_partial
    }

    fn count(&mut self, answer: &Result<(), PublishError>) {
        let Err(error) = answer else {
            self.ok += 1;
            return;
        };
        match error.delivery() {
            Delivery::NotWritten => self.not_written += 1,
            Delivery::MaybeWritten => self.maybe_written += 1,
            Delivery::MaybePartial => self.maybe_partial += 1,
        }
        match error.kind() {
            ErrorKind::Full => self.rejected_full += 1,
            ErrorKind::Timeout => self.timed_out += 1,
            _ => {}
        }
    }
}

/// What the queue holds, and the only place that answers publishes.
pub(super) struct Accounting {
    pub(super) capacity: Rc<Capacity>,
    /// From the acceptance of a publish until its entry leaves, which may be after its answer.
    pub(super) held: Usage,
    pub(super) unanswered: usize,
    pub(super) counters: Counters,
    pub(super) latency: Latency,
    /// Publishes confirmed that were accepted at the same time, and are recorded together.
    confirmed: Option<(Instant, u64)>,
}

impl Accounting {
    pub(super) fn new(capacity: Rc<Capacity>) -> Self {
        Self {
            capacity,
            held: Usage::default(),
            unanswered: 0,
            counters: Counters::default(),
            latency: Latency::default(),
            confirmed: None,
        }
    }

    /// A publish was accepted.
    pub(super) fn accept<R>(&mut self, publish: &Pending<R>) {
        self.capacity.accept(&publish.topic, publish.usage());
        self.take_in(publish.usage());
        self.counters.published += 1;
    }

    /// The entries of publishes leave the queue, which have the same topic.
    #[inline]
    pub(super) fn release<'a>(&mut self, usage: Usage, topic: impl FnOnce() -> Option<&'a Topic>) {
        self.held.remove(usage);
        self.capacity.release(usage, topic);
    }

    /// The entry of a publish leaves the queue.
    pub(super) fn release_one<R>(&mut self, publish: &Pending<R>) {
        self.release(publish.usage(), || Some(&publish.topic));
    }

    /// Publishes come from another queue of the pool.
    pub(super) fn take_in(&mut self, usage: Usage) {
        self.held.add(usage);
        self.unanswered += usage.publishes;
    }

    /// Publishes go to another queue of the pool.
    pub(super) fn give_away(&mut self, usage: Usage) {
        self.held.remove(usage);
        self.unanswered = self.unanswered.saturating_sub(usage.publishes);
    }

    /// A command with this many publishes was sent, of which `requeued` had been sent before.
    pub(super) fn command_sent(&mut self, publishes: usize, requeued: usize) {
        self.counters.commands += 1;
        self.counters.requeued += requeued as u64;
        if publishes > 1 {
            self.counters.batches += 1;
            self.counters.batched += publishes as u64;
        }
    }

    /// Answers an accepted publish, unless it is answered already.
    pub(super) fn answer<R: Reply>(
        &mut self,
        publish: &mut Pending<R>,
        answer: Result<(), PublishError>,
    ) {
        if let Some(reply) = publish.reply.take() {
            self.unanswered = self.unanswered.saturating_sub(1);
            let result = match &answer {
                Ok(()) => Ok(()),
                Err(error) => Err(error.delivery()),
            };
            self.capacity.count(&publish.topic, result);
            self.reply(reply, answer);
        }
    }

    /// Answers an accepted publish with `Ok`, unless it is answered already.
    /// [`record_latency`](Self::record_latency) must follow.
    pub(super) fn confirm<R: Reply>(&mut self, publish: &mut Pending<R>, time: &AnswerTime) {
        if let Some(reply) = publish.reply.take() {
            self.unanswered = self.unanswered.saturating_sub(1);
            self.counters.ok += 1;
            match &mut self.confirmed {
                Some((accepted, count)) if *accepted == publish.accepted => *count += 1,
                _ => {
                    self.record_latency(time);
                    self.confirmed = Some((publish.accepted, 1));
                }
            }
            self.capacity.count(&publish.topic, Ok(()));
            reply.answer(Ok(()));
        }
    }

    /// Records the latency of the publishes confirmed last.
    pub(super) fn record_latency(&mut self, time: &AnswerTime) {
        if let Some((accepted, count)) = self.confirmed.take() {
            self.latency.record(time.since(accepted), count);
        }
    }

    /// Answers a publish that was never accepted.
    pub(super) fn reject<R: Reply>(&mut self, reply: R, cause: Cause) {
        self.counters.published += 1;
        self.reply(reply, Err(PublishError::new(cause, Delivery::NotWritten)));
    }

    fn reply<R: Reply>(&mut self, reply: R, answer: Result<(), PublishError>) {
        self.counters.count(&answer);
        reply.answer(answer);
    }
}
