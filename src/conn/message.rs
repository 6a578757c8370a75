//! The messages between the two actors of a connection and its owner.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use actix::Message;
use bytes::Bytes;

use super::frame_list::FrameList;
use crate::error::ConnectionError;

/// Identifies a connection within the process, so that the owner can ignore late messages of an
/// earlier connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnId(u64);

impl ConnId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Owner to writer: write these complete commands, in this order. The last piece is separate, since
/// a burst often has only one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Write(pub(super) Vec<Bytes>, pub(super) Bytes);

/// Reader to writer: nsqd has sent a heartbeat.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Heartbeat;

/// Owner to reader and writer: close now, without waiting for the peer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Abort;

/// Owner to writer: write everything that is queued, shut down the write half, and close. nsqd
/// executes all commands before the end, and then closes the connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Finish;

/// Owner to reader: read what nsqd has sent already, for a bounded time, then close.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct DrainReads;

/// Reader to owner: the frames of one read, without heartbeats. Most reads contain only `OK`
/// frames, so the leading ones are counted.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Frames {
    pub(crate) id: ConnId,
    /// Number of leading `OK` frames.
    pub(crate) oks: usize,
    /// The frames after them, if there are any.
    pub(crate) then: Option<FrameList>,
}

/// The actor that sent a [`Closed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Reader,
    Writer,
}

/// Reader or writer to owner, as its last message: it has stopped using its half of the transport.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Closed {
    pub(crate) id: ConnId,
    pub(crate) side: Side,
    pub(crate) reason: ConnectionError,
}
