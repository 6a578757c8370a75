//! The frame decoder: splits the byte stream from nsqd into frames.

use bytes::{Buf, BytesMut};

use super::{error::DecodeError, frame::Frame, message::MessageHeader};

/// Length of the size field in bytes.
const HEADER: usize = 4;

/// The type of a message frame.
const MESSAGE: [u8; 4] = 2_u32.to_be_bytes();

/// Decodes the byte stream from nsqd into frames.
///
/// ```text
///  0             4             8
///  | u32 size    | u32 type    | data ...            |
///                |<-------------- size ------------->|
///                  0 response, 1 error, 2 message
/// ```
///
/// The stream may be split anywhere. Append each read to one buffer, then call
/// [`decode`](Self::decode) until it returns `None`:
///
/// ```
/// use actix_nsq::{bytes::BytesMut, protocol::{Frame, FrameDecoder}};
///
/// let mut decoder = FrameDecoder::new(1024 * 1024);
/// let mut buffer = BytesMut::from(&b"\0\0\0\x06\0\0\0\0OK\0\0\0\x0f\0\0"[..]);
/// assert_eq!(decoder.decode(&mut buffer)?, Some(Frame::Ok));
/// assert_eq!(decoder.decode(&mut buffer)?, None);
///
/// buffer.extend_from_slice(b"\0\0_heartbeat_");
/// assert_eq!(decoder.decode(&mut buffer)?, Some(Frame::Heartbeat));
/// # Ok::<(), actix_nsq::protocol::DecodeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FrameDecoder {
    max_frame_size: usize,
    failed: Option<DecodeError>,
    /// Bytes that were missing of the frame that was incomplete last.
    missing: usize,
}

impl FrameDecoder {
    /// Creates a decoder that rejects frames of more than `max_frame_size` bytes: type and data,
    /// without the size field.
    #[must_use]
    pub fn new(max_frame_size: usize) -> Self {
        Self {
            max_frame_size,
            failed: None,
            missing: 0,
        }
    }

    /// Removes the next frame from the front of `buffer`. Returns `None` if the frame is still
    /// incomplete.
    ///
    /// The size is checked as soon as its four bytes are available. Only then is capacity
    /// reserved for the rest of the frame. `OK`, `_heartbeat_` and `CLOSE_WAIT` are decoded
    /// without an allocation.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the peer violates the protocol. All later calls return the same error.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let decoded = self.decode_buffered(buffer);
        if let Ok(None) = &decoded {
            buffer.reserve(self.missing);
        }
        decoded
    }

    /// Number of bytes that are known to be missing when [`decode_buffered`](Self::decode_buffered)
    /// has returned `None`.
    pub(crate) fn missing(&self) -> usize {
        self.missing
    }

    /// Like [`decode`](Self::decode), without reserving capacity.
    pub(crate) fn decode_buffered(
        &mut self,
        buffer: &mut BytesMut,
    ) -> Result<Option<Frame>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let decoded = self.next_frame(buffer);
        if let Err(error) = &decoded {
            self.failed = Some(error.clone());
        }
        decoded
    }

    fn next_frame(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let Some(header) = buffer.first_chunk::<HEADER>() else {
            self.missing = 0;
            return Ok(None);
        };
        let size = self.frame_size(*header)?;
        let end = HEADER + size;
        let Some(payload) = buffer.get(HEADER..end) else {
            self.missing = end - buffer.len();
            return Ok(None);
        };
        // Nearly all frames of a consumer: decoded before the buffer is split.
        if let Some(data) = payload.strip_prefix(&MESSAGE)
            && let Some(header) = MessageHeader::decode(data)
        {
            let before = end - (data.len() - MessageHeader::LENGTH);
            let mut body = buffer.split_to(end).freeze();
            body.advance(before);
            return Ok(Some(Frame::Message(header.with_body(body))));
        }
        if let Some(frame) = Frame::plain_response(payload) {
            buffer.advance(end);
            return Ok(Some(frame));
        }
        buffer.advance(HEADER);
        Frame::decode(buffer.split_to(size).freeze()).map(Some)
    }

    /// Returns the size of a frame, given its first four bytes: the number of bytes (type and
    /// data) that follow. [`Frame::decode`] decodes these.
    ///
    /// The handshake uses this to read exactly one frame: the bytes after it may belong to TLS or
    /// to a compressed stream.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the size is below 4 or exceeds the decoder's limit.
    pub fn frame_size(&self, header: [u8; HEADER]) -> Result<usize, DecodeError> {
        if &header == b"HTTP" {
            return Err(DecodeError::Http);
        }
        // nsqd writes the size as an i32.
        let Ok(size) = u32::try_from(i32::from_be_bytes(header)) else {
            return Err(DecodeError::Negative {
                size: i32::from_be_bytes(header),
            });
        };
        if size < 4 {
            return Err(DecodeError::TooShort { size });
        }
        match usize::try_from(size) {
            Ok(fitting) if fitting <= self.max_frame_size => Ok(fitting),
            _ => Err(DecodeError::TooLarge {
                size,
                limit: self.max_frame_size,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
