//! Counts that a connection shares with its owner.

use std::{cell::Cell, rc::Rc};

/// Number of bytes that a stream has accepted, shared by the writer and the connection's owner.
///
/// nsqd executes no incomplete command, so a command that was not accepted as a whole is certainly
/// not stored.
#[derive(Debug, Clone, Default)]
pub(super) struct BytesWritten(Rc<Cell<u64>>);

impl BytesWritten {
    pub(super) fn get(&self) -> u64 {
        self.0.get()
    }

    pub(super) fn add(&self, bytes: u64) {
        self.0.set(self.0.get().saturating_add(bytes));
    }
}

/// Number of reads whose frames were sent to the owner, on all its connections.
///
/// The owner judges no deadline before it has handled the frames that were sent when the deadline
/// passed.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadsSent(Rc<Cell<u64>>);

impl ReadsSent {
    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }

    pub(super) fn add_one(&self) {
        self.0.set(self.0.get() + 1);
    }
}
