//! Encoded commands that wait for the writer.

use std::{
    fmt::{self, Write},
    mem,
};

use bytes::{BufMut, Bytes, BytesMut};

/// Initial capacity in bytes: where there are thousands of connections, most have single commands.
const SMALL: usize = 4 * 1024;

/// Capacity in bytes after the first burst of more than half of [`SMALL`]: a burst of 150 commands
/// of 200 bytes needs no reallocation.
const CAPACITY: usize = 32 * 1024;

/// Encoded commands, in the order in which they were encoded.
///
/// ```text
///  PUB a | len | small   PUB b | len | large body   PUB c | len | small
///  |<------- copied ---------------->|<- shared ->|<----- copied ---->|
/// ```
///
/// Small parts are copied into one contiguous buffer; a body above
/// [`SHARE_FROM`](Self::SHARE_FROM) bytes is shared instead. [`take`](Self::take) returns all
/// pieces for one vectored write.
pub struct Outbox {
    /// Complete pieces, all older than `open`.
    pieces: Vec<Bytes>,
    /// Bytes in `pieces`.
    pieces_len: u64,
    /// The piece that small parts are appended to.
    open: BytesMut,
    /// `open` has the capacity for bursts.
    is_large: bool,
    /// Bytes returned by `take` so far.
    taken: u64,
}

impl Outbox {
    /// Maximum length in bytes of a body that is copied. A copy of a small body is cheaper than
    /// another piece in a vectored write; at 4 KiB it is the other way round.
    pub const SHARE_FROM: usize = 2 * 1024;

    /// Creates an empty outbox.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pieces: Vec::new(),
            pieces_len: 0,
            open: BytesMut::with_capacity(SMALL),
            is_large: false,
            taken: 0,
        }
    }

    /// Returns the number of bytes that wait to be taken.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.pieces_len + wide(self.open.len())
    }

    /// Returns whether no bytes wait to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of bytes ever encoded, taken or not. Directly after a command was encoded
    /// this is the offset of its end in the stream.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.taken + self.len()
    }

    /// Removes and returns all pieces, in order.
    ///
    /// The buffer of the copied pieces is reused after all earlier pieces were dropped.
    pub fn take(&mut self) -> Vec<Bytes> {
        let (mut pieces, last) = self.take_apart();
        if !last.is_empty() {
            pieces.push(last);
        }
        pieces
    }

    /// Like [`take`](Self::take), but returns the last piece separately. Usually it is the only
    /// one, so that the list needs no allocation.
    pub(crate) fn take_apart(&mut self) -> (Vec<Bytes>, Bytes) {
        let last = self.open.split().freeze();
        if !self.is_large && last.len() > SMALL / 2 {
            self.is_large = true;
            self.open = BytesMut::with_capacity(CAPACITY);
        }
        self.taken += mem::take(&mut self.pieces_len) + wide(last.len());
        (mem::take(&mut self.pieces), last)
    }

    /// Reserves capacity for `bytes` more copied bytes, before they are appended in parts.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.open.reserve(bytes);
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
    }

    pub(super) fn put_u32(&mut self, number: u32) {
        self.open.put_u32(number);
    }

    pub(super) fn put_decimal(&mut self, number: u64) {
        // Writing to a buffer cannot fail.
        let _ = write!(self.open, "{number}");
    }

    pub(super) fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() > Self::SHARE_FROM {
            self.close_piece();
            self.push_piece(bytes.clone());
        } else {
            self.put(bytes);
        }
    }

    fn close_piece(&mut self) {
        if !self.open.is_empty() {
            let piece = self.open.split().freeze();
            self.push_piece(piece);
        }
    }

    fn push_piece(&mut self, piece: Bytes) {
        self.pieces_len += wide(piece.len());
        self.pieces.push(piece);
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

/// The content may be a secret or a private body, so only lengths are shown.
impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("len", &self.len())
            .field("total", &self.total())
            .finish()
    }
}

/// Converts a length. No platform's `usize` is wider than 64 bits.
fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(len: usize) -> Bytes {
        Bytes::from(vec![b'x'; len])
    }

    #[test]
    fn small_parts_become_one_piece() {
        let mut out = Outbox::new();
        out.put(b"PUB ");
        out.put_u32(5);
        out.put_decimal(u64::MAX);
        out.put_shared(&Bytes::from_static(b"hello"));
        assert_eq!(
            out.take(),
            [&b"PUB \x00\x00\x00\x0518446744073709551615hello"[..]]
        );
    }

    #[test]
    fn large_body_is_shared_in_order() {
        let (limit, large) = (body(Outbox::SHARE_FROM), body(Outbox::SHARE_FROM + 1));
        let mut out = Outbox::new();
        out.put(b"a");
        out.put_shared(&limit);
        out.put(b"b");
        out.put_shared(&large);
        out.put_shared(&large);
        out.put(b"c");
        let pieces = out.take();
        assert_eq!(
            pieces.iter().map(Bytes::len).collect::<Vec<_>>(),
            [2050, 2049, 2049, 1]
        );
        assert!(pieces[0].starts_with(b"ax") && pieces[0].ends_with(b"xb"));
        assert!(std::ptr::eq(&pieces[1][..], &large[..]));
        assert!(std::ptr::eq(&pieces[2][..], &large[..]));
        assert_eq!(pieces[3], "c");
    }

    #[test]
    fn take_resets_the_length_but_not_the_total() {
        let mut out = Outbox::new();
        out.put(b"abc");
        out.put_shared(&body(5000));
        assert_eq!((out.len(), out.total()), (5003, 5003));
        assert!(!out.is_empty());
        out.take();
        assert_eq!((out.len(), out.total()), (0, 5003));
        assert!(out.is_empty());
        out.put(b"de");
        assert_eq!((out.len(), out.total()), (2, 5005));
    }

    #[test]
    fn debug_shows_lengths_only() {
        let mut out = Outbox::new();
        out.put(b"sent");
        out.take();
        out.put(b"secret");
        assert_eq!(format!("{out:?}"), "Outbox { len: 6, total: 10 }");
    }

    #[test]
    fn buffer_is_reused_in_steady_state() {
        let mut out = Outbox::new();
        let mut addresses = std::collections::HashSet::new();
        for _ in 0..1000 {
            for _ in 0..100 {
                out.put(&[b'x'; 100]);
            }
            addresses.insert(out.take()[0].as_ptr().addr());
        }
        // Besides the first one, bursts of 10,000 bytes have at most four addresses in 32 KiB; new
        // buffers have many.
        assert!(addresses.len() <= 5, "{} addresses", addresses.len());
    }

    #[test]
    fn buffer_is_small_until_there_is_a_burst() {
        let mut out = Outbox::new();
        for _ in 0..1000 {
            out.put(&[b'x'; 100]);
            out.take();
            assert!(out.open.capacity() <= SMALL);
        }
        out.put(&[b'x'; SMALL]);
        out.take();
        assert_eq!(out.open.capacity(), CAPACITY);
    }
}
