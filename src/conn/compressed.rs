//! A stream whose both directions are compressed.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    task::yield_now,
};

use crate::compression::{Decoder, Encoder, Method};

/// So much may wait for the stream below before more is compressed. The flush writes it.
const WAITING: usize = 64 << 10;

/// So much is compressed at a time, which bounds what it adds to that.
const PIECE: usize = 64 << 10;

/// So much is compressed before others get their turn: what becomes small is never held up by the stream below, and a
/// large batch takes its time.
const TURN: usize = 256 << 10;

/// So much is asked of the stream below, and given to the caller, at a time.
const READ_SIZE: usize = 16 << 10;

/// So many reads in a row may bring nothing before others get their turn: a peer can send what says nothing without an
/// end.
const READS: usize = 16;

/// Compresses what is written to `S`, and decompresses what is read from it.
///
/// What is written reaches the peer with the flush. Of a write that was taken, nobody can tell how much has left before
/// that.
pub(crate) struct Compressed<S> {
    stream: S,
    encoder: Encoder,
    decoder: Decoder,
    /// What was read, and is not decompressed yet.
    coming: BytesMut,
    /// What is compressed, and not taken by the stream yet.
    going: BytesMut,
    /// So much was compressed since others had their turn.
    turn: usize,
    /// The encoder has failed.
    is_broken: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Compressed<S> {
    pub(crate) fn new(stream: S, method: Method) -> Self {
        Self {
            stream,
            encoder: method.encoder(),
            decoder: method.decoder(),
            coming: BytesMut::new(),
            going: BytesMut::new(),
            turn: 0,
            is_broken: false,
        }
    }

    /// Writes all that was taken.
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_broken {
            self.encoder.flush(&mut self.going)?;
        }
        self.poll_drain(cx, 0)
    }

    /// Writes until at most `rest` bytes of what is compressed wait.
    fn poll_drain(&mut self, cx: &mut Context<'_>, rest: usize) -> Poll<io::Result<()>> {
        while self.going.len() > rest {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.going))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.going.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Compressed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = buf.remaining().min(READ_SIZE);
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..READS {
            let out = buf.initialize_unfilled_to(room);
            let read = this.decoder.read(&mut this.coming, out)?;
            if read > 0 {
                buf.advance(read);
                return Poll::Ready(Ok(()));
            }
            if this.coming.capacity() - this.coming.len() < READ_SIZE / 4 {
                this.coming.reserve(READ_SIZE);
            }
            let some = &mut (&mut this.stream).take(READ_SIZE as u64);
            if ready!(pin!(some.read_buf(&mut this.coming)).poll(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        after_the_others(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Compressed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx, WAITING))?;
        if this.turn >= TURN {
            this.turn = 0;
            return after_the_others(cx);
        }
        let mut taken = 0;
        for buf in bufs {
            let part = buf.get(..PIECE - taken).unwrap_or(buf);
            if let Err(error) = this.encoder.write(part, &mut this.going) {
                // Nothing of this write counts as taken, and so nothing of it may leave.
                this.going.clear();
                this.is_broken = true;
                return Poll::Ready(Err(error));
            }
            taken += part.len();
        }
        this.turn += taken;
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_all(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    /// The stream's own flush is a part of its own shutdown.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_all(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// Comes back after the sockets and timers of others were looked at, as a waker would not.
fn after_the_others<T>(cx: &mut Context<'_>) -> Poll<T> {
    let _ = pin!(yield_now()).poll(cx);
    Poll::Pending
}

#[cfg(test)]
mod tests;
