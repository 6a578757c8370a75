//! One connection to nsqd: how it comes about, and the two actors that read and write it.
//!
//! It knows no producer: its actors tell a weak recipient what happens, and each message carries the [`ConnId`] of the
//! connection it speaks of.

mod alarm;
#[cfg(any(feature = "deflate", feature = "snappy"))]
mod compressed;
mod connect;
mod connector;
mod event;
mod reader;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod writer;

use actix::{Actor, Addr, AsyncContext, Context, Handler};
use bytes::Bytes;

#[cfg(feature = "tls")]
pub(crate) use self::tls::Tls;
pub(crate) use self::{
    alarm::Alarm,
    connect::{Connected, connect},
    connector::TcpConnector,
    event::{ConnId, Ended, Frames, Side},
};
pub use self::{
    connector::{ConnectFuture, Connector},
    stream::Transport,
};
use self::{
    event::{Finish, Halt, Write},
    reader::ConnReader,
    writer::{ConnWriter, Taken},
};
use crate::{config::ProducerConfig, error::ConnectionError, protocol::FrameDecoder};

/// A connection as its owner holds it. Dropped, it ends both actors, and with them the socket.
#[derive(Debug)]
pub(crate) struct Conn {
    id: ConnId,
    reader: Addr<ConnReader>,
    writer: Addr<ConnWriter>,
    taken: Taken,
}

impl Conn {
    /// Starts the two actors of a connection on the current arbiter.
    pub(crate) fn open<A>(
        connected: Connected,
        config: &ProducerConfig,
        ctx: &mut Context<A>,
    ) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<Frames> + Handler<Ended>,
    {
        let id = ConnId::next();
        let (read, write) = connected.stream.into_split();
        let owner = ctx.address().downgrade();
        let taken = Taken::default();
        let writer = ConnWriter::new(
            id,
            write,
            taken.clone(),
            connected.beneath,
            config.write_timeout(),
            owner.clone().recipient(),
        )
        .start();
        let reader = ConnReader {
            id,
            half: read,
            decoder: FrameDecoder::new(config.max_msg_size()),
            silence: config.heartbeat_interval().map(|interval| interval * 2),
            writer: writer.clone().recipient(),
            frames: owner.clone().recipient(),
            ended: owner.recipient(),
            why: ConnectionError::ClosedLocally,
            halting: false,
        }
        .start();
        Self {
            id,
            reader,
            writer,
            taken,
        }
    }

    pub(crate) fn id(&self) -> ConnId {
        self.id
    }

    /// Hands whole commands to the writer.
    pub(crate) fn write(&self, (pieces, last): (Vec<Bytes>, Bytes)) {
        self.writer.do_send(Write(pieces, last));
    }

    /// How many bytes of what was handed over the socket has taken. It is final when the writer has [`Ended`].
    pub(crate) fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// Ends the writer. What the peer said before can still be read.
    pub(crate) fn halt_writer(&self) {
        self.writer.do_send(Halt);
    }

    /// Lets the reader read to the end, for a bounded time.
    pub(crate) fn finish_reader(&self) {
        self.reader.do_send(Finish);
    }

    /// Ends the reader, once it has read what is there already.
    pub(crate) fn halt_reader(&self) {
        self.reader.do_send(Halt);
    }
}
