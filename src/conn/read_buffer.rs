//! The memory into which a connection reads.

use std::collections::VecDeque;

use bytes::BytesMut;

/// Maximum number of earlier buffers that are kept for later reads.
const MAX_EARLIER: usize = 8;

/// What was read and not decoded yet, with memory for the next read.
///
/// The bodies of messages share the memory of their read. A buffer that has no memory left is kept
/// until they are dropped, and is then read into again: an allocator spends as much on a buffer per
/// read as on a message.
pub(super) struct ReadBuffer {
    pub(super) bytes: BytesMut,
    /// Bytes that are missing of the frame that has begun.
    pub(super) missing: usize,
    /// Maximum number of bytes per read.
    read_size: usize,
    /// A frame that is longer than a read has made the buffer larger.
    is_large: bool,
    /// Empty, oldest first. Bodies may still share their memory.
    earlier: VecDeque<BytesMut>,
}

impl ReadBuffer {
    pub(super) fn new(read_size: usize) -> Self {
        Self {
            bytes: BytesMut::new(),
            missing: 0,
            read_size,
            is_large: false,
            earlier: VecDeque::new(),
        }
    }

    /// Makes room for the next read.
    pub(super) fn reserve(&mut self) {
        let bytes = &mut self.bytes;
        let length = bytes.len();
        let least = self.missing.max(self.read_size / 16);
        if bytes.capacity() - length >= least {
            return;
        }
        let room = self.read_size.saturating_sub(length).max(least);
        if bytes.try_reclaim(room) {
            return;
        }
        // The first buffer, or a long frame, whose start stays where it is.
        if bytes.capacity() == 0 || length + least > self.read_size {
            self.is_large |= least > self.read_size;
            return bytes.reserve(self.read_size.max(least));
        }
        self.replace();
    }

    /// Continues in another buffer.
    fn replace(&mut self) {
        let size = self.read_size;
        let is_unshared = |it: &mut BytesMut| it.try_reclaim(size);
        let unshared = self.earlier.iter_mut().position(is_unshared);
        let unshared = unshared.and_then(|position| self.earlier.remove(position));
        let mut next = unshared.unwrap_or_else(|| BytesMut::with_capacity(size));
        next.extend_from_slice(&self.bytes);
        let mut earlier = std::mem::replace(&mut self.bytes, next);
        earlier.clear();
        if !std::mem::take(&mut self.is_large) && self.earlier.len() < MAX_EARLIER {
            self.earlier.push_back(earlier);
        }
    }

    /// Frees what is kept for later reads.
    pub(super) fn free_earlier(&mut self) {
        self.earlier = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1_024;

    /// Reads until the buffer is full, and returns the bodies, which share its memory.
    fn fill(buffer: &mut ReadBuffer) -> BytesMut {
        buffer.reserve();
        let room = buffer.bytes.capacity() - buffer.bytes.len();
        buffer.bytes.extend_from_slice(&vec![7; room]);
        let rest = 10;
        buffer.bytes.split_to(buffer.bytes.len() - rest)
    }

    #[test]
    fn buffer_is_read_into_again_when_its_bodies_are_dropped() {
        let mut buffer = ReadBuffer::new(SIZE);
        let first = fill(&mut buffer);
        let memory = first.as_ptr();
        let second = fill(&mut buffer);
        assert_ne!(second.as_ptr(), memory);
        drop(first);
        let third = fill(&mut buffer);
        assert_eq!((third.as_ptr(), third.len()), (memory, SIZE - 10));
        assert_eq!(third[..10], [7; 10], "the rest of the second read");
    }

    #[test]
    fn few_buffers_are_kept_and_no_large_one() {
        let mut buffer = ReadBuffer::new(SIZE);
        let bodies: Vec<_> = (0..40).map(|_| fill(&mut buffer)).collect();
        assert_eq!(buffer.earlier.len(), MAX_EARLIER);
        buffer.free_earlier();
        // The start of a long frame.
        buffer.missing = 10 * SIZE;
        let long = fill(&mut buffer);
        assert!(long.len() >= 10 * SIZE);
        buffer.missing = 0;
        let next = fill(&mut buffer);
        assert!(next.len() <= SIZE && buffer.earlier.is_empty());
        drop(bodies);
    }
}
