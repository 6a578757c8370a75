//! What nsqd can say.

use std::fmt;

use bytes::Bytes;

use super::{error_code::ServerError, message::Message, text::one_line};

/// At most this many bytes of a response are shown.
const SHOWN: usize = 64;

/// One frame from nsqd.
///
/// The plain responses have names of their own, since they are nearly all that a publishing connection ever reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Response `OK`: the oldest unanswered command succeeded.
    Ok,
    /// Response `_heartbeat_`: nsqd wants a sign of life (any command; `NOP` by convention) within two intervals.
    Heartbeat,
    /// Response `CLOSE_WAIT`, to `CLS`. A message may still follow it.
    CloseWait,
    /// Any other response: the JSON that answers IDENTIFY or AUTH.
    Response(Bytes),
    /// An error. Unless its code is one of three (see [`ErrorCode::is_fatal`](super::ErrorCode::is_fatal)), it is the last
    /// frame of the connection.
    Error(ServerError),
    /// A message for the channel this connection is subscribed to.
    Message(Message),
}

/// What it is, in few words however large it is. A message shows nothing of its body.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Heartbeat => f.write_str("_heartbeat_"),
            Self::CloseWait => f.write_str("CLOSE_WAIT"),
            Self::Response(data) => {
                // A byte more than is shown, by which the line sees that something is left out.
                let start = String::from_utf8_lossy(data.get(..=SHOWN).unwrap_or(data));
                write!(f, "response \"{}\"", one_line(start.chars(), SHOWN))
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
    fn a_frame_of_any_size_shows_in_few_words() {
        let long = Frame::Response(vec![b'x'; 1 << 20].into()).to_string();
        assert!(
            long.starts_with("response \"xxx") && long.len() < 100,
            "{long}"
        );
        assert!(long.ends_with("xxx…\""), "{long}");
        let whole = "x".repeat(SHOWN);
        let response = Frame::Response(whole.clone().into());
        assert_eq!(response.to_string(), format!("response \"{whole}\""));
        let broken = Frame::Response(Bytes::from_static(b"a\n\xff")).to_string();
        assert_eq!(broken, "response \"a\\n\u{fffd}\"");
        assert_eq!(Frame::CloseWait.to_string(), "CLOSE_WAIT");
    }
}
