//! When messages are due: groups in a queue per connection, and a sorted set for exceptions. Pure.
//!
//! The messages of a read are due at the same time, and later than those of the connection before
//! them, except touched ones. So they are a group, and setting or removing one changes its count.
//! Only what is out of order goes into the sorted set.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Instant,
};

/// Maximum number of groups of a connection. Behind a message that is held for long, groups remain
/// although they are empty.
const MAX_GROUPS: usize = 1_024;

/// The times at which slots are due. Each slot keeps its place.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// By the index of the connection.
    queues: Vec<Queue>,
    unordered: BTreeSet<(Instant, u32)>,
}

/// Where the deadline of a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Unset,
    /// In the group with this number of its connection.
    Group(u32),
    Unordered(Instant),
}

/// What is due first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum First {
    /// Any slot in this group.
    Group {
        connection: u32,
        number: u32,
    },
    Slot(u32),
}

/// The groups of a connection, by time. The first one is not empty.
#[derive(Debug, Clone, Default)]
struct Queue {
    groups: VecDeque<Group>,
    /// Number of the first group.
    first: u32,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    due: Instant,
    count: u32,
}

impl Deadlines {
    /// Sets when a slot is due that is not set. `connection` is an index.
    #[inline(always)]
    pub(super) fn set(&mut self, slot: u32, connection: u32, due: Instant) -> Place {
        if let Some(queue) = self.queues.get_mut(index(connection))
            && let Some(last) = queue.groups.back_mut()
            && last.due == due
        {
            last.count += 1;
            return Place::Group(queue.last());
        }
        self.set_behind(slot, connection, due)
    }

    /// Sets when a slot is due that is not due at the same time as the last one of its connection.
    #[inline(never)]
    fn set_behind(&mut self, slot: u32, connection: u32, due: Instant) -> Place {
        if self.queues.len() <= index(connection) {
            let length = index(connection).saturating_add(1);
            self.queues.resize(length, Queue::default());
        }
        let Some(queue) = self.queues.get_mut(index(connection)) else {
            return Place::Unset;
        };
        let is_earlier = queue.groups.back().is_some_and(|last| last.due > due);
        if is_earlier || queue.groups.len() >= MAX_GROUPS {
            self.unordered.insert((due, slot));
            return Place::Unordered(due);
        }
        queue.groups.push_back(Group { due, count: 1 });
        Place::Group(queue.last())
    }

    /// Removes a slot with its place.
    #[inline(always)]
    pub(super) fn unset(&mut self, slot: u32, connection: u32, place: Place) {
        match place {
            Place::Unset => {}
            Place::Unordered(due) => {
                self.unset_unordered(slot, due);
            }
            Place::Group(number) => {
                let Some(queue) = self.queues.get_mut(index(connection)) else {
                    return;
                };
                let position = index(number.wrapping_sub(queue.first));
                if let Some(group) = queue.groups.get_mut(position) {
                    group.count -= 1;
                    if group.count == 0 {
                        queue.remove_empty();
                    }
                }
            }
        }
    }

    #[inline(never)]
    fn unset_unordered(&mut self, slot: u32, due: Instant) {
        self.unordered.remove(&(due, slot));
    }

    /// When the first slot is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.first().map(|(due, _)| due)
    }

    /// What is due first, and when.
    pub(super) fn first(&self) -> Option<(Instant, First)> {
        let queues = (0..).zip(&self.queues);
        let groups = queues.filter_map(|(connection, queue)| {
            let number = queue.first;
            let first = First::Group { connection, number };
            Some((queue.groups.front()?.due, first))
        });
        let unordered = self.unordered.first();
        let unordered = unordered.map(|(due, slot)| (*due, First::Slot(*slot)));
        groups.chain(unordered).min()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.first().is_none()
    }
}

impl Queue {
    /// Number of the last group.
    fn last(&self) -> u32 {
        let others = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.first.wrapping_add(others).wrapping_sub(1)
    }

    /// Removes empty groups from the front.
    #[inline(never)]
    fn remove_empty(&mut self) {
        while self.groups.front().is_some_and(|it| it.count == 0) {
            self.groups.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;

    /// The deadlines of slots, each of the connection `slot % 3`.
    #[derive(Default)]
    struct Bench {
        deadlines: Deadlines,
        places: BTreeMap<u32, (Instant, Place)>,
    }

    impl Bench {
        fn set(&mut self, slot: u32, due: Instant) {
            self.unset(slot);
            let place = self.deadlines.set(slot, slot % 3, due);
            self.places.insert(slot, (due, place));
        }

        fn unset(&mut self, slot: u32) {
            if let Some((_, place)) = self.places.remove(&slot) {
                self.deadlines.unset(slot, slot % 3, place);
            }
        }

        /// A slot that is due first.
        fn first(&self) -> Option<(Instant, u32)> {
            let (due, first) = self.deadlines.first()?;
            let mut places = self.places.iter();
            let (slot, (expected, _)) = places.find(|(slot, (_, place))| match first {
                First::Slot(first) => **slot == first && *place == Place::Unordered(due),
                First::Group { connection, number } => {
                    *slot % 3 == connection && *place == Place::Group(number)
                }
            })?;
            assert_eq!(due, *expected);
            Some((due, *slot))
        }

        fn check(&self) {
            let expected = self.places.values().map(|(due, _)| *due).min();
            assert_eq!(self.deadlines.due(), expected);
            assert_eq!(self.first().map(|(due, _)| due), expected);
        }
    }

    #[test]
    fn slots_are_due_in_order_whatever_the_order_of_setting() {
        let (mut rng, start) = (fastrand::Rng::with_seed(7), Instant::now());
        let mut bench = Bench::default();
        for step in 0..20_000_u64 {
            let slot = rng.u32(0..40);
            if rng.u8(0..3) == 0 {
                bench.unset(slot);
            } else {
                // Several are due at the same time, and some earlier than those before them.
                let due = start + Duration::from_millis(step / 4 + rng.u64(0..2) * rng.u64(0..20));
                bench.set(slot, due);
            }
            bench.check();
        }
        while let Some((_, slot)) = bench.first() {
            bench.unset(slot);
            bench.check();
        }
        assert!(bench.places.is_empty() && bench.deadlines.is_empty());
        let mut queues = bench.deadlines.queues.iter();
        assert!(queues.all(|it| it.groups.is_empty()));
    }

    #[test]
    fn groups_do_not_accumulate_behind_a_message_that_stays() {
        let (mut bench, start) = (Bench::default(), Instant::now());
        bench.set(0, start);
        for millisecond in 1..10_000 {
            bench.set(3, start + Duration::from_millis(millisecond));
            bench.check();
        }
        assert!(bench.deadlines.queues[0].groups.len() <= MAX_GROUPS);
        assert!(bench.deadlines.unordered.len() <= 1);
        bench.unset(0);
        bench.check();
    }
}
