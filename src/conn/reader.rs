//! The actor that owns the read side: it decodes, answers heartbeats, and finds a peer that fell silent.

use std::{
    io,
    pin::{Pin, pin},
    task::{self, Poll},
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFuture, AsyncContext, Context, Handler, Recipient, WeakRecipient,
};
use bytes::BytesMut;
use tokio::{io::AsyncReadExt, task::yield_now, time::Instant};

use super::{
    message::{Abort, Closed, ConnId, DrainReads, Frames, Heartbeat, Side},
    timer::LazyTimer,
    transport::ReadHalf,
};
use crate::{
    error::ConnectionError,
    protocol::{Frame, FrameDecoder},
};

/// So much is read at once: some 6,500 answers, or one large message in few reads.
const READ_SIZE: usize = 64 << 10;

/// After so many reads the owner has its turn, so that what a peer says without end does not pile up before it.
const READS: usize = 16;

/// How long a peer may go on talking after the connection failed on the other side. What it said before is worth
/// waiting for, since each `OK` is a message known to be stored; but not for long.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Reads frames and hands them to the owner, those of one read at a time.
pub(crate) struct ConnReader {
    pub(super) id: ConnId,
    pub(super) half: ReadHalf,
    pub(super) decoder: FrameDecoder,
    /// When nothing came for so long, the peer is dead.
    pub(super) silence: Option<Duration>,
    /// Heartbeats go this way round, so that they never wait for a busy owner.
    pub(super) writer: Recipient<Heartbeat>,
    pub(super) frames: WeakRecipient<Frames>,
    pub(super) closed: WeakRecipient<Closed>,
    pub(super) reason: ConnectionError,
    /// It is to end, and reads without a rest what is there.
    pub(super) aborting: bool,
}

impl Actor for ConnReader {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // The owner's window bounds what can be queued here, so the mailbox need not.
        ctx.set_mailbox_capacity(0);
        ctx.spawn(ReadItem {
            buffer: BytesMut::new(),
            heard: Instant::now(),
            rest: false,
            timer: None,
        });
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        if let Some(owner) = self.closed.upgrade() {
            owner.do_send(Closed {
                id: self.id,
                side: Side::Reader,
                reason: self.reason.clone(),
            });
        }
    }
}

impl Handler<Abort> for ConnReader {
    type Result = ();

    /// The arbiter may have been blocked for long, and what came meanwhile not even be noticed: a timer fires only after
    /// the sockets were looked at.
    fn handle(&mut self, _: Abort, ctx: &mut Context<Self>) {
        self.aborting = true;
        ctx.run_later(Duration::ZERO, |_, ctx| ctx.stop());
    }
}

impl Handler<DrainReads> for ConnReader {
    type Result = ();

    fn handle(&mut self, _: DrainReads, ctx: &mut Context<Self>) {
        ctx.run_later(LAST_WORDS, |_, ctx| ctx.stop());
    }
}

impl ConnReader {
    /// Decodes what has come and hands it on; tells how many frames it was.
    fn deliver(&mut self, buffer: &mut BytesMut) -> Result<usize, ConnectionError> {
        let (mut heard, mut heartbeat) = (0, false);
        let (mut oks, mut then) = (0, Vec::new());
        let decoded = loop {
            match self.decoder.decode(buffer) {
                Ok(None) => break Ok(heard),
                Err(error) => break Err(error.into()),
                Ok(Some(Frame::Heartbeat)) => heartbeat = true,
                Ok(Some(Frame::Ok)) if then.is_empty() => oks += 1,
                Ok(Some(frame)) => then.push(frame),
            }
            heard += 1;
        };
        if heartbeat {
            self.writer.do_send(Heartbeat);
        }
        if (oks > 0 || !then.is_empty())
            && let Some(owner) = self.frames.upgrade()
        {
            owner.do_send(Frames {
                id: self.id,
                oks,
                then,
            });
        }
        decoded
    }
}

/// The actor's one permanent item.
struct ReadItem {
    buffer: BytesMut,
    /// When the last frame came.
    heard: Instant,
    /// It does nothing when it is woken next, and reads the time after.
    rest: bool,
    timer: Option<LazyTimer>,
}

impl ActorFuture<ConnReader> for ReadItem {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        reader: &mut ConnReader,
        ctx: &mut Context<ConnReader>,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        // Without an owner nobody wants to hear more.
        if !ctx.connected() {
            ctx.stop();
            return Poll::Pending;
        }
        if std::mem::take(&mut self.rest) && !reader.aborting {
            // nsqd flushes each answer by itself. Where they come several at a time, those that come while sockets and
            // timers are looked at once more are read with this one, and their callers' next publishes leave together.
            let _ = pin!(yield_now()).poll(cx);
            return Poll::Pending;
        }
        // What has come is read before silence is judged: the process may have been stopped for a while.
        let reason = self
            .read(reader, cx)
            .or_else(|| self.silence(reader.silence, cx));
        if let Some(reason) = reason {
            reader.reason = reason;
            ctx.stop();
        }
        Poll::Pending
    }
}

impl ReadItem {
    /// Reads and delivers until the socket has no more for now; returns why there will be no more at all.
    fn read(
        &mut self,
        reader: &mut ConnReader,
        cx: &mut task::Context<'_>,
    ) -> Option<ConnectionError> {
        for _ in 0..READS {
            if self.buffer.capacity() - self.buffer.len() < READ_SIZE / 16 {
                self.buffer.reserve(READ_SIZE);
            }
            match pin!(reader.half.read_buf(&mut self.buffer)).poll(cx) {
                Poll::Pending => return None,
                Poll::Ready(Ok(0)) => return Some(self.end()),
                Poll::Ready(Ok(_)) => match reader.deliver(&mut self.buffer) {
                    Ok(0) => {}
                    Ok(frames) => {
                        self.heard = Instant::now();
                        self.rest = frames > 1;
                    }
                    Err(reason) => return Some(reason),
                },
                // TLS without a goodbye, which nsqd never says. Where the connection ends within a frame is seen all the same.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Some(self.end());
                }
                Poll::Ready(Err(error)) => return Some(error.into()),
            }
        }
        // Comes back after the sockets and timers of others were looked at, as a waker would not.
        let _ = pin!(yield_now()).poll(cx);
        None
    }

    fn end(&self) -> ConnectionError {
        match self.buffer.is_empty() {
            true => ConnectionError::ClosedByPeer,
            false => ConnectionError::Truncated,
        }
    }

    /// The timer is moved only when it fires, so that a frame costs no timer.
    fn silence(
        &mut self,
        limit: Option<Duration>,
        cx: &mut task::Context<'_>,
    ) -> Option<ConnectionError> {
        let after = limit?;
        loop {
            let due = self.heard + after;
            let timer = self.timer.get_or_insert_with(|| LazyTimer::new(due));
            if timer.poll(cx).is_pending() {
                return None;
            }
            if due <= Instant::now() {
                return Some(ConnectionError::HeartbeatTimeout { after });
            }
            timer.set(due);
        }
    }
}
