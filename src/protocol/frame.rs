//! Frames: everything that nsqd sends.

use std::fmt;

use bytes::{Buf, Bytes};

use super::{error::DecodeError, error_code::ServerError, message::Message, text::one_line};

/// Maximum length in bytes of a response in the output of `Display`: enough to recognize it.
const MAX_SHOWN: usize = 64;

/// One frame from nsqd.
///
/// The fixed responses have their own variants. A publishing connection receives hardly anything
/// else.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// Response `OK`: the oldest unanswered command succeeded.
    Ok,
    /// Response `_heartbeat_`: nsqd closes the connection unless a command (by convention `NOP`)
    /// arrives within two heartbeat intervals.
    Heartbeat,
    /// Response `CLOSE_WAIT` to `CLS`. Messages may still follow it.
    CloseWait,
    /// Any other response: the JSON that answers IDENTIFY or AUTH.
    Response(Bytes),
    /// An error response. It is the last frame of the connection, except after the three codes for
    /// which [`ErrorCode::is_fatal`](super::ErrorCode::is_fatal) returns `false`.
    Error(ServerError),
    /// A message of the channel that this connection is subscribed to.
    Message(Message),
}

impl Frame {
    /// Decodes one complete frame without its size field: `u32` type, then data. The data is not
    /// copied.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the type is missing or unknown, if a message is too short for its header,
    /// or if an nsqlookupd responds.
    pub fn decode(payload: Bytes) -> Result<Self, DecodeError> {
        if let Some(frame) = Self::plain_response(&payload) {
            return Ok(frame);
        }
        // nsqlookupd's responses have no frame type.
        if *payload == *b"E_BAD_PROTOCOL" {
            return Err(DecodeError::Nsqlookupd);
        }
        let mut data = payload;
        let Ok(frame_type) = data.try_get_u32() else {
            // Below four bytes, so the conversion cannot fail.
            let size = u32::try_from(data.len()).unwrap_or_default();
            return Err(DecodeError::TooShort { size });
        };
        match frame_type {
            0 => Ok(Self::Response(data)),
            1 => Ok(Self::Error(ServerError::parse(&data))),
            2 => Message::decode(data).map(Self::Message),
            frame_type => Err(DecodeError::UnknownFrameType { frame_type }),
        }
    }

    /// Recognizes the fixed responses by one comparison of type and data.
    pub(super) fn plain_response(payload: &[u8]) -> Option<Self> {
        match payload {
            b"\0\0\0\0OK" => Some(Self::Ok),
            b"\0\0\0\0_heartbeat_" => Some(Self::Heartbeat),
            b"\0\0\0\0CLOSE_WAIT" => Some(Self::CloseWait),
            _ => None,
        }
    }
}

/// Describes the frame in at most about 600 bytes, on one line. The body of a message is omitted.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Heartbeat => f.write_str("_heartbeat_"),
            Self::CloseWait => f.write_str("CLOSE_WAIT"),
            Self::Response(data) => {
                // One byte more than is shown, so that `one_line` marks the omission.
                let start = String::from_utf8_lossy(data.get(..=MAX_SHOWN).unwrap_or(data));
                write!(f, "response \"{}\"", one_line(start.chars(), MAX_SHOWN))
            }
            Self::Error(error) => write!(f, "error {error}"),
            Self::Message(_) => f.write_str("a message"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_short_for_a_frame_of_any_size() {
        let long = Frame::Response(vec![b'x'; 1 << 20].into()).to_string();
        assert!(
            long.starts_with("response \"xxx") && long.len() < 100,
            "{long}"
        );
        assert!(long.ends_with("xxx…\""), "{long}");
        let whole = "x".repeat(MAX_SHOWN);
        let response = Frame::Response(whole.clone().into());
        assert_eq!(response.to_string(), format!("response \"{whole}\""));
        let broken = Frame::Response(Bytes::from_static(b"a\n\xff")).to_string();
        assert_eq!(broken, "response \"a\\n\u{fffd}\"");
        assert_eq!(Frame::CloseWait.to_string(), "CLOSE_WAIT");
    }
}
