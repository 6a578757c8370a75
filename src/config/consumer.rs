//! The configuration of a consumer.

use std::{fmt, sync::Arc, time::Duration};

#[cfg(feature = "lookup")]
use super::lookup::LookupConfig;
use super::{
    connection::{ConnectionConfig, ConnectionSettings},
    connection_options::ConnectionOptions,
    consumer_options::ConsumerOptions,
    lookup_options::LookupOptions,
    lookup_settings::{LOOKUPDS, LookupSettings, lookup_methods},
    redact::shown_address,
    sources::{self, Given},
    table::{ByName, ConfigOption, ConfigScope, Values},
    validate::check_address,
};
use crate::{conn::ConnOptions, error::ConfigError};

/// Maximum number of bytes per read: what nsqd writes at once. A message that is kept keeps the
/// whole buffer of its read.
const READ_SIZE: usize = 16 << 10;

/// Milliseconds that messages wait in nsqd's buffer if `output_buffer_timeout` is not set. nsqd's
/// default of 250 would delay single messages for nothing; this is the shortest that it accepts.
const OUTPUT_BUFFER_TIMEOUT_MS: i64 = 25;

/// The addresses of nsqds, the options of the connections to them, and those of the consumer.
///
/// The methods of [`ConsumerConfigBuilder`] document defaults and bounds;
/// [`guide::options`](crate::guide::options) lists all options beside those of go-nsq. The values
/// were validated by [`build`](ConsumerConfigBuilder::build).
///
/// ```
/// use std::time::Duration;
///
/// use actix_nsq::ConsumerConfig;
///
/// let config = ConsumerConfig::builder("nsqd-1:4150")
///     .addresses(["nsqd-1:4150", "nsqd-2:4150"])
///     .max_in_flight(200)
///     .dial_timeout(Duration::from_secs(3))
///     .set("max_attempts", "10")?
///     .build()?;
/// assert_eq!(config.max_attempts(), 10);
/// assert_eq!(config.connection().dial_timeout().as_secs(), 3);
/// # Ok::<_, actix_nsq::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct ConsumerConfig {
    addresses: Vec<Arc<str>>,
    connection: ConnectionConfig,
    is_output_buffer_timeout_given: bool,
    backoff_function: Option<BackoffFunction>,
    options: ConsumerOptions,
    #[cfg(feature = "lookup")]
    lookup: LookupConfig,
}

/// Returns the pause of a backoff level, which is at least 1.
pub(crate) type BackoffFunction = Arc<dyn Fn(u32) -> Duration + Send + Sync>;

impl ConsumerConfig {
    /// Returns the configuration with the default of every option for the nsqd at `address`, as for
    /// [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the address is invalid.
    pub fn new(address: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(address).build()
    }

    /// Starts with the default of every option for the nsqd at `address`, which is written as for
    /// [`ProducerConfig::builder`](crate::ProducerConfig::builder).
    /// [`nsqds`](Self::nsqds) takes several.
    pub fn builder(address: impl Into<String>) -> ConsumerConfigBuilder {
        ConsumerConfigBuilder {
            addresses: vec![address.into()],
            connection: ConnectionSettings::default(),
            shared: None,
            backoff_function: None,
            values: Values::default(),
            lookup: LookupSettings::default(),
            problem: None,
        }
    }

    /// Starts with the default of every option for these nsqds, written as for
    /// [`builder`](Self::builder). All are connected to.
    ///
    /// ```
    /// use actix_nsq::ConsumerConfig;
    ///
    /// let config = ConsumerConfig::nsqds(["nsqd-1:4150", "nsqd-2:4150"]).build()?;
    /// # Ok::<_, actix_nsq::ConfigError>(())
    /// ```
    pub fn nsqds(addresses: impl IntoIterator<Item = impl Into<String>>) -> ConsumerConfigBuilder {
        Self::builder("").addresses(addresses)
    }

    /// Starts with the default of every option for the nsqds that these nsqlookupds know, written
    /// as for [`lookupds`](ConsumerConfigBuilder::lookupds).
    ///
    /// ```
    /// use actix_nsq::ConsumerConfig;
    ///
    /// let config = ConsumerConfig::discover(["lookupd-1:4161", "lookupd-2:4161"])
    ///     .max_in_flight(200)
    ///     .build()?;
    /// # Ok::<_, actix_nsq::ConfigError>(())
    /// ```
    pub fn discover(
        lookupds: impl IntoIterator<Item = impl Into<String>>,
    ) -> ConsumerConfigBuilder {
        let none: [String; 0] = [];
        Self::builder("").addresses(none).lookupds(lookupds)
    }

    /// Reads the configuration from a URL: `nsq://host:port,host:port?option=value&option=value`,
    /// with values percent-encoded. An option that is true or false may stand alone, which means
    /// `true`. With a Unix socket the URL is `nsq://unix:/path?option=value`.
    ///
    /// `lookupd_http_address` has the addresses of nsqlookupds, separated by commas, beside those
    /// of nsqds or instead of them:
    /// `nsq:///?lookupd_http_address=lookupd-1:4161,lookupd-2:4161`.
    ///
    /// ```
    /// use actix_nsq::ConsumerConfig;
    ///
    /// let config = ConsumerConfig::from_url("nsq://nsqd-1:4150,nsqd-2:4150?max_in_flight=100")?;
    /// assert_eq!(config.addresses().count(), 2);
    /// # Ok::<_, actix_nsq::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is not such a URL, for unknown options, and like
    /// [`build`](ConsumerConfigBuilder::build).
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        Self::from_given(sources::url(url)?)
    }

    /// Reads the configuration from the environment: the addresses from `NSQD_TCP_ADDRESS`,
    /// separated by commas, or a URL as for [`from_url`](Self::from_url), and the options from
    /// `NSQ_<OPTION>`, such as `NSQ_MAX_IN_FLIGHT=100`. A variable takes precedence over the same
    /// option in the URL. `NSQ_LOOKUPD_HTTP_ADDRESS` has the addresses of nsqlookupds, separated by
    /// commas; with it `NSQD_TCP_ADDRESS` may be missing.
    ///
    /// Variables whose names begin with `NSQ_` and are not options are ignored, and so are options
    /// of producers.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if there is no address, for an unsupported option of go-nsq, such as
    /// `NSQ_READ_TIMEOUT`, and like [`build`](ConsumerConfigBuilder::build).
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_env_with_prefix("")
    }

    /// Reads the configuration as [`from_env`](Self::from_env) does, from variables that begin with
    /// a prefix: with `ORDERS_`, from `ORDERS_NSQD_TCP_ADDRESS` and `ORDERS_NSQ_<OPTION>`. So a
    /// program can configure several consumers.
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
        Self::from_given(sources::variables(prefix, ConfigScope::Consumer, vars)?)
    }

    fn from_given(Given { addresses, options }: Given) -> Result<Self, ConfigError> {
        let start = Self::builder("").addresses(addresses);
        options
            .iter()
            .try_fold(start, |builder, (name, value)| builder.set(name, value))?
            .build()
    }

    /// Returns the table of all options: those of the connection, those of the consumer, and those
    /// of discovery.
    #[must_use]
    pub fn options() -> Vec<ConfigOption> {
        let mut options = ConnectionConfig::options();
        options.extend(<Values<ConsumerOptions> as ByName>::TABLE);
        options.extend(<Values<LookupOptions> as ByName>::TABLE);
        options
    }

    /// Returns the addresses of nsqds as they were given, each once.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.addresses.iter().map(|address| &**address)
    }

    /// Returns the options of the connections.
    #[must_use]
    pub fn connection(&self) -> &ConnectionConfig {
        &self.connection
    }

    /// Returns the addresses of nsqlookupds and the options of discovery.
    #[cfg(feature = "lookup")]
    #[cfg_attr(docsrs, doc(cfg(feature = "lookup")))]
    #[must_use]
    pub fn lookup(&self) -> &LookupConfig {
        &self.lookup
    }

    pub(super) fn values(&self) -> &ConsumerOptions {
        &self.options
    }

    pub(crate) fn backoff_function(&self) -> Option<BackoffFunction> {
        self.backoff_function.clone()
    }

    /// Returns the settings of the connections to the nsqds of this configuration.
    pub(crate) fn all_conn_options(&self) -> Vec<ConnOptions> {
        let options = self.addresses.iter();
        // `build` has checked the addresses.
        options
            .filter_map(|address| self.conn_options(address).ok())
            .collect()
    }

    /// Returns the settings of the connection to the nsqd at `address`.
    pub(crate) fn conn_options(&self, address: &Arc<str>) -> Result<ConnOptions, ConfigError> {
        if !self.connection.has_connector() {
            check_address(address)?;
        }
        let mut options = self.connection.conn_options(
            address,
            #[cfg(feature = "rustls")]
            self.connection.tls(address)?,
        );
        options.read_size = READ_SIZE;
        let identify = &mut options.identify;
        let ConsumerOptions {
            msg_timeout,
            sample_rate,
            ..
        } = &self.options;
        if !self.is_output_buffer_timeout_given {
            identify.output_buffer_timeout = Some(OUTPUT_BUFFER_TIMEOUT_MS);
        }
        if !msg_timeout.is_zero() {
            let milliseconds = msg_timeout.as_millis().try_into().unwrap_or(i64::MAX);
            identify.msg_timeout = Some(milliseconds);
        }
        if *sample_rate > 0 {
            identify.sample_rate = sample_rate.to_owned().try_into().ok();
        }
        Ok(options)
    }
}

impl fmt::Debug for ConsumerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut config = f.debug_struct("ConsumerConfig");
        config
            .field("addresses", &self.addresses)
            .field("connection", &self.connection)
            .field("options", &self.options);
        #[cfg(feature = "lookup")]
        config.field("lookup", &self.lookup);
        config.finish_non_exhaustive()
    }
}

/// Builds a [`ConsumerConfig`]. It has the options of the connections as well as those of the
/// consumer. [`build`](Self::build) reports the first invalid value.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ConsumerConfigBuilder {
    addresses: Vec<String>,
    connection: ConnectionSettings,
    /// The configuration that `connection` was taken from, unless an option was changed since.
    shared: Option<ConnectionConfig>,
    backoff_function: Option<BackoffFunction>,
    values: Values<ConsumerOptions>,
    lookup: LookupSettings,
    problem: Option<ConfigError>,
}

lookup_methods!(
    ConsumerConfigBuilder,
    ConsumerConfig,
    "consumer",
    " for the topic",
    "consumer::AddNsqd"
);

impl ConsumerConfigBuilder {
    /// Replaces the addresses of nsqds. Without any, and without nsqlookupds, the consumer waits
    /// for [`AddNsqd`](crate::consumer::AddNsqd).
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.addresses = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces all options of the connections by those of `config`. Single options can be changed
    /// afterwards; then [`build`](Self::build) reads the files that the options name again.
    pub fn connection(mut self, config: ConnectionConfig) -> Self {
        self.connection = config.settings();
        self.shared = Some(config);
        self
    }

    /// Pauses after consecutive failures for as long as this function says, instead of what
    /// `backoff_strategy` says. It gets the level: 1 after the first failure, one more after each
    /// further one, and one less after each success. Levels whose pause exceeds
    /// `max_backoff_duration`, or for which the function panics, are not reached.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use actix_nsq::ConsumerConfig;
    ///
    /// let config = ConsumerConfig::builder("127.0.0.1:4150")
    ///     .backoff_function(|level| Duration::from_secs(5) * level)
    ///     .build()?;
    /// # Ok::<_, actix_nsq::ConfigError>(())
    /// ```
    pub fn backoff_function(
        mut self,
        pause: impl Fn(u32) -> Duration + Send + Sync + 'static,
    ) -> Self {
        self.backoff_function = Some(Arc::new(pause));
        self
    }

    /// Checks the options and reads the files that they name.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a value is out of its bounds, two options conflict, a file cannot be
    /// read, or an address is invalid.
    pub fn build(self) -> Result<ConsumerConfig, ConfigError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        self.values.check(self.connection.options())?;
        #[cfg(feature = "lookup")]
        let connection = {
            let mut connection = self.connection;
            connection.has_https = self.lookup.has_https();
            connection
        };
        #[cfg(not(feature = "lookup"))]
        let connection = self.connection;
        let mut addresses: Vec<Arc<str>> = Vec::new();
        for address in self.addresses {
            if !addresses.iter().any(|known| **known == *address) {
                addresses.push(address.into());
            }
        }
        let is_output_buffer_timeout_given = connection
            .values
            .is_given(ConnectionOptions::output_buffer_timeout.name);
        let connection = match self.shared {
            Some(config) => config,
            None => connection.build()?,
        };
        let config = ConsumerConfig {
            addresses,
            is_output_buffer_timeout_given,
            #[cfg(feature = "lookup")]
            lookup: LookupConfig::from_settings(self.lookup, &connection)?,
            connection,
            backoff_function: self.backoff_function,
            options: self.values.options,
        };
        for address in &config.addresses {
            config.conn_options(address)?;
        }
        Ok(config)
    }

    pub(super) fn settings(&mut self) -> &mut ConnectionSettings {
        self.shared = None;
        &mut self.connection
    }

    pub(super) fn connection_values(&mut self) -> &mut Values<ConnectionOptions> {
        &mut self.settings().values
    }

    pub(super) fn values(&mut self) -> &mut Values<ConsumerOptions> {
        &mut self.values
    }

    /// Sets an option by name. Returns `None` if there is no such option.
    pub(super) fn set_known(&mut self, name: &str, value: &str) -> Option<Result<(), ConfigError>> {
        if name == LOOKUPDS {
            return Some(self.lookup.set_list(value));
        }
        self.values
            .set(name, value)
            .or_else(|| self.lookup_values().set(name, value))
            .or_else(|| self.connection_values().set(name, value))
    }

    pub(super) fn note(mut self, result: Result<(), ConfigError>) -> Self {
        if let Err(problem) = result {
            self.problem.get_or_insert(problem);
        }
        self
    }
}

impl fmt::Debug for ConsumerConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses.iter().map(|it| shown_address(it)).collect();
        let mut builder = f.debug_struct("ConsumerConfigBuilder");
        builder
            .field("addresses", &addresses)
            .field("connection", self.connection.options())
            .field("options", &self.values.options);
        let lookupds = self.lookup.addresses.iter();
        let lookupds: Vec<_> = lookupds.map(|it| shown_address(it)).collect();
        builder.field("lookupds", &lookupds);
        builder
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}
