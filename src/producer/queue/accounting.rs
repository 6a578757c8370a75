//! What the queue holds, how it answered, and how long that took.

use super::{
    latency::Latency,
    limits::Usage,
    pending::{Pending, Reply},
};
use crate::error::{Cause, Delivery, ErrorKind, PublishError};

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

/// The capacity of the queue, and the only place that answers publishes.
pub(super) struct Accounting {
    limit: Usage,
    /// From the acceptance of a publish until its entry leaves, which may be after its answer.
    pub(super) held: Usage,
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

    /// Returns whether `usage` can be accepted now.
    pub(super) fn has_capacity(&self, usage: Usage) -> bool {
        self.held.plus(usage).fits(self.limit)
    }

    /// Returns whether `usage` could be accepted by an empty queue.
    pub(super) fn may_fit(&self, usage: Usage) -> bool {
        usage.fits(self.limit)
    }

    /// The cause if `usage` exceeds the capacity.
    pub(super) fn full_cause(&self, usage: Usage) -> Cause {
        let Self { limit, held, .. } = self;
        if held.plus(usage).publishes > limit.publishes {
            Cause::Full {
                option: "max_pending",
                unit: "publishes",
                held: held.publishes,
                size: usage.publishes,
                limit: limit.publishes,
            }
        } else {
            Cause::Full {
                option: "max_pending_bytes",
                unit: "bytes",
                held: held.bytes,
                size: usage.bytes,
                limit: limit.bytes,
            }
        }
    }

    /// A publish was accepted.
    pub(super) fn accept<R>(&mut self, publish: &Pending<R>) {
        self.held.add(publish.usage());
        self.unanswered += 1;
        self.counters.published += 1;
    }

    /// The entry of a publish leaves the queue.
    pub(super) fn release<R>(&mut self, publish: &Pending<R>) {
        self.held.remove(publish.usage());
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
            self.reply(reply, answer);
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
