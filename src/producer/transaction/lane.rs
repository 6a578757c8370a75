//! Where publishes stand: in a lane for each topic, or in a single one for all.

use std::{
    collections::{HashMap, VecDeque},
    mem, ptr,
};

use super::slot::Slot;
use crate::protocol::Topic;

/// So many topics keep their lane when nothing stands in it.
const KEPT: usize = 64;

/// So much room an empty lane keeps, in publishes.
const ROOMY: usize = 1_024;

/// Publishes in the order in which they came. Those of the front are in flight.
pub(super) struct Lane<R> {
    /// Whose lane it is, where each topic has its own.
    topic: Option<Topic>,
    pub(super) slots: VecDeque<Slot<R>>,
    /// So many slots of the front are in flight.
    pub(super) sent: usize,
    /// nsqd had trouble with it: nothing of it is folded until nsqd has answered one of its commands with `OK`.
    pub(super) careful: bool,
    /// It stands in the line of lanes that take turns.
    listed: bool,
}

impl<R> Lane<R> {
    fn new(topic: Option<Topic>) -> Self {
        Self {
            topic,
            slots: VecDeque::new(),
            sent: 0,
            careful: false,
            listed: false,
        }
    }

    /// How many publishes wait to be handed over.
    pub(super) fn pile(&self) -> usize {
        self.slots.len().saturating_sub(self.sent)
    }
}

/// All lanes, and whose turn it is.
pub(super) struct Lanes<R> {
    lanes: Vec<Lane<R>>,
    /// The lane of each topic; `None` where there is a single one.
    names: Option<HashMap<Topic, usize>>,
    /// Lanes that are nobody's.
    free: Vec<usize>,
    /// Lanes with something to hand over, each once, and perhaps some without.
    ready: VecDeque<usize>,
    /// Where the latest publish went, which is where the next one often goes.
    latest: usize,
}

impl<R> Lanes<R> {
    /// A single lane: the order of all topics is kept.
    pub(super) fn single() -> Self {
        Self {
            lanes: vec![Lane::new(None)],
            names: None,
            free: Vec::new(),
            ready: VecDeque::new(),
            latest: 0,
        }
    }

    /// A lane for each topic: the order of each is kept.
    pub(super) fn per_topic() -> Self {
        Self {
            lanes: Vec::new(),
            names: Some(HashMap::new()),
            ..Self::single()
        }
    }

    pub(super) fn get_mut(&mut self, lane: usize) -> Option<&mut Lane<R>> {
        self.lanes.get_mut(lane)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lane<R>> {
        self.lanes.iter_mut()
    }

    /// Lets a publish stand behind all others of its lane.
    pub(super) fn push(&mut self, slot: Slot<R>) {
        self.latest = self.place(&slot.topic);
        if let Some(lane) = self.lanes.get_mut(self.latest) {
            lane.slots.push_back(slot);
            self.list(self.latest);
        }
    }

    fn place(&mut self, topic: &Topic) -> usize {
        let Some(names) = &mut self.names else {
            return 0;
        };
        let latest = self.lanes.get(self.latest);
        let latest = latest.and_then(|lane| lane.topic.as_ref());
        // A clone is mostly what it is, and soon seen.
        let is_same = |latest: &Topic| ptr::eq(latest.as_str(), topic.as_str()) || latest == topic;
        if latest.is_some_and(is_same) {
            return self.latest;
        }
        if let Some(place) = names.get(topic) {
            return *place;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.lanes.push(Lane::new(None));
            self.lanes.len() - 1
        });
        if let Some(lane) = self.lanes.get_mut(place) {
            lane.topic = Some(topic.clone());
        }
        names.insert(topic.clone(), place);
        place
    }

    /// How many lanes stand in line.
    pub(super) fn turns(&self) -> usize {
        self.ready.len()
    }

    /// The lane whose turn it is; it leaves the line.
    pub(super) fn turn(&mut self) -> Option<usize> {
        let place = self.ready.pop_front()?;
        if let Some(lane) = self.lanes.get_mut(place) {
            lane.listed = false;
        }
        Some(place)
    }

    /// Puts a lane at the end of the line, if it has something to hand over and does not stand there.
    pub(super) fn list(&mut self, place: usize) {
        if let Some(lane) = self.lanes.get_mut(place)
            && !lane.listed
            && lane.pile() > 0
        {
            lane.listed = true;
            self.ready.push_back(place);
        }
    }

    /// The lane whose turn it was keeps it.
    pub(super) fn keep_turn(&mut self, place: usize) {
        if let Some(lane) = self.lanes.get_mut(place)
            && !lane.listed
        {
            lane.listed = true;
            self.ready.push_front(place);
        }
    }

    /// Lines the lanes up anew: `first` in their order, then those that stand in line, and `last` behind all.
    pub(super) fn line_up(&mut self, first: VecDeque<usize>, last: Option<usize>) {
        let waiting = mem::take(&mut self.ready);
        for lane in &mut self.lanes {
            lane.listed = false;
        }
        for place in first.into_iter().chain(waiting) {
            if Some(place) != last {
                self.list(place);
            }
        }
        if let Some(last) = last {
            self.list(last);
        }
    }

    /// Takes from a lane what it does not need.
    pub(super) fn rest(&mut self, place: usize) {
        let Some(lane) = self.lanes.get_mut(place) else {
            return;
        };
        if !lane.slots.is_empty() {
            // A crowd has gone, and left a few behind.
            if lane.slots.len() < lane.slots.capacity() / 4 {
                lane.slots.shrink_to(ROOMY.max(2 * lane.slots.len()));
            }
            return;
        }
        match &mut self.names {
            Some(names) if names.len() > KEPT => {
                if let Some(topic) = &lane.topic {
                    names.remove(topic);
                    self.free.push(place);
                    let listed = lane.listed;
                    *lane = Lane::new(None);
                    lane.listed = listed;
                }
            }
            _ => lane.slots.shrink_to(ROOMY),
        }
    }

    /// Takes from all lanes what they do not need.
    pub(super) fn rest_all(&mut self) {
        for place in 0..self.lanes.len() {
            self.rest(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::producer::{payload::Payload, transaction::Transaction};

    fn publish(lanes: &mut Lanes<()>, topic: usize) -> usize {
        let transaction = Transaction {
            topic: Topic::new(format!("topic_{topic}")).unwrap(),
            payload: Payload::Publish("body".into()),
            timeout: Duration::from_secs(1),
        };
        lanes.push(Slot::new(transaction, Instant::now(), ()));
        lanes.latest
    }

    #[test]
    fn a_topic_that_is_done_with_leaves_its_lane_to_another() {
        let mut lanes = Lanes::per_topic();
        for topic in 0..100_000 {
            let place = publish(&mut lanes, topic);
            assert_eq!(lanes.turn(), Some(place));
            lanes.lanes[place].slots.clear();
            lanes.rest(place);
        }
        assert_eq!(lanes.lanes.len(), KEPT + 1);
        assert_eq!(lanes.names.map(|names| names.len()), Some(KEPT));
    }

    #[test]
    fn a_crowd_of_one_topic_leaves_little_room_behind() {
        let mut lanes = Lanes::per_topic();
        for _ in 0..100_000 {
            publish(&mut lanes, 1);
        }
        let lane = &mut lanes.lanes[0];
        lane.slots.clear();
        assert!(lane.slots.capacity() >= 100_000);
        lanes.rest(0);
        let room = lanes.lanes[0].slots.capacity();
        assert!((1..=2 * ROOMY).contains(&room), "{room}");
        // The same where somebody has always come before the last one left.
        for _ in 0..100_000 {
            publish(&mut lanes, 1);
        }
        lanes.lanes[0].slots.truncate(1);
        lanes.rest(0);
        let room = lanes.lanes[0].slots.capacity();
        assert!((1..=2 * ROOMY).contains(&room), "{room}");
    }
}
