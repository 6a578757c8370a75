//! The client's end of an in-memory connection whose reads and writes a test can disturb.

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

/// Disturbs a [`FaultyStream`], and counts its writes.
#[derive(Clone, Debug, Default)]
pub struct StreamControl(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    writes: usize,
    /// Writes fail with this error.
    write_error: Option<io::ErrorKind>,
    /// Bytes that are still accepted before writes fail.
    writable: Option<usize>,
    /// Reads return an error in place of EOF.
    reset_at_eof: bool,
    reads_held: bool,
    writes_blocked_until_eof: bool,
    blocked_readers: Vec<Waker>,
}

impl StreamControl {
    /// The number of writes so far.
    pub fn writes(&self) -> usize {
        self.with(|state| state.writes)
    }

    /// Makes all further writes fail.
    pub fn break_writes(&self, kind: io::ErrorKind) {
        self.with(|state| state.write_error = Some(kind));
    }

    /// Makes writes fail after this number of further bytes, in the middle of a write.
    pub fn break_after(&self, bytes: usize) {
        self.with(|state| state.writable = Some(bytes));
    }

    /// Makes the client read a reset in place of EOF.
    pub fn reset_at_eof(&self) {
        self.with(|state| state.reset_at_eof = true);
    }

    /// Blocks writes until the client has read EOF. The next write then succeeds.
    pub fn block_writes_until_eof(&self) {
        self.with(|state| state.writes_blocked_until_eof = true);
    }

    /// Delays what the peer sends until [`release_reads`](Self::release_reads).
    pub fn hold_reads(&self) {
        self.with(|state| state.reads_held = true);
    }

    pub fn release_reads(&self) {
        self.with(|state| {
            state.reads_held = false;
            state.blocked_readers.drain(..).for_each(Waker::wake);
        });
    }

    fn with<T>(&self, access: impl FnOnce(&mut State) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn poll_write(&self) -> Poll<io::Result<()>> {
        self.with(|state| {
            if state.writes_blocked_until_eof {
                return Poll::Pending;
            }
            state.writes += 1;
            Poll::Ready(state.write_error.map_or(Ok(()), |kind| Err(kind.into())))
        })
    }
}

/// The client's end. Decrements `open` when it is dropped.
#[derive(Debug)]
pub struct FaultyStream {
    pipe: DuplexStream,
    control: StreamControl,
    open: Arc<AtomicUsize>,
}

impl FaultyStream {
    pub fn new(pipe: DuplexStream, control: StreamControl, open: Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self {
            pipe,
            control,
            open,
        }
    }
}

impl Drop for FaultyStream {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AsyncRead for FaultyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (held, reset) = self.control.with(|state| {
            if state.reads_held {
                state.blocked_readers.push(cx.waker().clone());
            }
            (state.reads_held, state.reset_at_eof)
        });
        if held {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.pipe).poll_read(cx, buf);
        let is_eof = matches!(read, Poll::Ready(Ok(()))) && buf.filled().len() == before;
        if is_eof {
            self.control
                .with(|state| state.writes_blocked_until_eof = false);
            if reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        read
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.control.poll_write())?;
        let writable = self.control.with(|state| state.writable);
        let buf = &buf[..writable.unwrap_or(usize::MAX).min(buf.len())];
        if buf.is_empty() && writable.is_some() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let written = Pin::new(&mut self.pipe).poll_write(cx, buf);
        if let (Some(writable), Poll::Ready(Ok(bytes))) = (writable, &written) {
            self.control
                .with(|state| state.writable = Some(writable - bytes));
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.control.with(|state| state.writable.is_some()) {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[], |buf| buf));
        }
        ready!(self.control.poll_write())?;
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
