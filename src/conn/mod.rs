//! One connection to nsqd: how it comes about, and the two actors that read and write it.
//!
//! It knows no producer: its actors tell a weak recipient what happens, and each message carries the [`ConnId`] of the
//! connection it speaks of.

#[cfg(any(feature = "deflate", feature = "snappy"))]
mod compressed;
mod connector;
mod counter;
mod handshake;
mod message;
mod options;
mod reader;
mod timer;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod writer;

use actix::{Actor, Addr, AsyncContext, Context, Handler};
use bytes::Bytes;

#[cfg(feature = "tls")]
pub(crate) use self::tls::Tls;
pub(crate) use self::{
    connector::TcpConnector,
    handshake::{Connected, connect},
    message::{Closed, ConnId, Frames, Side},
    options::{AuthSecret, Compression, ConnOptions, SecretError, SecretProvider},
    timer::LazyTimer,
};
pub use self::{
    connector::{ConnectFuture, ConnectTarget, Connector},
    transport::Transport,
};
use self::{
    counter::BytesWritten,
    message::{Abort, DrainReads, Write},
    reader::ConnReader,
    writer::ConnWriter,
};
use crate::{error::ConnectionError, protocol::FrameDecoder};

/// A connection as its owner holds it. Dropped, it ends both actors, and with them the socket.
#[derive(Debug)]
pub(crate) struct Conn {
    id: ConnId,
    reader: Addr<ConnReader>,
    writer: Addr<ConnWriter>,
    bytes_written: BytesWritten,
}

impl Conn {
    /// Starts the two actors of a connection on the current arbiter.
    pub(crate) fn open<A>(connected: Connected, options: &ConnOptions, ctx: &mut Context<A>) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<Frames> + Handler<Closed>,
    {
        let id = ConnId::next();
        let (read, write) = connected.stream.into_split();
        let owner = ctx.address().downgrade();
        let bytes_written = BytesWritten::default();
        let writer = ConnWriter::new(
            id,
            write,
            bytes_written.clone(),
            connected.transport_written,
            options.write_timeout,
            owner.clone().recipient(),
        )
        .start();
        let reader = ConnReader {
            id,
            half: read,
            decoder: FrameDecoder::new(options.max_msg_size),
            silence: options.heartbeat_interval.map(|interval| interval * 2),
            writer: writer.clone().recipient(),
            frames: owner.clone().recipient(),
            closed: owner.recipient(),
            reason: ConnectionError::ClosedLocally,
            aborting: false,
        }
        .start();
        Self {
            id,
            reader,
            writer,
            bytes_written,
        }
    }

    pub(crate) fn id(&self) -> ConnId {
        self.id
    }

    /// Hands whole commands to the writer.
    pub(crate) fn write(&self, (pieces, last): (Vec<Bytes>, Bytes)) {
        self.writer.do_send(Write(pieces, last));
    }

    /// How many bytes of what was handed over the socket has taken. It is final when the writer has [`Closed`].
    pub(crate) fn bytes_written(&self) -> u64 {
        self.bytes_written.get()
    }

    /// Ends the writer. What the peer said before can still be read.
    pub(crate) fn abort_writer(&self) {
        self.writer.do_send(Abort);
    }

    /// Lets the reader read to the end, for a bounded time.
    pub(crate) fn drain_reads(&self) {
        self.reader.do_send(DrainReads);
    }

    /// Ends the reader, once it has read what is there already.
    pub(crate) fn abort_reader(&self) {
        self.reader.do_send(Abort);
    }
}
