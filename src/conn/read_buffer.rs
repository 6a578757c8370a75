//! The memory into which a connection reads.

use std::{collections::VecDeque, mem};

use bytes::BytesMut;

/// Maximum number of earlier buffers that are kept for later reads.
const MAX_EARLIER: usize = 8;

/// The buffer of an idle connection is smaller than the maximum number of bytes per read by this
/// factor: where there are thousands of connections, most are idle.
const IDLE: usize = 8;

/// What was read and not decoded yet, with memory for the next read.
///
/// The bodies of messages share the memory of their read. A buffer that has no memory left is kept
/// until they are dropped, and is then read into again: an allocator spends as much on a buffer per
/// read as on a message.
///
/// The buffer is small until a read fills it, and again after the next heartbeat.
pub(super) struct ReadBuffer {
    pub(super) bytes: BytesMut,
    /// Bytes that are missing of the frame that has begun.
    pub(super) missing: usize,
    /// Maximum number of bytes per read.
    read_size: usize,
    /// The size of buffers at present.
    size: usize,
    /// It is smaller than `read_size`, or a frame that is longer than a read has made it larger.
    has_other_size: bool,
    /// Empty, oldest first. Bodies may still share their memory.
    earlier: VecDeque<BytesMut>,
}

impl ReadBuffer {
    pub(super) fn new(read_size: usize) -> Self {
        Self {
            bytes: BytesMut::new(),
            missing: 0,
            read_size,
            size: read_size / IDLE,
            has_other_size: true,
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
        if length + least > self.size {
            self.size = self.read_size;
        }
        let room = self.size.saturating_sub(length).max(least);
        if bytes.try_reclaim(room) {
            return;
        }
        // The first buffer, or a long frame, whose start stays where it is.
        if bytes.capacity() == 0 || length + least > self.read_size {
            let size = self.size.max(least);
            self.has_other_size = length + size != self.read_size;
            return bytes.reserve(size);
        }
        self.replace();
    }

    /// Notes that bytes were read: if they have filled the buffer, more follow.
    pub(super) fn on_read(&mut self) {
        if self.bytes.len() == self.bytes.capacity() {
            self.size = self.read_size;
        }
    }

    /// Continues in another buffer.
    fn replace(&mut self) {
        let size = self.size;
        let is_unshared = |it: &mut BytesMut| it.try_reclaim(size);
        let unshared = self.earlier.iter_mut().position(is_unshared);
        let unshared = unshared.and_then(|position| self.earlier.remove(position));
        let has_other_size = unshared.is_none() && size != self.read_size;
        let mut next = unshared.unwrap_or_else(|| BytesMut::with_capacity(size));
        next.extend_from_slice(&self.bytes);
        let mut earlier = mem::replace(&mut self.bytes, next);
        earlier.clear();
        if !mem::replace(&mut self.has_other_size, has_other_size)
            && self.earlier.len() < MAX_EARLIER
        {
            self.earlier.push_back(earlier);
        }
    }

    /// Frees what an idle connection does not need.
    pub(super) fn shrink(&mut self) {
        self.earlier = VecDeque::new();
        self.size = self.read_size / IDLE;
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
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
        buffer.on_read();
        let rest = 10;
        buffer.bytes.split_to(buffer.bytes.len() - rest)
    }

    /// A buffer that is not small any more.
    fn busy_buffer() -> ReadBuffer {
        let mut buffer = ReadBuffer::new(SIZE);
        fill(&mut buffer);
        buffer
    }

    #[test]
    fn buffer_is_read_into_again_when_its_bodies_are_dropped() {
        let mut buffer = busy_buffer();
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
        let mut buffer = busy_buffer();
        assert!(buffer.earlier.is_empty(), "the small one is not kept");
        let bodies: Vec<_> = (0..40).map(|_| fill(&mut buffer)).collect();
        assert_eq!(buffer.earlier.len(), MAX_EARLIER);
        buffer.earlier.clear();
        // The start of a long frame.
        buffer.missing = 10 * SIZE;
        let long = fill(&mut buffer);
        assert!(long.len() >= 10 * SIZE);
        buffer.missing = 0;
        let next = fill(&mut buffer);
        assert!(next.len() <= SIZE && buffer.earlier.is_empty());
        drop(bodies);
    }

    #[test]
    fn buffer_is_small_until_it_is_full_and_after_a_heartbeat() {
        let mut buffer = ReadBuffer::new(SIZE);
        let capacity = |buffer: &mut ReadBuffer| {
            buffer.reserve();
            buffer.bytes.capacity()
        };
        // Responses that are decoded at once leave it small.
        for _ in 0..SIZE {
            buffer.reserve();
            buffer.bytes.extend_from_slice(&[7; 10]);
            buffer.on_read();
            buffer.bytes.clear();
            assert!(buffer.bytes.capacity() <= SIZE / IDLE);
        }
        fill(&mut buffer);
        assert!(capacity(&mut buffer) >= SIZE - 10);
        // A frame that has begun stays.
        buffer.shrink();
        assert_eq!(buffer.bytes[..], [7; 10]);
        assert!(capacity(&mut buffer) >= SIZE - 10);
        buffer.bytes.clear();
        buffer.shrink();
        assert_eq!(capacity(&mut buffer), SIZE / IDLE);
        // A frame that does not fit.
        buffer.missing = SIZE / 2;
        assert_eq!(capacity(&mut buffer), SIZE);
    }
}
