//! Publishes that wait for room in the order in which they came, each for as long as its dead-line allows.

use std::{collections::VecDeque, time::Instant};

use super::{
    TransactionQueue,
    ledger::Load,
    slot::{Reply, Transaction, later},
};

pub(super) struct Waiting<R> {
    pub(super) transaction: Transaction,
    pub(super) came: Instant,
    pub(super) reply: R,
}

impl<R: Reply> Waiting<R> {
    pub(super) fn load(&self) -> Load {
        Load {
            publishes: 1,
            bytes: self.transaction.payload.size(),
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        later(self.came, self.transaction.timeout)
    }
}

/// Who waits for room, the longest first. Each is the message of a caller that awaits its answer, and so holds
/// no memory that its caller would not hold.
pub(super) struct Line<R> {
    waiting: VecDeque<Waiting<R>>,
    /// At this length those whose caller is gone are let go.
    crowded: usize,
}

impl<R: Reply> Line<R> {
    const CROWDED: usize = 64;

    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            crowded: Self::CROWDED,
        }
    }

    /// Whether nobody waits. Those who have gone away do not.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.iter().all(|waiting| waiting.reply.is_closed())
    }

    /// What must have room before anything else, where somebody waits.
    #[inline]
    pub(super) fn first(&mut self) -> Option<Load> {
        while self.waiting.front()?.reply.is_closed() {
            self.waiting.pop_front();
        }
        self.waiting.front().map(Waiting::load)
    }

    pub(super) fn pop(&mut self) -> Option<Waiting<R>> {
        self.waiting.pop_front()
    }

    pub(super) fn push(&mut self, waiting: Waiting<R>) {
        if self.waiting.len() >= self.crowded {
            self.purge();
            self.crowded = Self::CROWDED.max(self.waiting.len().saturating_mul(2));
        }
        self.waiting.push_back(waiting);
    }

    /// Lets go of those whose caller is gone.
    pub(super) fn purge(&mut self) {
        self.waiting.retain(|waiting| !waiting.reply.is_closed());
    }

    /// Takes out those whose dead-line has come.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Waiting<R>> {
        let (overdue, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .filter(|waiting| !waiting.reply.is_closed())
            .partition(|waiting| waiting.deadline() <= now);
        self.waiting = waiting.into();
        overdue
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.iter().map(Waiting::deadline).min()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl<R: Reply> TransactionQueue<R> {
    /// Whether there is room for so much beside what is held, and behind the first who waits for room.
    pub(crate) fn has_room(&mut self, load: Load) -> bool {
        let load = self.behind_the_line(load);
        self.ledger.has_room(load)
    }

    /// So much, and what the first who waits for room needs before it.
    pub(super) fn behind_the_line(&mut self, mut load: Load) -> Load {
        if let Some(first) = self.line.first() {
            load.add(first.publishes, first.bytes);
        }
        load
    }
}
