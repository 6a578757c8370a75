//! Counts the bytes that a stream has accepted.

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
