//! TLS: upgrades a transport.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{counter::BytesWritten, transport::Transport};
use crate::error::ConnectionError;

/// The TLS settings of a connection.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
}

impl Tls {
    /// Performs the TLS handshake over `transport`. `sends_close_notify`: see [`Encrypted`].
    pub(super) async fn connect(
        &self,
        transport: Transport,
        sends_close_notify: bool,
    ) -> Result<Transport, ConnectionError> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let transport_written = transport.bytes_written();
        match connector.connect(self.server_name.clone(), transport).await {
            Ok(stream) => Ok(Transport::new(Encrypted {
                stream,
                transport_written,
                sends_close_notify,
                is_broken: false,
                error: None,
            })),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ConnectionError::HandshakeClosed)
            }
            Err(error) => Err(self.handshake_error(error)),
        }
    }

    fn handshake_error(&self, error: io::Error) -> ConnectionError {
        let has_certificate = self.config.client_auth_cert_resolver.has_certs();
        match error.into() {
            ConnectionError::Tls { failure, source } => ConnectionError::Tls {
                failure: failure.in_handshake(&source, has_certificate),
                source,
            },
            other => other,
        }
    }
}

/// A TLS stream that reports how much of a failed write may have reached the peer.
///
/// If a write fails halfway, [`TlsStream`] returns only an error, although the peer may have
/// received a part of it. Then the whole write counts as accepted, and the next call returns the
/// error. If the transport accepted nothing, the write fails at once, and nothing is sent
/// afterwards.
struct Encrypted {
    stream: TlsStream<Transport>,
    /// Bytes that the transport below TLS has accepted.
    transport_written: BytesWritten,
    /// Off if what is inside marks its own end, as deflate does: nsqd then closes the socket
    /// without reading an alert behind that, so that its kernel would reset the connection.
    sends_close_notify: bool,
    is_broken: bool,
    /// The error, until it has been returned.
    error: Option<io::Error>,
}

impl Encrypted {
    /// Performs a write of `length` bytes.
    fn write(
        &mut self,
        length: usize,
        write: impl FnOnce(Pin<&mut TlsStream<Transport>>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let before = self.transport_written.get();
        match write(Pin::new(&mut self.stream)) {
            Poll::Ready(Err(error)) => {
                self.is_broken = true;
                if self.transport_written.get() == before {
                    return Poll::Ready(Err(error));
                }
                self.error = Some(error);
                Poll::Ready(Ok(length))
            }
            written => written,
        }
    }

    fn check(&mut self) -> io::Result<()> {
        if !self.is_broken {
            return Ok(());
        }
        let returned_before = || io::ErrorKind::BrokenPipe.into();
        Err(self.error.take().unwrap_or_else(returned_before))
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(buf.len(), |stream| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        self.write(length, |stream| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// After an error, bytes that TLS has buffered must not reach the peer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.sends_close_notify && !self.is_broken {
            return Pin::new(&mut self.stream).poll_shutdown(cx);
        }
        if !self.is_broken {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        }
        Pin::new(self.stream.get_mut().0).poll_shutdown(cx)
    }
}
