//! The messages that travel between the actors of a connection and its owner.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use actix::Message;
use bytes::Bytes;

use crate::{error::ConnectionError, protocol::Frame};

/// A number new for each connection of the process. What carries another one is a late echo of an earlier connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnId(u64);

impl ConnId {
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Owner to writer: whole commands, to be written in this order, the last piece of them apart.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Write(pub(crate) Vec<Bytes>, pub(crate) Bytes);

/// Reader to writer: a heartbeat came.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Heartbeat;

/// Owner to reader and writer: end now, without waiting for the peer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Abort;

/// Owner to reader: nothing more will be asked; read what nsqd said before, for a bounded time, and end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct DrainReads;

/// Reader to owner: the frames of one read, without heartbeats. So many `OK`s come first, which is nearly always all.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Frames {
    pub(crate) id: ConnId,
    pub(crate) oks: usize,
    pub(crate) then: Vec<Frame>,
}

/// The two actors of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Reader,
    Writer,
}

/// Reader or writer to owner, as its last message: it has ended, and its half of the socket is out of use.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Closed {
    pub(crate) id: ConnId,
    pub(crate) side: Side,
    pub(crate) reason: ConnectionError,
}
