//! The settings of one connection, independent of how its owner is configured.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use futures::future::LocalBoxFuture;

#[cfg(feature = "rustls")]
use super::tls::Tls;
use super::{
    connector::{ConnectTarget, Connector},
    panic::catch_panic,
};
use crate::{protocol::Identify, secret::Secret};

/// The error of a [`SecretProvider`].
pub(crate) type SecretError = Box<dyn std::error::Error + Send + Sync>;

/// Returns the current AUTH secret. It is called for each connection that needs it.
pub(crate) type SecretProvider =
    Arc<dyn Fn() -> LocalBoxFuture<'static, Result<Secret, SecretError>> + Send + Sync>;

/// Settings of one connection. The owner has validated them.
#[derive(Clone)]
pub(crate) struct ConnOptions {
    pub(crate) address: Arc<str>,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) dial_timeout: Duration,
    pub(crate) local_addr: Option<SocketAddr>,
    pub(crate) tcp_keepalive: Option<Duration>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) write_timeout: Duration,
    /// The interval that [`identify`](Self::identify) requests. `None`: the reader checks nothing.
    pub(crate) heartbeat_interval: Option<Duration>,
    /// Largest frame that is accepted from nsqd, in bytes.
    pub(crate) max_msg_size: usize,
    /// Maximum number of bytes per read.
    pub(crate) read_size: usize,
    /// The body of IDENTIFY. It requests TLS and compression as the fields below say.
    pub(crate) identify: Identify,
    /// `None`: no TLS.
    #[cfg(feature = "rustls")]
    pub(crate) tls: Option<Tls>,
    pub(crate) compression: Option<Compression>,
    /// Connect without compression if nsqd declines it.
    pub(crate) allow_uncompressed: bool,
    pub(crate) auth_secret: AuthSecret,
}

impl ConnOptions {
    /// What a connector needs of these options.
    pub(crate) fn target(&self) -> ConnectTarget {
        ConnectTarget {
            address: Arc::clone(&self.address),
            dial_timeout: self.dial_timeout,
            local_addr: self.local_addr,
            tcp_keepalive: self.tcp_keepalive,
        }
    }

    /// Whether TLS is required.
    pub(super) fn requires_tls(&self) -> bool {
        #[cfg(feature = "rustls")]
        return self.tls.is_some();
        #[cfg(not(feature = "rustls"))]
        return false;
    }
}

impl fmt::Debug for ConnOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnOptions")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A compression method to request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Snappy,
    Deflate,
}

impl Compression {
    /// The name of the method in IDENTIFY.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Snappy => "snappy",
            Self::Deflate => "deflate",
        }
    }
}

/// The source of the AUTH secret.
#[derive(Clone)]
pub(crate) enum AuthSecret {
    /// A fixed secret. An empty one means that there is none.
    Fixed(Secret),
    Provider(SecretProvider),
}

impl AuthSecret {
    /// Returns the current secret. A panic of the provider is an error.
    pub(crate) async fn load(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Fixed(secret) => Ok(secret.clone()),
            Self::Provider(provider) => catch_panic("it", async { provider().await })
                .await
                .unwrap_or_else(|panic| Err(panic.into())),
        }
    }
}
