//! A message as nsqd delivers it.

use std::fmt;

use bytes::{Buf, Bytes};

use super::codec::DecodeError;

/// The name nsqd gives to a message: 16 bytes, hexadecimal digits from every nsqd so far.
///
/// Unique within a topic of one nsqd only: two topics, or two nsqds, may use the same id, so state is keyed by connection
/// *and* id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// An id from its bytes on the wire.
    #[must_use]
    pub const fn new(id: [u8; 16]) -> Self {
        Self(id)
    }

    /// The bytes as they stand on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The id as text; bytes that are no printable ASCII (nsqd sends none) are escaped.
impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// A message frame's content.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// When nsqd took the message in, in nanoseconds since the Unix epoch, by nsqd's clock.
    pub timestamp: i64,
    /// Which delivery this is, from 1; nsqd's counter stops making sense beyond 65535, where it wraps.
    pub attempts: u16,
    /// Names the message towards the nsqd that sent it.
    pub id: MessageId,
    /// What was published; shares the memory of the frame it came in.
    pub body: Bytes,
}

impl Message {
    /// Reads the data of a message frame.
    ///
    /// ```text
    ///  0                 8         10                  26
    ///  | i64 timestamp   | u16     | 16 bytes          |  body ...
    ///  | ns since epoch  | attempts| id, ASCII hex     |  (may be empty)
    /// ```
    ///
    /// # Errors
    ///
    /// [`DecodeError::ShortMessage`] below 26 bytes.
    pub fn decode(payload: Bytes) -> Result<Self, DecodeError> {
        let size = payload.len();
        let mut rest = payload;
        let mut id = [0; 16];
        let mut read = || {
            let timestamp = rest.try_get_i64()?;
            let attempts = rest.try_get_u16()?;
            rest.try_copy_to_slice(&mut id)?;
            Ok((timestamp, attempts))
        };
        let (timestamp, attempts) =
            read().map_err(|_: bytes::TryGetError| DecodeError::ShortMessage { size })?;
        Ok(Self {
            timestamp,
            attempts,
            id: MessageId(id),
            body: rest,
        })
    }
}

/// Bodies may be large and private, so only the length is shown.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("timestamp", &self.timestamp)
            .field("attempts", &self.attempts)
            .field("id", &self.id)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] = b"\x16\x2e\xa4\x03\x0d\x40\x0b\x01\x00\x030123456789abcdefhello";

    #[test]
    fn the_fields_stand_where_nsqd_puts_them() {
        let message = Message::decode(Bytes::from_static(GOLDEN)).unwrap();
        assert_eq!(message.timestamp, 0x162e_a403_0d40_0b01);
        assert_eq!(message.attempts, 3);
        assert_eq!(message.id.as_bytes(), b"0123456789abcdef");
        assert_eq!(message.body, "hello");
    }

    #[test]
    fn the_body_is_not_copied() {
        let payload = Bytes::from_static(GOLDEN);
        let message = Message::decode(payload.clone()).unwrap();
        assert!(std::ptr::eq(&payload[26..], &message.body[..]));
    }

    /// fault: P16
    #[test]
    fn a_body_may_be_empty_but_the_head_must_be_whole() {
        let bare = Message::decode(Bytes::from_static(&GOLDEN[..26])).unwrap();
        assert!(bare.body.is_empty());
        for size in 0..26 {
            assert_eq!(
                Message::decode(Bytes::from_static(&GOLDEN[..size])),
                Err(DecodeError::ShortMessage { size })
            );
        }
    }

    #[test]
    fn debug_shows_the_length_and_not_the_body() {
        let message = Message::decode(Bytes::from_static(GOLDEN)).unwrap();
        assert_eq!(
            format!("{message:?}"),
            "Message { timestamp: 1598395250777262849, attempts: 3, id: MessageId(0123456789abcdef), body: 5 bytes }"
        );
    }

    #[test]
    fn an_id_is_shown_as_text_on_one_line() {
        let id = MessageId::new(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "0123456789abcdef");
        let odd = MessageId::new(*b"\n\xff23456789abcdef");
        assert_eq!(odd.to_string(), "\\n\\xff23456789abcdef");
    }
}
