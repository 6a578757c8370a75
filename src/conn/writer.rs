//! The writer actor: writes each burst with one vectored write, and counts the bytes accepted.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    process,
    task::{self, Poll, ready},
    time::Duration,
};

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Context, Handler, WeakRecipient};
use bytes::{Buf, Bytes};
use tokio::{
    io::AsyncWrite,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    counter::BytesWritten,
    message::{Abort, Closed, ConnId, Finish, Heartbeat, Side, Write},
    panic::{ignore_panic, stop_reason},
    transport::WriteHalf,
};
use crate::error::ConnectionError;

/// Maximum number of buffers per vectored write: those of 64 large bodies. It bounds the array on
/// the stack.
const MAX_SLICES: usize = 128;

/// Minimum progress per `write_timeout`, in bytes: accepted by the transport, or by the transport
/// below TLS or compression, which buffer some themselves.
const MIN_PROGRESS: u32 = 64 << 10;

/// A part of what is to be written.
struct Piece {
    bytes: Bytes,
    /// Whether it belongs to the owner's commands and counts as [`BytesWritten`].
    is_counted: bool,
}

/// Writes commands and heartbeat responses in order.
pub(crate) struct ConnWriter {
    id: ConnId,
    half: WriteHalf,
    /// Bytes of the owner's commands.
    bytes_written: BytesWritten,
    /// Bytes that the transport below TLS or compression has accepted; constant without such
    /// layers.
    transport_written: BytesWritten,
    write_timeout: Duration,
    closed: WeakRecipient<Closed>,
    reason: ConnectionError,
    queued: VecDeque<Piece>,
    /// A NOP is queued. One is enough for any number of heartbeats.
    is_nop_queued: bool,
    /// A [`Finish`] was received: nothing is queued any more.
    is_finishing: bool,
    /// The process that opened the connection. A child that it forks has a copy of this actor.
    process: u32,
}

impl ConnWriter {
    pub(super) fn new(
        id: ConnId,
        half: WriteHalf,
        bytes_written: BytesWritten,
        transport_written: BytesWritten,
        write_timeout: Duration,
        closed: WeakRecipient<Closed>,
    ) -> Self {
        Self {
            id,
            half,
            bytes_written,
            transport_written,
            write_timeout,
            closed,
            reason: ConnectionError::ClosedLocally,
            queued: VecDeque::new(),
            is_nop_queued: false,
            is_finishing: false,
            process: process::id(),
        }
    }

    /// Writes and flushes everything that is queued. `Pending`: the transport accepts no more for
    /// now.
    fn poll_write(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), ConnectionError>> {
        while !self.queued.is_empty() {
            match ready!(self.poll_write_some(cx))? {
                0 => return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into())),
                written => self.advance(written),
            }
        }
        if self.is_finishing {
            return Poll::Ready(Ok(ready!(Pin::new(&mut self.half).poll_shutdown(cx))?));
        }
        Poll::Ready(Ok(ready!(Pin::new(&mut self.half).poll_flush(cx))?))
    }

    fn poll_write_some(&mut self, cx: &mut task::Context<'_>) -> Poll<io::Result<usize>> {
        let half = Pin::new(&mut self.half);
        // A single piece, such as that of a lone publish, needs no array.
        if let (1, Some(piece)) = (self.queued.len(), self.queued.front()) {
            return half.poll_write(cx, &piece.bytes);
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        for (slice, piece) in slices.iter_mut().zip(&self.queued) {
            *slice = IoSlice::new(&piece.bytes);
        }
        let filled = slices.get(..self.queued.len()).unwrap_or(&slices);
        half.poll_write_vectored(cx, filled)
    }

    /// Removes the bytes that were written from the queue, and counts them.
    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.queued.front_mut() {
            let part = written.min(piece.bytes.len());
            piece.bytes.advance(part);
            written -= part;
            if piece.is_counted {
                self.bytes_written.add(part as u64);
            }
            if piece.bytes.has_remaining() {
                return;
            }
            if !piece.is_counted {
                self.is_nop_queued = false;
            }
            self.queued.pop_front();
        }
    }
}

impl Actor for ConnWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // 0 is unlimited. The owner's in-flight limit bounds the mailbox.
        ctx.set_mailbox_capacity(0);
        ctx.spawn(WriteLoop { stall: None });
    }

    /// Shuts down the write half so that the peer sees EOF. Best effort.
    fn stopped(&mut self, _: &mut Context<Self>) {
        if process::id() == self.process {
            ignore_panic(|| {
                let mut cx = task::Context::from_waker(task::Waker::noop());
                let _ = Pin::new(&mut self.half).poll_shutdown(&mut cx);
            });
        } else {
            // The connection still belongs to the parent. Dropping the half would shut it down and
            // remove it from the epoll instance that both processes share.
            mem::forget(mem::replace(&mut self.half, WriteHalf::Closed));
        }
        if let Some(owner) = self.closed.upgrade() {
            owner.do_send(Closed {
                id: self.id,
                side: Side::Writer,
                reason: stop_reason(&self.reason),
            });
        }
    }
}

impl Handler<Write> for ConnWriter {
    type Result = ();

    fn handle(&mut self, Write(pieces, last): Write, _: &mut Context<Self>) {
        let counted = |bytes| Piece {
            bytes,
            is_counted: true,
        };
        self.queued.extend(pieces.into_iter().map(counted));
        if !last.is_empty() {
            self.queued.push_back(counted(last));
        }
    }
}

impl Handler<Heartbeat> for ConnWriter {
    type Result = ();

    /// The queue ends with a complete command, so a NOP can follow.
    fn handle(&mut self, _: Heartbeat, _: &mut Context<Self>) {
        if !self.is_nop_queued && !self.is_finishing {
            self.is_nop_queued = true;
            self.queued.push_back(Piece {
                bytes: Bytes::from_static(b"NOP\n"),
                is_counted: false,
            });
        }
    }
}

impl Handler<Finish> for ConnWriter {
    type Result = ();

    fn handle(&mut self, _: Finish, _: &mut Context<Self>) {
        self.is_finishing = true;
    }
}

impl Handler<Abort> for ConnWriter {
    type Result = ();

    fn handle(&mut self, _: Abort, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// The only long-running future of the writer. actix polls it when the mailbox is empty, so it
/// writes complete bursts.
struct WriteLoop {
    /// Present while the transport accepts no more bytes.
    stall: Option<Stall>,
}

/// The time that a transport has for accepting more bytes.
struct Stall {
    /// Fires at `due` or earlier.
    timer: Pin<Box<Sleep>>,
    due: Instant,
    /// The byte count that `due` follows from.
    written: u64,
}

impl Stall {
    fn new(written: u64, write_timeout: Duration) -> Self {
        let due = Instant::now() + write_timeout;
        Self {
            timer: Box::pin(sleep_until(due)),
            due,
            written,
        }
    }

    /// Moves the end by one `write_timeout` per [`MIN_PROGRESS`] bytes, to at most four thirds of
    /// it from now: a slow but steady peer opens its window in large steps, so that the socket
    /// accepts nothing for longer than that progress suggests.
    fn extend(&mut self, written: u64, write_timeout: Duration) {
        let bytes = u32::try_from(written - self.written).unwrap_or(u32::MAX);
        if bytes == 0 {
            return;
        }
        self.written = written;
        let longest = write_timeout * 4 / 3;
        let gained = (write_timeout / MIN_PROGRESS).saturating_mul(bytes);
        self.due = (self.due + gained.min(longest)).min(Instant::now() + longest);
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.due <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.due);
        }
    }
}

impl ActorFuture<ConnWriter> for WriteLoop {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        writer: &mut ConnWriter,
        ctx: &mut Context<ConnWriter>,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        let reason = match writer.poll_write(cx) {
            Poll::Ready(Ok(())) if writer.is_finishing => Some(ConnectionError::ClosedLocally),
            Poll::Ready(Ok(())) => {
                self.stall = None;
                None
            }
            Poll::Ready(Err(reason)) => Some(reason),
            Poll::Pending => self.check_progress(writer, cx),
        };
        if let Some(reason) = reason {
            writer.reason = reason;
            ctx.stop();
        } else if !ctx.connected() {
            // The owner was dropped.
            ctx.stop();
        }
        Poll::Pending
    }
}

impl WriteLoop {
    /// Returns the reason if the transport has accepted too little for too long.
    fn check_progress(
        &mut self,
        writer: &ConnWriter,
        cx: &mut task::Context<'_>,
    ) -> Option<ConnectionError> {
        let after = writer.write_timeout;
        let layered = writer.transport_written.get();
        let written = writer.bytes_written.get().saturating_add(layered);
        let stall = self.stall.get_or_insert_with(|| Stall::new(written, after));
        stall.extend(written, after);
        let is_over = stall.poll(cx).is_ready();
        is_over.then_some(ConnectionError::WriteTimeout { after })
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, net::TcpListener};

    use actix::{System, clock::sleep};
    use tokio::net::TcpStream;

    use super::*;
    use crate::conn::transport::Transport;

    struct Owner;

    impl Actor for Owner {
        type Context = Context<Self>;
    }

    impl Handler<Closed> for Owner {
        type Result = ();

        fn handle(&mut self, _: Closed, _: &mut Context<Self>) {}
    }

    /// What the peer reads after the writer has stopped in the process `id`.
    fn read_after_stop_in(id: u32) -> io::Result<usize> {
        System::new().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap());
            let (_read, write) = Transport::from(client.await.unwrap()).into_split();
            let (mut peer, _) = listener.accept().unwrap();
            let (count, owner) = (BytesWritten::default(), Owner.start());
            let writer = ConnWriter {
                process: id,
                ..ConnWriter::new(
                    ConnId::next(),
                    write,
                    count.clone(),
                    count,
                    Duration::from_secs(5),
                    owner.downgrade().recipient(),
                )
            };
            let writer = writer.start();
            writer.do_send(Abort);
            while writer.connected() {
                sleep(Duration::from_millis(1)).await;
            }
            peer.set_read_timeout(Some(Duration::from_millis(100)))?;
            peer.read(&mut [0])
        })
    }

    /// fault: P32
    #[test]
    fn writer_dropped_in_a_forked_child_leaves_the_connection_open() {
        assert_eq!(read_after_stop_in(process::id()).unwrap(), 0);
        let open = read_after_stop_in(process::id() + 1).unwrap_err();
        assert_eq!(open.kind(), io::ErrorKind::WouldBlock);
    }
}
