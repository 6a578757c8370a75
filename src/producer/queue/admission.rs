//! Publishes that wait for capacity.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::{
    accounting::Accounting,
    blocks::Blocks,
    budget::Budget,
    limits::Usage,
    pending::{Reply, Transaction},
};
use crate::{error::Cause, link::deadline_after, protocol::Topic};

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

/// The waiters of a topic that is full.
struct TopicLine<R> {
    /// `None` if it is not in use.
    topic: Option<Topic>,
    waiters: Line<R>,
}

/// The publishes that wait for capacity.
///
/// All wait in one line. A waiter at its front whose topic is full moves to the line of its topic,
/// so that it does not hold up other topics. It comes first once its topic has capacity again.
///
/// Each of them is the message of a caller that awaits the result, so the memory is the caller's.
pub(super) struct Admission<R> {
    common: Line<R>,
    lines: Vec<TopicLine<R>>,
    by_topic: HashMap<Topic, usize>,
    free: Vec<usize>,
    /// Topics with waiters that have capacity again.
    resumed: VecDeque<Topic>,
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
            crowded: Self::CROWDED,
            purged: None,
        }
    }

    /// Returns the number of waiters, cancelled ones included. It visits all lines.
    pub(super) fn len(&self) -> usize {
        let of_topics: usize = self.lines.iter().map(|line| line.waiters.len()).sum();
        self.common.len() + of_topics
    }

    /// Returns whether nothing waits. Cancelled waiters do not, as far as the budget allows to find
    /// out.
    #[inline]
    pub(super) fn is_empty(&mut self, budget: &mut Budget) -> bool {
        first(&mut self.common, budget).is_none()
            && self.by_topic.values().all(|index| {
                let line = self.lines.get_mut(*index);
                line.is_none_or(|line| first(&mut line.waiters, budget).is_none())
            })
    }

    /// Returns whether publishes wait, perhaps cancelled ones.
    #[inline]
    pub(super) fn has_waiters(&self) -> bool {
        !self.common.is_empty() || !self.by_topic.is_empty()
    }

    /// Returns whether others wait before a publish of this topic, perhaps cancelled ones.
    #[inline]
    pub(super) fn has_waiters_before(&self, topic: &Topic) -> bool {
        !self.common.is_empty()
            || !self.resumed.is_empty()
            || !self.by_topic.is_empty() && self.by_topic.contains_key(topic)
    }

    /// Returns why a publish cannot be accepted now. As long as there is work, it is not known who
    /// comes first.
    pub(super) fn obstacle(
        &mut self,
        transaction: &Transaction,
        has_work: bool,
        accounting: &Accounting,
        budget: &mut Budget,
    ) -> Option<Cause> {
        let (topic, usage) = (&transaction.topic, transaction.usage());
        let capacity = &accounting.capacity;
        let needed = if has_work {
            usage
        } else {
            usage.plus(self.before(topic, budget))
        };
        let may_pass = !has_work
            && needed == usage
            && capacity.has_capacity(usage)
            && !capacity.is_topic_full(topic);
        (!may_pass).then(|| capacity.full_cause(topic, needed))
    }

    /// Returns what is needed by the waiters that are to be accepted next before a publish of this
    /// topic, after [`pop`](Self::pop) has returned none.
    fn before(&mut self, topic: &Topic, budget: &mut Budget) -> Usage {
        let resumed = self.resumed.front().filter(|resumed| *resumed != topic);
        let resumed = resumed.cloned();
        let of_topic = self.first_of_topic(topic, budget);
        let of_resumed = resumed.and_then(|resumed| self.first_of_topic(&resumed, budget));
        let of_all = first(&mut self.common, budget).map(|waiter| waiter.transaction.usage());
        let waiting = [of_topic, of_resumed, of_all].into_iter().flatten();
        waiting.fold(Usage::default(), Usage::plus)
    }

    /// Returns what the first waiter in the line of a topic needs.
    fn first_of_topic(&mut self, topic: &Topic, budget: &mut Budget) -> Option<Usage> {
        let index = self.by_topic.get(topic)?;
        let waiter = first(&mut self.lines.get_mut(*index)?.waiters, budget)?;
        Some(waiter.transaction.usage())
    }

    /// Adds a waiter and returns its deadline.
    pub(super) fn push(
        &mut self,
        transaction: Transaction,
        since: Instant,
        reply: R,
        accounting: &mut Accounting,
    ) -> Instant {
        let waiter = Waiter {
            transaction,
            since,
            reply: Some(reply),
        };
        let deadline = waiter.deadline();
        let is_topic_full = accounting.capacity.is_topic_full(&waiter.transaction.topic);
        if is_topic_full && self.common.is_empty() {
            self.push_to_topic(waiter);
            accounting.capacity.note_freed_topics(true);
        } else {
            self.common.push_back(waiter);
        }
        deadline
    }

    /// Removes the next waiter, if there is capacity for it.
    pub(super) fn pop(
        &mut self,
        accounting: &mut Accounting,
        budget: &mut Budget,
    ) -> Option<Waiter<R>> {
        if !self.by_topic.is_empty() {
            let freed = accounting.capacity.take_freed_topics().into_iter();
            let freed = freed.filter(|topic| self.by_topic.contains_key(topic));
            self.resumed.extend(freed);
            if let Some(line) = self.resumed_line(accounting, budget) {
                return pop_if_fits(line, accounting, budget);
            }
        }
        self.move_to_topics(accounting, budget);
        accounting
            .capacity
            .note_freed_topics(!self.by_topic.is_empty());
        pop_if_fits(&mut self.common, accounting, budget)
    }

    /// Moves waiters from the front of the common line to the lines of their topics, as long as
    /// these are full.
    fn move_to_topics(&mut self, accounting: &Accounting, budget: &mut Budget) {
        while let Some(waiter) = first(&mut self.common, budget) {
            let topic = &waiter.transaction.topic;
            let is_full =
                self.by_topic.contains_key(topic) || accounting.capacity.is_topic_full(topic);
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
                let has_waiters = first(&mut line.waiters, budget).is_some();
                if has_waiters && !accounting.capacity.is_topic_full(topic) {
                    // Fetched again: a borrow that is returned lasts until the end.
                    return self.lines.get_mut(index).map(|line| &mut line.waiters);
                }
                self.free_if_empty(index);
            }
            self.resumed.pop_front();
        }
    }

    /// Frees the line of a topic without waiters.
    fn free_if_empty(&mut self, index: usize) {
        if let Some(line) = self.lines.get_mut(index)
            && line.waiters.is_empty()
            && let Some(topic) = line.topic.take()
        {
            line.waiters = Blocks::new();
            self.by_topic.remove(&topic);
            self.free.push(index);
        }
    }

    /// Adds a waiter to the line of its topic.
    fn push_to_topic(&mut self, waiter: Waiter<R>) {
        let topic = &waiter.transaction.topic;
        let index = self.by_topic.get(topic).copied().unwrap_or_else(|| {
            let index = self.free.pop().unwrap_or_else(|| {
                self.lines.push(TopicLine {
                    topic: None,
                    waiters: Blocks::new(),
                });
                self.lines.len() - 1
            });
            self.by_topic.insert(topic.clone(), index);
            index
        });
        if let Some(line) = self.lines.get_mut(index) {
            line.topic.get_or_insert_with(|| topic.clone());
            line.waiters.push_back(waiter);
        }
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

    /// Number of blocks of the lines of topics.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.lines.iter().map(|line| line.waiters.blocks()).sum()
    }

    /// All that wait, cancelled ones included.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> impl Iterator<Item = &R> {
        let lines = self.lines.iter().map(|line| &line.waiters);
        lines
            .chain([&self.common])
            .flat_map(Blocks::iter)
            .filter_map(|waiter| waiter.reply.as_ref())
    }

    /// The lines by number, for a pass over all waiters.
    pub(super) fn line(&mut self, number: usize) -> Option<&mut Line<R>> {
        match number.checked_sub(1) {
            None => Some(&mut self.common),
            Some(index) => self.lines.get_mut(index).map(|line| &mut line.waiters),
        }
    }

    /// A pass has visited this line to its end.
    pub(super) fn on_visited(&mut self, number: usize) {
        if let Some(index) = number.checked_sub(1) {
            self.free_if_empty(index);
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
    if budget.is_exhausted() || !accounting.capacity.has_capacity(usage) {
        return None;
    }
    line.pop_front()
}
