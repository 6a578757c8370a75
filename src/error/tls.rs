//! The kinds of TLS failures, and how errors of rustls map to them.

use std::{fmt, io};

#[cfg(feature = "rustls")]
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, Error as RustlsError, PeerIncompatible,
};

/// The kind of failure of a TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The server certificate was issued by an untrusted CA, or is self-signed.
    UnknownIssuer,
    /// The server certificate has expired.
    Expired,
    /// The server certificate is not valid yet, or the local clock is wrong.
    NotYetValid,
    /// The server certificate is for another name than the host of the address or
    /// `tls_server_name`.
    WrongName,
    /// The server certificate has another fault.
    BadCertificate,
    /// nsqd requires a client certificate: set `tls_cert` and `tls_key`.
    CertificateRequired,
    /// nsqd rejected the client certificate.
    CertificateRejected,
    /// There is no TLS version that both sides support.
    Version,
    /// The peer does not speak TLS.
    NotTls,
    /// Another failure.
    Other,
}

#[cfg(not(feature = "rustls"))]
impl TlsFailure {
    /// Returns `None`: without the feature `tls` no stream uses TLS.
    pub(super) fn of(_: &io::Error) -> Option<Self> {
        None
    }
}

#[cfg(feature = "rustls")]
impl TlsFailure {
    /// Classifies the error of a stream; `None` if it is not a TLS error.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        Some(match rustls_error(error)? {
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

    /// Refines the kind of a failed TLS handshake.
    ///
    /// Up to TLS 1.2 there is no alert for a missing client certificate. An nsqd built with an
    /// older Go sends `bad_certificate`, one built with a newer Go `handshake_failure`.
    pub(crate) fn in_handshake(self, error: &io::Error, has_client_certificate: bool) -> Self {
        use AlertDescription::HandshakeFailure;
        let source = rustls_error(error);
        let is_rejected = self == Self::CertificateRejected
            || matches!(source, Some(RustlsError::AlertReceived(HandshakeFailure)));
        if is_rejected && !has_client_certificate {
            Self::CertificateRequired
        } else if matches!(source, Some(RustlsError::InvalidMessage(_))) {
            Self::NotTls
        } else {
            self
        }
    }

    fn of_certificate(fault: &CertificateError) -> Self {
        match fault {
            // A bad signature is that of a CA with the name of a trusted one.
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

    /// Classifies an alert from nsqd.
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

#[cfg(feature = "rustls")]
fn rustls_error(error: &io::Error) -> Option<&RustlsError> {
    error.get_ref()?.downcast_ref()
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => {
                "the server certificate was issued by an untrusted CA (set tls_root_ca_file)"
            }
            Self::Expired => "the server certificate has expired",
            Self::NotYetValid => "the server certificate is not valid yet",
            Self::WrongName => "the server certificate is for another name (set tls_server_name)",
            Self::BadCertificate => "the server certificate is not acceptable",
            Self::CertificateRequired => {
                "nsqd requires a client certificate (set tls_cert and tls_key)"
            }
            Self::CertificateRejected => "nsqd rejected the client certificate",
            Self::Version => "no TLS version in common",
            Self::NotTls => "the peer does not speak TLS",
            Self::Other => "TLS error",
        })
    }
}
