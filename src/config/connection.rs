//! The configuration of a connection, shared by all actors that connect to nsqd.

use std::{fmt, sync::Arc, time::Duration};

#[cfg(feature = "rustls")]
use tokio_rustls::rustls::ClientConfig;

#[cfg(feature = "rustls")]
use super::tls;
use super::{
    connection_options::ConnectionOptions,
    lookup_settings::LOOKUPDS,
    sources,
    table::{ByName, ConfigOption, Values},
    validate::check_connection,
};
#[cfg(feature = "lookup")]
use crate::conn::ConnectTarget;
#[cfg(feature = "rustls")]
use crate::conn::Tls;
use crate::{
    conn::{AuthSecret, Compression, ConnOptions, Connector, DefaultConnector, SecretProvider},
    error::ConfigError,
    protocol::Identify,
};

/// Maximum number of bytes per read: about 6,500 `OK` frames, or a large message in a few reads.
const READ_SIZE: usize = 64 << 10;

/// The options that concern a connection to nsqd, whatever it is used for: timeouts, heartbeats,
/// reconnecting, TLS, compression, AUTH, and how the client introduces itself.
///
/// It has no address, so a URL configures a [`ProducerConfig`](crate::ProducerConfig), which
/// contains one. A program that connects to several
/// nsqds builds it once and passes it to
/// [`ProducerConfigBuilder::connection`](crate::ProducerConfigBuilder::connection).
///
/// ```
/// use std::time::Duration;
///
/// use actix_nsq::{ConnectionConfig, ProducerConfig};
///
/// let connection = ConnectionConfig::builder().dial_timeout(Duration::from_secs(3)).build()?;
/// for address in ["nsqd-1:4150", "nsqd-2:4150"] {
///     let config = ProducerConfig::builder(address).connection(connection.clone()).build()?;
///     assert_eq!(config.connection().dial_timeout().as_secs(), 3);
/// }
/// # Ok::<_, actix_nsq::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct ConnectionConfig {
    settings: ConnectionSettings,
    /// `None`: no TLS.
    #[cfg(feature = "rustls")]
    tls: Option<Arc<ClientConfig>>,
}

/// What a builder collects for a [`ConnectionConfig`].
#[derive(Clone, Default)]
pub(super) struct ConnectionSettings {
    pub(super) values: Values<ConnectionOptions>,
    /// `None`: the default, for TCP and Unix sockets.
    pub(super) connector: Option<Arc<dyn Connector>>,
    pub(super) secret_provider: Option<SecretProvider>,
    #[cfg(feature = "rustls")]
    pub(super) rustls: Option<Arc<ClientConfig>>,
    /// The TLS options have an effect without `tls_v1`: on connections to nsqlookupds.
    pub(super) has_https: bool,
}

impl ConnectionSettings {
    pub(super) fn options(&self) -> &ConnectionOptions {
        &self.values.options
    }

    /// Checks the settings and reads the files.
    pub(super) fn build(self) -> Result<ConnectionConfig, ConfigError> {
        #[cfg(feature = "rustls")]
        let has_rustls_config = self.rustls.is_some();
        #[cfg(not(feature = "rustls"))]
        let has_rustls_config = false;
        check_connection(
            self.options(),
            has_rustls_config,
            self.secret_provider.is_some(),
            self.has_https,
        )?;
        Ok(ConnectionConfig {
            #[cfg(feature = "rustls")]
            tls: match &self.rustls {
                _ if !self.options().tls_v1 => None,
                Some(config) => Some(Arc::clone(config)),
                None => Some(tls::client_config(self.options())?),
            },
            settings: self,
        })
    }
}

impl ConnectionConfig {
    /// Starts with the default of every option.
    pub fn builder() -> ConnectionConfigBuilder {
        ConnectionConfigBuilder {
            settings: ConnectionSettings::default(),
            problem: None,
        }
    }

    /// Reads the options from the environment variables `NSQ_<OPTION>`, such as
    /// `NSQ_DIAL_TIMEOUT=3s`. Addresses are not read.
    ///
    /// Variables whose names begin with `NSQ_` and are not options are ignored.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for an option of another scope, such as `NSQ_MAX_PENDING`, for an
    /// unsupported option of go-nsq, and like [`build`](ConnectionConfigBuilder::build).
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_env_with_prefix("")
    }

    /// Reads the options as [`from_env`](Self::from_env) does, from variables that begin with a
    /// prefix: with `ORDERS_`, from `ORDERS_NSQ_<OPTION>`.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_env_with_prefix(prefix: &str) -> Result<Self, ConfigError> {
        Self::from_prefixed_vars(prefix, sources::environment(prefix)?)
    }

    /// Reads the options as [`from_env`](Self::from_env) does, from the given variables.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_vars(
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::from_prefixed_vars("", vars)
    }

    pub(super) fn from_prefixed_vars(
        prefix: &str,
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        sources::options(prefix, vars)
            .iter()
            .filter(|(name, _)| name != LOOKUPDS)
            .try_fold(Self::builder(), |builder, (name, value)| {
                builder.set(name, value)
            })?
            .build()
    }

    /// Returns the table of the options of a connection.
    #[must_use]
    pub fn options() -> Vec<ConfigOption> {
        <Values<ConnectionOptions> as ByName>::TABLE.to_vec()
    }

    pub(super) fn values(&self) -> &ConnectionOptions {
        self.settings.options()
    }

    fn is_given(&self, option: &ConfigOption) -> bool {
        self.settings.values.is_given(option.name)
    }

    /// Returns the settings for changing some of them.
    pub(super) fn settings(&self) -> ConnectionSettings {
        self.settings.clone()
    }

    /// Whether addresses are whatever an own connector understands.
    pub(super) fn has_connector(&self) -> bool {
        self.settings.connector.is_some()
    }

    /// Returns the TLS settings for an nsqd, if TLS is configured.
    #[cfg(feature = "rustls")]
    pub(super) fn tls(&self, address: &str) -> Result<Option<Tls>, ConfigError> {
        let tls = |config| tls::tls(self.values(), config, address);
        self.tls.as_ref().map(tls).transpose()
    }

    /// Returns the configuration of rustls, also without `tls_v1`. Reads the files again then.
    #[cfg(all(feature = "lookup", feature = "rustls"))]
    pub(super) fn client_config(&self) -> Result<Arc<ClientConfig>, ConfigError> {
        match &self.tls {
            Some(config) => Ok(Arc::clone(config)),
            None => tls::client_config(self.values()),
        }
    }

    pub(super) fn connector(&self) -> Arc<dyn Connector> {
        match &self.settings.connector {
            Some(connector) => Arc::clone(connector),
            None => Arc::new(DefaultConnector::default()),
        }
    }

    /// Returns what a connector gets for a server that is not an nsqd.
    #[cfg(feature = "lookup")]
    pub(super) fn target(&self, address: &Arc<str>) -> ConnectTarget {
        let options = self.values();
        ConnectTarget::new(
            Arc::clone(address),
            options.dial_timeout,
            options.local_addr,
            options.tcp_keepalive,
        )
    }

    pub(super) fn auth_secret_source(&self) -> AuthSecret {
        match &self.settings.secret_provider {
            Some(provider) => AuthSecret::Provider(Arc::clone(provider)),
            None => AuthSecret::Fixed(self.values().auth_secret.clone()),
        }
    }

    /// Returns the settings of a connection to the nsqd at `address`.
    pub(super) fn conn_options(
        &self,
        address: &Arc<str>,
        #[cfg(feature = "rustls")] tls: Option<Tls>,
    ) -> ConnOptions {
        let options = self.values();
        ConnOptions {
            address: Arc::clone(address),
            connector: self.connector(),
            dial_timeout: options.dial_timeout,
            local_addr: options.local_addr,
            tcp_keepalive: options.tcp_keepalive,
            handshake_timeout: options.handshake_timeout,
            write_timeout: options.write_timeout,
            heartbeat_interval: options.heartbeat_interval,
            max_msg_size: options.max_msg_size,
            read_size: READ_SIZE,
            identify: self.identify(),
            #[cfg(feature = "rustls")]
            tls,
            compression: match (options.snappy, options.deflate) {
                (true, _) => Some(Compression::Snappy),
                (_, true) => Some(Compression::Deflate),
                _ => None,
            },
            allow_uncompressed: options.allow_uncompressed,
            auth_secret: self.auth_secret_source(),
        }
    }

    /// Returns the body of IDENTIFY.
    pub(super) fn identify(&self) -> Identify {
        let options = self.values();
        let host = hostname::get()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let short = host.split('.').next().unwrap_or_default();
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Identify {
            client_id: given(&options.client_id).or_else(|| Some(short.to_owned())),
            hostname: given(&options.hostname).or_else(|| Some(host.clone())),
            user_agent: Some(options.user_agent.clone()),
            topology_region: given(&options.topology_region),
            topology_zone: given(&options.topology_zone),
            feature_negotiation: Some(true),
            heartbeat_interval: Some(milliseconds(options.heartbeat_interval)),
            output_buffer_size: self
                .is_given(ConnectionOptions::output_buffer_size)
                .then(|| options.output_buffer_size.map_or(-1, integer)),
            output_buffer_timeout: self
                .is_given(ConnectionOptions::output_buffer_timeout)
                .then(|| milliseconds(options.output_buffer_timeout)),
            tls_v1: options.tls_v1.then_some(true),
            snappy: options.snappy.then_some(true),
            deflate: options.deflate.then_some(true),
            deflate_level: options.deflate.then(|| integer(options.deflate_level)),
            ..Identify::default()
        }
    }
}

fn integer(number: usize) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Returns a duration as in IDENTIFY: in milliseconds, -1 if off.
fn milliseconds(time: Option<Duration>) -> i64 {
    time.map_or(-1, |time| time.as_millis().try_into().unwrap_or(i64::MAX))
}

impl fmt::Debug for ConnectionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionConfig")
            .field("options", self.values())
            .finish_non_exhaustive()
    }
}

/// Builds a [`ConnectionConfig`]. [`build`](Self::build) reports the first invalid value.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ConnectionConfigBuilder {
    settings: ConnectionSettings,
    problem: Option<ConfigError>,
}

impl ConnectionConfigBuilder {
    /// Checks the options and reads the files that they name.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a value is out of its bounds, two options conflict, or a file cannot be
    /// read.
    pub fn build(self) -> Result<ConnectionConfig, ConfigError> {
        match self.problem {
            Some(problem) => Err(problem),
            None => self.settings.build(),
        }
    }

    pub(super) fn settings(&mut self) -> &mut ConnectionSettings {
        &mut self.settings
    }

    pub(super) fn values(&mut self) -> &mut Values<ConnectionOptions> {
        &mut self.settings.values
    }

    /// Sets an option by name. Returns `None` if there is no such option.
    pub(super) fn set_known(&mut self, name: &str, value: &str) -> Option<Result<(), ConfigError>> {
        self.settings.values.set(name, value)
    }

    pub(super) fn note(mut self, result: Result<(), ConfigError>) -> Self {
        if let Err(problem) = result {
            self.problem.get_or_insert(problem);
        }
        self
    }
}

impl fmt::Debug for ConnectionConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionConfigBuilder")
            .field("options", self.settings.options())
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}
