//! Sockets in memory, which take, hold back and lose bytes as a schedule says.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use actix_nsq::{ConnectFuture, ConnectTarget, Connector, Transport};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// How the stream to the client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    Fin,
    Reset,
}

/// One connection between the client and the simulated nsqd.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// Bytes that the client's socket has taken, and how many of them have arrived at nsqd.
    pub(crate) taken: Vec<u8>,
    pub(crate) arrived: usize,
    /// The most bytes on their way to nsqd, and the most that one write takes.
    pub(crate) room: usize,
    pub(crate) gulp: usize,
    /// Nothing more is taken, whatever the capacity.
    pub(crate) sealed: bool,
    /// A write of the client had to wait.
    pub(crate) was_full: bool,
    /// The error of the client's writes, and whether one has failed.
    pub(crate) broken: Option<io::ErrorKind>,
    pub(crate) write_failed: bool,
    pub(crate) failed_at: Option<Instant>,
    /// Bytes that nsqd has sent, how many of them have arrived, and how many the client has read.
    pub(crate) said: Vec<u8>,
    pub(crate) audible: usize,
    pub(crate) heard: usize,
    /// How the stream ends, and whether the client has read the end.
    pub(crate) last: Option<Last>,
    pub(crate) end_heard: bool,
    /// The client has closed its socket.
    pub(crate) gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Wire {
    pub(crate) fn new(room: usize, gulp: usize) -> Self {
        Self {
            room,
            gulp,
            ..Self::default()
        }
    }

    /// Wakes the client to look at what may have changed.
    pub(crate) fn wake(&mut self) {
        let sleepers = [self.reader.take(), self.writer.take()];
        sleepers.into_iter().flatten().for_each(Waker::wake);
    }

    fn free(&self) -> usize {
        if self.sealed {
            return 0;
        }
        self.room.saturating_sub(self.taken.len() - self.arrived)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free() == 0
    }

    fn poll_write<'a>(
        &mut self,
        cx: &mut Context<'_>,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.broken {
            self.write_failed = true;
            self.failed_at.get_or_insert_with(Instant::now);
            return Poll::Ready(Err(kind.into()));
        }
        let most = self.free().min(self.gulp);
        if most == 0 {
            self.was_full = true;
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = self.taken.len();
        for piece in pieces {
            let left = most - (self.taken.len() - before);
            self.taken.extend(piece.iter().take(left));
        }
        Poll::Ready(Ok(self.taken.len() - before))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let fresh = &self.said[self.heard..self.audible];
        let fresh = &fresh[..fresh.len().min(buf.remaining())];
        if !fresh.is_empty() {
            buf.put_slice(fresh);
            self.heard += fresh.len();
            return Poll::Ready(Ok(()));
        }
        if self.heard == self.said.len()
            && let Some(last) = self.last
        {
            self.end_heard = true;
            return Poll::Ready(match last {
                Last::Fin => Ok(()),
                Last::Reset => Err(io::ErrorKind::ConnectionReset.into()),
            });
        }
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A connect of the client.
#[derive(Debug, Default)]
pub(crate) struct Dial {
    /// The index of its wire, or the error.
    answer: Option<io::Result<usize>>,
    waker: Option<Waker>,
    /// The client has cancelled it.
    pub(crate) gone: bool,
}

impl Dial {
    pub(crate) fn answer(&mut self, answer: io::Result<usize>) {
        self.answer = Some(answer);
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.answer.is_none() && !self.gone
    }
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) wires: Vec<Wire>,
    pub(crate) dials: Vec<Dial>,
    /// Counts what clients do.
    pub(crate) activity: u64,
    /// Woken when clients do something.
    pub(crate) watcher: Option<Waker>,
}

impl Inner {
    pub(crate) fn something_happened(&mut self) {
        self.activity += 1;
        self.watcher.take().into_iter().for_each(Waker::wake);
    }

    /// Number of sockets that clients hold.
    pub(crate) fn open(&self) -> usize {
        self.wires.iter().filter(|wire| !wire.gone).count()
    }
}

/// The network that a producer connects to.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<Inner>>);

impl Network {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Connector for Network {
    fn connect(&self, _: &ConnectTarget) -> ConnectFuture {
        let mut inner = self.lock();
        inner.dials.push(Dial::default());
        let connecting = Dialling {
            network: self.clone(),
            place: inner.dials.len() - 1,
        };
        inner.something_happened();
        drop(inner);
        Box::pin(async move { Ok(Transport::new(connecting.await?)) })
    }
}

struct Dialling {
    network: Network,
    place: usize,
}

impl Future for Dialling {
    type Output = io::Result<Socket>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Socket>> {
        let dial = &mut self.network.lock().dials[self.place];
        let Some(answer) = dial.answer.take() else {
            dial.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let network = self.network.clone();
        Poll::Ready(answer.map(|place| Socket { network, place }))
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        let mut inner = self.network.lock();
        let dial = &mut inner.dials[self.place];
        dial.gone = true;
        // Connected, but cancelled before the client took the connection.
        if let Some(Ok(wire)) = dial.answer {
            inner.wires[wire].gone = true;
        }
        inner.something_happened();
    }
}

/// The client's end of a connection.
struct Socket {
    network: Network,
    place: usize,
}

impl Socket {
    fn on_wire<T>(&self, act: impl FnOnce(&mut Wire) -> Poll<T>) -> Poll<T> {
        let mut inner = self.network.lock();
        let done = act(&mut inner.wires[self.place]);
        if done.is_ready() {
            inner.something_happened();
        }
        done
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.on_wire(|wire| wire.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.on_wire(|wire| wire.poll_write(cx, std::iter::once(buf)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.on_wire(|wire| wire.poll_write(cx, bufs.iter().map(|buf| &**buf)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut inner = self.network.lock();
        inner.wires[self.place].gone = true;
        inner.something_happened();
    }
}
