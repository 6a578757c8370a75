//! Publishes that wait for capacity.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::{
    accounting::Accounting,
    blocks::Blocks,
    budget::Budget,
    limits::{Usage, WhenFull},
    pending::{Reply, Transaction},
};
use crate::{link::deadline_after, protocol::Topic};

/// A publish that waits for capacity.
pub(super) struct Waiter<R> {
    pub(super) transaction: Transaction,
    pub(super) since: Instant,
    /// `None`: answered.
    pub(super) reply: Option<R>,
}

impl<R: Reply> Waiter<R> {
    pub(super) fn deadline(&self) -> Instant {
        deadline_after(self.since, self.transaction.timeout)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.reply.as_ref().is_none_or(Reply::is_closed)
    }
}

/// Waiters in order of arrival.
type Line<R> = Blocks<Waiter<R>>;

/// The publishes that wait for capacity.
///
/// All wait in one line. A waiter at its front whose topic is full moves to the line of its topic,
/// so that it does not hold up other topics. It comes first once its topic has capacity again.
///
/// Each of them is the message of a caller that awaits the result, so the memory is the caller's.
pub(super) struct Admission<R> {
    common: Line<R>,
    /// The lines of topics. Some are not in use.
    lines: Vec<Line<R>>,
    by_topic: HashMap<Topic, usize>,
    free: Vec<usize>,
    /// Topics with waiters that have capacity again.
    resumed: VecDeque<Topic>,
    /// Publishes that are not decided on yet: a pass may make capacity for them.
    undecided: VecDeque<(Waiter<R>, WhenFull)>,
    /// Number of waiters from which cancelled ones are removed.
    crowded: usize,
    /// When cancelled publishes were last removed for lack of capacity.
    purged: Option<Instant>,
}

impl<R: Reply> Admission<R> {
    /// Minimum of `crowded`: a removal visits all waiters, so a few cancelled ones may stay.
    const CROWDED: usize = 64;

    pub(super) fn new() -> Self {
        Self {
            common: Blocks::new(),
            lines: Vec::new(),
            by_topic: HashMap::new(),
            free: Vec::new(),
            resumed: VecDeque::new(),
            undecided: VecDeque::new(),
            crowded: Self::CROWDED,
            purged: None,
        }
    }

    /// Returns the number of waiters, cancelled ones included.
    pub(super) fn len(&self) -> usize {
        let of_topics: usize = self.lines.iter().map(Blocks::len).sum();
        self.common.len() + of_topics + self.undecided.len()
    }

    /// Returns whether nothing waits. Cancelled waiters do not, as far as the budget allows to find
    /// out.
    #[inline]
    pub(super) fn is_empty(&mut self, budget: &mut Budget) -> bool {
        self.undecided.is_empty()
            && first(&mut self.common, budget).is_none()
            && self
                .lines
                .iter_mut()
                .all(|line| first(line, budget).is_none())
    }

    /// Returns whether publishes wait, perhaps cancelled ones.
    #[inline]
    pub(super) fn has_waiters(&self) -> bool {
        !self.common.is_empty() || !self.by_topic.is_empty() || !self.undecided.is_empty()
    }

    /// Returns whether others wait before a publish of this topic, perhaps cancelled ones.
    #[inline]
    pub(super) fn has_waiters_before(&self, topic: &Topic) -> bool {
        !self.common.is_empty()
            || !self.undecided.is_empty()
            || !self.resumed.is_empty()
            || !self.by_topic.is_empty() && self.by_topic.contains_key(topic)
    }

    /// Returns what is needed by the waiters that are to be accepted next before a publish of this
    /// topic, after [`pop`](Self::pop) has returned none.
    pub(super) fn before(&mut self, topic: &Topic, budget: &mut Budget) -> Option<Usage> {
        let resumed = self.resumed.front().filter(|resumed| *resumed != topic);
        let resumed = resumed.cloned();
        let of_topic = self.first_of_topic(topic, budget);
        let of_resumed = resumed.and_then(|resumed| self.first_of_topic(&resumed, budget));
        let of_all = first(&mut self.common, budget).map(|waiter| waiter.transaction.usage());
        let waiting = [of_topic, of_resumed, of_all].into_iter().flatten();
        waiting.reduce(Usage::plus)
    }

    /// Returns what the first waiter in the line of a topic needs.
    fn first_of_topic(&mut self, topic: &Topic, budget: &mut Budget) -> Option<Usage> {
        let index = self.by_topic.get(topic)?;
        let waiter = first(self.lines.get_mut(*index)?, budget)?;
        Some(waiter.transaction.usage())
    }

    pub(super) fn push(&mut self, waiter: Waiter<R>) {
        self.common.push_back(waiter);
    }

    /// Removes the next waiter, if there is capacity for it.
    pub(super) fn pop(
        &mut self,
        accounting: &mut Accounting,
        budget: &mut Budget,
    ) -> Option<Waiter<R>> {
        if !self.by_topic.is_empty() {
            let freed = accounting.take_freed_topics().into_iter();
            let freed = freed.filter(|topic| self.by_topic.contains_key(topic));
            self.resumed.extend(freed);
            if let Some(line) = self.resumed_line(accounting, budget) {
                return pop_if_fits(line, accounting, budget);
            }
        }
        self.move_to_topics(accounting, budget);
        accounting.note_freed_topics(!self.by_topic.is_empty());
        pop_if_fits(&mut self.common, accounting, budget)
    }

    /// Moves waiters from the front of the common line to the lines of their topics, as long as
    /// these are full.
    fn move_to_topics(&mut self, accounting: &Accounting, budget: &mut Budget) {
        while let Some(waiter) = first(&mut self.common, budget) {
            let topic = &waiter.transaction.topic;
            let is_full = self.by_topic.contains_key(topic) || accounting.is_topic_full(topic);
            if !is_full || budget.is_exhausted() {
                return;
            }
            budget.spend(1);
            if let Some(waiter) = self.common.pop_front() {
                self.push_to_topic(waiter);
            }
        }
    }

    /// Returns the line of the first resumed topic that has capacity and waiters.
    fn resumed_line(
        &mut self,
        accounting: &Accounting,
        budget: &mut Budget,
    ) -> Option<&mut Line<R>> {
        loop {
            let topic = self.resumed.front()?;
            let index = self.by_topic.get(topic).copied();
            if let Some(index) = index
                && let Some(line) = self.lines.get_mut(index)
            {
                let has_waiters = first(line, budget).is_some();
                if has_waiters && !accounting.is_topic_full(topic) {
                    // Fetched again: a borrow that is returned lasts until the end.
                    return self.lines.get_mut(index);
                }
                if !has_waiters {
                    self.by_topic.remove(topic);
                    self.free.push(index);
                }
            }
            self.resumed.pop_front();
        }
    }

    /// Adds a waiter to the line of its topic.
    fn push_to_topic(&mut self, waiter: Waiter<R>) {
        let topic = &waiter.transaction.topic;
        let index = self.by_topic.get(topic).copied().unwrap_or_else(|| {
            let index = self.free.pop().unwrap_or_else(|| {
                self.lines.push(Blocks::new());
                self.lines.len() - 1
            });
            self.by_topic.insert(topic.clone(), index);
            index
        });
        if let Some(line) = self.lines.get_mut(index) {
            line.push_back(waiter);
        }
    }

    /// Returns whether publishes are to be decided on.
    pub(super) fn has_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// Adds a publish that is not decided on yet.
    pub(super) fn push_undecided(&mut self, waiter: Waiter<R>, when_full: WhenFull) {
        self.undecided.push_back((waiter, when_full));
    }

    /// Adds it again, before all others.
    pub(super) fn return_undecided(&mut self, waiter: Waiter<R>, when_full: WhenFull) {
        self.undecided.push_front((waiter, when_full));
    }

    pub(super) fn pop_undecided(&mut self) -> Option<(Waiter<R>, WhenFull)> {
        self.undecided.pop_front()
    }

    /// Returns whether cancelled waiters are to be removed, because there are many.
    pub(super) fn is_crowded(&self) -> bool {
        self.common.len() >= self.crowded
    }

    /// Cancelled waiters were removed.
    pub(super) fn on_cancelled_removed(&mut self) {
        self.crowded = Self::CROWDED.max(self.common.len().saturating_mul(2));
    }

    /// Returns whether cancelled publishes are to be removed for lack of capacity, at most once per
    /// `interval`.
    pub(super) fn start_purge(&mut self, interval: Duration, now: Instant) -> bool {
        let is_due = self.purged.is_none_or(|purged| purged + interval <= now);
        if is_due {
            self.purged = Some(now);
        }
        is_due
    }

    /// All that wait, cancelled ones included.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> impl Iterator<Item = &R> {
        let lines = self.lines.iter().chain([&self.common]);
        lines
            .flat_map(Blocks::iter)
            .filter_map(|waiter| waiter.reply.as_ref())
    }

    /// The lines by number, for a pass over all waiters.
    pub(super) fn line(&mut self, number: usize) -> Option<&mut Line<R>> {
        match number.checked_sub(1) {
            None => Some(&mut self.common),
            Some(index) => self.lines.get_mut(index),
        }
    }
}

/// Returns the first waiter of a line. Cancelled ones in front of it are removed, as far as the
/// budget allows.
#[inline]
fn first<'a, R: Reply>(line: &'a mut Line<R>, budget: &mut Budget) -> Option<&'a Waiter<R>> {
    while line.front()?.is_cancelled() && !budget.is_exhausted() {
        budget.spend(1);
        line.pop_front();
    }
    line.front()
}

fn pop_if_fits<R: Reply>(
    line: &mut Line<R>,
    accounting: &Accounting,
    budget: &mut Budget,
) -> Option<Waiter<R>> {
    let usage = first(line, budget)?.transaction.usage();
    if budget.is_exhausted() || !accounting.has_capacity(usage) {
        return None;
    }
    line.pop_front()
}
