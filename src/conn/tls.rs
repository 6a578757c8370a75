//! TLS: upgrades a transport, and classifies failures.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        AlertDescription, CertificateError, ClientConfig, Error as RustlsError, PeerIncompatible,
        pki_types::ServerName,
    },
};

use super::{counter::BytesWritten, transport::Transport};
use crate::error::{ConnectionError, TlsFailure};

/// The TLS settings of a connection.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
}

impl Tls {
    /// Performs the TLS handshake over `transport`.
    pub(super) async fn connect(&self, transport: Transport) -> Result<Transport, ConnectionError> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let transport_written = transport.bytes_written();
        match connector.connect(self.server_name.clone(), transport).await {
            Ok(stream) => Ok(Transport::new(Encrypted {
                stream,
                transport_written,
                is_broken: false,
                error: None,
            })),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ConnectionError::HandshakeClosed)
            }
            Err(error) => Err(self.handshake_error(error.into())),
        }
    }

    /// Refines the kind of a handshake failure.
    ///
    /// Up to TLS 1.2 there is no alert for a missing client certificate. An nsqd built with an
    /// older Go sends `bad_certificate`, one built with a newer Go `handshake_failure`.
    fn handshake_error(&self, mut error: ConnectionError) -> ConnectionError {
        use AlertDescription::HandshakeFailure;
        use RustlsError::{AlertReceived, InvalidMessage};
        if let ConnectionError::Tls { failure, source } = &mut error {
            let refused = *failure == TlsFailure::CertificateRejected
                || matches!(rustls(source), Some(AlertReceived(HandshakeFailure)));
            if refused && !self.config.client_auth_cert_resolver.has_certs() {
                *failure = TlsFailure::CertificateRequired;
            } else if matches!(rustls(source), Some(InvalidMessage(_))) {
                *failure = TlsFailure::NotTls;
            }
        }
        error
    }
}

fn rustls(error: &io::Error) -> Option<&RustlsError> {
    error.get_ref()?.downcast_ref()
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
        if self.is_broken {
            Pin::new(self.stream.get_mut().0).poll_shutdown(cx)
        } else {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }
}

impl TlsFailure {
    /// What an error of a stream means, if it is one of TLS.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        Some(match rustls(error)? {
            RustlsError::InvalidCertificate(fault) => Self::of_certificate(fault),
            RustlsError::AlertReceived(alert) => Self::of_alert(*alert),
            RustlsError::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            ) => Self::Version,
            _ => Self::Other,
        })
    }

    fn of_certificate(fault: &CertificateError) -> Self {
        match fault {
            // Signed by another one than the issuer of that name whom this client trusts.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            _ => Self::BadCertificate,
        }
    }

    /// What nsqd's TLS says before it hangs up.
    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CertificateRequired => Self::CertificateRequired,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => Self::CertificateRejected,
            AlertDescription::ProtocolVersion => Self::Version,
            _ => Self::Other,
        }
    }
}
