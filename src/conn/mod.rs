//! One connection to nsqd: its handshake, and the two actors that read and write it.
//!
//! A connection serves any owner. Its actors report to the owner through weak recipients (see
//! [`OwnerAddress`]), in messages that carry the [`ConnId`].

#[cfg(any(feature = "deflate", feature = "snappy"))]
mod compressed;
mod connector;
mod coop;
mod counter;
mod endpoint;
mod frame_list;
mod handshake;
mod message;
mod options;
mod owner_address;
mod panic;
mod race;
mod read_buffer;
mod reader;
mod resolver;
mod stream;
mod timer;
#[cfg(feature = "rustls")]
mod tls;
mod transport;
mod writer;

use actix::{Actor, Addr, AsyncContext, Context, Handler};
use bytes::Bytes;

#[cfg(feature = "lookup")]
pub(crate) use self::endpoint::canonical_address;
#[cfg(feature = "lookup")]
pub(crate) use self::stream::{StreamOptions, open_stream};
#[cfg(feature = "rustls")]
pub(crate) use self::tls::Tls;
pub(crate) use self::{
    connector::DefaultConnector,
    coop::wake_deferred,
    counter::ReadsSent,
    endpoint::{Endpoint, MAX_HOST, SCHEME, address_key, is_host_char},
    frame_list::FrameList,
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
    message::{Abort, DrainReads, Finish, Write},
    owner_address::OwnerAddress,
    reader::ConnReader,
    writer::ConnWriter,
};
use crate::{error::ConnectionError, protocol::FrameDecoder};

/// The owner's handle of an open connection. Dropping it stops both actors and closes the
/// transport.
#[derive(Debug)]
pub(crate) struct Conn {
    id: ConnId,
    reader: Addr<ConnReader>,
    writer: Addr<ConnWriter>,
    bytes_written: BytesWritten,
}

impl Conn {
    /// Starts the actors of a connection on the current arbiter. They report to the actor of `ctx`.
    pub(crate) fn open<A>(
        connected: Connected,
        options: &ConnOptions,
        reads: ReadsSent,
        ctx: &mut Context<A>,
    ) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<Frames> + Handler<Closed>,
    {
        let id = ConnId::next();
        let (read, write) = connected.transport.into_split();
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
            read_size: options.read_size,
            max_silence: options.heartbeat_interval.map(|interval| interval * 2),
            writer: writer.clone().recipient(),
            owner: OwnerAddress::new(owner.clone().recipient(), reads),
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

    /// Writes complete commands. The parameter is what `Outbox::take_apart` returns.
    pub(crate) fn write(&self, (pieces, last): (Vec<Bytes>, Bytes)) {
        self.writer.do_send(Write(pieces, last));
    }

    /// Returns how many bytes of commands the transport has accepted. The number is final when the
    /// writer has [`Closed`].
    pub(crate) fn bytes_written(&self) -> u64 {
        self.bytes_written.get()
    }

    /// Lets the writer write everything that is queued and shut down the write half, and stops it
    /// then. The reader continues.
    pub(crate) fn finish_writer(&self) {
        self.writer.do_send(Finish);
    }

    /// Stops the writer and discards what is queued. The reader continues.
    pub(crate) fn abort_writer(&self) {
        self.writer.do_send(Abort);
    }

    /// Lets the reader read what nsqd has sent already, for a bounded time, and stops it then.
    pub(crate) fn drain_reads(&self) {
        self.reader.do_send(DrainReads);
    }

    /// Stops the reader after it has read what has arrived already.
    pub(crate) fn abort_reader(&self) {
        self.reader.do_send(Abort);
    }
}
