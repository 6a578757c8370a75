//! What the queue counts: how much it holds against how much it may hold, and how it answered.

use super::{
    fold::Batch,
    latency::Latencies,
    slot::{Reply, Slot},
};
use crate::error::{Cause, Delivery, ErrorKind, PublishError};

/// A number of publishes and the bytes of their bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) publishes: usize,
    pub(crate) bytes: usize,
}

impl Load {
    pub(crate) fn add(&mut self, publishes: usize, bytes: usize) {
        self.publishes = self.publishes.saturating_add(publishes);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn remove(&mut self, publishes: usize, bytes: usize) {
        self.publishes = self.publishes.saturating_sub(publishes);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// What the queue may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Accepted and not answered.
    pub(crate) pending: Load,
    /// Handed over and not answered.
    pub(crate) window: Load,
    /// What is folded into one command, if anything.
    pub(crate) batch: Option<Batch>,
    /// Whether what may be stored is handed over again after a lost connection.
    pub(crate) retry_maybe_written: bool,
}

/// How many publishes were answered how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Brought to the queue, with or without success.
    pub(crate) published: u64,
    pub(crate) ok: u64,
    pub(crate) not_written: u64,
    pub(crate) maybe_written: u64,
    pub(crate) maybe_partial: u64,
    /// Of those not written: for want of room.
    pub(crate) full: u64,
    /// Of all but the ok: for want of time.
    pub(crate) timed_out: u64,
    /// Handed over again after a connection that did not execute them.
    pub(crate) resent: u64,
    /// Commands handed over that publish.
    pub(crate) commands: u64,
    /// Of those: automatic batches.
    pub(crate) batches: u64,
    /// Publishes in automatic batches.
    pub(crate) batched: u64,
}

impl Tally {
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
            ErrorKind::Full => self.full += 1,
            ErrorKind::Timeout => self.timed_out += 1,
            _ => {}
        }
    }
}

/// The books of the queue.
pub(super) struct Ledger {
    limit: Load,
    /// From a publish's acceptance until its slot leaves, which for an empty place is later than its answer.
    pub(super) held: Load,
    /// Publishes that have no answer yet.
    pub(super) unanswered: usize,
    pub(super) tally: Tally,
    pub(super) latency: Latencies,
}

impl Ledger {
    pub(super) fn new(limit: Load) -> Self {
        Self {
            limit,
            held: Load::default(),
            unanswered: 0,
            tally: Tally::default(),
            latency: Latencies::default(),
        }
    }

    /// Whether so much can be accepted beside what is held.
    pub(super) fn has_room(&self, load: Load) -> bool {
        let Self { limit, held, .. } = self;
        held.publishes.saturating_add(load.publishes) <= limit.publishes
            && held.bytes.saturating_add(load.bytes) <= limit.bytes
    }

    /// Why so much cannot be accepted.
    pub(super) fn full(&self, load: Load) -> Cause {
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
    pub(super) fn may_fit(&self, load: Load) -> bool {
        load.publishes <= self.limit.publishes && load.bytes <= self.limit.bytes
    }

    pub(super) fn accept<R>(&mut self, slot: &Slot<R>) {
        self.held.add(1, slot.size);
        self.unanswered += 1;
        self.tally.published += 1;
    }

    /// A slot leaves the queue.
    pub(super) fn release<R>(&mut self, slot: &Slot<R>) {
        self.held.remove(1, slot.size);
    }

    /// The one place that answers what was accepted: at most once for each slot.
    pub(super) fn answer<R: Reply>(
        &mut self,
        slot: &mut Slot<R>,
        answer: Result<(), PublishError>,
    ) {
        if let Some(reply) = slot.reply.take() {
            self.unanswered = self.unanswered.saturating_sub(1);
            self.tell(reply, answer);
        }
    }

    /// Answers what was not accepted.
    pub(super) fn turn_away<R: Reply>(&mut self, reply: R, error: PublishError) {
        self.tally.published += 1;
        self.tell(reply, Err(error));
    }

    fn tell<R: Reply>(&mut self, reply: R, answer: Result<(), PublishError>) {
        self.tally.add(&answer);
        reply.answer(answer);
    }
}
