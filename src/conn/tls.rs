//! TLS: the upgrade of a stream, and what its failures mean.

use std::{io, sync::Arc};

use tokio_rustls::{
    TlsConnector,
    rustls::{
        AlertDescription, CertificateError, ClientConfig, Error as RustlsError,
        pki_types::ServerName,
    },
};

use super::stream::Stream;
use crate::error::{ConnectionError, TlsFailure};

/// How connections are encrypted, and whose certificate nsqd has to show.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
}

impl Tls {
    /// Shakes hands over `stream`, of which nothing of TLS has been read yet.
    pub(super) async fn connect(&self, stream: Stream) -> Result<Stream, ConnectionError> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        match connector.connect(self.server_name.clone(), stream).await {
            Ok(stream) => Ok(Stream::new(stream)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ConnectionError::HandshakeClosed)
            }
            Err(error) => Err(self.in_the_handshake(error.into())),
        }
    }

    /// Up to TLS 1.2 a missing certificate has no alert of its own, and is refused before the handshake is over: as a bad one
    /// by an nsqd that is built with an older Go, as a handshake that failed by newer ones.
    fn in_the_handshake(&self, mut error: ConnectionError) -> ConnectionError {
        if let ConnectionError::Tls { failure, source } = &mut error
            && (*failure == TlsFailure::CertificateRefused || is_handshake_failure(source))
            && !self.config.client_auth_cert_resolver.has_certs()
        {
            *failure = TlsFailure::CertificateRequired;
        }
        error
    }
}

fn is_handshake_failure(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(
        error,
        Some(RustlsError::AlertReceived(
            AlertDescription::HandshakeFailure
        ))
    )
}

impl TlsFailure {
    /// What an error of a stream means, if it is one of TLS.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        Some(match error.get_ref()?.downcast_ref::<RustlsError>()? {
            RustlsError::InvalidCertificate(fault) => Self::of_certificate(fault),
            RustlsError::AlertReceived(alert) => Self::of_alert(*alert),
            RustlsError::PeerIncompatible(_) => Self::Version,
            RustlsError::InvalidMessage(_) => Self::NotTls,
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
            | AlertDescription::AccessDenied => Self::CertificateRefused,
            AlertDescription::ProtocolVersion => Self::Version,
            _ => Self::Other,
        }
    }
}
