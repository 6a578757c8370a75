//! Why there is no connection.

use std::{io, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};

use super::tls::TlsFailure;
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
    /// The resolver did not answer within `dial_timeout`. The look-up goes on, and the next attempt
    /// joins it.
    #[error("cannot resolve {address} within dial_timeout ({after:?}): {problem}")]
    ResolveTimeout {
        /// The address as configured.
        address: String,
        /// The limit.
        after: Duration,
        /// Whether the look-up took too long, or waited for a thread.
        problem: &'static str,
    },
    /// No address of the host accepted the connection. If there are several, the error names their
    /// number and how each failed.
    #[error("cannot connect to {address}: {source}")]
    Dial {
        /// The address as configured.
        address: String,
        /// The operating system's or the connector's error.
        source: Arc<io::Error>,
    },
    /// The peer did not accept the connection within `dial_timeout`.
    #[error("cannot connect to {address} within dial_timeout ({after:?})")]
    DialTimeout {
        /// The address as configured.
        address: String,
        /// The limit.
        after: Duration,
    },
    /// The peer accepted the connection, but the handshake did not finish within
    /// `handshake_timeout`.
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
    /// An nsqlookupd responded: the address is that of nsqlookupd's TCP port.
    #[error("{}", DecodeError::Nsqlookupd)]
    NsqlookupdServer,
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
    /// The socket accepted less than 64 KiB per `write_timeout` on average: the peer has stopped
    /// reading, or is too slow.
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
    /// Returns whether the next attempt is likely to fail in the same way, until a setting is
    /// changed.
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
            DecodeError::Nsqlookupd => Self::NsqlookupdServer,
            other => Self::Protocol(other),
        }
    }
}
