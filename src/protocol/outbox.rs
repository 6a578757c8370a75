//! Where encoded commands wait for the writer.

use std::{
    fmt::{self, Write},
    mem,
};

use bytes::{BufMut, Bytes, BytesMut};

/// Room for a burst of small commands before the first reallocation.
const CAPACITY: usize = 32 * 1024;

/// Encoded commands, in order, waiting to be written.
///
/// ```text
///  PUB a | len | small   PUB b | len | large body   PUB c | len | small
///  |<------- copied ---------------->|<- shared ->|<----- copied ---->|
/// ```
///
/// What is small is copied side by side into one buffer; a body above [`SHARE_FROM`](Self::SHARE_FROM) bytes is shared, not
/// copied. [`take`](Self::take) gives it all as pieces fit for one vectored write.
pub struct Outbox {
    /// Closed pieces, all of them older than `open`.
    pieces: Vec<Bytes>,
    pieces_len: u64,
    /// The piece that small writes are still appended to.
    open: BytesMut,
    /// Bytes handed out by `take` so far.
    taken: u64,
}

impl Outbox {
    /// A body of more bytes than this is shared; up to here, copying is cheaper than one more piece to write.
    pub const SHARE_FROM: usize = 4 * 1024;

    /// An empty outbox.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pieces: Vec::new(),
            pieces_len: 0,
            open: BytesMut::with_capacity(CAPACITY),
            taken: 0,
        }
    }

    /// Bytes held now.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.pieces_len + wide(self.open.len())
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes ever put in, taken or not. Read right after a command was encoded, it is the offset at which that command ends.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.taken + self.len()
    }

    /// Hands out everything, in order, and leaves the outbox empty.
    ///
    /// The buffer behind the copied pieces is used again once the pieces taken before are dropped.
    pub fn take(&mut self) -> Vec<Bytes> {
        let (mut pieces, last) = self.take_apart();
        if !last.is_empty() {
            pieces.push(last);
        }
        pieces
    }

    /// The same, with the last piece by itself: as there is mostly no other, that spares a list.
    pub(crate) fn take_apart(&mut self) -> (Vec<Bytes>, Bytes) {
        let last = self.open.split().freeze();
        self.taken += mem::take(&mut self.pieces_len) + wide(last.len());
        (mem::take(&mut self.pieces), last)
    }

    /// Makes room for so many bytes more, if they are to be copied: all at once, and while there is nothing to move.
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
        // Writing to memory cannot fail.
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

/// What waits here may be a secret or a private body, so only lengths are shown.
impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("len", &self.len())
            .field("total", &self.total())
            .finish()
    }
}

/// No platform's `usize` is wider than 64 bits, so nothing is ever cut.
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
    fn a_new_outbox_holds_nothing() {
        let mut out = Outbox::default();
        assert!(out.is_empty());
        assert_eq!((out.len(), out.total()), (0, 0));
        assert!(out.take().is_empty());
    }

    #[test]
    fn small_pieces_leave_as_one() {
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
    fn a_large_body_is_shared_and_keeps_its_place() {
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
            [4098, 4097, 4097, 1]
        );
        assert!(pieces[0].starts_with(b"ax") && pieces[0].ends_with(b"xb"));
        assert!(std::ptr::eq(&pieces[1][..], &large[..]));
        assert!(std::ptr::eq(&pieces[2][..], &large[..]));
        assert_eq!(pieces[3], "c");
    }

    #[test]
    fn the_total_counts_on_while_the_length_starts_anew() {
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
    fn debug_shows_lengths_and_not_what_waits() {
        let mut out = Outbox::new();
        out.put(b"gone");
        out.take();
        out.put(b"secret");
        assert_eq!(format!("{out:?}"), "Outbox { len: 6, total: 10 }");
    }

    #[test]
    fn in_steady_state_the_same_buffer_is_used_again() {
        let mut out = Outbox::new();
        let mut places = std::collections::HashSet::new();
        for _ in 0..1000 {
            for _ in 0..100 {
                out.put(&[b'x'; 100]);
            }
            places.insert(out.take()[0].as_ptr().addr());
        }
        // Bursts of 10,000 bytes find at most four places in 32 KiB; fresh memory each time would show many more.
        assert!(places.len() <= 4, "{} places", places.len());
    }
}
