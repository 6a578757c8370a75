//! When messages are due: a list per connection, and a sorted set for exceptions. Pure.
//!
//! Deadlines of one connection are set in their order, except those of touched messages. So setting
//! and removing one costs a few assignments; only what is out of order goes into the sorted set.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use crate::consumer::connection_key::ConnectionKey;

/// No slot.
const NONE: u32 = u32::MAX;

/// The times at which slots are due.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// By slot.
    entries: Vec<Entry>,
    lists: BTreeMap<ConnectionKey, List>,
    unordered: BTreeSet<(Instant, u32)>,
}

/// The first and the last slot of a list.
#[derive(Debug)]
struct List {
    first: u32,
    last: u32,
}

#[derive(Debug, Clone, Copy)]
enum Entry {
    Unset,
    Listed {
        due: Instant,
        key: ConnectionKey,
        previous: u32,
        next: u32,
    },
    Unordered {
        due: Instant,
    },
}

impl Deadlines {
    /// Sets when a slot of a connection is due, instead of an earlier setting.
    pub(super) fn set(&mut self, slot: u32, key: ConnectionKey, due: Instant) {
        self.unset(slot);
        let length = index(slot).saturating_add(1);
        if self.entries.len() < length {
            self.entries.resize(length, Entry::Unset);
        }
        let list = self.lists.get(&key);
        let last = list.map_or(NONE, |list| list.last);
        let is_ordered = self.listed_due(last).is_none_or(|last| last <= due);
        let entry = if is_ordered {
            self.link(key, last, slot);
            Entry::Listed {
                due,
                key,
                previous: last,
                next: NONE,
            }
        } else {
            self.unordered.insert((due, slot));
            Entry::Unordered { due }
        };
        if let Some(place) = self.entries.get_mut(index(slot)) {
            *place = entry;
        }
    }

    /// Makes a slot the successor of `last`, which may be none.
    fn link(&mut self, key: ConnectionKey, last: u32, slot: u32) {
        if let Some(Entry::Listed { next, .. }) = self.entries.get_mut(index(last)) {
            *next = slot;
            if let Some(list) = self.lists.get_mut(&key) {
                list.last = slot;
            }
        } else {
            let list = List {
                first: slot,
                last: slot,
            };
            self.lists.insert(key, list);
        }
    }

    /// Removes a slot. One that is not set is ignored.
    pub(super) fn unset(&mut self, slot: u32) {
        let Some(place) = self.entries.get_mut(index(slot)) else {
            return;
        };
        match std::mem::replace(place, Entry::Unset) {
            Entry::Unset => {}
            Entry::Unordered { due } => {
                self.unordered.remove(&(due, slot));
            }
            Entry::Listed {
                key,
                previous,
                next,
                ..
            } => self.unlink(key, previous, next),
        }
    }

    /// Closes the gap between two slots, which may be none.
    fn unlink(&mut self, key: ConnectionKey, before: u32, after: u32) {
        if let Some(Entry::Listed { next, .. }) = self.entries.get_mut(index(before)) {
            *next = after;
        }
        if let Some(Entry::Listed { previous, .. }) = self.entries.get_mut(index(after)) {
            *previous = before;
        }
        if before == NONE && after == NONE {
            self.lists.remove(&key);
        } else if let Some(list) = self.lists.get_mut(&key) {
            if before == NONE {
                list.first = after;
            }
            if after == NONE {
                list.last = before;
            }
        }
    }

    /// The slot that is due first, and when.
    pub(super) fn first(&self) -> Option<(Instant, u32)> {
        let listed = self.lists.values();
        let listed = listed.filter_map(|list| Some((self.listed_due(list.first)?, list.first)));
        listed.chain(self.unordered.first().copied()).min()
    }

    fn listed_due(&self, slot: u32) -> Option<Instant> {
        match self.entries.get(index(slot))? {
            Entry::Listed { due, .. } => Some(*due),
            Entry::Unset | Entry::Unordered { .. } => None,
        }
    }
}

/// No slice has the index of [`NONE`].
fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn slots_are_due_in_order_whatever_the_order_of_setting() {
        let (mut rng, start) = (fastrand::Rng::with_seed(7), Instant::now());
        let mut deadlines = Deadlines::default();
        let mut expected = BTreeMap::new();
        for step in 0..20_000_u64 {
            let slot = rng.u32(0..40);
            let serial = slot % 3;
            if rng.u8(0..3) == 0 {
                deadlines.unset(slot);
                expected.remove(&slot);
            } else {
                let due = start + Duration::from_millis(step + rng.u64(0..20));
                deadlines.set(slot, ConnectionKey { nsqd: 0, serial }, due);
                expected.insert(slot, due);
            }
            let first = expected.values().min().copied();
            assert_eq!(deadlines.first().map(|(due, _)| due), first);
        }
        while let Some((due, slot)) = deadlines.first() {
            assert_eq!(expected.remove(&slot), Some(due));
            deadlines.unset(slot);
        }
        assert!(expected.is_empty());
        assert!(deadlines.lists.is_empty() && deadlines.unordered.is_empty());
    }
}
