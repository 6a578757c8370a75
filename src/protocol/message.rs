//! Messages that nsqd delivers to a consumer.

use std::fmt;

use bytes::{Buf, Bytes};

use super::error::DecodeError;

/// The id that nsqd assigns to a message: 16 bytes, in practice hexadecimal digits.
///
/// An id is unique within one topic of one nsqd only. Two topics or two nsqds may use the same
/// id, so state must be keyed by connection *and* id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// Creates an id from its bytes on the wire.
    #[must_use]
    pub const fn new(id: [u8; 16]) -> Self {
        Self(id)
    }

    /// Returns the bytes as sent to nsqd.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Shows the id as text. Bytes that are not printable ASCII are escaped.
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

/// A message that nsqd delivered.
///
/// ```
/// use actix_nsq::{bytes::Bytes, protocol::Message};
///
/// let data = Bytes::from_static(b"\x17\x97\x9c\xfe\x36\x2a\0\0\0\x010123456789abcdefan order");
/// let message = Message::decode(data)?;
/// assert_eq!(message.timestamp, 1_700_000_000_000_000_000);
/// assert_eq!(message.attempts, 1);
/// assert_eq!(message.id.to_string(), "0123456789abcdef");
/// assert_eq!(message.body, "an order");
/// # Ok::<(), actix_nsq::protocol::DecodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// When nsqd received the message: nanoseconds since the Unix epoch, by nsqd's clock.
    pub timestamp: i64,
    /// Number of deliveries including this one, starting at 1. nsqd's counter wraps after 65535.
    pub attempts: u16,
    /// Identifies the message to the nsqd that sent it.
    pub id: MessageId,
    /// The published body. It shares the memory of the frame.
    pub body: Bytes,
}

impl Message {
    /// Decodes the data of a message frame.
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
    pub fn decode(mut payload: Bytes) -> Result<Self, DecodeError> {
        let size = payload.len();
        let header = MessageHeader::decode(&payload);
        let header = header.ok_or(DecodeError::ShortMessage { size })?;
        payload.advance(MessageHeader::LENGTH);
        Ok(header.with_body(payload))
    }
}

/// What precedes the body of a message.
pub(super) struct MessageHeader {
    timestamp: i64,
    attempts: u16,
    id: MessageId,
}

impl MessageHeader {
    /// Its length in bytes.
    pub(super) const LENGTH: usize = 26;

    /// Decodes the start of a message frame's data. `None` if it is too short.
    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        let (timestamp, data) = data.split_first_chunk()?;
        let (attempts, data) = data.split_first_chunk()?;
        let (id, _) = data.split_first_chunk()?;
        Some(Self {
            timestamp: i64::from_be_bytes(*timestamp),
            attempts: u16::from_be_bytes(*attempts),
            id: MessageId(*id),
        })
    }

    pub(super) fn with_body(self, body: Bytes) -> Message {
        let Self {
            timestamp,
            attempts,
            id,
        } = self;
        Message {
            timestamp,
            attempts,
            id,
            body,
        }
    }
}

/// Bodies may be large and private, so only their length is shown.
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
    fn fields_are_read_in_nsqds_order() {
        let message = Message::decode(Bytes::from_static(GOLDEN)).unwrap();
        assert_eq!(message.timestamp, 0x162e_a403_0d40_0b01);
        assert_eq!(message.attempts, 3);
        assert_eq!(message.id.as_bytes(), b"0123456789abcdef");
        assert_eq!(message.body, "hello");
    }

    #[test]
    fn body_is_not_copied() {
        let payload = Bytes::from_static(GOLDEN);
        let message = Message::decode(payload.clone()).unwrap();
        assert!(std::ptr::eq(&payload[26..], &message.body[..]));
    }

    /// contract: 12
    /// fault: P16
    #[test]
    fn body_may_be_empty_but_the_header_must_be_complete() {
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
    fn debug_shows_the_length_of_the_body() {
        let message = Message::decode(Bytes::from_static(GOLDEN)).unwrap();
        assert_eq!(
            format!("{message:?}"),
            "Message { timestamp: 1598395250777262849, attempts: 3, \
             id: MessageId(0123456789abcdef), body: 5 bytes }"
        );
    }

    #[test]
    fn id_is_shown_as_text_on_one_line() {
        let id = MessageId::new(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "0123456789abcdef");
        let odd = MessageId::new(*b"\n\xff23456789abcdef");
        assert_eq!(odd.to_string(), "\\n\\xff23456789abcdef");
    }
}
