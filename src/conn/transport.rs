//! The byte stream of a connection: one object during the handshake, two halves afterwards.

use std::{
    cell::RefCell,
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

#[cfg(any(target_os = "android", target_os = "linux"))]
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::counter::BytesWritten;

pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

pub(super) type BoxedDuplex = Box<dyn Duplex>;

/// A connected byte stream to nsqd, as returned by a [`Connector`](crate::Connector).
pub struct Transport {
    kind: Kind,
    /// Counts until [`into_split`](Self::into_split), so also while it is below TLS or compression.
    bytes_written: BytesWritten,
}

enum Kind {
    Tcp(TcpStream),
    Other(BoxedDuplex),
}

impl Transport {
    /// Wraps a bidirectional byte stream. Convert a [`TcpStream`] by [`From`] instead.
    ///
    /// Written bytes must reach the peer without a flush, or `poll_flush` must send them. If a
    /// write fails, none of its bytes may reach the peer, then or later, because the producer
    /// retries them. A stream that encrypts by itself has to ensure that.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> Self {
        Self {
            kind: Kind::Other(Box::new(stream)),
            bytes_written: BytesWritten::default(),
        }
    }

    /// Returns the counter of accepted bytes, which continues to count.
    pub(super) fn bytes_written(&self) -> BytesWritten {
        self.bytes_written.clone()
    }

    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.bytes_written.add(bytes as u64);
        }
        written
    }

    /// Splits into two halves for two actors on the same arbiter, so without locks or atomics.
    pub(super) fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self.kind {
            Kind::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Kind::Other(stream) => {
                let shared = Rc::new(RefCell::new(stream));
                (
                    ReadHalf::Shared(Rc::clone(&shared)),
                    WriteHalf::Shared(shared),
                )
            }
        }
    }
}

/// Maximum number of unsent bytes that the kernel accepts. Without it Linux accepts up to 4 MB and
/// then none until a third of them is sent, so a slow peer looks like one that has stopped. It is
/// no more than the progress that the writer asks for within `write_timeout`.
#[cfg(any(target_os = "android", target_os = "linux"))]
const MAX_UNSENT: u32 = 64 << 10;

/// Like [`new`](Transport::new), without dynamic dispatch. On Linux it also limits what the kernel
/// buffers (`TCP_NOTSENT_LOWAT`), so that `write_timeout` tells a slow peer from a stopped one.
impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Self {
        // An old kernel may not have the option; then a slow peer is cut off sooner.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(MAX_UNSENT);
        Self {
            kind: Kind::Tcp(stream),
            bytes_written: BytesWritten::default(),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

macro_rules! on_stream {
    ($this:expr, $stream:ident => $call:expr) => {
        match &mut $this.kind {
            Kind::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Kind::Other(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = on_stream!(self, stream => stream.poll_write(cx, buf));
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = on_stream!(self, stream => stream.poll_write_vectored(cx, bufs));
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Tcp(stream) => stream.is_write_vectored(),
            Kind::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_shutdown(cx))
    }
}

/// The half that the reader owns.
pub(super) enum ReadHalf {
    Tcp(OwnedReadHalf),
    Shared(Rc<RefCell<BoxedDuplex>>),
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buf),
            Self::Shared(stream) => match stream.try_borrow_mut() {
                Ok(mut stream) => Pin::new(&mut *stream).poll_read(cx, buf),
                Err(_) => Poll::Ready(Err(reentered())),
            },
        }
    }
}

/// The half that the writer owns.
pub(super) enum WriteHalf {
    Tcp(OwnedWriteHalf),
    Shared(Rc<RefCell<BoxedDuplex>>),
    Closed,
}

macro_rules! on_write_half {
    ($this:expr, $half:ident => $call:expr) => {
        match $this.get_mut() {
            WriteHalf::Tcp(half) => {
                let $half = Pin::new(half);
                $call
            }
            WriteHalf::Shared(stream) => match stream.try_borrow_mut() {
                Ok(mut stream) => {
                    let $half = Pin::new(&mut *stream);
                    $call
                }
                Err(_) => Poll::Ready(Err(reentered())),
            },
            WriteHalf::Closed => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    };
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_write_half!(self, half => half.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_write_half!(self, half => half.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(half) => half.is_write_vectored(),
            Self::Shared(stream) => stream
                .try_borrow()
                .is_ok_and(|stream| stream.is_write_vectored()),
            Self::Closed => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_write_half!(self, half => half.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_write_half!(self, half => half.poll_shutdown(cx))
    }
}

/// The error for a custom stream that polls its own connection from within a poll. A panic would
/// stop the arbiter.
fn reentered() -> io::Error {
    io::Error::other("the stream was polled from within its own poll")
}
