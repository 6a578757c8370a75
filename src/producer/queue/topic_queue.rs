//! Where publishes stand: in a lane for each topic, or in a single one for all.

use std::{
    collections::{HashMap, VecDeque},
    mem, ptr,
};

use super::pending::Pending;
use crate::protocol::Topic;

/// So many topics keep their lane when nothing stands in it.
const KEPT: usize = 64;

/// So much room an empty lane keeps, in publishes.
const ROOMY: usize = 1_024;

/// Publishes in the order in which they came. Those of the front are in flight.
pub(super) struct TopicQueue<R> {
    /// Whose lane it is, where each topic has its own.
    topic: Option<Topic>,
    pub(super) pending: VecDeque<Pending<R>>,
    /// So many slots of the front are in flight.
    pub(super) sent: usize,
    /// nsqd had trouble with it: nothing of it is folded until nsqd has answered one of its commands with `OK`.
    pub(super) batching_suspended: bool,
    /// It stands in the line of lanes that take turns.
    listed: bool,
}

impl<R> TopicQueue<R> {
    fn new(topic: Option<Topic>) -> Self {
        Self {
            topic,
            pending: VecDeque::new(),
            sent: 0,
            batching_suspended: false,
            listed: false,
        }
    }

    /// How many publishes wait to be handed over.
    pub(super) fn pile(&self) -> usize {
        self.pending.len().saturating_sub(self.sent)
    }
}

/// All lanes, and whose turn it is.
pub(super) struct TopicQueues<R> {
    topics: Vec<TopicQueue<R>>,
    /// The lane of each topic; `None` where there is a single one.
    names: Option<HashMap<Topic, usize>>,
    /// Lanes that are nobody's.
    free: Vec<usize>,
    /// Lanes with something to hand over, each once, and perhaps some without.
    ready: VecDeque<usize>,
    /// Where the latest publish went, which is where the next one often goes.
    latest: usize,
}

impl<R> TopicQueues<R> {
    /// A single lane: the order of all topics is kept.
    pub(super) fn single() -> Self {
        Self {
            topics: vec![TopicQueue::new(None)],
            names: None,
            free: Vec::new(),
            ready: VecDeque::new(),
            latest: 0,
        }
    }

    /// A lane for each topic: the order of each is kept.
    pub(super) fn per_topic() -> Self {
        Self {
            topics: Vec::new(),
            names: Some(HashMap::new()),
            ..Self::single()
        }
    }

    pub(super) fn get_mut(&mut self, topic_queue: usize) -> Option<&mut TopicQueue<R>> {
        self.topics.get_mut(topic_queue)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut TopicQueue<R>> {
        self.topics.iter_mut()
    }

    /// Lets a publish stand behind all others of its lane.
    pub(super) fn push(&mut self, publish: Pending<R>) {
        self.latest = self.index(&publish.topic);
        if let Some(topic_queue) = self.topics.get_mut(self.latest) {
            topic_queue.pending.push_back(publish);
            self.list(self.latest);
        }
    }

    fn index(&mut self, topic: &Topic) -> usize {
        let Some(names) = &mut self.names else {
            return 0;
        };
        let latest = self.topics.get(self.latest);
        let latest = latest.and_then(|topic_queue| topic_queue.topic.as_ref());
        // A clone is mostly what it is, and soon seen.
        let is_same = |latest: &Topic| ptr::eq(latest.as_str(), topic.as_str()) || latest == topic;
        if latest.is_some_and(is_same) {
            return self.latest;
        }
        if let Some(index) = names.get(topic) {
            return *index;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.topics.push(TopicQueue::new(None));
            self.topics.len() - 1
        });
        if let Some(topic_queue) = self.topics.get_mut(index) {
            topic_queue.topic = Some(topic.clone());
        }
        names.insert(topic.clone(), index);
        index
    }

    /// How many lanes stand in line.
    pub(super) fn turns(&self) -> usize {
        self.ready.len()
    }

    /// The lane whose turn it is; it leaves the line.
    pub(super) fn turn(&mut self) -> Option<usize> {
        let index = self.ready.pop_front()?;
        if let Some(topic_queue) = self.topics.get_mut(index) {
            topic_queue.listed = false;
        }
        Some(index)
    }

    /// Puts a lane at the end of the line, if it has something to hand over and does not stand there.
    pub(super) fn list(&mut self, index: usize) {
        if let Some(topic_queue) = self.topics.get_mut(index)
            && !topic_queue.listed
            && topic_queue.pile() > 0
        {
            topic_queue.listed = true;
            self.ready.push_back(index);
        }
    }

    /// The lane whose turn it was keeps it.
    pub(super) fn keep_turn(&mut self, index: usize) {
        if let Some(topic_queue) = self.topics.get_mut(index)
            && !topic_queue.listed
        {
            topic_queue.listed = true;
            self.ready.push_front(index);
        }
    }

    /// Lines the lanes up anew: `first` in their order, then those that stand in line, and `last` behind all.
    pub(super) fn line_up(&mut self, first: VecDeque<usize>, last: Option<usize>) {
        let waiting = mem::take(&mut self.ready);
        for topic_queue in &mut self.topics {
            topic_queue.listed = false;
        }
        for index in first.into_iter().chain(waiting) {
            if Some(index) != last {
                self.list(index);
            }
        }
        if let Some(last) = last {
            self.list(last);
        }
    }

    /// Takes from a lane what it does not need.
    pub(super) fn rest(&mut self, index: usize) {
        let Some(topic_queue) = self.topics.get_mut(index) else {
            return;
        };
        if !topic_queue.pending.is_empty() {
            // A crowd has gone, and left a few behind.
            if topic_queue.pending.len() < topic_queue.pending.capacity() / 4 {
                topic_queue
                    .pending
                    .shrink_to(ROOMY.max(2 * topic_queue.pending.len()));
            }
            return;
        }
        match &mut self.names {
            Some(names) if names.len() > KEPT => {
                if let Some(topic) = &topic_queue.topic {
                    names.remove(topic);
                    self.free.push(index);
                    let listed = topic_queue.listed;
                    *topic_queue = TopicQueue::new(None);
                    topic_queue.listed = listed;
                }
            }
            _ => topic_queue.pending.shrink_to(ROOMY),
        }
    }

    /// Takes from all lanes what they do not need.
    pub(super) fn rest_all(&mut self) {
        for index in 0..self.topics.len() {
            self.rest(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::producer::{payload::Payload, queue::Transaction};

    fn publish(topics: &mut TopicQueues<()>, topic: usize) -> usize {
        let transaction = Transaction {
            topic: Topic::new(format!("topic_{topic}")).unwrap(),
            payload: Payload::Publish("body".into()),
            timeout: Duration::from_secs(1),
        };
        topics.push(Pending::new(transaction, Instant::now(), ()));
        topics.latest
    }

    #[test]
    fn a_topic_that_is_done_with_leaves_its_lane_to_another() {
        let mut topics = TopicQueues::per_topic();
        for topic in 0..100_000 {
            let index = publish(&mut topics, topic);
            assert_eq!(topics.turn(), Some(index));
            topics.topics[index].pending.clear();
            topics.rest(index);
        }
        assert_eq!(topics.topics.len(), KEPT + 1);
        assert_eq!(topics.names.map(|names| names.len()), Some(KEPT));
    }

    #[test]
    fn a_crowd_of_one_topic_leaves_little_room_behind() {
        let mut topics = TopicQueues::per_topic();
        for _ in 0..100_000 {
            publish(&mut topics, 1);
        }
        let topic_queue = &mut topics.topics[0];
        topic_queue.pending.clear();
        assert!(topic_queue.pending.capacity() >= 100_000);
        topics.rest(0);
        let room = topics.topics[0].pending.capacity();
        assert!((1..=2 * ROOMY).contains(&room), "{room}");
        // The same where somebody has always come before the last one left.
        for _ in 0..100_000 {
            publish(&mut topics, 1);
        }
        topics.topics[0].pending.truncate(1);
        topics.rest(0);
        let room = topics.topics[0].pending.capacity();
        assert!((1..=2 * ROOMY).contains(&room), "{room}");
    }
}
