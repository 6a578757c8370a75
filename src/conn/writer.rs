//! The actor that owns the write side: one vectored write for all that waits, and a count of what the socket took.

use std::{
    collections::VecDeque,
    io::IoSlice,
    pin::Pin,
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
    message::{Abort, Closed, ConnId, Heartbeat, Side, Write},
    transport::WriteHalf,
};
use crate::error::ConnectionError;

/// So many pieces go into one write.
const SLICES: usize = 64;

/// So much must be taken within each `write_timeout`, or all that waits: by the stream that is written to, or by what
/// lies beneath its layers, which hold some themselves.
const PROGRESS: u64 = 64 << 10;

/// A piece of what waits to be written.
struct Piece {
    bytes: Bytes,
    /// Whether it is of the owner's commands, and so counts.
    counted: bool,
}

/// Writes what it is given, in order, and tells its owner when it can write no more.
pub(crate) struct ConnWriter {
    pub(super) id: ConnId,
    pub(super) half: WriteHalf,
    pub(super) bytes_written: BytesWritten,
    /// What lies beneath the layers has taken, if there are any.
    pub(super) transport_written: BytesWritten,
    pub(super) write_timeout: Duration,
    pub(super) closed: WeakRecipient<Closed>,
    pub(super) reason: ConnectionError,
    waiting: VecDeque<Piece>,
    /// An answer to a heartbeat waits already; one is enough for however many the peer sends.
    nop_waits: bool,
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
        let reason = ConnectionError::ClosedLocally;
        let waiting = VecDeque::new();
        Self {
            id,
            half,
            bytes_written,
            transport_written,
            write_timeout,
            closed,
            reason,
            waiting,
            nop_waits: false,
        }
    }

    /// Writes all that waits; `Pending` when the socket takes no more for now.
    fn poll_write(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), ConnectionError>> {
        while !self.waiting.is_empty() {
            match ready!(self.poll_write_some(cx))? {
                0 => {
                    return Poll::Ready(Err(
                        std::io::Error::from(std::io::ErrorKind::WriteZero).into()
                    ));
                }
                written => self.took(written),
            }
        }
        Poll::Ready(Ok(ready!(Pin::new(&mut self.half).poll_flush(cx))?))
    }

    fn poll_write_some(&mut self, cx: &mut task::Context<'_>) -> Poll<std::io::Result<usize>> {
        let half = Pin::new(&mut self.half);
        // A lone piece, as that of a lone publish, needs no list.
        if let (1, Some(piece)) = (self.waiting.len(), self.waiting.front()) {
            return half.poll_write(cx, &piece.bytes);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        for (slice, piece) in slices.iter_mut().zip(&self.waiting) {
            *slice = IoSlice::new(&piece.bytes);
        }
        let filled = slices.get(..self.waiting.len()).unwrap_or(&slices);
        half.poll_write_vectored(cx, filled)
    }

    fn took(&mut self, mut written: usize) {
        while let Some(piece) = self.waiting.front_mut() {
            let part = written.min(piece.bytes.len());
            piece.bytes.advance(part);
            written -= part;
            if piece.counted {
                self.bytes_written.add(part as u64);
            }
            if piece.bytes.has_remaining() {
                return;
            }
            if !piece.counted {
                self.nop_waits = false;
            }
            self.waiting.pop_front();
        }
    }
}

impl Actor for ConnWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // The owner's window bounds what can be queued here, so the mailbox need not.
        ctx.set_mailbox_capacity(0);
        ctx.spawn(WriteItem { stalled: None });
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        // The peer hears that no more will come, so that it can end, too; where its ears are stopped, it will see it later.
        let _ = Pin::new(&mut self.half)
            .poll_shutdown(&mut task::Context::from_waker(task::Waker::noop()));
        if let Some(owner) = self.closed.upgrade() {
            owner.do_send(Closed {
                id: self.id,
                side: Side::Writer,
                reason: self.reason.clone(),
            });
        }
    }
}

impl Handler<Write> for ConnWriter {
    type Result = ();

    fn handle(&mut self, Write(pieces, last): Write, _: &mut Context<Self>) {
        let counted = |bytes| Piece {
            bytes,
            counted: true,
        };
        self.waiting.extend(pieces.into_iter().map(counted));
        if !last.is_empty() {
            self.waiting.push_back(counted(last));
        }
    }
}

impl Handler<Heartbeat> for ConnWriter {
    type Result = ();

    /// What was handed over is whole commands, so behind them is always a place for one more.
    fn handle(&mut self, _: Heartbeat, _: &mut Context<Self>) {
        if !self.nop_waits {
            self.nop_waits = true;
            self.waiting.push_back(Piece {
                bytes: Bytes::from_static(b"NOP\n"),
                counted: false,
            });
        }
    }
}

impl Handler<Abort> for ConnWriter {
    type Result = ();

    fn handle(&mut self, _: Abort, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// The actor's one permanent item. It runs when the mailbox is empty, and so writes whole bursts.
struct WriteItem {
    stalled: Option<Stall>,
}

/// A time in which the socket must take something.
struct Stall {
    timer: Pin<Box<Sleep>>,
    /// The count from which progress is measured.
    from: u64,
}

impl ActorFuture<ConnWriter> for WriteItem {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        writer: &mut ConnWriter,
        ctx: &mut Context<ConnWriter>,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        let reason = match writer.poll_write(cx) {
            Poll::Ready(Ok(())) => {
                self.stalled = None;
                None
            }
            Poll::Ready(Err(reason)) => Some(reason),
            Poll::Pending => self.stall(writer, cx),
        };
        if let Some(reason) = reason {
            writer.reason = reason;
            ctx.stop();
        } else if !ctx.connected() {
            ctx.stop();
        }
        Poll::Pending
    }
}

impl WriteItem {
    fn stall(
        &mut self,
        writer: &ConnWriter,
        cx: &mut task::Context<'_>,
    ) -> Option<ConnectionError> {
        let after = writer.write_timeout;
        let written = writer
            .bytes_written
            .get()
            .saturating_add(writer.transport_written.get());
        let stall = self.stalled.get_or_insert_with(|| Stall {
            timer: Box::pin(sleep_until(Instant::now() + after)),
            from: written,
        });
        while stall.timer.as_mut().poll(cx).is_ready() {
            if written - stall.from < PROGRESS {
                return Some(ConnectionError::WriteTimeout { after });
            }
            stall.from = written;
            stall.timer.as_mut().reset(Instant::now() + after);
        }
        None
    }
}
