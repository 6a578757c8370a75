//! Why there is no connection.

use std::{fmt, io, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};

use crate::protocol::{DecodeError, ServerError};

/// Why there is no connection to nsqd: connecting failed, or the connection was lost.
///
/// `Serialize` writes the text.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The host name has no address, or the resolver failed.
    #[error("cannot resolve {address}: {source}")]
    Resolve {
        /// The address as configured.
        address: String,
        /// The resolver's error.
        source: Arc<io::Error>,
    },
    /// No address of the host accepted the connection. The error is that of the last address.
    #[error("cannot connect to {address}: {source}")]
    Dial {
        /// The address as configured.
        address: String,
        /// The operating system's or the connector's error.
        source: Arc<io::Error>,
    },
    /// Name resolution and connecting took longer than `dial_timeout`.
    #[error("cannot connect to {address} within dial_timeout ({after:?})")]
    DialTimeout {
        /// The address as configured.
        address: String,
        /// The limit.
        after: Duration,
    },
    /// The peer accepted the connection, but the handshake did not finish within `handshake_timeout`.
    #[error("handshake not finished within handshake_timeout ({after:?})")]
    HandshakeTimeout {
        /// The limit.
        after: Duration,
    },
    /// The peer closed the connection during the handshake.
    #[error("closed by the peer during the handshake")]
    HandshakeClosed,
    /// nsqd rejected the handshake.
    #[error("nsqd rejected the handshake: {0}")]
    HandshakeRejected(#[source] ServerError),
    /// A response in the handshake is not one of nsqd's.
    #[error("unexpected response to {step}: {problem}")]
    HandshakeResponse {
        /// The step that it answers: IDENTIFY, TLS, a compression method, or AUTH.
        step: &'static str,
        /// What is wrong with it, without its content.
        problem: String,
    },
    /// `tls_v1` is set, but nsqd does not offer TLS. Nothing but IDENTIFY was sent.
    #[error("nsqd does not offer TLS, but tls_v1 is set; nothing but IDENTIFY was sent")]
    TlsDeclined,
    /// nsqd runs with `--tls-required`, but `tls_v1` is not set.
    #[error("nsqd requires TLS; set tls_v1: {0}")]
    TlsRequired(#[source] ServerError),
    /// The TLS handshake failed, or the TLS stream is corrupt.
    #[error("TLS failed: {failure}: {source}")]
    Tls {
        /// The kind of failure.
        failure: TlsFailure,
        /// The TLS library's error.
        source: Arc<io::Error>,
    },
    /// Compression is configured, but nsqd does not offer it.
    #[error("nsqd does not offer {method}; set allow_uncompressed to connect without compression")]
    CompressionDeclined {
        /// `snappy` or `deflate`.
        method: &'static str,
    },
    /// nsqd requires AUTH, but there is no secret.
    #[error("nsqd requires AUTH; set auth_secret")]
    AuthSecretMissing,
    /// nsqd requires AUTH, but the program's secret provider failed.
    #[error("nsqd requires AUTH, but auth_secret_provider failed: {source}")]
    AuthSecretProvider {
        /// The error of the [provider](crate::ProducerConfigBuilder::auth_secret_provider).
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// nsqd rejected AUTH: the secret is not valid, or nsqd could not reach its auth server.
    #[error("nsqd rejected AUTH: {0}")]
    AuthRejected(#[source] ServerError),
    /// An HTTP server responded: the address is that of nsqd's HTTP port instead of its TCP port.
    #[error("{}", DecodeError::Http)]
    HttpServer,
    /// The peer violated the protocol.
    #[error("protocol violation: {0}")]
    Protocol(#[source] DecodeError),
    /// A response arrived that belongs to no command.
    #[error("unexpected response: {problem}")]
    UnexpectedResponse {
        /// What arrived, and when.
        problem: String,
    },
    /// nsqd rejected a command. It closes the connection after that.
    #[error("closed by nsqd after it rejected a command: {0}")]
    Rejected(#[source] ServerError),
    /// The peer closed the connection. nsqd does so when it stops.
    #[error("closed by the peer")]
    ClosedByPeer,
    /// The peer closed the connection in the middle of a frame.
    #[error("closed by the peer in the middle of a frame")]
    Truncated,
    /// Reading or writing failed.
    #[error("connection failed: {0}")]
    Io(#[source] Arc<io::Error>),
    /// No frame, not even a heartbeat, arrived for two heartbeat intervals.
    #[error("nothing received from nsqd for {after:?} (two heartbeat intervals)")]
    HeartbeatTimeout {
        /// The limit.
        after: Duration,
    },
    /// Commands are in flight, but nsqd responded to none of them for `ack_timeout`.
    #[error("no response to any publish within ack_timeout ({after:?})")]
    AckTimeout {
        /// The limit.
        after: Duration,
    },
    /// The socket accepted too few bytes within `write_timeout`: the peer has stopped reading, or is too slow.
    #[error("too few bytes written within write_timeout ({after:?})")]
    WriteTimeout {
        /// The limit.
        after: Duration,
    },
    /// This client closed the connection: for a drain, a stop or a reconnect.
    #[error("closed by this client")]
    ClosedLocally,
}

impl ConnectionError {
    /// Returns whether the next attempt is likely to fail in the same way, until a setting is changed.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::TlsDeclined
            | Self::TlsRequired(_)
            | Self::CompressionDeclined { .. }
            | Self::AuthSecretMissing
            | Self::AuthRejected(_) => true,
            Self::Tls { failure, .. } => *failure != TlsFailure::Other,
            _ => false,
        }
    }
}

impl Serialize for ConnectionError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

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
    /// The server certificate is for another name than the host of the address or `tls_server_name`.
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

#[cfg(not(feature = "tls"))]
impl TlsFailure {
    /// Without the feature `tls` there is no such failure.
    fn of(_: &io::Error) -> Option<Self> {
        None
    }
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

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        match TlsFailure::of(&error) {
            Some(failure) => Self::Tls {
                failure,
                source: Arc::new(error),
            },
            None => Self::Io(Arc::new(error)),
        }
    }
}

impl From<DecodeError> for ConnectionError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Http => Self::HttpServer,
            other => Self::Protocol(other),
        }
    }
}
