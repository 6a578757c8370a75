//! Publishes that wait for room in the order in which they came, each for as long as its dead-line allows.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    limits::{Usage, deadline_after},
    pending::{Reply, Transaction},
};

pub(super) struct Waiter<R> {
    pub(super) transaction: Transaction,
    pub(super) came: Instant,
    pub(super) reply: R,
}

impl<R: Reply> Waiter<R> {
    pub(super) fn usage(&self) -> Usage {
        self.transaction.usage()
    }

    pub(super) fn deadline(&self) -> Instant {
        deadline_after(self.came, self.transaction.timeout)
    }
}

/// Who waits for room, the longest first. Each is the message of a caller that awaits its answer, and so holds
/// no memory that its caller would not hold.
pub(super) struct Admission<R> {
    waiting: VecDeque<Waiter<R>>,
    /// At this length those whose caller is gone are let go.
    crowded: usize,
    /// When cancelled publishes were last removed for lack of capacity.
    purged: Option<Instant>,
}

impl<R: Reply> Admission<R> {
    const CROWDED: usize = 64;

    /// Cancelled publishes are removed at most once per interval, because each removal visits all publishes.
    const PURGE_INTERVAL: Duration = Duration::from_millis(20);

    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            crowded: Self::CROWDED,
            purged: None,
        }
    }

    /// Whether cancelled publishes may be removed now; if so, the interval starts again.
    pub(super) fn may_purge(&mut self, now: Instant) -> bool {
        let may_purge = self
            .purged
            .is_none_or(|purged| purged + Self::PURGE_INTERVAL <= now);
        if may_purge {
            self.purged = Some(now);
        }
        may_purge
    }

    /// Whether nobody waits. Those who have gone away do not.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.iter().all(|waiting| waiting.reply.is_closed())
    }

    /// Returns the number of publishes that wait and are not cancelled.
    pub(super) fn waiting(&self) -> usize {
        let waiting = self.waiting.iter();
        waiting.filter(|waiter| !waiter.reply.is_closed()).count()
    }

    /// What must have room before anything else, where somebody waits.
    #[inline]
    pub(super) fn first(&mut self) -> Option<Usage> {
        while self.waiting.front()?.reply.is_closed() {
            self.waiting.pop_front();
        }
        self.waiting.front().map(Waiter::usage)
    }

    pub(super) fn pop(&mut self) -> Option<Waiter<R>> {
        self.waiting.pop_front()
    }

    pub(super) fn push(&mut self, waiting: Waiter<R>) {
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
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Waiter<R>> {
        let (overdue, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .filter(|waiting| !waiting.reply.is_closed())
            .partition(|waiting| waiting.deadline() <= now);
        self.waiting = waiting.into();
        overdue
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.iter().map(Waiter::deadline).min()
    }

    /// How many publishes wait for capacity, those cancelled a moment ago included.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}
