//! How a producer is set up. A [`ProducerConfig`] in hand is valid: every value was checked on the way in.

mod address;
mod checks;
mod options;
mod outside;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "tls")]
mod tls;
mod value;

use std::{fmt, sync::Arc, time::Duration};

use self::{
    address::{check_address, shown_address},
    options::{LONGEST_SECRET, Options},
};
pub use self::{options::ConfigOption, value::TlsVersion};
#[cfg(feature = "tls")]
use crate::conn::Tls;
use crate::{
    conn::{
        AuthSecret, Compression, ConnOptions, Connector, SecretError, SecretProvider, TcpConnector,
    },
    error::ConfigError,
    protocol::{Identify, one_line},
    secret::Secret,
};

/// What a producer is started with: the address of nsqd, and a value for each [option](ProducerConfig::options). The
/// methods of [`ProducerConfigBuilder`] tell defaults and bounds; `docs/options.md` lists them all, beside go-nsq's.
///
/// ```
/// use std::time::Duration;
///
/// let config = actix_nsq::ProducerConfig::builder("127.0.0.1:4150")
///     .publish_timeout(Duration::from_secs(10))
///     .set("max_pending", "5000")?
///     .build()?;
/// assert_eq!(config.max_pending(), 5000);
/// # Ok::<_, actix_nsq::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct ProducerConfig {
    address: Arc<str>,
    options: Options,
    connector: Arc<dyn Connector>,
    secret_provider: Option<SecretProvider>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl ProducerConfig {
    /// A configuration with the default of every option, for the nsqd at `address`, a `host:port`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the address has no host or no port.
    pub fn new(address: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(address).build()
    }

    /// Starts a configuration for the nsqd at `address`, a `host:port`.
    pub fn builder(address: impl Into<String>) -> ProducerConfigBuilder {
        ProducerConfigBuilder {
            address: address.into(),
            options: Options::default(),
            given: Vec::new(),
            connector: None,
            secret_provider: None,
            #[cfg(feature = "tls")]
            rustls: None,
            problem: None,
        }
    }

    /// The table of options: name, default, bounds and meaning of each.
    pub fn options() -> Vec<ConfigOption> {
        options::table()
    }

    /// The address of nsqd as it was given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The settings of a connection.
    pub(crate) fn conn_options(&self) -> ConnOptions {
        let options = &self.options;
        ConnOptions {
            address: Arc::clone(&self.address),
            connector: Arc::clone(&self.connector),
            dial_timeout: options.dial_timeout,
            local_addr: options.local_addr,
            tcp_keepalive: options.tcp_keepalive,
            handshake_timeout: options.handshake_timeout,
            write_timeout: options.write_timeout,
            heartbeat_interval: options.heartbeat_interval,
            max_msg_size: options.max_msg_size,
            identify: self.identify(),
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
            compression: match (options.snappy, options.deflate) {
                (true, _) => Some(Compression::Snappy),
                (_, true) => Some(Compression::Deflate),
                _ => None,
            },
            allow_uncompressed: options.allow_uncompressed,
            auth_secret: match &self.secret_provider {
                Some(provider) => AuthSecret::Provider(Arc::clone(provider)),
                None => AuthSecret::Fixed(options.auth_secret.clone()),
            },
        }
    }

    /// What the handshake tells nsqd.
    pub(crate) fn identify(&self) -> Identify {
        let host = hostname::get()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let short = host.split('.').next().unwrap_or_default().to_owned();
        let or = |given: &str, default: String| {
            if given.is_empty() {
                default
            } else {
                given.to_owned()
            }
        };
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let options = &self.options;
        Identify {
            client_id: Some(or(&options.client_id, short)),
            hostname: Some(or(&options.hostname, host)),
            user_agent: Some(options.user_agent.clone()),
            topology_region: given(&options.topology_region),
            topology_zone: given(&options.topology_zone),
            feature_negotiation: Some(true),
            heartbeat_interval: Some(milliseconds(options.heartbeat_interval)),
            output_buffer_size: Some(
                options
                    .output_buffer_size
                    .map_or(-1, |size| size.try_into().unwrap_or(i64::MAX)),
            ),
            output_buffer_timeout: Some(milliseconds(options.output_buffer_timeout)),
            tls_v1: options.tls_v1.then_some(true),
            snappy: options.snappy.then_some(true),
            deflate: options.deflate.then_some(true),
            deflate_level: options
                .deflate
                .then(|| options.deflate_level.try_into().unwrap_or(i64::MAX)),
            ..Identify::default()
        }
    }
}

/// A time as IDENTIFY has it: in milliseconds, and -1 for off.
fn milliseconds(time: Option<Duration>) -> i64 {
    time.map_or(-1, |time| time.as_millis().try_into().unwrap_or(i64::MAX))
}

impl fmt::Debug for ProducerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("address", &self.address)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Collects a [`ProducerConfig`]. The first value out of its bounds is remembered, and [`build`](Self::build) reports it.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ProducerConfigBuilder {
    address: String,
    options: Options,
    given: Vec<&'static str>,
    connector: Option<Arc<dyn Connector>>,
    secret_provider: Option<SecretProvider>,
    #[cfg(feature = "tls")]
    rustls: Option<Arc<tokio_rustls::rustls::ClientConfig>>,
    problem: Option<ConfigError>,
}

impl ProducerConfigBuilder {
    /// Sets the option `name`, as a command line or a file has it: `-` and `_` are the same in a name, a number is
    /// milliseconds where a time is wanted, and a time may have units (`250ms`, `1m30s`). Blanks around a value are no part of
    /// it, except around a secret, which is taken as it is.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming option, value and bounds, when there is no such option
    /// or it cannot have this value.
    pub fn set(self, name: &str, value: &str) -> Result<Self, ConfigError> {
        options::set(self, &name.replace('-', "_"), value)
    }

    /// Dials by `connector` instead of TCP: a Unix socket, a proxy, a pipe in memory. The address may then be
    /// whatever the connector understands.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// Encrypts with this configuration of rustls, in place of one made of the options: `tls_v1` is set by it, and
    /// `tls_server_name` still has its meaning; the other options of TLS have no place beside it.
    ///
    /// The name says which version of rustls is meant, so that another one can come beside it. The program needs `rustls`
    /// of that version itself, with a provider.
    ///
    /// ```
    /// # use tokio_rustls::rustls;
    /// use std::sync::Arc;
    ///
    /// use actix_nsq::ProducerConfig;
    ///
    /// # let roots = rustls::RootCertStore::empty();
    /// let provider = Arc::new(rustls::crypto::ring::default_provider());
    /// let rustls = rustls::ClientConfig::builder_with_provider(provider)
    ///     .with_safe_default_protocol_versions()?
    ///     .with_root_certificates(roots)
    ///     .with_no_client_auth();
    /// let config = ProducerConfig::builder("nsqd.example.org:4150").rustls_0_23_config(rustls).build()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn rustls_0_23_config(
        mut self,
        config: impl Into<Arc<tokio_rustls::rustls::ClientConfig>>,
    ) -> Self {
        self.rustls = Some(config.into());
        self.tls_v1(true)
    }

    /// Asks the program for the secret of AUTH whenever a connection needs it, so that secrets can change; in place of
    /// `auth_secret`. Only an nsqd that requires AUTH makes it ask. The future runs on the producer's arbiter within
    /// `handshake_timeout`, and an error of it fails the attempt to connect, with its text in the log. nsqd hears nothing
    /// meanwhile, and hangs up after two heartbeat intervals. If it panics, the producer is gone.
    ///
    /// ```
    /// use actix_nsq::{ProducerConfig, Secret};
    ///
    /// # async fn current() -> std::io::Result<String> { Ok("s".into()) }
    /// let config = ProducerConfig::builder("127.0.0.1:4150")
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
        self.secret_provider = Some(Arc::new(move || {
            let secret = provider();
            Box::pin(async move {
                let secret = secret.await?;
                if secret.expose().len() > LONGEST_SECRET {
                    return Err(format!("it is longer than {LONGEST_SECRET} bytes").into());
                }
                Ok(secret)
            })
        }));
        self
    }

    /// The finished configuration. The files that options name are read here.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: a value is out of its bounds, two contradict each other, a file
    /// cannot be read, or the address is not `host:port`.
    pub fn build(mut self) -> Result<ProducerConfig, ConfigError> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        if self.connector.is_none() {
            check_address(&self.address)?;
        }
        self.check_ack_timeout()?;
        self.check_layers()?;
        self.check_bounds()?;
        Ok(ProducerConfig {
            #[cfg(feature = "tls")]
            tls: match self.options.tls_v1 {
                true => Some(tls::tls(&self.options, &self.address, self.rustls)?),
                false => None,
            },
            address: self.address.into(),
            options: self.options,
            connector: self.connector.unwrap_or_else(|| Arc::new(TcpConnector)),
            secret_provider: self.secret_provider,
        })
    }
}

impl fmt::Debug for ProducerConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerConfigBuilder")
            .field("address", &shown_address(&self.address))
            .field("options", &self.options)
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}

/// A value from outside as an error shows it: on one line of a log, and no more of it than tells which it is.
fn shown(value: &str) -> String {
    const SHOWN: usize = 80;
    one_line(value.chars(), SHOWN)
}

#[cfg(test)]
mod tests;
