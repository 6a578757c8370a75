//! The error for bytes that are not the NSQ protocol.

/// The peer violated the NSQ protocol. The stream cannot be resynchronized, so the connection
/// must be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The size field of a frame is below 4, the size of the frame type.
    #[error("frame of {size} bytes is too short for its type field (4 bytes)")]
    TooShort {
        /// The size field: bytes after it.
        size: u32,
    },
    /// The size field of a frame is negative.
    #[error("frame size {size} is negative")]
    Negative {
        /// The size field.
        size: i32,
    },
    /// The frame exceeds the decoder's limit.
    #[error("frame of {size} bytes exceeds the maximum of {limit} bytes")]
    TooLarge {
        /// The size field: bytes after it.
        size: u32,
        /// The decoder's limit in bytes.
        limit: usize,
    },
    /// The peer sent an HTTP response.
    #[error(
        "an HTTP server answered: use nsqd's TCP port (usually 4150), \
         not its HTTP port (usually 4151)"
    )]
    Http,
    /// The peer sent nsqlookupd's response to a client of nsqd.
    #[error(
        "an nsqlookupd answered: use nsqd's TCP port (usually 4150), \
         not that of nsqlookupd (usually 4160)"
    )]
    Nsqlookupd,
    /// The frame type is not 0 (response), 1 (error) or 2 (message).
    #[error("unknown frame type {frame_type}")]
    UnknownFrameType {
        /// The type field.
        frame_type: u32,
    },
    /// A message frame is too short for its timestamp, attempts and id.
    #[error("message frame of {size} bytes is too short for its header (26 bytes)")]
    ShortMessage {
        /// Bytes after the frame type.
        size: usize,
    },
}
