//! The limit of publishes per topic.

use std::collections::HashMap;

use crate::protocol::Topic;

/// How many publishes each topic has in the queue, and how many it may have.
#[derive(Debug)]
pub(super) struct TopicLimit {
    limit: usize,
    held: HashMap<Topic, usize>,
    /// Topics that were full and have capacity again, since the last
    /// [`take_freed`](Self::take_freed).
    freed: Vec<Topic>,
    /// Whether `freed` is kept: publishes wait for the capacity of a topic.
    pub(super) notes_freed: bool,
}

impl TopicLimit {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            held: HashMap::new(),
            freed: Vec::new(),
            notes_freed: false,
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn held(&self, topic: &Topic) -> usize {
        self.held.get(topic).copied().unwrap_or_default()
    }

    pub(super) fn is_full(&self, topic: &Topic) -> bool {
        self.held(topic) >= self.limit
    }

    pub(super) fn accept(&mut self, topic: &Topic) {
        if let Some(held) = self.held.get_mut(topic) {
            *held += 1;
        } else {
            self.held.insert(topic.clone(), 1);
        }
    }

    pub(super) fn release(&mut self, topic: &Topic, publishes: usize) {
        let Some(held) = self.held.get_mut(topic) else {
            return;
        };
        if *held == self.limit && self.notes_freed {
            self.freed.push(topic.clone());
        }
        *held = held.saturating_sub(publishes);
        if *held == 0 {
            self.held.remove(topic);
        }
    }

    pub(super) fn take_freed(&mut self) -> Vec<Topic> {
        std::mem::take(&mut self.freed)
    }
}
