//! The error texts of Go's TLS, which nsqd sends when a handshake fails.

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

pub(super) fn text(error: &Error) -> String {
    let text: &str = match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "first record does not look like a TLS handshake"
        }
        Error::InvalidMessage(_) => return "local error: tls: error decoding message".into(),
        Error::PeerIncompatible(reason) => match format!("{reason:?}").as_str() {
            // Go lists the offered versions; only a client without TLS 1.3 can fail here.
            "Tls12NotOfferedOrEnabled"
            | "Tls12NotOffered"
            | "SupportedVersionsExtensionRequired" => {
                "client offered only unsupported versions: [303 302 301]"
            }
            _ => return format!("tls: {error}"),
        },
        Error::NoCertificatesPresented => "client didn't provide a certificate",
        Error::InvalidCertificate(error) => return format!("tls: {}", certificate_text(error)),
        Error::AlertReceived(alert) => return format!("remote error: tls: {}", alert_text(*alert)),
        _ => return format!("tls: {error}"),
    };
    format!("tls: {text}")
}

fn certificate_text(error: &CertificateError) -> String {
    const UNKNOWN: &str = "certificate signed by unknown authority";
    let text = match error {
        CertificateError::UnknownIssuer => UNKNOWN.into(),
        // Go accepts a CA as an end entity, and then reports that it is unknown.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            UNKNOWN.into()
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid".into()
        }
        _ => error.to_string(),
    };
    format!("failed to verify certificate: x509: {text}")
}

fn alert_text(alert: AlertDescription) -> String {
    let text = match alert {
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
    text.into()
}
