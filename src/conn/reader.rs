//! The reader actor: decodes frames, reports heartbeats to the writer, and detects a silent peer.

use std::{
    io,
    pin::{Pin, pin},
    task::{self, Poll},
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFuture, AsyncContext, Context, Handler, Recipient, WeakRecipient,
};
use tokio::{io::AsyncReadExt, time::Instant};

use super::{
    coop::wake_deferred,
    frame_list::{FrameList, FrameLists},
    message::{Abort, Closed, ConnId, DrainReads, Frames, Heartbeat, Side},
    owner_address::OwnerAddress,
    panic::stop_reason,
    read_buffer::ReadBuffer,
    timer::LazyTimer,
    transport::ReadHalf,
};
use crate::{
    error::ConnectionError,
    protocol::{Frame, FrameDecoder},
};

/// Maximum number of reads per poll. It bounds what a peer that sends without pause can add to the
/// owner's mailbox before the owner runs.
const MAX_READS: usize = 16;

/// Time since the last read within which the next response is expected to follow others. After a
/// longer one, as when the arbiter was blocked, deadlines may depend on what is there.
const FOLLOWS_SOON: Duration = Duration::from_millis(10);

/// How long to read after [`DrainReads`]. Each `OK` that nsqd sent before is a message known to be
/// stored; a peer that keeps sending must not delay the close for longer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads frames, and sends those of each read to the owner in one message.
pub(crate) struct ConnReader {
    pub(super) id: ConnId,
    pub(super) half: ReadHalf,
    pub(super) decoder: FrameDecoder,
    /// Maximum number of bytes per read.
    pub(super) read_size: usize,
    /// Maximum time without a frame. `None`: unlimited.
    pub(super) max_silence: Option<Duration>,
    /// Heartbeats bypass the owner, so that a busy owner does not delay the response.
    pub(super) writer: Recipient<Heartbeat>,
    pub(super) owner: OwnerAddress,
    pub(super) closed: WeakRecipient<Closed>,
    pub(super) reason: ConnectionError,
    /// An [`Abort`] was received.
    pub(super) aborting: bool,
}

impl Actor for ConnReader {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // 0 is unlimited. The owner sends only a few messages.
        ctx.set_mailbox_capacity(0);
        ctx.spawn(ReadLoop {
            buffer: ReadBuffer::new(self.read_size),
            lists: FrameLists::default(),
            last_frame: Instant::now(),
            frames: 0,
            skip_next: false,
            timer: None,
        });
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        if let Some(owner) = self.closed.upgrade() {
            owner.do_send(Closed {
                id: self.id,
                side: Side::Reader,
                reason: stop_reason(&self.reason),
            });
        }
    }
}

impl Handler<Abort> for ConnReader {
    type Result = ();

    /// Reads what has arrived before it stops. If the arbiter was blocked, tokio does not know yet
    /// that the socket is readable; a timer fires only after tokio has checked the sockets.
    fn handle(&mut self, _: Abort, ctx: &mut Context<Self>) {
        self.aborting = true;
        ctx.run_later(Duration::ZERO, |_, ctx| ctx.stop());
    }
}

impl Handler<DrainReads> for ConnReader {
    type Result = ();

    fn handle(&mut self, _: DrainReads, ctx: &mut Context<Self>) {
        ctx.run_later(DRAIN_TIMEOUT, |_, ctx| ctx.stop());
    }
}

impl ConnReader {
    /// Decodes the buffered frames, sends them to the owner, and returns their number. `expected`
    /// is the number of frames other than `OK` that the last read contained, and is updated.
    /// `follows_soon`: the last frames arrived a short time ago.
    fn deliver(
        &mut self,
        buffer: &mut ReadBuffer,
        lists: &FrameLists,
        expected: &mut usize,
        follows_soon: bool,
    ) -> Result<usize, ConnectionError> {
        let (mut count, mut heartbeat) = (0, false);
        let (mut oks, mut then) = (0, None::<FrameList>);
        let decoded = loop {
            match self.decoder.decode_buffered(&mut buffer.bytes) {
                Ok(None) => {
                    buffer.missing = self.decoder.missing();
                    break Ok(count);
                }
                Err(error) => break Err(error.into()),
                Ok(Some(Frame::Heartbeat)) => heartbeat = true,
                Ok(Some(Frame::Ok)) if then.is_none() => oks += 1,
                Ok(Some(frame)) => {
                    let then = then.get_or_insert_with(|| lists.take(*expected));
                    then.push(frame);
                }
            }
            count += 1;
        };
        if let Some(then) = &then {
            *expected = then.len();
        }
        if heartbeat {
            buffer.shrink();
            lists.free();
            self.writer.do_send(Heartbeat);
        }
        if oks > 0 || then.is_some() {
            let (id, keep) = (self.id, follows_soon && then.is_none());
            self.owner.send(Frames { id, oks, then }, keep);
        }
        decoded
    }
}

/// The only long-running future of the reader.
struct ReadLoop {
    buffer: ReadBuffer,
    lists: FrameLists,
    /// When the last frame arrived.
    last_frame: Instant,
    /// Number of frames other than `OK` in the last read that had some.
    frames: usize,
    /// The next poll reads nothing and yields.
    skip_next: bool,
    timer: Option<LazyTimer>,
}

impl ActorFuture<ConnReader> for ReadLoop {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        reader: &mut ConnReader,
        ctx: &mut Context<ConnReader>,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        // The owner was dropped.
        if !ctx.connected() {
            ctx.stop();
            return Poll::Pending;
        }
        if std::mem::take(&mut self.skip_next)
            && !reader.aborting
            && self.last_frame.elapsed() < FOLLOWS_SOON
        {
            // nsqd flushes each response separately. If the last read contained several frames,
            // more are probably on the way. Yielding once lets them arrive, so that they are read
            // together and the next publishes of their callers form one burst.
            wake_deferred(cx);
            return Poll::Pending;
        }
        // Reads before it checks for silence: the process may have been suspended.
        let reason = self
            .read(reader, cx)
            .or_else(|| self.check_silence(reader.max_silence, cx));
        reader.owner.poll(cx);
        if let Some(reason) = reason {
            reader.reason = reason;
            ctx.stop();
        }
        Poll::Pending
    }
}

impl ReadLoop {
    /// Reads and delivers until the transport has no more bytes for now. Returns the reason if the
    /// connection is to be closed.
    fn read(
        &mut self,
        reader: &mut ConnReader,
        cx: &mut task::Context<'_>,
    ) -> Option<ConnectionError> {
        for _ in 0..MAX_READS {
            self.buffer.reserve();
            match pin!(reader.half.read_buf(&mut self.buffer.bytes)).poll(cx) {
                Poll::Pending => return None,
                Poll::Ready(Ok(0)) => return Some(self.eof()),
                Poll::Ready(Ok(_)) => {
                    self.buffer.on_read();
                    let now = Instant::now();
                    let soon = now - self.last_frame < FOLLOWS_SOON;
                    match reader.deliver(&mut self.buffer, &self.lists, &mut self.frames, soon) {
                        Ok(0) => {}
                        Ok(count) => {
                            self.last_frame = now;
                            self.skip_next = count > 1;
                        }
                        Err(reason) => return Some(reason),
                    }
                }
                // TLS without close_notify, which nsqd never sends. Frame lengths reveal
                // truncation.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Some(self.eof());
                }
                Poll::Ready(Err(error)) => return Some(error.into()),
            }
        }
        wake_deferred(cx);
        None
    }

    fn eof(&self) -> ConnectionError {
        if self.buffer.bytes.is_empty() {
            ConnectionError::ClosedByPeer
        } else {
            ConnectionError::Truncated
        }
    }

    /// Returns the reason if no frame arrived for `limit`. The timer is moved only when it fires,
    /// so that a frame costs no timer operation.
    fn check_silence(
        &mut self,
        limit: Option<Duration>,
        cx: &mut task::Context<'_>,
    ) -> Option<ConnectionError> {
        let after = limit?;
        loop {
            let due = self.last_frame + after;
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
