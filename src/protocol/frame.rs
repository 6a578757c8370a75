//! What nsqd can say.

use bytes::Bytes;

use super::{error_code::ServerError, message::Message};

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
