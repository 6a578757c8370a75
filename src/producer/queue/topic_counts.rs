//! Results by topic.

use std::collections::HashMap;

use crate::{error::Delivery, producer::TopicStats, protocol::Topic};

/// How many publishes of each topic have which result. Topics beyond the limit are counted
/// together.
pub(super) struct TopicCounts {
    limit: usize,
    topics: HashMap<Topic, TopicStats>,
    others: TopicStats,
}

impl TopicCounts {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            topics: HashMap::new(),
            others: TopicStats::of(None),
        }
    }

    pub(super) fn count(&mut self, topic: &Topic, result: Result<(), Delivery>) {
        if let Some(stats) = self.topics.get_mut(topic) {
            return stats.count(result);
        }
        if self.topics.len() >= self.limit {
            return self.others.count(result);
        }
        let mut stats = TopicStats::of(Some(topic.clone()));
        stats.count(result);
        self.topics.insert(topic.clone(), stats);
    }

    /// Those of each topic in the order of their names, and then those of all others, if there are
    /// any.
    pub(super) fn stats(&self) -> Vec<TopicStats> {
        let mut stats: Vec<_> = self.topics.values().cloned().collect();
        stats.sort_unstable_by(|one, next| one.topic.cmp(&next.topic));
        let others = Some(&self.others).filter(|others| others.answered() > 0);
        stats.extend(others.cloned());
        stats
    }
}
