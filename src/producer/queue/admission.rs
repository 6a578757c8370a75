//! Publishes that wait for capacity.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use super::{
    expiry::Expiry,
    limits::Usage,
    pending::{Reply, Transaction},
};
use crate::link::deadline_after;

/// A publish that waits for capacity.
pub(super) struct Waiter<R> {
    pub(super) transaction: Transaction,
    pub(super) since: Instant,
    pub(super) reply: R,
}

impl<R> Waiter<R> {
    fn deadline(&self) -> Instant {
        deadline_after(self.since, self.transaction.timeout)
    }
}

/// The publishes that wait for capacity, in order of arrival.
///
/// Each of them is the message of a caller that awaits the result, so the memory is the caller's.
pub(super) struct Admission<R> {
    waiters: VecDeque<Waiter<R>>,
    /// Number of waiters from which cancelled ones are removed before another is added.
    crowded: usize,
    /// When cancelled publishes were last removed for lack of capacity.
    purged: Option<Instant>,
}

impl<R: Reply> Admission<R> {
    /// Minimum of `crowded`: a removal visits all waiters, so a few cancelled ones may stay.
    const CROWDED: usize = 64;

    /// Minimum time between two removals for lack of capacity: each visits all publishes.
    const PURGE_INTERVAL: Duration = Duration::from_millis(20);

    pub(super) fn new() -> Self {
        Self {
            waiters: VecDeque::new(),
            crowded: Self::CROWDED,
            purged: None,
        }
    }

    /// Returns the number of waiters, cancelled ones included.
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Returns whether nothing waits. Cancelled waiters do not.
    pub(super) fn is_empty(&mut self) -> bool {
        self.first().is_none()
    }

    /// Returns what the first waiter needs. Cancelled waiters in front of it are removed.
    #[inline]
    pub(super) fn first(&mut self) -> Option<Usage> {
        while self.waiters.front()?.reply.is_closed() {
            self.waiters.pop_front();
        }
        self.waiters
            .front()
            .map(|waiter| waiter.transaction.usage())
    }

    /// Removes the first waiter if `may_pass` returns true for what it needs.
    pub(super) fn pop_if(&mut self, may_pass: impl FnOnce(Usage) -> bool) -> Option<Waiter<R>> {
        self.first().filter(|usage| may_pass(*usage))?;
        self.waiters.pop_front()
    }

    /// Adds a waiter and returns its deadline.
    pub(super) fn push(&mut self, transaction: Transaction, now: Instant, reply: R) -> Instant {
        if self.waiters.len() >= self.crowded {
            self.remove_cancelled();
            self.crowded = Self::CROWDED.max(self.waiters.len().saturating_mul(2));
        }
        let waiter = Waiter {
            transaction,
            since: now,
            reply,
        };
        let deadline = waiter.deadline();
        self.waiters.push_back(waiter);
        deadline
    }

    pub(super) fn remove_cancelled(&mut self) {
        self.waiters.retain(|waiter| !waiter.reply.is_closed());
    }

    /// Returns whether cancelled publishes are to be removed for lack of capacity, at most once per
    /// interval.
    pub(super) fn start_purge(&mut self, now: Instant) -> bool {
        let is_due = self
            .purged
            .is_none_or(|purged| purged + Self::PURGE_INTERVAL <= now);
        if is_due {
            self.purged = Some(now);
        }
        is_due
    }

    /// Removes the waiters whose deadline has passed, and cancelled ones, which are not returned.
    pub(super) fn expire(&mut self, now: Instant, expiry: &mut Expiry) -> Vec<Waiter<R>> {
        let (expired, waiters): (Vec<_>, Vec<_>) = mem::take(&mut self.waiters)
            .into_iter()
            .filter(|waiter| !waiter.reply.is_closed())
            .partition(|waiter| expiry.has_passed(waiter.deadline(), now));
        self.waiters = waiters.into();
        expired
    }

    /// Removes all waiters, and returns those that are not cancelled.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Waiter<R>> + use<R> {
        let waiters = mem::take(&mut self.waiters).into_iter();
        waiters.filter(|waiter| !waiter.reply.is_closed())
    }
}
