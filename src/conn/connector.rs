//! By what a connection is dialled: TCP, or what the user gives instead.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures::future::LocalBoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

use super::transport::Transport;
use crate::{config::ProducerConfig, error::ConnectionError};

/// What [`Connector::connect`] returns.
pub type ConnectFuture = LocalBoxFuture<'static, Result<Transport, ConnectionError>>;

/// Makes the connection to nsqd, once for each attempt. The default dials TCP; an own one can reach nsqd through a Unix
/// socket or a proxy, or a test's peer through a pipe in memory.
///
/// ```
/// use actix_nsq::{ProducerConfig, ConnectFuture, Connector, Transport};
///
/// #[derive(Debug)]
/// struct UnixSocket;
///
/// impl Connector for UnixSocket {
///     fn connect(&self, config: &ProducerConfig) -> ConnectFuture {
///         let path = config.address().to_owned();
///         Box::pin(async move { Ok(Transport::new(tokio::net::UnixStream::connect(path).await?)) })
///     }
/// }
///
/// let config = ProducerConfig::builder("/run/nsqd.sock").connector(UnixSocket).build()?;
/// # Ok::<_, actix_nsq::PublishError>(())
/// ```
pub trait Connector: std::fmt::Debug + Send + Sync + 'static {
    /// Dials the address of `config`. The future runs on the producer's arbiter, is dropped when `dial_timeout`
    /// passes, and must not block the thread. If it panics, the producer is gone, and with it whatever waits.
    fn connect(&self, config: &ProducerConfig) -> ConnectFuture;
}

/// TCP: the name is resolved at each attempt, and every address it has is tried.
#[derive(Debug)]
pub(crate) struct TcpConnector;

impl Connector for TcpConnector {
    fn connect(&self, config: &ProducerConfig) -> ConnectFuture {
        let address = config.address().to_owned();
        let local = config.local_addr();
        let keepalive = config.tcp_keepalive();
        let after = config.dial_timeout();
        let deadline = Instant::now() + after;
        Box::pin(async move {
            let resolve = |source| ConnectionError::Resolve {
                address: address.clone(),
                source: Arc::new(source),
            };
            let mut addresses: Vec<_> = lookup_host(&address).await.map_err(resolve)?.collect();
            if let Some(local) = local {
                addresses.retain(|address| address.is_ipv4() == local.is_ipv4());
            }
            let mut last = io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "the name has no usable address",
            );
            let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
            for candidate in addresses {
                // An even share of the time that is left, so that a dead address cannot use up the others'.
                let now = Instant::now();
                let share = deadline.saturating_duration_since(now) / left.max(1);
                left = left.saturating_sub(1);
                match timeout_at(now + share, dial(candidate, local, keepalive)).await {
                    Ok(Ok(stream)) => return Ok(Transport::tcp(stream)),
                    Ok(Err(error)) => last = error,
                    Err(_) if left == 0 => {
                        return Err(ConnectionError::DialTimeout { address, after });
                    }
                    Err(_) => last = io::ErrorKind::TimedOut.into(),
                }
            }
            Err(ConnectionError::Dial {
                address,
                source: Arc::new(last),
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
    // A burst is one write already: holding back its tail for an acknowledgement would only add latency.
    stream.set_nodelay(true)?;
    if let Some(idle) = keepalive {
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    Ok(stream)
}
