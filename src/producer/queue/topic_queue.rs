//! Publishes by topic: one queue per topic, or a single one for all topics.

use std::{
    collections::{HashMap, VecDeque},
    mem, ptr,
};

use bytes::Bytes;

use super::{
    accounting::Accounting,
    pending::{Pending, Reply},
};
use crate::{error::PublishError, producer::payload::Payload, protocol::Topic};

/// Number of topics that keep their queue while it is empty. Beyond it an empty queue is reused for
/// another topic, so that topics that come and go do not accumulate.
const IDLE_QUEUES: usize = 64;

/// Number of publishes for which an empty queue keeps its memory.
const IDLE_CAPACITY: usize = 1_024;

/// Publishes in order of arrival. The first `sent` are in flight, the next `gap` are discarded.
///
/// To remove discarded publishes means to move all that are in flight. They are removed together
/// once they are as many, so each of them costs the same, however many are in flight.
pub(super) struct TopicQueue<R> {
    /// `None` if it is the single queue, or not in use.
    topic: Option<Topic>,
    publishes: VecDeque<Pending<R>>,
    sent: usize,
    gap: usize,
    /// nsqd failed to store from this queue, and has not answered it with `OK` since.
    pub(super) batching_suspended: bool,
    /// It is in the list of queues that take turns.
    is_ready: bool,
    /// It is in the list of queues that are held back.
    is_held_back: bool,
}

impl<R> TopicQueue<R> {
    fn new(topic: Option<Topic>) -> Self {
        Self {
            topic,
            publishes: VecDeque::new(),
            sent: 0,
            gap: 0,
            batching_suspended: false,
            is_ready: false,
            is_held_back: false,
        }
    }

    /// Number of publishes in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.sent
    }

    /// Number of publishes that are to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.publishes.len().saturating_sub(self.sent + self.gap)
    }

    /// The next publish to be sent.
    pub(super) fn next(&mut self) -> Option<&mut Pending<R>> {
        self.publishes.get_mut(self.sent + self.gap)
    }

    /// The next publish is in flight now. Returns whether it had been sent before.
    pub(super) fn send_next(&mut self) -> bool {
        if self.gap > 0 {
            self.publishes.swap(self.sent, self.sent + self.gap);
        }
        let publish = self.publishes.get_mut(self.sent);
        self.sent += 1;
        publish.is_some_and(|publish| mem::replace(&mut publish.retried, true))
    }

    /// The next publish is answered, and will not be sent.
    pub(super) fn discard_next(&mut self) {
        if let Some(publish) = self.next() {
            publish.payload = Payload::Publish(Bytes::new());
            self.gap += 1;
        }
    }

    /// The publishes of the youngest command in flight.
    pub(super) fn youngest(&self, count: usize) -> impl Iterator<Item = &Pending<R>> + Clone {
        self.publishes
            .range(self.sent.saturating_sub(count)..self.sent)
    }

    /// Removes the discarded publishes.
    fn close_gap(&mut self) {
        self.publishes.drain(self.sent..self.sent + self.gap);
        self.gap = 0;
    }

    /// The publishes of the oldest command in flight.
    pub(super) fn oldest(&mut self, count: usize) -> impl Iterator<Item = &mut Pending<R>> {
        self.publishes.iter_mut().take(count)
    }

    /// The publishes of the youngest command in flight, which are no longer in flight.
    pub(super) fn take_back(&mut self, count: usize) -> impl Iterator<Item = &mut Pending<R>> {
        self.close_gap();
        self.sent = self.sent.saturating_sub(count);
        self.publishes.iter_mut().skip(self.sent).take(count)
    }
}

/// All topic queues, and whose turn it is.
pub(super) struct TopicQueues<R> {
    queues: Vec<TopicQueue<R>>,
    /// `None`: a single queue for all topics.
    by_topic: Option<HashMap<Topic, usize>>,
    /// Queues that are not in use.
    free: Vec<usize>,
    /// Queues that have something to send, each once, in turn. Some may have become empty.
    ready: VecDeque<usize>,
    /// Queues that wait until less is in flight, each once, in turn. Some may have become ready or
    /// empty.
    held_back: VecDeque<usize>,
    /// The queue of the latest publish, which is often that of the next.
    latest: usize,
}

impl<R> TopicQueues<R> {
    /// A single queue, which keeps the order of all publishes.
    pub(super) fn single() -> Self {
        Self {
            queues: vec![TopicQueue::new(None)],
            by_topic: None,
            free: Vec::new(),
            ready: VecDeque::new(),
            held_back: VecDeque::new(),
            latest: 0,
        }
    }

    /// One queue per topic, which keeps the order of each topic.
    pub(super) fn per_topic() -> Self {
        Self {
            queues: Vec::new(),
            by_topic: Some(HashMap::new()),
            ..Self::single()
        }
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut TopicQueue<R>> {
        self.queues.get_mut(index)
    }

    /// The topic of the oldest publish of a queue.
    pub(super) fn oldest_topic(&self, index: usize) -> Option<&Topic> {
        let oldest = self.queues.get(index)?.publishes.front()?;
        Some(&oldest.topic)
    }

    /// Adds a publish behind all others of its queue.
    pub(super) fn push(&mut self, publish: Pending<R>) {
        self.latest = self.index(&publish.topic);
        if let Some(queue) = self.queues.get_mut(self.latest) {
            queue.publishes.push_back(publish);
            self.make_ready(self.latest);
        }
    }

    fn index(&mut self, topic: &Topic) -> usize {
        let Some(by_topic) = &mut self.by_topic else {
            return 0;
        };
        let latest = self.queues.get(self.latest);
        let latest = latest.and_then(|queue| queue.topic.as_ref());
        // Usually the topic is a clone of the latest one.
        let is_same = |latest: &Topic| ptr::eq(latest.as_str(), topic.as_str()) || latest == topic;
        if latest.is_some_and(is_same) {
            return self.latest;
        }
        if let Some(index) = by_topic.get(topic) {
            return *index;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.queues.push(TopicQueue::new(None));
            self.queues.len() - 1
        });
        if let Some(queue) = self.queues.get_mut(index) {
            queue.topic = Some(topic.clone());
        }
        by_topic.insert(topic.clone(), index);
        index
    }

    /// Removes the queue whose turn it is from those that take turns.
    pub(super) fn take_turn(&mut self) -> Option<usize> {
        let index = self.ready.pop_front()?;
        if let Some(queue) = self.queues.get_mut(index) {
            queue.is_ready = false;
        }
        Some(index)
    }

    /// Gives a queue a turn after all others, if it has something to send and no turn yet.
    pub(super) fn make_ready(&mut self, index: usize) {
        if let Some(queue) = self.queues.get_mut(index)
            && !queue.is_ready
            && queue.unsent() > 0
        {
            queue.is_ready = true;
            self.ready.push_back(index);
        }
    }

    /// Gives the queue whose turn it was the next turn again.
    pub(super) fn keep_turn(&mut self, index: usize) {
        if let Some(queue) = self.queues.get_mut(index)
            && !queue.is_ready
        {
            queue.is_ready = true;
            self.ready.push_front(index);
        }
    }

    /// Lets a queue wait until less is in flight.
    pub(super) fn hold_back(&mut self, index: usize) {
        if let Some(queue) = self.queues.get_mut(index)
            && !queue.is_held_back
        {
            queue.is_held_back = true;
            self.held_back.push_back(index);
        }
    }

    /// Returns whether queues are held back.
    pub(super) fn has_held_back(&self) -> bool {
        !self.held_back.is_empty()
    }

    /// Removes the queue whose turn it is from those that are held back.
    pub(super) fn take_held_back(&mut self) -> Option<usize> {
        loop {
            let index = self.held_back.pop_front()?;
            if let Some(queue) = self.queues.get_mut(index) {
                queue.is_held_back = false;
                if !queue.is_ready && queue.unsent() > 0 {
                    return Some(index);
                }
            }
        }
    }

    /// Arranges the turns anew: `first` in this order, then the others as before, then `last`.
    pub(super) fn rearrange_turns(&mut self, first: VecDeque<usize>, last: Option<usize>) {
        let others = mem::take(&mut self.ready);
        self.held_back.clear();
        for queue in &mut self.queues {
            queue.is_ready = false;
            queue.is_held_back = false;
        }
        for index in first.into_iter().chain(others) {
            if Some(index) != last {
                self.make_ready(index);
            }
        }
        if let Some(last) = last {
            self.make_ready(last);
        }
    }

    /// Returns memory that a queue does not need, and the queue itself if it is empty.
    pub(super) fn shrink(&mut self, index: usize) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        if queue.gap >= queue.sent.max(1) {
            queue.close_gap();
        }
        if !queue.publishes.is_empty() {
            if queue.publishes.len() < queue.publishes.capacity() / 4 {
                let capacity = IDLE_CAPACITY.max(2 * queue.publishes.len());
                queue.publishes.shrink_to(capacity);
            }
            return;
        }
        match &mut self.by_topic {
            Some(by_topic) if by_topic.len() > IDLE_QUEUES => {
                if let Some(topic) = queue.topic.take() {
                    by_topic.remove(&topic);
                    self.free.push(index);
                    *queue = TopicQueue {
                        is_ready: queue.is_ready,
                        is_held_back: queue.is_held_back,
                        ..TopicQueue::new(None)
                    };
                }
            }
            _ => queue.publishes.shrink_to(IDLE_CAPACITY),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }
}

impl<R: Reply> TopicQueues<R> {
    /// Answers the publishes of the oldest command of a queue, which leave.
    pub(super) fn complete_oldest(
        &mut self,
        index: usize,
        count: usize,
        accounting: &mut Accounting,
        answer: impl Fn(&Pending<R>) -> Result<(), PublishError>,
    ) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        queue.sent = queue.sent.saturating_sub(count);
        for mut publish in queue.publishes.drain(..count) {
            let answer = answer(&publish);
            accounting.answer(&mut publish, answer);
            accounting.release(&publish);
        }
        self.shrink(index);
    }

    /// Answers each unanswered publish for which `error` returns one; `error` also receives whether
    /// the publish is in flight.
    ///
    /// A publish in flight keeps its entry until nsqd answers its command; others leave.
    pub(super) fn fail_where(
        &mut self,
        accounting: &mut Accounting,
        mut error: impl FnMut(&Pending<R>, bool) -> Option<PublishError>,
    ) {
        for queue in &mut self.queues {
            queue.close_gap();
            let mut index = 0;
            let sent = queue.sent;
            queue.publishes.retain_mut(|publish| {
                let in_flight = index < sent;
                index += 1;
                if publish.reply.is_some()
                    && let Some(error) = error(publish, in_flight)
                {
                    accounting.answer(publish, Err(error));
                }
                let stays = in_flight || publish.reply.is_some();
                if !stays {
                    accounting.release(publish);
                }
                stays
            });
        }
        for index in 0..self.queues.len() {
            self.shrink(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{super::pending::Transaction, *};

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
    fn empty_queue_is_reused_for_another_topic() {
        let mut topics = TopicQueues::per_topic();
        for topic in 0..100_000 {
            let index = publish(&mut topics, topic);
            assert_eq!(topics.take_turn(), Some(index));
            topics.queues[index].publishes.clear();
            topics.shrink(index);
        }
        assert_eq!(topics.queues.len(), IDLE_QUEUES + 1);
        assert_eq!(topics.by_topic.map(|names| names.len()), Some(IDLE_QUEUES));
    }

    #[test]
    fn queue_returns_memory_after_many_publishes() {
        let mut topics = TopicQueues::per_topic();
        for left in [0, 1] {
            for _ in 0..100_000 {
                publish(&mut topics, 1);
            }
            assert!(topics.queues[0].publishes.capacity() >= 100_000);
            topics.queues[0].publishes.truncate(left);
            topics.shrink(0);
            let capacity = topics.queues[0].publishes.capacity();
            assert!((1..=2 * IDLE_CAPACITY).contains(&capacity), "{capacity}");
        }
    }
}
