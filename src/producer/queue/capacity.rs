//! How many publishes may be accepted: by one queue, or by the queues of a pool together.

use std::{
    cell::{Cell, RefCell},
    task::Waker,
};

use super::{
    limits::{Limits, Usage},
    topic_counts::TopicCounts,
    topic_limit::TopicLimit,
};
use crate::{
    error::{Cause, Delivery},
    producer::TopicStats,
    protocol::Topic,
};

/// The limits of what is accepted and not answered, what of them is used, and the results by topic.
///
/// A publish uses it from its acceptance until its entry leaves the last queue. One that moves
/// between the queues of a pool keeps its share.
pub(crate) struct Capacity {
    limit: Usage,
    held: Cell<Usage>,
    /// `None`: a topic has no limit of its own.
    topics: Option<RefCell<TopicLimit>>,
    /// `None`: results are not counted by topic.
    counts: Option<RefCell<TopicCounts>>,
    /// The task that is woken when a publish leaves: it waits for capacity.
    waiting: RefCell<Option<Waker>>,
}

impl Capacity {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (per_topic, counted) = (limits.pending_per_topic, limits.topic_stats);
        Self {
            limit: limits.pending,
            held: Cell::default(),
            topics: per_topic.map(|limit| RefCell::new(TopicLimit::new(limit))),
            counts: counted.map(|topics| RefCell::new(TopicCounts::new(topics))),
            waiting: RefCell::default(),
        }
    }

    /// Counts the result of an accepted publish.
    #[inline]
    pub(super) fn count(&self, topic: &Topic, result: Result<(), Delivery>) {
        if let Some(counts) = &self.counts {
            counts.borrow_mut().count(topic, result);
        }
    }

    /// The results by topic, if they are counted.
    pub(crate) fn topic_stats(&self) -> Vec<TopicStats> {
        let counts = self.counts.as_ref();
        counts.map_or_else(Vec::new, |counts| counts.borrow().stats())
    }

    /// What all publishes use.
    pub(crate) fn held(&self) -> Usage {
        self.held.get()
    }

    /// Returns whether `usage` can be accepted now.
    #[inline]
    pub(super) fn has_capacity(&self, usage: Usage) -> bool {
        self.held.get().plus(usage).fits(self.limit)
    }

    /// Returns whether a topic has as many publishes as it may have.
    #[inline]
    pub(super) fn is_topic_full(&self, topic: &Topic) -> bool {
        match &self.topics {
            None => false,
            Some(topics) => topics.borrow().is_full(topic),
        }
    }

    /// Sets whether topics that have capacity again are noted from now on.
    pub(super) fn note_freed_topics(&self, is_noted: bool) {
        if let Some(topics) = &self.topics {
            topics.borrow_mut().notes_freed = is_noted;
        }
    }

    /// Returns the topics that were full and have capacity again, since the last call.
    pub(super) fn take_freed_topics(&self) -> Vec<Topic> {
        let topics = self.topics.as_ref();
        topics.map_or_else(Vec::new, |topics| topics.borrow_mut().take_freed())
    }

    /// Returns whether `usage` could be accepted by an empty queue.
    pub(super) fn may_fit(&self, usage: Usage) -> bool {
        usage.fits(self.limit)
    }

    /// The cause if `usage` exceeds the capacity.
    pub(super) fn full_cause(&self, topic: &Topic, usage: Usage) -> Cause {
        let (limit, held) = (self.limit, self.held.get());
        if self.is_topic_full(topic)
            && let Some(topics) = self.topics.as_ref().map(RefCell::borrow)
        {
            return Cause::Full {
                option: "max_pending_per_topic",
                unit: "publishes of the topic",
                held: topics.held(topic),
                size: 1,
                limit: topics.limit(),
            };
        }
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

    #[inline]
    pub(super) fn accept(&self, topic: &Topic, usage: Usage) {
        self.held.set(self.held.get().plus(usage));
        if let Some(topics) = &self.topics {
            topics.borrow_mut().accept(topic);
        }
    }

    #[inline]
    pub(super) fn release<'a>(&self, usage: Usage, topic: impl FnOnce() -> Option<&'a Topic>) {
        self.held.set(self.held.get().minus(usage));
        if let Some(topics) = &self.topics
            && let Some(topic) = topic()
        {
            topics.borrow_mut().release(topic, usage.publishes);
        }
    }

    /// Lets a task wait until [`wake`](Self::wake) is called.
    pub(crate) fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *waiting = Some(waker.clone());
        }
    }

    /// Wakes the task that waits: publishes may have left.
    pub(crate) fn wake(&self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }
}
