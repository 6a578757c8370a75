//! From bytes to frames, however the bytes arrive.

use bytes::{Buf, Bytes, BytesMut};

use super::{error_code::ServerError, frame::Frame, message::Message};

/// Bytes of the size field.
const HEADER: usize = 4;

/// Turns the bytes read from nsqd into frames.
///
/// ```text
///  0             4             8
///  | u32 size    | u32 type    | data ...            |
///                |<-------------- size ------------->|
///                  0 response, 1 error, 2 message
/// ```
///
/// Bytes go in as they come, split anywhere; [`decode`](Self::decode) is called until it gives `None`.
#[derive(Debug, Clone)]
pub struct FrameDecoder {
    max_frame_size: usize,
    failed: Option<DecodeError>,
}

impl FrameDecoder {
    /// A decoder that refuses frames of more than `max_frame_size` bytes: the size field's value, type and data together.
    #[must_use]
    pub fn new(max_frame_size: usize) -> Self {
        Self {
            max_frame_size,
            failed: None,
        }
    }

    /// Takes the next frame off the front of `buf`, or `None` if it is not there as a whole yet.
    ///
    /// The size is judged as soon as its four bytes are there; only then is room made for what is missing of the frame. The
    /// responses that a publishing connection lives on (`OK`, `_heartbeat_`) cost no allocation.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the peer does not speak the protocol. There is no way back into step with it, so the same error is
    /// given ever after.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.next_frame(buf)
            .inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn next_frame(&self, buf: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let Some(header) = buf.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let size = self.frame_size(*header)?;
        let end = HEADER + size;
        let Some(payload) = buf.get(HEADER..end) else {
            buf.reserve(end - buf.len());
            return Ok(None);
        };
        if let Some(frame) = plain_response(payload) {
            buf.advance(end);
            return Ok(Some(frame));
        }
        buf.advance(HEADER);
        Self::frame(buf.split_to(size).freeze()).map(Some)
    }

    /// The size that the first four bytes of a frame announce: so many bytes (type and data) follow.
    ///
    /// For the handshake, which must not read a byte too many: what follows may belong to TLS or a compressor.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if no frame can have this size, or the decoder's limit forbids it.
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

    /// Reads one whole frame without its size field: type and data.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the type is unknown, missing, or a message too short for its head.
    pub fn frame(payload: Bytes) -> Result<Frame, DecodeError> {
        if let Some(frame) = plain_response(&payload) {
            return Ok(frame);
        }
        let mut data = payload;
        let Ok(frame_type) = data.try_get_u32() else {
            // Fewer than four bytes are left here, so the conversion cannot fail.
            let size = u32::try_from(data.len()).unwrap_or_default();
            return Err(DecodeError::TooShort { size });
        };
        match frame_type {
            0 => Ok(Frame::Response(data)),
            1 => Ok(Frame::Error(ServerError::parse(&data))),
            2 => Message::decode(data).map(Frame::Message),
            frame_type => Err(DecodeError::UnknownFrameType { frame_type }),
        }
    }
}

/// The responses that need nothing from the buffer, told by type and data in one comparison each.
fn plain_response(payload: &[u8]) -> Option<Frame> {
    match payload {
        b"\0\0\0\0OK" => Some(Frame::Ok),
        b"\0\0\0\0_heartbeat_" => Some(Frame::Heartbeat),
        b"\0\0\0\0CLOSE_WAIT" => Some(Frame::CloseWait),
        _ => None,
    }
}

/// What the peer sent is not the NSQ protocol; the connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A frame too small to hold its own type.
    #[error("a frame of {size} bytes is too short: the frame type alone takes 4")]
    TooShort {
        /// What the size field said, in bytes.
        size: u32,
    },
    /// A size below zero.
    #[error("a frame cannot have {size} bytes")]
    Negative {
        /// What the size field said.
        size: i32,
    },
    /// A frame above the configured limit.
    #[error("a frame of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// What the size field said, in bytes.
        size: u32,
        /// The decoder's limit in bytes.
        limit: usize,
    },
    /// The size field spells `HTTP`.
    #[error(
        "an HTTP server answers here: use nsqd's TCP port (usually 4150), not its HTTP port (usually 4151)"
    )]
    Http,
    /// A frame type that the protocol does not have.
    #[error("unknown frame type {frame_type}")]
    UnknownFrameType {
        /// What the type field said.
        frame_type: u32,
    },
    /// A message frame too small for timestamp, attempts and id.
    #[error("a message of {size} bytes is too short: its head alone takes 26")]
    ShortMessage {
        /// Bytes after the frame type.
        size: usize,
    },
}

#[cfg(test)]
mod tests;
