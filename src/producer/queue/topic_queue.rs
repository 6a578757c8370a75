//! Publishes by topic: one queue per topic, or a single one for all topics.

use std::{
    collections::{HashMap, VecDeque},
    mem, ptr,
    time::Instant,
};

use super::{
    accounting::Accounting,
    blocks::Blocks,
    in_flight::{CommandsInFlight, InFlight},
    pending::{Pending, Reply},
};
use crate::protocol::Topic;

/// Number of topics that keep their queue while it is empty. Beyond it an empty queue is reused for
/// another topic, so that topics that come and go do not accumulate.
const IDLE_QUEUES: usize = 64;

/// Publishes in order of arrival: those in flight, then those to be sent.
pub(super) struct TopicQueue<R> {
    /// `None` if it is the single queue, or not in use.
    topic: Option<Topic>,
    /// The cursor has passed those in flight.
    publishes: Blocks<Pending<R>>,
    /// nsqd failed to store from this queue, and has not answered it with `OK` since.
    pub(super) batching_suspended: bool,
    /// The arrangement of turns in which it is in the list of queues that take turns.
    ready_in: u32,
    /// The same for the list of queues that are held back.
    held_back_in: u32,
}

impl<R> TopicQueue<R> {
    const fn new() -> Self {
        Self {
            topic: None,
            publishes: Blocks::new(),
            batching_suspended: false,
            ready_in: 0,
            held_back_in: 0,
        }
    }

    /// Number of publishes in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.publishes.passed()
    }

    /// Number of publishes that are to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.publishes.len() - self.publishes.passed()
    }

    /// The next publish to be sent.
    pub(super) fn next(&mut self) -> Option<&mut Pending<R>> {
        self.publishes.next_mut()
    }

    /// The publish that [`next`](Self::next) has returned is in flight now.
    pub(super) fn send_next(&mut self) {
        self.publishes.advance();
    }

    /// All publishes that are to be sent, if none is in flight.
    pub(super) fn all_unsent(&mut self) -> impl Iterator<Item = &mut Pending<R>> {
        let unsent = self.unsent();
        self.publishes.first_mut(unsent)
    }

    /// Removes the next publishes, if none is in flight.
    pub(super) fn take_unsent(&mut self, count: usize, taken: &mut Vec<Pending<R>>) {
        self.publishes.pop_front_each(count, taken);
    }

    /// Inserts publishes before the next one, in order of acceptance: those that are younger than
    /// one of them follow it.
    fn insert(&mut self, mut publishes: Vec<Pending<R>>) {
        publishes.sort_by_key(|publish| publish.accepted);
        let Some(youngest) = publishes.last().map(|publish| publish.accepted) else {
            return;
        };
        let mut older = Vec::new();
        while self.next().is_some_and(|next| next.accepted < youngest) {
            older.extend(self.remove_next());
        }
        if !older.is_empty() {
            publishes.append(&mut older);
            // Stable: of two that were accepted together the one that comes in is first.
            publishes.sort_by_key(|publish| publish.accepted);
        }
        self.publishes.insert_next(publishes);
    }

    /// Removes the next publish: it will not be sent here.
    pub(super) fn remove_next(&mut self) -> Option<Pending<R>> {
        self.publishes.remove_next()
    }

    /// The youngest publish in flight.
    pub(super) fn youngest_one(&self) -> Option<&Pending<R>> {
        self.publishes.last_one_passed()
    }

    /// The publishes of the youngest command in flight.
    pub(super) fn youngest(&self, count: usize) -> impl Iterator<Item = &Pending<R>> + Clone {
        self.publishes.last_passed(count)
    }

    /// The publishes of the oldest command in flight.
    pub(super) fn oldest(&mut self, count: usize) -> impl Iterator<Item = &mut Pending<R>> {
        self.publishes.first_mut(count)
    }

    /// The youngest publish in flight, which is to be sent again.
    pub(super) fn take_back_youngest(&mut self) -> Option<&mut Pending<R>> {
        self.publishes.step_back()
    }

    /// All publishes, for a pass over them.
    pub(super) fn publishes(&mut self) -> &mut Blocks<Pending<R>> {
        &mut self.publishes
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
    /// Number of the arrangement of turns: a connection that ends begins another.
    arrangement: u32,
}

impl<R> TopicQueues<R> {
    /// A single queue, which keeps the order of all publishes.
    pub(super) fn single() -> Self {
        Self {
            queues: vec![TopicQueue::new()],
            by_topic: None,
            free: Vec::new(),
            ready: VecDeque::new(),
            held_back: VecDeque::new(),
            latest: 0,
            arrangement: 1,
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

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queues.len()
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

    /// Returns whether the queue of a publish has a younger one.
    pub(super) fn has_younger(&mut self, publish: &Pending<R>) -> bool {
        self.latest = self.index(&publish.topic);
        let queue = self.queues.get(self.latest);
        let youngest = queue.and_then(|queue| queue.publishes.back());
        youngest.is_some_and(|youngest| youngest.accepted > publish.accepted)
    }

    /// Adds publishes of one topic behind all others of its queue.
    pub(super) fn push_each(
        &mut self,
        topic: &Topic,
        publishes: impl ExactSizeIterator<Item = Pending<R>>,
    ) {
        self.latest = self.index(topic);
        if let Some(queue) = self.queues.get_mut(self.latest) {
            queue.publishes.push_back_each(publishes);
            self.make_ready(self.latest);
        }
    }

    /// Inserts publishes of one topic before those that are younger and not in flight.
    pub(super) fn insert(&mut self, topic: &Topic, publishes: Vec<Pending<R>>) {
        self.latest = self.index(topic);
        if let Some(queue) = self.queues.get_mut(self.latest) {
            queue.insert(publishes);
            self.make_ready(self.latest);
        }
    }

    /// Number of queues that take turns.
    pub(super) fn with_turn(&self) -> usize {
        self.ready.len()
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
            self.queues.push(TopicQueue::new());
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
            queue.ready_in = 0;
        }
        Some(index)
    }

    /// Takes the queue whose turn it is, or one that was held back, if that may send more. Returns
    /// whether it was held back.
    pub(super) fn next_turn(
        &mut self,
        in_flight: &mut CommandsInFlight,
        pings: usize,
        now: Instant,
    ) -> Option<(usize, bool)> {
        if let Some(index) = self.take_turn() {
            return Some((index, false));
        }
        if self.held_back.is_empty() {
            return None;
        }
        if in_flight.is_within_limit(pings) {
            return Some((self.take_held_back()?, true));
        }
        in_flight.limit_mut().on_held_back(now);
        None
    }

    /// Gives a queue a turn after all others, if it has something to send and no turn yet.
    pub(super) fn make_ready(&mut self, index: usize) {
        if let Some(queue) = self.queues.get_mut(index)
            && queue.ready_in != self.arrangement
            && queue.unsent() > 0
        {
            queue.ready_in = self.arrangement;
            self.ready.push_back(index);
        }
    }

    /// Gives the queue whose turn it was the next turn again.
    pub(super) fn keep_turn(&mut self, index: usize) {
        if let Some(queue) = self.queues.get_mut(index)
            && queue.ready_in != self.arrangement
        {
            queue.ready_in = self.arrangement;
            self.ready.push_front(index);
        }
    }

    /// Lets a queue wait until less is in flight.
    pub(super) fn hold_back(&mut self, index: usize) {
        if let Some(queue) = self.queues.get_mut(index)
            && queue.held_back_in != self.arrangement
        {
            queue.held_back_in = self.arrangement;
            self.held_back.push_back(index);
        }
    }

    /// Removes the queue whose turn it is from those that are held back.
    fn take_held_back(&mut self) -> Option<usize> {
        loop {
            let index = self.held_back.pop_front()?;
            if let Some(queue) = self.queues.get_mut(index) {
                queue.held_back_in = 0;
                if queue.ready_in != self.arrangement && queue.unsent() > 0 {
                    return Some(index);
                }
            }
        }
    }

    /// Begins to arrange the turns anew: no queue has a turn. Returns the queues that had one, in
    /// their order.
    pub(super) fn rearrange_turns(&mut self) -> VecDeque<usize> {
        self.arrangement = self.arrangement.wrapping_add(1).max(1);
        self.held_back.clear();
        mem::take(&mut self.ready)
    }

    /// Frees a queue that is empty, unless few topics have one.
    pub(super) fn free_if_empty(&mut self, index: usize) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        if queue.publishes.is_empty()
            && let Some(by_topic) = &mut self.by_topic
            && by_topic.len() > IDLE_QUEUES
            && let Some(topic) = queue.topic.take()
        {
            by_topic.remove(&topic);
            self.free.push(index);
            *queue = TopicQueue {
                ready_in: queue.ready_in,
                held_back_in: queue.held_back_in,
                ..TopicQueue::new()
            };
        }
    }
}

impl<R: Reply> TopicQueues<R> {
    /// Answers the publishes of the oldest command of a queue, which leave.
    pub(super) fn complete_oldest(
        &mut self,
        command: &InFlight,
        accounting: &mut Accounting,
        answer: impl Fn(&mut Pending<R>, &mut Accounting),
    ) {
        let index = command.topic_queue;
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        accounting.release(command.usage, || Some(&queue.publishes.front()?.topic));
        let count = command.usage.publishes;
        queue
            .publishes
            .remove_passed(count, |publish| answer(publish, accounting));
        self.free_if_empty(index);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{super::pending::Transaction, *};
    use crate::producer::payload::Payload;

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
            topics.queues[index].remove_next();
            topics.free_if_empty(index);
        }
        assert_eq!(topics.queues.len(), IDLE_QUEUES + 1);
        assert_eq!(topics.by_topic.map(|names| names.len()), Some(IDLE_QUEUES));
    }
}
