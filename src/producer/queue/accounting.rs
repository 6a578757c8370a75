//! What the queue counts: how much it holds against how much it may hold, and how it answered.

use super::{
    latency::Latency,
    limits::Usage,
    pending::{Pending, Reply},
};
use crate::error::{Cause, Delivery, ErrorKind, PublishError};

/// How many publishes were answered how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Brought to the queue, with or without success.
    pub(crate) published: u64,
    pub(crate) ok: u64,
    pub(crate) not_written: u64,
    pub(crate) maybe_written: u64,
    pub(crate) maybe_partial: u64,
    /// Of those not written: for want of room.
    pub(crate) rejected_full: u64,
    /// Of all but the ok: for want of time.
    pub(crate) timed_out: u64,
    /// Handed over again after a connection that did not execute them.
    pub(crate) requeued: u64,
    /// Commands handed over that publish.
    pub(crate) commands: u64,
    /// Of those: automatic batches.
    pub(crate) batches: u64,
    /// Publishes in automatic batches.
    pub(crate) batched: u64,
}

impl Counters {
    fn add(&mut self, answer: &Result<(), PublishError>) {
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

/// The books of the queue.
pub(super) struct Accounting {
    limit: Usage,
    /// From a publish's acceptance until its slot leaves, which for an empty place is later than its answer.
    pub(super) held: Usage,
    /// Publishes that have no answer yet.
    pub(super) unanswered: usize,
    pub(super) counters: Counters,
    pub(super) latency: Latency,
}

impl Accounting {
    pub(super) fn new(limit: Usage) -> Self {
        Self {
            limit,
            held: Usage::default(),
            unanswered: 0,
            counters: Counters::default(),
            latency: Latency::default(),
        }
    }

    /// Whether so much can be accepted beside what is held.
    pub(super) fn has_capacity(&self, load: Usage) -> bool {
        let Self { limit, held, .. } = self;
        held.publishes.saturating_add(load.publishes) <= limit.publishes
            && held.bytes.saturating_add(load.bytes) <= limit.bytes
    }

    /// Why so much cannot be accepted.
    pub(super) fn full_cause(&self, load: Usage) -> Cause {
        let Self { limit, held, .. } = self;
        if held.publishes.saturating_add(load.publishes) > limit.publishes {
            Cause::Full {
                option: "max_pending",
                unit: "publishes",
                held: held.publishes,
                size: load.publishes,
                limit: limit.publishes,
            }
        } else {
            Cause::Full {
                option: "max_pending_bytes",
                unit: "bytes",
                held: held.bytes,
                size: load.bytes,
                limit: limit.bytes,
            }
        }
    }

    /// Whether so much can be accepted at all, be it alone.
    pub(super) fn may_fit(&self, load: Usage) -> bool {
        load.publishes <= self.limit.publishes && load.bytes <= self.limit.bytes
    }

    pub(super) fn accept<R>(&mut self, publish: &Pending<R>) {
        self.held.add(1, publish.size);
        self.unanswered += 1;
        self.counters.published += 1;
    }

    /// A slot leaves the queue.
    pub(super) fn release<R>(&mut self, publish: &Pending<R>) {
        self.held.remove(1, publish.size);
    }

    /// The one place that answers what was accepted: at most once for each slot.
    pub(super) fn answer<R: Reply>(
        &mut self,
        publish: &mut Pending<R>,
        answer: Result<(), PublishError>,
    ) {
        if let Some(reply) = publish.reply.take() {
            self.unanswered = self.unanswered.saturating_sub(1);
            self.tell(reply, answer);
        }
    }

    /// Answers what was not accepted.
    pub(super) fn reject<R: Reply>(&mut self, reply: R, error: PublishError) {
        self.counters.published += 1;
        self.tell(reply, Err(error));
    }

    fn tell<R: Reply>(&mut self, reply: R, answer: Result<(), PublishError>) {
        self.counters.add(&answer);
        reply.answer(answer);
    }
}
