//! A queue in blocks of bounded size.

use std::collections::VecDeque;

/// Maximum number of entries of a block.
const BLOCK: usize = 128;

/// A queue of which no operation moves more than a block, however long it is.
///
/// A `VecDeque` moves all entries when it grows, and half of them when one in the middle is
/// removed: with a million entries that takes tens of milliseconds.
///
/// A cursor divides the entries into those that it has passed and those behind it.
#[derive(Debug)]
pub(super) struct Blocks<T> {
    /// Each has entries, unless it is the only one.
    blocks: VecDeque<VecDeque<T>>,
    len: usize,
    passed: usize,
    cursor: Cursor,
    /// The memory of removed blocks for the next ones, at most as many as there are blocks.
    spares: Vec<VecDeque<T>>,
}

/// The position of an entry. Behind the last entry of a block is the first one of the next.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    block: usize,
    offset: usize,
}

impl<T> Blocks<T> {
    pub(super) const fn new() -> Self {
        Self {
            blocks: VecDeque::new(),
            len: 0,
            passed: 0,
            cursor: Cursor {
                block: 0,
                offset: 0,
            },
            spares: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of entries that the cursor has passed.
    pub(super) fn passed(&self) -> usize {
        self.passed
    }

    #[inline]
    pub(super) fn front(&self) -> Option<&T> {
        self.blocks.front()?.front()
    }

    #[inline(always)]
    pub(super) fn push_back(&mut self, value: T) {
        self.len += 1;
        if let Some(block) = self.blocks.back_mut().filter(|block| block.len() < BLOCK) {
            return block.push_back(value);
        }
        self.push_back_to_new_block(value);
    }

    #[cold]
    #[inline(never)]
    fn push_back_to_new_block(&mut self, value: T) {
        let mut block = self.spares.pop().unwrap_or_default();
        if !self.blocks.is_empty() {
            block.reserve_exact(BLOCK);
        }
        block.push_back(value);
        self.blocks.push_back(block);
    }

    /// Keeps the memory of a removed block.
    fn keep_spare(&mut self, block: Option<VecDeque<T>>) {
        self.spares.extend(block);
        self.spares.truncate(self.blocks.len());
    }

    /// Removes the first entry, unless the cursor has passed it.
    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<T> {
        if self.passed > 0 {
            return None;
        }
        let block = self.blocks.front_mut()?;
        let entry = block.pop_front()?;
        self.len -= 1;
        if block.is_empty() && self.blocks.len() > 1 {
            let block = self.blocks.pop_front();
            self.keep_spare(block);
        }
        Some(entry)
    }

    /// Moves the first entries to `taken`, unless the cursor has passed them.
    pub(super) fn pop_front_each(&mut self, count: usize, taken: &mut Vec<T>) {
        let mut left = if self.passed == 0 {
            count.min(self.len)
        } else {
            0
        };
        self.len -= left;
        while left > 0
            && let Some(block) = self.blocks.front_mut()
        {
            let removed = left.min(block.len());
            taken.extend(block.drain(..removed));
            left -= removed;
            if block.is_empty() && self.blocks.len() > 1 {
                let block = self.blocks.pop_front();
                self.keep_spare(block);
            }
        }
    }

    pub(super) fn push_back_each(&mut self, mut entries: impl ExactSizeIterator<Item = T>) {
        while let Some(entry) = entries.next() {
            self.push_back(entry);
            if let Some(block) = self.blocks.back_mut() {
                let before = block.len();
                block.extend(entries.by_ref().take(BLOCK - before));
                self.len += block.len() - before;
            }
        }
    }

    #[inline]
    pub(super) fn back(&self) -> Option<&T> {
        self.blocks.back()?.back()
    }

    /// Removes the last entry, unless the cursor has passed it.
    pub(super) fn pop_back(&mut self) -> Option<T> {
        if self.passed == self.len {
            return None;
        }
        let block = self.blocks.back_mut()?;
        let entry = block.pop_back()?;
        self.len -= 1;
        if block.is_empty() && self.blocks.len() > 1 {
            let block = self.blocks.pop_back();
            self.keep_spare(block);
            self.end_at_last_block();
        }
        Some(entry)
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten()
    }

    /// The first entries.
    pub(super) fn first_mut(&mut self, count: usize) -> impl Iterator<Item = &mut T> {
        self.blocks.iter_mut().flatten().take(count)
    }

    /// Removes the first entries, which the cursor has passed; `visit` sees each of them before.
    pub(super) fn remove_passed(&mut self, count: usize, mut visit: impl FnMut(&mut T)) {
        let mut left = count.min(self.passed);
        while left > 0
            && let Some(block) = self.blocks.front_mut()
        {
            let removed = left.min(block.len());
            if removed > 1 {
                block.range_mut(..removed).for_each(&mut visit);
                block.drain(..removed);
            } else if let Some(mut entry) = block.pop_front() {
                visit(&mut entry);
            }
            left -= removed;
            self.len -= removed;
            self.passed -= removed;
            if self.cursor.block == 0 {
                self.cursor.offset -= removed;
            }
            if block.is_empty() && self.blocks.len() > 1 {
                let block = self.blocks.pop_front();
                self.keep_spare(block);
                self.cursor.block = self.cursor.block.saturating_sub(1);
            }
        }
    }

    /// The entry that the cursor passes next.
    #[inline]
    pub(super) fn next_mut(&mut self) -> Option<&mut T> {
        if self.cursor.offset >= self.block_len(self.cursor.block) {
            self.enter_next_block();
        }
        let Cursor { block, offset } = self.cursor;
        self.blocks.get_mut(block)?.get_mut(offset)
    }

    #[cold]
    fn enter_next_block(&mut self) {
        if self.cursor.block + 1 < self.blocks.len() {
            self.cursor.block += 1;
            self.cursor.offset = 0;
        }
    }

    /// Passes the entry that [`next_mut`](Self::next_mut) has returned.
    #[inline]
    pub(super) fn advance(&mut self) {
        if self.passed < self.len {
            self.passed += 1;
            self.cursor.offset += 1;
        }
    }

    /// Moves the cursor back by one entry, and returns that entry.
    pub(super) fn step_back(&mut self) -> Option<&mut T> {
        if self.cursor.offset == 0 {
            self.cursor.block = self.cursor.block.checked_sub(1)?;
            self.cursor.offset = self.block_len(self.cursor.block);
        }
        self.cursor.offset = self.cursor.offset.checked_sub(1)?;
        self.passed -= 1;
        self.next_mut()
    }

    /// Removes the entry that the cursor would pass next.
    pub(super) fn remove_next(&mut self) -> Option<T> {
        if self.passed == 0 {
            return self.pop_front();
        }
        self.next_mut()?;
        let Cursor {
            block: index,
            offset,
        } = self.cursor;
        let block = self.blocks.get_mut(index)?;
        let removed = block.remove(offset)?;
        self.len -= 1;
        if block.is_empty() && self.blocks.len() > 1 {
            let block = self.blocks.remove(index);
            self.keep_spare(block);
            self.end_at_last_block();
        }
        Some(removed)
    }

    /// Inserts entries before the one that the cursor would pass next.
    pub(super) fn insert_next(&mut self, entries: impl IntoIterator<Item = T>) {
        let Cursor {
            block: mut index,
            offset,
        } = self.cursor;
        let block = self.blocks.get_mut(index);
        let mut rest = block.map_or_else(VecDeque::new, |block| block.split_off(offset));
        for entry in entries {
            self.len += 1;
            index = self.push_to(index, entry);
        }
        match self.blocks.get_mut(index) {
            Some(block) if block.len() + rest.len() <= BLOCK => block.append(&mut rest),
            _ if rest.is_empty() => {}
            _ => self.blocks.insert(index + 1, rest),
        }
    }

    /// Adds an entry to a block, or to a new one behind it if it is full. Returns the index of the
    /// block.
    fn push_to(&mut self, index: usize, entry: T) -> usize {
        if let Some(block) = self.blocks.get_mut(index).filter(|it| it.len() < BLOCK) {
            block.push_back(entry);
            return index;
        }
        let index = (index + 1).min(self.blocks.len());
        self.blocks.insert(index, VecDeque::from([entry]));
        index
    }

    /// Corrects a cursor that is behind the last block.
    fn end_at_last_block(&mut self) {
        if self.cursor.block >= self.blocks.len() {
            let block = self.blocks.len().saturating_sub(1);
            self.cursor = Cursor {
                block,
                offset: self.block_len(block),
            };
        }
    }

    /// The last entry that the cursor has passed.
    pub(super) fn last_one_passed(&self) -> Option<&T> {
        let Cursor { block, offset } = self.cursor;
        match offset.checked_sub(1) {
            Some(last) => self.blocks.get(block)?.get(last),
            None => self.blocks.get(block.checked_sub(1)?)?.back(),
        }
    }

    /// The last `count` entries that the cursor has passed.
    pub(super) fn last_passed(&self, count: usize) -> impl Iterator<Item = &T> + Clone {
        let Cursor { block, offset } = self.cursor;
        let (mut first, mut end) = (block, offset);
        let mut missing = count.min(self.passed);
        while missing > end && first > 0 {
            missing -= end;
            first -= 1;
            end = self.block_len(first);
        }
        let start = self.blocks.get(first);
        let start = start.map(|entries| entries.range(end.saturating_sub(missing)..end));
        let others = self.blocks.iter().enumerate().skip(first + 1);
        let others = others
            .take(block - first)
            .flat_map(move |(index, entries)| {
                entries.range(
                    ..if index == block {
                        offset
                    } else {
                        entries.len()
                    },
                )
            });
        start.unwrap_or_default().chain(others)
    }

    /// Number of blocks, by which [`retain_block`](Self::retain_block) counts.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Number of entries of a block.
    #[inline]
    pub(super) fn block_len(&self, index: usize) -> usize {
        self.blocks.get(index).map_or(0, VecDeque::len)
    }

    /// Removes the entries of a block for which `stays` returns false; it also receives whether the
    /// cursor has passed the entry, which stays then. Returns the index of the next block.
    pub(super) fn retain_block(
        &mut self,
        index: usize,
        mut stays: impl FnMut(&mut T, bool) -> bool,
    ) -> usize {
        let cursor = self.cursor;
        let Some(block) = self.blocks.get_mut(index) else {
            return index + 1;
        };
        let visited = block.len();
        let passed = match index.cmp(&cursor.block) {
            std::cmp::Ordering::Less => visited,
            std::cmp::Ordering::Equal => cursor.offset,
            std::cmp::Ordering::Greater => 0,
        };
        let mut offset = 0;
        block.retain_mut(|entry| {
            let is_passed = offset < passed;
            offset += 1;
            stays(entry, is_passed) || is_passed
        });
        let left = block.len();
        self.len -= visited - left;
        if left == visited || !self.merge(index) {
            return index + 1;
        }
        index
    }

    /// Moves the entries of a block into the one before, if there is room, so that blocks that are
    /// nearly empty do not accumulate. Returns whether it has removed the block.
    fn merge(&mut self, index: usize) -> bool {
        let left = self.block_len(index);
        let before = index
            .checked_sub(1)
            .map(|before| (before, self.block_len(before)));
        match before {
            Some((before, len)) if len + left <= BLOCK => {
                let mut block = self.blocks.remove(index).unwrap_or_default();
                if let Some(before) = self.blocks.get_mut(before) {
                    before.append(&mut block);
                }
                self.keep_spare(Some(block));
                if self.cursor.block == index {
                    self.cursor.offset += len;
                }
            }
            None if left == 0 && self.blocks.len() > 1 => {
                let block = self.blocks.pop_front();
                self.keep_spare(block);
            }
            _ => return false,
        }
        if self.cursor.block >= index {
            self.cursor.block = self.cursor.block.saturating_sub(1);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(range: std::ops::Range<usize>) -> Blocks<usize> {
        let mut blocks = Blocks::new();
        range.for_each(|value| blocks.push_back(value));
        blocks
    }

    fn values(blocks: &mut Blocks<usize>) -> Vec<usize> {
        let len = blocks.len();
        blocks.first_mut(len).map(|value| *value).collect()
    }

    /// A list with a mark, moved in the same ways.
    #[test]
    fn queue_behaves_like_a_list_with_a_mark() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let (mut blocks, mut list, mut passed, mut next) = (Blocks::new(), Vec::new(), 0, 0);
            for _ in 0..200 {
                let some = rng.usize(0..400);
                match rng.u32(0..8) {
                    0 => {
                        blocks.push_back_each(next..next + some);
                        list.extend(next..next + some);
                        next += some;
                    }
                    1 => (0..some).for_each(|_| {
                        blocks.push_back(next);
                        list.push(next);
                        next += 1;
                    }),
                    2 => (0..some).for_each(|_| {
                        assert_eq!(blocks.next_mut().copied(), list.get(passed).copied());
                        blocks.advance();
                        passed += usize::from(passed < list.len());
                    }),
                    3 => {
                        let mut removed = Vec::new();
                        blocks.remove_passed(some, |value| removed.push(*value));
                        let count = some.min(passed);
                        assert!(list.drain(..count).eq(removed));
                        passed -= count;
                    }
                    4 => (0..some / 4).for_each(|_| {
                        let expected = passed.checked_sub(1).map(|before| list[before]);
                        assert_eq!(blocks.step_back().copied(), expected);
                        passed = passed.saturating_sub(1);
                        if passed < list.len() && rng.bool() {
                            assert_eq!(blocks.remove_next(), Some(list.remove(passed)));
                        }
                    }),
                    5 => (0..some).for_each(|_| {
                        let (front, back) = (passed == 0, passed < list.len());
                        assert_eq!(blocks.back(), list.last());
                        let removed = back.then(|| list.pop()).flatten();
                        assert_eq!(blocks.pop_back(), removed);
                        let front = front && !list.is_empty();
                        assert_eq!(blocks.pop_front(), front.then(|| list.remove(0)));
                        let count = if passed == 0 { list.len().min(3) } else { 0 };
                        let mut removed = Vec::new();
                        blocks.pop_front_each(3, &mut removed);
                        assert!(list.drain(..count).eq(removed));
                    }),
                    6 => {
                        let inserted = next..next + some / rng.usize(1..100);
                        next = inserted.end;
                        blocks.insert_next(inserted.clone());
                        list.splice(passed..passed, inserted);
                    }
                    _ => {
                        let kept = [2, 3, 50][rng.usize(0..3)];
                        let mut index = 0;
                        while index < blocks.blocks() {
                            index = blocks.retain_block(index, |value, _| *value % kept == 0);
                        }
                        let behind = list.split_off(passed);
                        list.extend(behind.into_iter().filter(|value| value % kept == 0));
                    }
                }
                assert_eq!((blocks.len(), blocks.passed()), (list.len(), passed));
                assert!(blocks.spares.len() <= blocks.blocks.len());
                assert_eq!(blocks.next_mut().copied(), list.get(passed).copied());
                assert_eq!(values(&mut blocks), list);
                let before = passed.checked_sub(1).map(|before| &list[before]);
                assert_eq!(blocks.last_one_passed(), before);
                let last = rng.usize(0..=passed);
                assert!(blocks.last_passed(last).eq(&list[passed - last..passed]));
            }
        }
    }

    #[test]
    fn removed_entries_return_their_memory() {
        for every in [1, 2, 10, 1_000] {
            let mut blocks = filled(0..100_000);
            let (mut index, mut visited) = (0, 0);
            while index < blocks.blocks() {
                let count = blocks.block_len(index);
                assert!(count <= BLOCK);
                visited += count;
                index = blocks.retain_block(index, |value, _| *value % every == 1);
            }
            assert_eq!(visited, 100_000);
            assert!(blocks.blocks() <= 2 * blocks.len() / BLOCK + 1, "{every}");
        }
    }

    #[test]
    fn queue_of_constant_length_allocates_no_block() {
        let mut blocks = filled(0..3 * BLOCK);
        for value in 0..100 * BLOCK {
            blocks.push_back(value);
            blocks.next_mut();
            blocks.advance();
            blocks.remove_passed(1, |_| {});
            let memory = blocks.blocks.iter().chain(&blocks.spares);
            assert!(memory.map(VecDeque::capacity).sum::<usize>() <= 5 * BLOCK);
        }
    }

    #[test]
    fn queue_that_halves_and_doubles_allocates_no_block() {
        let mut blocks = filled(0..8 * BLOCK);
        let addresses = |blocks: &mut Blocks<usize>| {
            let entries = blocks.first_mut(8 * BLOCK).map(|entry| &raw const *entry);
            entries.collect::<std::collections::BTreeSet<_>>()
        };
        let before = addresses(&mut blocks);
        for _ in 0..10 {
            let mut removed = Vec::new();
            blocks.pop_front_each(4 * BLOCK, &mut removed);
            assert_eq!(blocks.spares.len(), 4);
            blocks.push_back_each(0..4 * BLOCK);
            assert_eq!(addresses(&mut blocks), before);
        }
    }
}
