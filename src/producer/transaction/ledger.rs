//! What the queue counts: how much it holds against how much it may hold, and how it answered.

use super::slot::{Reply, Slot};
use crate::error::{Cause, Delivery, Error};

/// A number of publishes and the bytes of their bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) publishes: usize,
    pub(crate) bytes: usize,
}

impl Load {
    pub(super) fn add(&mut self, publishes: usize, bytes: usize) {
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
    /// Whether what may be stored is handed over again after a lost connection.
    pub(crate) retry_unknown: bool,
}

/// How many publishes were answered how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) ok: u64,
    pub(crate) not_written: u64,
    pub(crate) maybe_written: u64,
    pub(crate) maybe_partly: u64,
}

/// The books of the queue.
pub(super) struct Ledger {
    limit: Load,
    /// From a publish's acceptance until its slot leaves, which for an empty place is later than its answer.
    pub(super) held: Load,
    /// Publishes that have no answer yet.
    pub(super) unanswered: usize,
    pub(super) tally: Tally,
}

impl Ledger {
    pub(super) fn new(limit: Load) -> Self {
        Self {
            limit,
            held: Load::default(),
            unanswered: 0,
            tally: Tally::default(),
        }
    }

    /// Why a publish of this size cannot be accepted, if it cannot.
    pub(super) fn full(&self, size: usize) -> Option<Cause> {
        let Self { limit, held, .. } = self;
        if held.publishes >= limit.publishes {
            return Some(Cause::Full {
                option: "max_pending",
                unit: "publishes",
                held: held.publishes,
                size: 1,
                limit: limit.publishes,
            });
        }
        if held.bytes.saturating_add(size) > limit.bytes {
            return Some(Cause::Full {
                option: "max_pending_bytes",
                unit: "bytes",
                held: held.bytes,
                size,
                limit: limit.bytes,
            });
        }
        None
    }

    pub(super) fn accept<R>(&mut self, slot: &Slot<R>) {
        self.held.add(1, slot.size);
        self.unanswered += 1;
    }

    /// A slot leaves the queue.
    pub(super) fn release<R>(&mut self, slot: &Slot<R>) {
        self.held.remove(1, slot.size);
    }

    /// The one place that answers what was accepted: at most once for each slot.
    pub(super) fn answer<R: Reply>(&mut self, slot: &mut Slot<R>, answer: Result<(), Error>) {
        if let Some(reply) = slot.reply.take() {
            self.unanswered = self.unanswered.saturating_sub(1);
            self.tell(reply, answer);
        }
    }

    /// Answers and counts.
    pub(super) fn tell<R: Reply>(&mut self, reply: R, answer: Result<(), Error>) {
        match answer.as_ref().map_err(Error::delivery) {
            Ok(()) => self.tally.ok += 1,
            Err(Delivery::NotWritten) => self.tally.not_written += 1,
            Err(Delivery::MaybeWritten) => self.tally.maybe_written += 1,
            Err(Delivery::MaybePartly) => self.tally.maybe_partly += 1,
        }
        reply.answer(answer);
    }
}
