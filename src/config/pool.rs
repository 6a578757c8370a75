//! The configuration of a pool of producers.

use std::fmt;

#[cfg(feature = "lookup")]
use super::lookup::LookupConfig;
use super::{
    connection::{ConnectionConfig, ConnectionSettings},
    connection_options::ConnectionOptions,
    lookup_options::LookupOptions,
    lookup_settings::{LOOKUPDS, LookupSettings, lookup_methods},
    pool_options::PoolOptions,
    producer::ProducerConfig,
    producer_options::ProducerOptions,
    redact::shown_address,
    sources::{self, Given},
    table::{ByName, ConfigOption, ConfigScope, Values},
};
use crate::{
    conn::address_key,
    error::{ConfigCause, ConfigError},
};

/// The addresses of nsqds, the options of the connections to them, those of the producers, and
/// those of the pool.
///
/// The methods of [`PoolConfigBuilder`] document defaults and bounds;
/// [`guide::options`](crate::guide::options) lists all options beside those of go-nsq. The values
/// were validated by [`build`](PoolConfigBuilder::build). `max_pending`, `max_pending_bytes` and
/// `max_pending_per_topic` limit the whole pool, `publish_window` and `publish_window_bytes` each
/// member.
///
/// ```
/// use std::time::Duration;
///
/// use actix_nsq::{PoolConfig, pool::Strategy};
///
/// let config = PoolConfig::builder(["nsqd-1:4150", "nsqd-2:4150"])
///     .strategy(Strategy::Primary)
///     .publish_timeout(Duration::from_secs(10))
///     .set("max_pending", "5000")?
///     .build()?;
/// assert_eq!(config.addresses().count(), 2);
/// # Ok::<_, actix_nsq::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct PoolConfig {
    members: Vec<ProducerConfig>,
    connection: ConnectionConfig,
    producer: ProducerOptions,
    options: PoolOptions,
    #[cfg(feature = "lookup")]
    lookup: LookupConfig,
}

impl PoolConfig {
    /// Returns the configuration with the default of every option for the nsqds at these addresses,
    /// as for [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// As [`build`](PoolConfigBuilder::build).
    pub fn new(
        addresses: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ConfigError> {
        Self::builder(addresses).build()
    }

    /// Starts with the default of every option for the nsqds at these addresses, which are written
    /// as for [`ProducerConfig::builder`]. One that is given twice counts once.
    pub fn builder(addresses: impl IntoIterator<Item = impl Into<String>>) -> PoolConfigBuilder {
        PoolConfigBuilder {
            addresses: addresses.into_iter().map(Into::into).collect(),
            connection: ConnectionSettings::default(),
            shared: None,
            producer: Values::default(),
            values: Values::default(),
            lookup: LookupSettings::default(),
            problem: None,
        }
    }

    /// Starts with the default of every option for all nsqds that these nsqlookupds know, written
    /// as for [`lookupds`](PoolConfigBuilder::lookupds).
    ///
    /// ```
    /// use actix_nsq::PoolConfig;
    ///
    /// let config = PoolConfig::discover(["lookupd-1:4161", "lookupd-2:4161"]).build()?;
    /// # Ok::<_, actix_nsq::ConfigError>(())
    /// ```
    pub fn discover(lookupds: impl IntoIterator<Item = impl Into<String>>) -> PoolConfigBuilder {
        let none: [String; 0] = [];
        Self::builder(none).lookupds(lookupds)
    }

    /// Reads the configuration from a URL: `nsq://host:port,host:port?option=value&option=value`,
    /// with values percent-encoded. An option that is true or false may stand alone, which means
    /// `true`. `lookupd_http_address` has the addresses of nsqlookupds, separated by commas, beside
    /// those of nsqds or instead of them.
    ///
    /// ```
    /// use actix_nsq::PoolConfig;
    ///
    /// let config = PoolConfig::from_url("nsq://nsqd-1:4150,nsqd-2:4150?strategy=per_topic")?;
    /// assert_eq!(config.addresses().count(), 2);
    /// # Ok::<_, actix_nsq::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is not such a URL, for unknown options, and like
    /// [`build`](PoolConfigBuilder::build).
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        Self::from_given(sources::url(url)?)
    }

    /// Reads the configuration from the environment: the addresses from `NSQD_TCP_ADDRESS`,
    /// separated by commas, or a URL as for [`from_url`](Self::from_url), and the options from
    /// `NSQ_<OPTION>`, such as `NSQ_STRATEGY=primary`. A variable takes precedence over the same
    /// option in the URL. `NSQ_LOOKUPD_HTTP_ADDRESS` has the addresses of nsqlookupds, separated by
    /// commas; with it `NSQD_TCP_ADDRESS` may be missing.
    ///
    /// Variables whose names begin with `NSQ_` and are not options are ignored, and so are options
    /// of consumers.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if there is no address, for an unsupported option of go-nsq, such as
    /// `NSQ_READ_TIMEOUT`, and like [`build`](PoolConfigBuilder::build).
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_env_with_prefix("")
    }

    /// Reads the configuration as [`from_env`](Self::from_env) does, from variables that begin with
    /// a prefix: with `ORDERS_`, from `ORDERS_NSQD_TCP_ADDRESS` and `ORDERS_NSQ_<OPTION>`. So a
    /// program can configure several pools.
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
        Self::from_given(sources::variables(prefix, ConfigScope::Pool, vars)?)
    }

    fn from_given(Given { addresses, options }: Given) -> Result<Self, ConfigError> {
        options
            .iter()
            .try_fold(Self::builder(addresses), |builder, (name, value)| {
                builder.set(name, value)
            })?
            .build()
    }

    /// Returns the table of all options: those of the connections, of the producers, of the pool
    /// and of discovery.
    #[must_use]
    pub fn options() -> Vec<ConfigOption> {
        let mut options = ProducerConfig::options();
        options.extend(<Values<PoolOptions> as ByName>::TABLE);
        options.extend(<Values<LookupOptions> as ByName>::TABLE);
        options
    }

    /// Returns the addresses of nsqds as they were given, each once.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(ProducerConfig::address)
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

    /// Returns the configuration of a member at another address, with the options of this pool: for
    /// [`AddMember`](crate::pool::AddMember).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the address is invalid.
    pub fn member(&self, address: &str) -> Result<ProducerConfig, ConfigError> {
        let (connection, options) = (self.connection.clone(), self.producer.clone());
        ProducerConfig::from_parts(address, connection, options)
    }

    /// Returns the configurations of the members.
    pub(crate) fn members(&self) -> &[ProducerConfig] {
        &self.members
    }

    /// Returns the options of the producers.
    pub(crate) fn producer(&self) -> ProducerConfig {
        ProducerConfig::without_address(self.connection.clone(), self.producer.clone())
    }

    pub(super) fn values(&self) -> &PoolOptions {
        &self.options
    }
}

impl fmt::Debug for PoolConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.addresses().collect();
        let mut config = f.debug_struct("PoolConfig");
        config
            .field("addresses", &addresses)
            .field("connection", &self.connection)
            .field("producer", &self.producer)
            .field("options", &self.options);
        #[cfg(feature = "lookup")]
        config.field("lookup", &self.lookup);
        config.finish()
    }
}

/// Builds a [`PoolConfig`]. It has the options of the connections and of the producers as well as
/// those of the pool. [`build`](Self::build) reports the first invalid value.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct PoolConfigBuilder {
    addresses: Vec<String>,
    connection: ConnectionSettings,
    /// The configuration that `connection` was taken from, unless an option was changed since.
    shared: Option<ConnectionConfig>,
    producer: Values<ProducerOptions>,
    values: Values<PoolOptions>,
    lookup: LookupSettings,
    problem: Option<ConfigError>,
}

lookup_methods!(PoolConfigBuilder, PoolConfig, "pool", "", "pool::AddMember");

impl PoolConfigBuilder {
    /// Replaces the addresses of nsqds. Without any, and without nsqlookupds, the pool waits for
    /// [`AddMember`](crate::pool::AddMember).
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

    /// Checks the options and reads the files that they name.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a value is out of its bounds, two options conflict, a file cannot be
    /// read, an address is invalid, or there are more than `max_members`.
    pub fn build(mut self) -> Result<PoolConfig, ConfigError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        self.producer.check()?;
        #[cfg(feature = "lookup")]
        {
            self.connection.has_https = self.lookup.has_https();
        }
        let connection = match self.shared {
            Some(config) => config,
            None => self.connection.build()?,
        };
        let mut config = PoolConfig {
            members: Vec::new(),
            #[cfg(feature = "lookup")]
            lookup: LookupConfig::from_settings(self.lookup, &connection)?,
            connection,
            producer: self.producer.options,
            options: self.values.options,
        };
        for address in &self.addresses {
            let key = address_key(address);
            if !config.addresses().any(|known| address_key(known) == key) {
                let member = config.member(address)?;
                config.members.push(member);
            }
        }
        let (members, max) = (config.members.len(), config.options.max_members);
        if members > max {
            return Err(ConfigCause::TooManyMembers { members, max }.into());
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

    pub(super) fn producer_values(&mut self) -> &mut Values<ProducerOptions> {
        &mut self.producer
    }

    pub(super) fn values(&mut self) -> &mut Values<PoolOptions> {
        &mut self.values
    }

    /// Sets an option by name. Returns `None` if there is no such option.
    pub(super) fn set_known(&mut self, name: &str, value: &str) -> Option<Result<(), ConfigError>> {
        if name == LOOKUPDS {
            return Some(self.lookup.set_list(value));
        }
        self.values
            .set(name, value)
            .or_else(|| self.producer.set(name, value))
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

impl fmt::Debug for PoolConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |addresses: &[String]| -> Vec<String> {
            addresses.iter().map(|it| shown_address(it)).collect()
        };
        let (addresses, lookupds) = (shown(&self.addresses), shown(&self.lookup.addresses));
        f.debug_struct("PoolConfigBuilder")
            .field("addresses", &addresses)
            .field("connection", self.connection.options())
            .field("producer", &self.producer.options)
            .field("options", &self.values.options)
            .field("lookupds", &lookupds)
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}
