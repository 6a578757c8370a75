//! What a proxy has passed: counts, and recorded connections.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::faults::Direction;

/// Counts of a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections so far.
    pub connections: u64,
    /// Open connections.
    pub open: u64,
    /// Bytes passed in each direction.
    pub up: u64,
    pub down: u64,
}

/// A recorded connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    pub up: Recording,
    pub down: Recording,
}

impl Recorded {
    /// Whether either peer has sent these bytes.
    pub fn has(&self, bytes: &[u8]) -> bool {
        let has = |way: &Recording| way.sent.windows(bytes.len()).any(|part| part == bytes);
        has(&self.up) || has(&self.down)
    }
}

/// One direction of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// All bytes that were received, before any fault.
    pub sent: Vec<u8>,
    /// Sizes of the pieces that were passed on.
    pub pieces: Vec<usize>,
}

/// Counts and records of a proxy.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    connections: AtomicU64,
    open: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    records: Mutex<Vec<Arc<Mutex<Recorded>>>>,
}

impl Tallies {
    pub(super) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
        Counts {
            connections: read(&self.connections),
            open: read(&self.open),
            up: read(&self.up),
            down: read(&self.down),
        }
    }

    pub(super) fn records(&self) -> Vec<Recorded> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = |record: &Arc<Mutex<Recorded>>| {
            record
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        records.iter().map(copy).collect()
    }
}

/// Counts of one connection, which is open until this is dropped.
#[derive(Debug)]
pub(super) struct Tally {
    all: Arc<Tallies>,
    /// Counted from 0.
    pub(super) number: u64,
    record: Option<Arc<Mutex<Recorded>>>,
}

impl Tally {
    pub(super) fn open(all: &Arc<Tallies>, recorded: bool) -> Self {
        all.open.fetch_add(1, Ordering::SeqCst);
        let record = recorded.then(|| {
            let record = Arc::default();
            let mut records = all.records.lock().unwrap_or_else(PoisonError::into_inner);
            records.push(Arc::clone(&record));
            record
        });
        Self {
            all: Arc::clone(all),
            number: all.connections.fetch_add(1, Ordering::SeqCst),
            record,
        }
    }

    pub(super) fn read(&self, direction: Direction, bytes: &[u8]) {
        self.record(direction, |record| record.sent.extend_from_slice(bytes));
    }

    pub(super) fn passed(&self, direction: Direction, length: usize) {
        let count = match direction {
            Direction::Up => &self.all.up,
            Direction::Down => &self.all.down,
        };
        count.fetch_add(length as u64, Ordering::SeqCst);
        self.record(direction, |record| record.pieces.push(length));
    }

    fn record(&self, direction: Direction, add: impl FnOnce(&mut Recording)) {
        if let Some(record) = &self.record {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            add(match direction {
                Direction::Up => &mut record.up,
                Direction::Down => &mut record.down,
            });
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.all.open.fetch_sub(1, Ordering::SeqCst);
    }
}
