//! The slots of held messages by the ids of the messages. Pure.

use crate::protocol::MessageId;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// Number of chains of a new table, as a power of two.
const FIRST_BITS: u32 = 6;

/// A hash table whose chains go from slot to slot, so that a message costs no allocation.
///
/// Every message is looked up: an nsqd that was killed may have stored a message twice, and
/// delivers both as first deliveries.
#[derive(Debug)]
pub(super) struct Ids {
    /// First slot of each chain. Their number is a power of two, at least that of the slots.
    heads: Vec<u32>,
    /// By slot.
    links: Vec<Link>,
    /// 32 minus the logarithm of the number of chains.
    shift: u32,
    /// Odd, and unknown to peers: they choose the ids, but not which ones share a chain.
    multiplier: u128,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    hash: u32,
    /// Next slot of the chain.
    next: u32,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self {
            heads: vec![NONE; 1 << FIRST_BITS],
            links: Vec::new(),
            shift: u32::BITS - FIRST_BITS,
            multiplier: fastrand::u128(..) | 1,
        }
    }

    #[inline(always)]
    pub(super) fn hash(&self, id: MessageId) -> u32 {
        let product = u128::from_le_bytes(*id.as_bytes()).wrapping_mul(self.multiplier);
        // Only the highest bits depend on every byte.
        u32::try_from(product >> 96).unwrap_or(0)
    }

    fn chain(&self, hash: u32) -> usize {
        as_index(hash >> self.shift)
    }

    /// The slot with this hash for which `is_it` holds.
    #[inline(always)]
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut slot = self.heads.get(self.chain(hash)).copied()?;
        while let Some(link) = self.links.get(as_index(slot)) {
            if link.hash == hash && is_it(slot) {
                return Some(slot);
            }
            slot = link.next;
        }
        None
    }

    /// Adds a slot that is in no chain: one that was used before, or the next one.
    #[inline(always)]
    pub(super) fn insert(&mut self, slot: u32, hash: u32) {
        if as_index(slot) >= self.links.len() {
            self.add_link();
        }
        self.link(slot, hash);
    }

    #[inline(always)]
    fn link(&mut self, slot: u32, hash: u32) {
        let chain = self.chain(hash);
        if let Some(head) = self.heads.get_mut(chain)
            && let Some(link) = self.links.get_mut(as_index(slot))
        {
            let next = std::mem::replace(head, slot);
            *link = Link { hash, next };
        }
    }

    #[inline(never)]
    fn add_link(&mut self) {
        let unused = Link {
            hash: 0,
            next: NONE,
        };
        self.links.push(unused);
        if self.links.len() > self.heads.len() && self.shift > 0 {
            self.grow();
        }
    }

    /// Doubles the number of chains.
    fn grow(&mut self) {
        let in_chains: Vec<_> = self
            .heads
            .iter()
            .flat_map(|head| self.chain_from(*head))
            .collect();
        self.shift -= 1;
        self.heads = vec![NONE; self.heads.len() * 2];
        for (slot, hash) in in_chains {
            self.link(slot, hash);
        }
    }

    /// The slots of a chain from here on, with their hashes.
    fn chain_from(&self, slot: u32) -> impl Iterator<Item = (u32, u32)> {
        let link = |slot: u32| Some((slot, self.links.get(as_index(slot))?));
        let links = std::iter::successors(link(slot), move |(_, it)| link(it.next));
        links.map(|(slot, it)| (slot, it.hash))
    }

    /// Removes a slot.
    #[inline(always)]
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(&Link { hash, next }) = self.links.get(as_index(slot)) else {
            return;
        };
        let chain = self.chain(hash);
        let Some(head) = self.heads.get_mut(chain) else {
            return;
        };
        if *head == slot {
            *head = next;
        } else {
            let head = *head;
            self.remove_behind(head, slot, next);
        }
    }

    /// Removes a slot that is not the first of its chain.
    #[inline(never)]
    fn remove_behind(&mut self, head: u32, slot: u32, next: u32) {
        let mut before = head;
        while let Some(link) = self.links.get_mut(as_index(before)) {
            if link.next == slot {
                link.next = next;
                return;
            }
            before = link.next;
        }
    }
}

/// No slice has the index of [`NONE`].
pub(super) fn as_index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn slots_are_found_by_the_ids_they_have() {
        let (mut rng, mut ids) = (fastrand::Rng::with_seed(3), Ids::new());
        let (mut by_id, mut free, mut slots) = (BTreeMap::new(), Vec::new(), 0);
        for _ in 0..20_000 {
            let id = MessageId::new(u128::from(rng.u16(0..600)).to_be_bytes());
            let hash = ids.hash(id);
            let found = ids.find(hash, |slot| by_id.get(&id) == Some(&slot));
            assert_eq!(found, by_id.get(&id).copied());
            if let Some(slot) = by_id.remove(&id) {
                ids.remove(slot);
                free.push(slot);
            } else {
                let slot = free.pop().unwrap_or_else(|| {
                    slots += 1;
                    slots - 1
                });
                ids.insert(slot, hash);
                by_id.insert(id, slot);
            }
        }
        assert!(ids.heads.len() >= as_index(slots) && slots > 200);
        let lengths = ids.heads.iter().map(|head| ids.chain_from(*head).count());
        assert!(lengths.clone().sum::<usize>() == by_id.len());
        assert!(lengths.max() < Some(12), "the ids share few chains");
    }
}
