//! The configuration of connections, producers and consumers. A finished configuration has been
//! validated.
//!
//! `table` defines what an option is; `connection_options`, `producer_options`, `consumer_options`,
//! `pool_options` and `lookup_options` hold the options, one table per scope, and `go_nsq` those
//! that only go-nsq has. `connection`, `producer`, `consumer`, `pool` and `lookup` hold a
//! configuration and its builder each. `value` reads, checks and shows single values, `validate`
//! checks them together, `sources` reads URLs and the environment, and `tls` and `pem` read the
//! files.

mod backoff_strategy;
mod connection;
mod connection_options;
mod consumer;
mod consumer_options;
mod duration;
mod go_nsq;
#[cfg(feature = "lookup")]
mod lookup;
mod lookup_options;
mod lookup_settings;
#[cfg(feature = "lookup")]
mod lookupd_address;
#[cfg(feature = "rustls")]
mod pem;
mod pool;
mod pool_options;
mod producer;
mod producer_options;
mod redact;
mod rows;
mod sources;
mod strategy;
mod table;
#[cfg(feature = "rustls")]
mod tls;
mod unknown;
mod validate;
mod value;
mod wait_for_connection;

use std::sync::Arc;

#[cfg(feature = "lookup")]
pub use self::lookup::{LookupConfig, LookupConfigBuilder};
pub use self::{
    backoff_strategy::BackoffStrategy,
    connection::{ConnectionConfig, ConnectionConfigBuilder},
    consumer::{ConsumerConfig, ConsumerConfigBuilder},
    pool::{PoolConfig, PoolConfigBuilder},
    producer::{ProducerConfig, ProducerConfigBuilder},
    strategy::Strategy,
    table::{ConfigOption, ConfigScope},
    value::TlsVersion,
    wait_for_connection::WaitForConnection,
};
use self::{connection::ConnectionSettings, unknown::not_an_option};
#[cfg(feature = "lookup")]
pub(crate) use self::{
    lookup_settings::{lookupd_address, nsqd_http_address},
    lookupd_address::LookupdAddress,
};
use crate::{
    conn::{Connector, SecretError},
    error::ConfigError,
    secret::Secret,
};

/// Defines the methods of a builder that are not in the tables, for an owner of
/// [`ConnectionSettings`].
macro_rules! connection_methods {
    ($Builder:ident, $Config:ident) => {
        impl $Builder {
            /// Sets an option by name, as read from a command line or a file.
            ///
            /// `-` and `_` are equivalent in names. A duration has units: `250ms`, `1m30s`.
            /// Whitespace around a value is ignored, except around a secret.
            ///
            /// # Errors
            ///
            /// [`ConfigError`] if the option is unknown or unsupported, or if it cannot have the
            /// value.
            pub fn set(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
                let name = name.replace('-', "_");
                match self.set_known(&name, value) {
                    Some(set) => set.map(|()| self),
                    None => Err(not_an_option(
                        &name,
                        stringify!($Config),
                        $Config::options(),
                    )),
                }
            }

            /// Connects with `connector` instead of TCP: to a Unix socket, through a proxy, in
            /// memory. Then the address is whatever the connector understands.
            pub fn connector(mut self, connector: impl Connector) -> Self {
                self.settings().connector = Some(Arc::new(connector));
                self
            }

            /// Encrypts with this configuration of rustls 0.23. It sets `tls_v1` and replaces the
            /// other TLS options except `tls_server_name`.
            ///
            /// The program needs rustls 0.23 with a crypto provider as a dependency of its own.
            ///
            /// ```
            /// # use tokio_rustls::rustls;
            /// use std::sync::Arc;
            ///
            #[doc = concat!("use actix_nsq::", stringify!($Config), ";")]
            ///
            /// # let roots = rustls::RootCertStore::empty();
            /// let provider = Arc::new(rustls::crypto::ring::default_provider());
            /// let rustls = rustls::ClientConfig::builder_with_provider(provider)
            ///     .with_safe_default_protocol_versions()?
            ///     .with_root_certificates(roots)
            ///     .with_no_client_auth();
            #[doc = concat!("let builder = ", builder_example!($Config), ";")]
            /// let config = builder.rustls_0_23_config(rustls).build()?;
            /// # Ok::<_, Box<dyn std::error::Error>>(())
            /// ```
            #[cfg(feature = "rustls")]
            #[cfg_attr(docsrs, doc(cfg(feature = "rustls")))]
            pub fn rustls_0_23_config(
                mut self,
                config: impl Into<Arc<tokio_rustls::rustls::ClientConfig>>,
            ) -> Self {
                self.settings().rustls = Some(config.into());
                self.tls_v1(true)
            }

            /// Calls `provider` for the AUTH secret whenever nsqd requires one, instead of using
            /// `auth_secret`. Use it for secrets that change.
            ///
            /// The future runs on the arbiter of the connection, within `handshake_timeout`; nsqd
            /// closes the connection after two heartbeat intervals. If it returns an error, the
            /// attempt to connect fails, and the error is logged. So does it if the future panics.
            ///
            /// ```
            #[doc = concat!("use actix_nsq::{", stringify!($Config), ", Secret};")]
            ///
            /// # async fn current() -> std::io::Result<String> { Ok("s".into()) }
            #[doc = concat!("let config = ", builder_example!($Config))]
            ///     .auth_secret_provider(|| async { Ok(Secret::from(current().await?)) })
            ///     .build()?;
            /// # Ok::<_, actix_nsq::ConfigError>(())
            /// ```
            pub fn auth_secret_provider<F>(
                mut self,
                provider: impl Fn() -> F + Send + Sync + 'static,
            ) -> Self
            where
                F: Future<Output = Result<Secret, SecretError>> + 'static,
            {
                self.settings().set_secret_provider(provider);
                self
            }
        }
    };
}

macro_rules! builder_example {
    (ConnectionConfig) => {
        "ConnectionConfig::builder()"
    };
    (ConsumerConfig) => {
        "ConsumerConfig::builder(\"nsqd.example.org:4150\")"
    };
    (PoolConfig) => {
        "PoolConfig::builder([\"nsqd-1:4150\", \"nsqd-2:4150\"])"
    };
    (ProducerConfig) => {
        "ProducerConfig::builder(\"nsqd.example.org:4150\")"
    };
}

connection_methods!(ConnectionConfigBuilder, ConnectionConfig);
connection_methods!(ProducerConfigBuilder, ProducerConfig);
connection_methods!(ConsumerConfigBuilder, ConsumerConfig);
connection_methods!(PoolConfigBuilder, PoolConfig);

impl ConnectionSettings {
    fn set_secret_provider<F>(&mut self, provider: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Secret, SecretError>> + 'static,
    {
        self.secret_provider = Some(Arc::new(move || {
            let secret = provider();
            Box::pin(async move {
                let secret = secret.await?;
                let max = connection_options::MAX_SECRET;
                if secret.expose().len() > max {
                    return Err(format!("the secret is longer than {max} bytes").into());
                }
                Ok(secret)
            })
        }));
    }
}

#[cfg(test)]
mod tests;
