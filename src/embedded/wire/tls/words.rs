//! What nsqd says when a handshake fails: the words of Go's TLS.

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

pub(super) fn of(error: &Error) -> String {
    let words: &str = match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "first record does not look like a TLS handshake"
        }
        Error::InvalidMessage(_) => return "local error: tls: error decoding message".into(),
        Error::PeerIncompatible(reason) => match format!("{reason:?}").as_str() {
            // Go lists what was offered; a client that knows 1.3 is never refused for its version.
            "Tls12NotOfferedOrEnabled"
            | "Tls12NotOffered"
            | "SupportedVersionsExtensionRequired" => {
                "client offered only unsupported versions: [303 302 301]"
            }
            _ => return format!("tls: {error}"),
        },
        Error::NoCertificatesPresented => "client didn't provide a certificate",
        Error::InvalidCertificate(fault) => return format!("tls: {}", of_certificate(fault)),
        Error::AlertReceived(alert) => return format!("remote error: tls: {}", of_alert(*alert)),
        _ => return format!("tls: {error}"),
    };
    format!("tls: {words}")
}

fn of_certificate(fault: &CertificateError) -> String {
    const UNKNOWN: &str = "certificate signed by unknown authority";
    let words = match fault {
        CertificateError::UnknownIssuer => UNKNOWN.into(),
        // Go does not mind an authority that speaks for itself, but does not know it either.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            UNKNOWN.into()
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid".into()
        }
        _ => fault.to_string(),
    };
    format!("failed to verify certificate: x509: {words}")
}

fn of_alert(alert: AlertDescription) -> String {
    let words = match alert {
        AlertDescription::UnexpectedMessage => "unexpected message",
        AlertDescription::BadRecordMac => "bad record MAC",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::CertificateRevoked => "revoked certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::IllegalParameter => "illegal parameter",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::DecodeError => "error decoding message",
        AlertDescription::DecryptError => "error decrypting message",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::InternalError => "internal error",
        AlertDescription::UserCanceled => "user canceled",
        other => return format!("alert({})", u8::from(other)),
    };
    words.into()
}
