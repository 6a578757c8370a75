//! Events in order of time. Times are microseconds.

use std::{cmp::Reverse, collections::BinaryHeap};

pub(super) const MS: u64 = 1_000;
pub(super) const S: u64 = 1_000_000;

/// Events to come. Those of the same time keep the order in which they were added.
pub(super) struct Timeline<E> {
    order: BinaryHeap<Reverse<(u64, usize)>>,
    events: Vec<Option<E>>,
}

impl<E> Timeline<E> {
    pub(super) fn new() -> Self {
        Self {
            order: BinaryHeap::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, at: u64, event: E) {
        self.order.push(Reverse((at, self.events.len())));
        self.events.push(Some(event));
    }

    pub(super) fn next(&mut self) -> Option<(u64, E)> {
        let Reverse((at, index)) = self.order.pop()?;
        let event = self.events[index].take().expect("it is taken once");
        Some((at, event))
    }
}
