//! The connector: how a transport to nsqd is established, by TCP, a Unix socket, or a custom
//! connector.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use futures::future::LocalBoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::Instant,
};

use super::{
    endpoint::Endpoint,
    race::first_to_connect,
    resolver::{ResolveError, Resolver},
    transport::Transport,
};
use crate::error::ConnectionError;

/// The future that [`Connector::connect`] returns.
pub type ConnectFuture = LocalBoxFuture<'static, Result<Transport, ConnectionError>>;

/// Connects to nsqd: by TCP or a Unix socket unless [`ProducerConfigBuilder::connector`] sets
/// another connector, for example for a proxy, or for an in-memory pipe in a test.
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
    /// If it panics, the attempt fails.
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
    #[cfg(feature = "lookup")]
    pub(crate) fn new(
        address: Arc<str>,
        dial_timeout: Duration,
        local_addr: Option<SocketAddr>,
        tcp_keepalive: Option<Duration>,
    ) -> Self {
        Self {
            address,
            dial_timeout,
            local_addr,
            tcp_keepalive,
        }
    }

    /// The address as configured. It is `host:port` or `unix:/path` unless a custom connector is
    /// set.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The time after which the attempt is abandoned.
    #[must_use]
    pub fn dial_timeout(&self) -> Duration {
        self.dial_timeout
    }

    /// The local IP address to connect from; `None` leaves the choice to the operating system.
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

/// The default connector: resolves the host name at each attempt, and dials its addresses, or
/// connects to a Unix socket.
#[derive(Debug)]
pub(crate) struct DefaultConnector {
    resolver: Resolver,
}

impl Default for DefaultConnector {
    fn default() -> Self {
        Self {
            resolver: Resolver::system(),
        }
    }
}

impl Connector for DefaultConnector {
    fn connect(&self, target: &ConnectTarget) -> ConnectFuture {
        let deadline = Instant::now() + target.dial_timeout;
        let (resolver, target) = (self.resolver.clone(), target.clone());
        Box::pin(async move {
            #[cfg(unix)]
            if let Ok(Endpoint::Unix(path)) = Endpoint::parse(&target.address) {
                return dial_unix(path).await;
            }
            let addresses = target.resolve(&resolver, deadline).await?;
            let stream = target.dial(&addresses, deadline).await?;
            Ok(stream.into())
        })
    }
}

impl ConnectTarget {
    /// Returns the addresses of the host, those that `local_addr` permits.
    async fn resolve(
        &self,
        resolver: &Resolver,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, ConnectionError> {
        let mut addresses = match Endpoint::parse(&self.address) {
            Ok(Endpoint::Ip(address)) => vec![address],
            Ok(Endpoint::Host(host, port)) => self.look_up(host, port, resolver, deadline).await?,
            Ok(Endpoint::Unix(_)) => Vec::new(),
            Err(problem) => return Err(self.resolve_error(problem.into())),
        };
        if addresses.is_empty() {
            return Err(self.resolve_error("the host name has no address".into()));
        }
        if let Some(local) = self.local_addr {
            addresses.retain(|address| address.is_ipv4() == local.is_ipv4());
            if addresses.is_empty() {
                let family = if local.is_ipv4() { "IPv4" } else { "IPv6" };
                return Err(self.resolve_error(format!(
                    "there is no {family} address to connect to from local_addr ({local})"
                )));
            }
        }
        Ok(addresses)
    }

    fn resolve_error(&self, problem: String) -> ConnectionError {
        ConnectionError::Resolve {
            address: self.address.to_string(),
            source: Arc::new(io::Error::new(io::ErrorKind::AddrNotAvailable, problem)),
        }
    }

    async fn look_up(
        &self,
        host: &str,
        port: u16,
        resolver: &Resolver,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, ConnectionError> {
        let address = || self.address.to_string();
        let timeout = |problem| ConnectionError::ResolveTimeout {
            address: address(),
            after: self.dial_timeout,
            problem,
        };
        let resolved = resolver.resolve(host, deadline).await;
        let mut addresses = match resolved {
            Ok(addresses) => addresses.to_vec(),
            Err(ResolveError::Failed(source)) => {
                return Err(ConnectionError::Resolve {
                    address: address(),
                    source,
                });
            }
            Err(ResolveError::NoAnswer) => return Err(timeout("the resolver has not answered")),
            Err(ResolveError::NoThread) => {
                return Err(timeout("every resolver thread waits for another name"));
            }
        };
        for address in &mut addresses {
            address.set_port(port);
        }
        Ok(addresses)
    }

    /// Connects to the first of the addresses that accepts.
    async fn dial(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<TcpStream, ConnectionError> {
        let (local, keepalive) = (self.local_addr, self.tcp_keepalive);
        let dialled = first_to_connect(addresses, deadline, |address| {
            dial(address, local, keepalive)
        });
        dialled.await.map_err(|failed| match failed.into_error() {
            Some(error) => ConnectionError::Dial {
                address: self.address.to_string(),
                source: Arc::new(error),
            },
            None => ConnectionError::DialTimeout {
                address: self.address.to_string(),
                after: self.dial_timeout,
            },
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

/// Size in bytes of the send buffer of a Unix socket; Linux doubles it. The kernel reports the
/// socket as writable when three quarters are free again, so with the default of 208 KiB a slow
/// peer would look like one that has stopped.
#[cfg(unix)]
const UNIX_SEND_BUFFER: usize = 32 << 10;

#[cfg(unix)]
async fn dial_unix(path: &str) -> Result<Transport, ConnectionError> {
    let stream = tokio::net::UnixStream::connect(path).await?;
    SockRef::from(&stream).set_send_buffer_size(UNIX_SEND_BUFFER)?;
    Ok(Transport::new(stream))
}

#[cfg(test)]
mod tests;
