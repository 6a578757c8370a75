//! A compressed stream: compresses what is written, decompresses what is read.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::coop::wake_deferred;
use crate::compression::{Decoder, Encoder, Method};

/// Maximum number of compressed bytes that wait for the inner stream while more is compressed.
const MAX_BUFFERED: usize = 64 << 10;

/// Maximum number of plain bytes that one write compresses. It bounds how far a write can exceed
/// [`MAX_BUFFERED`].
const MAX_WRITE: usize = 64 << 10;

/// Number of plain bytes after which a writer yields to other tasks. Compressible data never fills
/// [`MAX_BUFFERED`], and compressing a large batch takes long.
const YIELD_AFTER: usize = 256 << 10;

/// Maximum number of bytes per read, from the inner stream and to the caller.
const READ_SIZE: usize = 16 << 10;

/// Maximum number of consecutive reads that yield no plain byte before the reader yields to other
/// tasks. A peer can send empty blocks without end.
const MAX_EMPTY_READS: usize = 16;

/// Compresses what is written to `S`, and decompresses what is read from it.
///
/// Written bytes reach the peer with the next flush; before that, it is not known how much of a
/// write has been sent.
pub(super) struct Compressed<S> {
    stream: S,
    encoder: Encoder,
    decoder: Decoder,
    /// Bytes read and not yet decompressed.
    read_buffer: BytesMut,
    /// Bytes compressed and not yet accepted by the inner stream.
    write_buffer: BytesMut,
    /// Plain bytes compressed since the last yield.
    since_yield: usize,
    /// The encoder has failed.
    is_broken: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Compressed<S> {
    pub(super) fn new(stream: S, method: Method) -> Self {
        Self {
            stream,
            encoder: method.encoder(),
            decoder: method.decoder(),
            read_buffer: BytesMut::new(),
            write_buffer: BytesMut::new(),
            since_yield: 0,
            is_broken: false,
        }
    }

    /// Writes everything that was accepted to the inner stream.
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_broken {
            self.encoder.flush(&mut self.write_buffer)?;
        }
        self.poll_drain(cx, 0)
    }

    /// Writes until at most `limit` compressed bytes are buffered.
    fn poll_drain(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<io::Result<()>> {
        while self.write_buffer.len() > limit {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.write_buffer))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.write_buffer.advance(written),
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
        let capacity = buf.remaining().min(READ_SIZE);
        if capacity == 0 {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..MAX_EMPTY_READS {
            let out = buf.initialize_unfilled_to(capacity);
            let read = this.decoder.read(&mut this.read_buffer, out)?;
            if read > 0 {
                buf.advance(read);
                return Poll::Ready(Ok(()));
            }
            if this.read_buffer.capacity() - this.read_buffer.len() < READ_SIZE / 4 {
                this.read_buffer.reserve(READ_SIZE);
            }
            let limited = &mut (&mut this.stream).take(READ_SIZE as u64);
            if ready!(pin!(limited.read_buf(&mut this.read_buffer)).poll(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        wake_deferred(cx);
        Poll::Pending
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
        ready!(this.poll_drain(cx, MAX_BUFFERED))?;
        if this.since_yield >= YIELD_AFTER {
            this.since_yield = 0;
            wake_deferred(cx);
            return Poll::Pending;
        }
        let mut accepted = 0;
        for buf in bufs {
            let part = buf.get(..MAX_WRITE - accepted).unwrap_or(buf);
            if let Err(error) = this.encoder.write(part, &mut this.write_buffer) {
                // Nothing of this write is reported as accepted, so nothing of it may be sent.
                this.write_buffer.clear();
                this.is_broken = true;
                return Poll::Ready(Err(error));
            }
            accepted += part.len();
        }
        this.since_yield += accepted;
        Poll::Ready(Ok(accepted))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_all(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    /// Ends the compressed stream. The inner shutdown includes the inner flush.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_broken {
            this.encoder.finish(&mut this.write_buffer)?;
        }
        ready!(this.poll_drain(cx, 0))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
