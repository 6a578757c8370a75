//! The configuration of a producer.

use std::{fmt, sync::Arc};

use super::{
    connection::{ConnectionConfig, ConnectionSettings},
    connection_options::ConnectionOptions,
    producer_options::ProducerOptions,
    redact::shown_address,
    sources::{self, Given},
    table::{ByName, ConfigOption, ConfigScope, Values},
    validate::check_address,
};
#[cfg(feature = "rustls")]
use crate::conn::Tls;
use crate::{
    conn::{ConnOptions, ConnectTarget},
    error::{ConfigCause, ConfigError},
    protocol::Identify,
};

/// The address of an nsqd, the options of the connection to it, and those of the producer.
///
/// The methods of [`ProducerConfigBuilder`] document defaults and bounds;
/// [`guide::options`](crate::guide::options) lists all options beside those of go-nsq. The values
/// were validated by [`build`](ProducerConfigBuilder::build).
///
/// ```
/// use std::time::Duration;
///
/// use actix_nsq::ProducerConfig;
///
/// let config = ProducerConfig::builder("127.0.0.1:4150")
///     .publish_timeout(Duration::from_secs(10))
///     .dial_timeout(Duration::from_secs(3))
///     .set("max_pending", "5000")?
///     .build()?;
/// assert_eq!(config.max_pending(), 5000);
/// assert_eq!(config.connection().dial_timeout().as_secs(), 3);
/// # Ok::<_, actix_nsq::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct ProducerConfig {
    address: Arc<str>,
    connection: ConnectionConfig,
    #[cfg(feature = "rustls")]
    tls: Option<Tls>,
    options: ProducerOptions,
}

impl ProducerConfig {
    /// Returns the configuration with the default of every option for the nsqd at `address`, as for
    /// [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the address is invalid.
    pub fn new(address: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(address).build()
    }

    /// Starts with the default of every option for the nsqd at `address`:
    ///
    /// - `host:port`, where the host is a name, an IPv4 address, or an IPv6 address in brackets,
    ///   optionally with a zone: `[fe80::7%eth0]:4150`;
    /// - `unix:/path` for a Unix socket, which nsqd opens with `--tcp-address=/path`.
    pub fn builder(address: impl Into<String>) -> ProducerConfigBuilder {
        ProducerConfigBuilder {
            addresses: vec![address.into()],
            connection: ConnectionSettings::default(),
            shared: None,
            values: Values::default(),
            problem: None,
        }
    }

    /// Reads the configuration from a URL: `nsq://host:port?option=value&option=value`, with values
    /// percent-encoded. An option that is true or false may stand alone, which means `true`. With a
    /// Unix socket the URL is `nsq://unix:/path?option=value`.
    ///
    /// ```
    /// use actix_nsq::ProducerConfig;
    ///
    /// let config = ProducerConfig::from_url("nsq://nsqd.example.org:4150?publish_timeout=10s")?;
    /// assert_eq!(config.publish_timeout().as_secs(), 10);
    /// # Ok::<_, actix_nsq::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is not such a URL, for unknown options, and like
    /// [`build`](ProducerConfigBuilder::build).
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        Self::from_given(sources::url(url)?)
    }

    /// Reads the configuration from the environment: the address from `NSQD_TCP_ADDRESS`, which is
    /// as for [`builder`](Self::builder) or a URL as for [`from_url`](Self::from_url), and the
    /// options from `NSQ_<OPTION>`, such as `NSQ_PUBLISH_TIMEOUT=10s`. A variable takes precedence
    /// over the same option in the URL.
    ///
    /// Variables whose names begin with `NSQ_` and are not options are ignored, and so are options
    /// of consumers.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if there is no address, for an unsupported option of go-nsq, such as
    /// `NSQ_READ_TIMEOUT`, and like [`build`](ProducerConfigBuilder::build).
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_env_with_prefix("")
    }

    /// Reads the configuration as [`from_env`](Self::from_env) does, from variables that begin with
    /// a prefix: with `ORDERS_`, from `ORDERS_NSQD_TCP_ADDRESS` and `ORDERS_NSQ_<OPTION>`. So a
    /// program can configure several producers.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_env_with_prefix(prefix: &str) -> Result<Self, ConfigError> {
        Self::from_prefixed_vars(prefix, sources::environment(prefix)?)
    }

    /// Reads the configuration as [`from_env`](Self::from_env) does, from the given variables.
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
        Self::from_given(sources::variables(prefix, ConfigScope::Producer, vars)?)
    }

    fn from_given(Given { addresses, options }: Given) -> Result<Self, ConfigError> {
        let start = Self::builder("").addresses(addresses);
        options
            .iter()
            .try_fold(start, |builder, (name, value)| builder.set(name, value))?
            .build()
    }

    /// Returns the table of all options: those of the connection, then those of the producer.
    #[must_use]
    pub fn options() -> Vec<ConfigOption> {
        let mut options = ConnectionConfig::options();
        options.extend(<Values<ProducerOptions> as ByName>::TABLE);
        options
    }

    /// Returns the address of nsqd as it was given.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the options of the connection.
    #[must_use]
    pub fn connection(&self) -> &ConnectionConfig {
        &self.connection
    }

    pub(super) fn values(&self) -> &ProducerOptions {
        &self.options
    }

    /// Returns a configuration that names no nsqd: only its options are used.
    pub(super) fn without_address(connection: ConnectionConfig, options: ProducerOptions) -> Self {
        Self {
            #[cfg(feature = "rustls")]
            tls: None,
            address: "".into(),
            connection,
            options,
        }
    }

    /// Returns the configuration with these options for the nsqd at `address`, which is checked
    /// unless there is a connector.
    pub(super) fn from_parts(
        address: &str,
        connection: ConnectionConfig,
        options: ProducerOptions,
    ) -> Result<Self, ConfigError> {
        if !connection.has_connector() {
            check_address(address)?;
        }
        Ok(Self {
            #[cfg(feature = "rustls")]
            tls: connection.tls(address)?,
            address: address.into(),
            connection,
            options,
        })
    }

    /// Returns what a [`Connector`] is passed at each attempt to connect, for a test that calls one
    /// without a producer.
    ///
    /// ```
    /// use actix_nsq::ProducerConfig;
    ///
    /// let target = ProducerConfig::new("127.0.0.1:4150")?.connect_target();
    /// assert_eq!(target.address(), "127.0.0.1:4150");
    /// assert_eq!(target.dial_timeout().as_secs(), 1);
    /// # Ok::<_, actix_nsq::ConfigError>(())
    /// ```
    ///
    /// [`Connector`]: crate::Connector
    #[must_use]
    pub fn connect_target(&self) -> ConnectTarget {
        self.conn_options().target()
    }

    /// Returns the settings of the connection.
    pub(crate) fn conn_options(&self) -> ConnOptions {
        self.connection.conn_options(
            &self.address,
            #[cfg(feature = "rustls")]
            self.tls.clone(),
        )
    }

    /// Returns the body of IDENTIFY.
    pub(crate) fn identify(&self) -> Identify {
        self.connection.identify()
    }
}

impl fmt::Debug for ProducerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerConfig")
            .field("address", &self.address)
            .field("connection", &self.connection)
            .field("options", &self.options)
            .finish()
    }
}

/// Builds a [`ProducerConfig`]. It has the options of the connection as well as those of the
/// producer. [`build`](Self::build) reports the first invalid value.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ProducerConfigBuilder {
    addresses: Vec<String>,
    connection: ConnectionSettings,
    /// The configuration that `connection` was taken from, unless an option was changed since.
    shared: Option<ConnectionConfig>,
    values: Values<ProducerOptions>,
    problem: Option<ConfigError>,
}

impl ProducerConfigBuilder {
    /// Replaces the address. A producer publishes to one nsqd, so [`build`](Self::build) rejects
    /// any other number of addresses.
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.addresses = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces all options of the connection by those of `config`. Single options can be changed
    /// afterwards; then [`build`](Self::build) reads the files that the options name again.
    pub fn connection(mut self, config: ConnectionConfig) -> Self {
        self.connection = config.settings();
        self.shared = Some(config);
        self
    }

    /// Checks the options and reads the files that they name.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a value is out of its bounds, two options conflict, a file cannot be
    /// read, or there is not exactly one valid address.
    pub fn build(mut self) -> Result<ProducerConfig, ConfigError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let address = match <[String; 1]>::try_from(self.addresses) {
            Ok([address]) => address,
            Err(addresses) => return Err(ConfigCause::Addresses(addresses.len()).into()),
        };
        self.values.check()?;
        let connection = match self.shared {
            Some(config) => config,
            None => self.connection.build()?,
        };
        ProducerConfig::from_parts(&address, connection, self.values.options)
    }

    pub(super) fn settings(&mut self) -> &mut ConnectionSettings {
        self.shared = None;
        &mut self.connection
    }

    pub(super) fn connection_values(&mut self) -> &mut Values<ConnectionOptions> {
        &mut self.settings().values
    }

    pub(super) fn values(&mut self) -> &mut Values<ProducerOptions> {
        &mut self.values
    }

    /// Sets an option by name. Returns `None` if there is no such option.
    pub(super) fn set_known(&mut self, name: &str, value: &str) -> Option<Result<(), ConfigError>> {
        match self.values.set(name, value) {
            None => self.connection_values().set(name, value),
            set => set,
        }
    }

    pub(super) fn note(mut self, result: Result<(), ConfigError>) -> Self {
        if let Err(problem) = result {
            self.problem.get_or_insert(problem);
        }
        self
    }
}

impl fmt::Debug for ProducerConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses.iter().map(|it| shown_address(it)).collect();
        f.debug_struct("ProducerConfigBuilder")
            .field("addresses", &addresses)
            .field("connection", self.connection.options())
            .field("options", &self.values.options)
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}
