//! A byte stream to any server: connecting, and TLS from the first byte.

#[cfg(feature = "lookup")]
use std::sync::Arc;

use tokio::time::timeout;

#[cfg(all(feature = "lookup", feature = "rustls"))]
use super::tls::Tls;
use super::{
    connector::{ConnectTarget, Connector},
    panic::catch_panic,
    transport::Transport,
};
use crate::error::ConnectionError;

/// Connects to `target` within its `dial_timeout`. A panic of the connector is an error.
pub(super) async fn dial(
    connector: &dyn Connector,
    target: &ConnectTarget,
) -> Result<Transport, ConnectionError> {
    let after = target.dial_timeout;
    let address = || target.address.to_string();
    let attempt = catch_panic("the connector", async {
        // The connector's own time begins first, so that its error, which says more, comes first.
        let connecting = connector.connect(target);
        timeout(after, connecting).await
    });
    let result = match attempt.await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(ConnectionError::DialTimeout {
            address: address(),
            after,
        }),
        Err(panicked) => Err(panicked.into()),
    };
    result.map_err(|error| match error {
        ConnectionError::Io(source) => ConnectionError::Dial {
            address: address(),
            source,
        },
        other => other,
    })
}

/// What is needed to connect to a server that is not an nsqd.
#[cfg(feature = "lookup")]
#[derive(Clone)]
pub(crate) struct StreamOptions {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) target: ConnectTarget,
    /// `None`: no TLS.
    #[cfg(feature = "rustls")]
    pub(crate) tls: Option<Tls>,
}

/// Connects, and starts TLS. The caller limits the time of TLS.
///
/// Cancel safe: dropping the future closes the transport.
#[cfg(feature = "lookup")]
pub(crate) async fn open_stream(options: &StreamOptions) -> Result<Transport, ConnectionError> {
    let transport = dial(&*options.connector, &options.target).await?;
    #[cfg(feature = "rustls")]
    if let Some(tls) = &options.tls {
        return catch_panic("a TLS callback", tls.connect(transport, true)).await?;
    }
    Ok(transport)
}
