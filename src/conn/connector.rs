//! The connector: how a transport to nsqd is established, by TCP or by a custom connector.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use futures::future::LocalBoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

use super::transport::Transport;
use crate::error::ConnectionError;

/// The future that [`Connector::connect`] returns.
pub type ConnectFuture = LocalBoxFuture<'static, Result<Transport, ConnectionError>>;

/// Connects to nsqd: by TCP unless [`ProducerConfigBuilder::connector`] sets another connector, for
/// example for a Unix socket, a proxy, or an in-memory pipe in a test.
///
/// # Example
///
/// ```
/// use std::sync::Arc;
///
/// use actix_nsq::{
///     ConnectFuture, ConnectTarget, ConnectionError, Connector, ProducerConfig, Transport,
/// };
/// use tokio::net::UnixStream;
///
/// /// Treats the address as the path of a Unix socket.
/// #[derive(Debug)]
/// struct UnixConnector;
///
/// impl Connector for UnixConnector {
///     fn connect(&self, target: &ConnectTarget) -> ConnectFuture {
///         let path = target.address().to_owned();
///         Box::pin(async move {
///             match UnixStream::connect(&path).await {
///                 Ok(stream) => Ok(Transport::new(stream)),
///                 Err(error) => Err(ConnectionError::Dial {
///                     address: path,
///                     source: Arc::new(error),
///                 }),
///             }
///         })
///     }
/// }
///
/// let config = ProducerConfig::builder("/run/nsqd.sock").connector(UnixConnector).build()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A test can call a connector with [`ProducerConfig::connect_target`].
///
/// [`ProducerConfig::connect_target`]: crate::ProducerConfig::connect_target
/// [`ProducerConfigBuilder::connector`]: crate::ProducerConfigBuilder::connector
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Starts one attempt to connect to `target`. The owner of the connection calls it once per
    /// attempt, and handles retries.
    ///
    /// The future runs on the arbiter of the connection's owner, so it must not block the thread.
    /// If it panics, the owner stops.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when [`dial_timeout`](ConnectTarget::dial_timeout) elapses or when the
    /// owner stops. Dropping it must close what it has opened; sockets that it owns do so by
    /// themselves.
    ///
    /// # Errors
    ///
    /// - [`ConnectionError::Dial`] if the connection cannot be established. An [`io::Error`] that
    ///   is returned by `?` is reported as one, with the address of `target`, or as
    ///   [`ConnectionError::Tls`] if it is an error of rustls.
    /// - [`ConnectionError::Resolve`] if the address cannot be resolved.
    /// - [`ConnectionError::DialTimeout`] if the connector has a timeout of its own.
    ///
    /// After any error the owner retries with backoff.
    fn connect(&self, target: &ConnectTarget) -> ConnectFuture;
}

/// What a [`Connector`] connects to, and the options that concern it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectTarget {
    pub(super) address: Arc<str>,
    pub(super) dial_timeout: Duration,
    pub(super) local_addr: Option<SocketAddr>,
    pub(super) tcp_keepalive: Option<Duration>,
}

impl ConnectTarget {
    /// The address as configured. It is a `host:port` unless a custom connector is set.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The time after which the attempt is abandoned.
    #[must_use]
    pub fn dial_timeout(&self) -> Duration {
        self.dial_timeout
    }

    /// The local address to connect from; `None` leaves the choice to the operating system.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// The idle time after which the operating system probes the peer; `None` turns probes off.
    #[must_use]
    pub fn tcp_keepalive(&self) -> Option<Duration> {
        self.tcp_keepalive
    }
}

/// The default connector: resolves the host name at each attempt, and tries each of its addresses.
#[derive(Debug)]
pub(crate) struct TcpConnector;

impl Connector for TcpConnector {
    fn connect(&self, target: &ConnectTarget) -> ConnectFuture {
        let ConnectTarget {
            address,
            dial_timeout,
            local_addr,
            tcp_keepalive,
        } = target.clone();
        let deadline = Instant::now() + dial_timeout;
        Box::pin(async move {
            let resolved = lookup_host(&*address).await;
            let mut candidates: Vec<_> = resolved
                .map_err(|error| ConnectionError::Resolve {
                    address: address.to_string(),
                    source: Arc::new(error),
                })?
                .collect();
            if let Some(local) = local_addr {
                candidates.retain(|candidate| candidate.is_ipv4() == local.is_ipv4());
            }
            let mut last_error = io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "the host name has no usable address",
            );
            let mut left = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
            for candidate in candidates {
                // An equal share of the remaining time, so that an unreachable address leaves time
                // for the others.
                let now = Instant::now();
                let share = deadline.saturating_duration_since(now) / left.max(1);
                left = left.saturating_sub(1);
                match timeout_at(now + share, dial(candidate, local_addr, tcp_keepalive)).await {
                    Ok(Ok(stream)) => return Ok(stream.into()),
                    Ok(Err(error)) => last_error = error,
                    Err(_) if left == 0 => {
                        return Err(ConnectionError::DialTimeout {
                            address: address.to_string(),
                            after: dial_timeout,
                        });
                    }
                    Err(_) => last_error = io::ErrorKind::TimedOut.into(),
                }
            }
            Err(ConnectionError::Dial {
                address: address.to_string(),
                source: Arc::new(last_error),
            })
        })
    }
}

async fn dial(
    address: SocketAddr,
    local: Option<SocketAddr>,
    keepalive: Option<Duration>,
) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if let Some(local) = local {
        socket.set_reuseaddr(true)?;
        socket.bind(local)?;
    }
    let stream = socket.connect(address).await?;
    // The writer batches already, so Nagle's algorithm would only add latency.
    stream.set_nodelay(true)?;
    if let Some(idle) = keepalive {
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    Ok(stream)
}
