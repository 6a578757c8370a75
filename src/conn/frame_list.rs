//! Lists of frames, whose memory is used again.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    vec,
};

use crate::protocol::Frame;

/// Maximum number of lists that are kept: reads that the owner has not taken yet are few.
const MAX_KEPT: usize = 8;

/// The empty lists of a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct FrameLists(Arc<Mutex<Vec<Vec<Frame>>>>);

impl FrameLists {
    /// Nothing that is done under the lock panics.
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Frame>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an empty list, if possible with room for this many frames.
    pub(super) fn take(&self, expected: usize) -> FrameList {
        let kept = self.lock().pop();
        FrameList {
            frames: kept.unwrap_or_else(|| Vec::with_capacity(expected)),
            home: self.clone(),
        }
    }

    /// Frees the lists that are kept.
    pub(super) fn free(&self) {
        drop(mem::take(&mut *self.lock()));
    }
}

/// The frames of a read. Dropped, its memory goes back to the connection.
#[derive(Debug)]
pub(crate) struct FrameList {
    frames: Vec<Frame>,
    home: FrameLists,
}

impl FrameList {
    pub(super) fn push(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Returns the frames with their memory.
    pub(crate) fn into_frames(mut self) -> vec::IntoIter<Frame> {
        mem::take(&mut self.frames).into_iter()
    }

    /// Takes the frames out of the list.
    pub(crate) fn drain(&mut self) -> vec::Drain<'_, Frame> {
        self.frames.drain(..)
    }
}

impl Drop for FrameList {
    fn drop(&mut self) {
        self.frames.clear();
        let mut kept = self.home.lock();
        if kept.len() < MAX_KEPT && self.frames.capacity() > 0 {
            kept.push(mem::take(&mut self.frames));
        }
    }
}
