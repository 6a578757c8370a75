//! Why there is no connection.

use std::{fmt, io, sync::Arc, time::Duration};

use crate::protocol::{DecodeError, ServerError};

/// Why there is no connection to nsqd: it could not be made, or it was lost.
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
    /// None of the host's addresses took the connection; the error is the last one's.
    #[error("cannot connect to {address}: {source}")]
    Dial {
        /// The address as configured.
        address: String,
        /// The operating system's or the connector's error.
        source: Arc<io::Error>,
    },
    /// Name resolution and dialling took longer than `dial_timeout`.
    #[error("cannot connect to {address}: no answer within dial_timeout = {after:?}")]
    DialTimeout {
        /// The address as configured.
        address: String,
        /// The limit.
        after: Duration,
    },
    /// The peer took the connection and then did not finish the handshake within `handshake_timeout`.
    #[error("no answer to the handshake within handshake_timeout = {after:?}")]
    HandshakeTimeout {
        /// The limit.
        after: Duration,
    },
    /// The peer closed the connection during the handshake.
    #[error("the peer closed the connection during the handshake")]
    HandshakeClosed,
    /// nsqd answered the handshake with an error.
    #[error("nsqd refused the handshake: {0}")]
    HandshakeRefused(#[source] ServerError),
    /// An answer of the handshake is none that nsqd gives there.
    #[error("the answer to {step} is not understood: {problem}")]
    HandshakeAnswer {
        /// What it should answer: IDENTIFY, TLS, a kind of compression, or AUTH.
        step: &'static str,
        /// What is wrong with it, without its text.
        problem: String,
    },
    /// TLS was asked for, and nsqd has none to offer. Nothing else was sent.
    #[error("nsqd declines TLS, which tls_v1 asks for; nothing else was sent in clear text")]
    TlsDeclined,
    /// nsqd runs with `--tls-required`, and this client was not asked to do TLS.
    #[error("nsqd requires TLS; set tls_v1: {0}")]
    TlsRequired(#[source] ServerError),
    /// The TLS handshake failed, or what came inside TLS is broken.
    #[error("TLS failed, {failure}: {source}")]
    Tls {
        /// What is wrong, to decide by.
        failure: TlsFailure,
        /// What is wrong, in the words of the TLS library.
        source: Arc<io::Error>,
    },
    /// Compression was asked for, and nsqd declines it; `allow_uncompressed` would go on without.
    #[error("nsqd declines {method}, and allow_uncompressed is not set")]
    CompressionDeclined {
        /// `snappy` or `deflate`.
        method: &'static str,
    },
    /// nsqd asks for AUTH, and there is no secret to send.
    #[error("nsqd requires AUTH, and no auth_secret is set")]
    AuthSecretMissing,
    /// nsqd asks for AUTH, and the program could not give its secret.
    #[error("nsqd requires AUTH, and there is no secret for it: {source}")]
    AuthSecretProvider {
        /// The error of the [provider](crate::ProducerConfigBuilder::auth_secret_provider).
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// nsqd does not let this client in, or could not ask its auth server.
    #[error("nsqd refused AUTH: {0}")]
    AuthRefused(#[source] ServerError),
    /// An HTTP server answered: nsqd's HTTP port was given for its TCP port.
    #[error("{}", DecodeError::Http)]
    HttpServer,
    /// The peer sent what no nsqd sends.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[source] DecodeError),
    /// An answer came that belongs to no command.
    #[error("out of step: {problem}")]
    UnexpectedResponse {
        /// What came, and when.
        problem: String,
    },
    /// nsqd refused a publish, and closes the connection whenever it does.
    #[error("closed by nsqd after it refused: {0}")]
    Refused(#[source] ServerError),
    /// The peer closed the connection. nsqd does so when it stops, without a word.
    #[error("closed by the peer")]
    ClosedByPeer,
    /// The peer closed the connection in the middle of a frame.
    #[error("closed by the peer in the middle of a frame")]
    Truncated,
    /// Reading or writing failed.
    #[error("connection broken: {0}")]
    Io(#[source] Arc<io::Error>),
    /// No frame, not even a heartbeat, came for two heartbeat intervals.
    #[error("nothing heard from nsqd for {after:?}, two heartbeat intervals")]
    HeartbeatTimeout {
        /// The limit.
        after: Duration,
    },
    /// Commands are in flight, and none was answered for `ack_timeout`.
    #[error("no publish answered for ack_timeout = {after:?}")]
    AckTimeout {
        /// The limit.
        after: Duration,
    },
    /// The peer stopped reading: the socket took too little for `write_timeout`.
    #[error("the peer stopped reading: write_timeout = {after:?} passed")]
    WriteTimeout {
        /// The limit.
        after: Duration,
    },
    /// The producer closed the connection itself, because it was asked to drain or to stop.
    #[error("closed by the producer")]
    ClosedLocally,
}

impl ConnectionError {
    /// Whether it will most likely be so again at the next attempt: somebody has to change something first.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::TlsDeclined
            | Self::TlsRequired(_)
            | Self::CompressionDeclined { .. }
            | Self::AuthSecretMissing
            | Self::AuthRefused(_) => true,
            Self::Tls { failure, .. } => *failure != TlsFailure::Other,
            _ => false,
        }
    }
}

/// What is wrong with a TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFailure {
    /// nsqd's certificate is by nobody whom this client trusts: self-signed, or by another authority.
    UnknownIssuer,
    /// nsqd's certificate has expired.
    Expired,
    /// nsqd's certificate is not valid yet; or the clock here is wrong.
    NotYetValid,
    /// nsqd's certificate is for another name than the one that was dialled, or that `tls_server_name` gives.
    WrongName,
    /// nsqd's certificate has another fault.
    BadCertificate,
    /// nsqd wants a certificate of this client, and got none: set `tls_cert` and `tls_key`.
    CertificateRequired,
    /// nsqd does not take the certificate of this client.
    CertificateRefused,
    /// There is no version of TLS that both sides take.
    Version,
    /// What answered does not speak TLS.
    NotTls,
    /// Another failure.
    Other,
}

#[cfg(not(feature = "tls"))]
impl TlsFailure {
    /// Without TLS there is none.
    fn of(_: &io::Error) -> Option<Self> {
        None
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => "nsqd's certificate is by an unknown issuer (tls_root_ca_file)",
            Self::Expired => "nsqd's certificate has expired",
            Self::NotYetValid => "nsqd's certificate is not valid yet",
            Self::WrongName => "nsqd's certificate is for another name (tls_server_name)",
            Self::BadCertificate => "nsqd's certificate is not acceptable",
            Self::CertificateRequired => {
                "nsqd wants a certificate of this client (tls_cert, tls_key)"
            }
            Self::CertificateRefused => "nsqd does not take this client's certificate",
            Self::Version => "no common version",
            Self::NotTls => "the peer does not speak it",
            Self::Other => "the peer and this client do not agree",
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
