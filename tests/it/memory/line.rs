//! A connection in memory that a test can disturb.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// How a test disturbs a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Arc<Mutex<Trouble>>);

#[derive(Debug, Default)]
struct Trouble {
    writes: usize,
    /// What the client's writes end in.
    broken: Option<io::ErrorKind>,
    left: Option<usize>,
    /// What the client reads in place of the end of the stream.
    reset: bool,
    deaf: bool,
    /// The client's writes wait until it has read the end of the stream.
    stopped: bool,
    sleepers: Vec<Waker>,
}

impl Line {
    /// How many times the client has written.
    pub(crate) fn writes(&self) -> usize {
        self.with(|trouble| trouble.writes)
    }

    /// From here on the client's writes fail.
    pub(crate) fn break_writes(&self, kind: io::ErrorKind) {
        self.with(|trouble| trouble.broken = Some(kind));
    }

    /// When the peer ends, the client reads a reset and not an end.
    pub(crate) fn end_in_reset(&self) {
        self.with(|trouble| trouble.reset = true);
    }

    /// The line takes nothing of the client until the client has read that the peer ended; from then on it does, and the
    /// client finds out when it tries.
    pub(crate) fn stop_until_the_end(&self) {
        self.with(|trouble| trouble.stopped = true);
    }

    /// What the peer says stays on its way...
    pub(crate) fn hold_back(&self) {
        self.with(|trouble| trouble.deaf = true);
    }

    /// ... until it may arrive.
    pub(crate) fn let_through(&self) {
        self.with(|trouble| {
            trouble.deaf = false;
            trouble.sleepers.drain(..).for_each(Waker::wake);
        });
    }

    /// So many bytes more it takes, and then breaks in the midst of a write.
    pub(crate) fn break_after(&self, bytes: usize) {
        self.with(|trouble| trouble.left = Some(bytes));
    }

    fn with<T>(&self, look: impl FnOnce(&mut Trouble) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn poll_write(&self) -> Poll<io::Result<()>> {
        self.with(|trouble| {
            if trouble.stopped {
                return Poll::Pending;
            }
            trouble.writes += 1;
            Poll::Ready(trouble.broken.map_or(Ok(()), |kind| Err(kind.into())))
        })
    }
}

/// The client's end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pipe: DuplexStream,
    line: Line,
    open: Arc<AtomicUsize>,
}

impl End {
    pub(super) fn new(pipe: DuplexStream, line: Line, open: Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self { pipe, line, open }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (deaf, reset) = self.line.with(|trouble| {
            if trouble.deaf {
                trouble.sleepers.push(cx.waker().clone());
            }
            (trouble.deaf, trouble.reset)
        });
        if deaf {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.pipe).poll_read(cx, buf);
        match read {
            Poll::Ready(Ok(())) if buf.filled().len() == before => {
                self.line.with(|trouble| trouble.stopped = false);
                match reset {
                    true => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                    false => read,
                }
            }
            read => read,
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.line.poll_write())?;
        let left = self.line.with(|trouble| trouble.left);
        let buf = &buf[..left.unwrap_or(usize::MAX).min(buf.len())];
        if buf.is_empty() && left.is_some() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let written = Pin::new(&mut self.pipe).poll_write(cx, buf);
        if let (Some(left), Poll::Ready(Ok(bytes))) = (left, &written) {
            self.line.with(|trouble| trouble.left = Some(left - bytes));
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.line.with(|trouble| trouble.left.is_some()) {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[], |buf| buf));
        }
        ready!(self.line.poll_write())?;
        Pin::new(&mut self.pipe).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.pipe.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
