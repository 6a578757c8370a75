//! The configuration of the discovery by nsqlookupd.

use std::{fmt, sync::Arc};

#[cfg(feature = "rustls")]
use tokio_rustls::rustls::ClientConfig;

#[cfg(feature = "rustls")]
use super::tls;
use super::{
    connection::ConnectionConfig,
    lookup_options::LookupOptions,
    lookup_settings::{LookupSettings, NodeFilter, lookupd_address},
    lookupd_address::LookupdAddress,
    redact::shown_address,
    table::{ByName, ConfigOption, Values},
    unknown::not_an_option,
};
use crate::{
    conn::{AuthSecret, StreamOptions},
    error::ConfigError,
    protocol::node::Node,
};

/// The addresses of nsqlookupds, and the options for querying them.
///
/// It configures the functions of [`lookup`](crate::lookup). A
/// [`ConsumerConfig`](crate::ConsumerConfig) contains one.
///
/// An address is `host:port`, usually with port 4161, or
/// `http(s)://host:port[/path][?query]` for a proxy in front of nsqlookupd. The path is kept: it
/// replaces `/lookup` in queries for a topic. For other queries their name replaces a last segment
/// `lookup`, and follows any other path: `/nodes`, or `/proxy/nodes`. The query is sent with every
/// request, and is never logged. With `https` the `tls_*` options of the connection apply, and the
/// certificate must be for the host of the address.
///
/// ```
/// use std::time::Duration;
///
/// use actix_nsq::LookupConfig;
///
/// let config = LookupConfig::builder(["lookupd-1:4161", "https://lookup.example.org:443/nsq"])
///     .lookupd_poll_timeout(Duration::from_secs(3))
///     .build()?;
/// assert_eq!(config.lookupds().count(), 2);
/// # Ok::<_, actix_nsq::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct LookupConfig {
    addresses: Vec<LookupdAddress>,
    connection: Arc<ConnectionConfig>,
    options: LookupOptions,
    filter: Option<NodeFilter>,
    /// Set if an address begins with `https://`.
    #[cfg(feature = "rustls")]
    tls: Option<Arc<ClientConfig>>,
}

impl LookupConfig {
    /// Checks the addresses and reads the files of TLS, if an address needs it.
    pub(super) fn from_settings(
        settings: LookupSettings,
        connection: &ConnectionConfig,
    ) -> Result<Self, ConfigError> {
        let mut config = Self {
            addresses: Vec::new(),
            connection: Arc::new(connection.clone()),
            options: settings.values.options,
            filter: settings.filter,
            #[cfg(feature = "rustls")]
            tls: None,
        };
        for address in settings.addresses {
            let address = lookupd_address(&address)?;
            if !config.addresses.contains(&address) {
                config.addresses.push(address);
            }
        }
        for address in &config.addresses {
            #[cfg(feature = "rustls")]
            if address.is_https() && config.tls.is_none() {
                config.tls = Some(connection.client_config()?);
            }
            config.stream_options(address)?;
        }
        Ok(config)
    }

    /// Returns the configuration with the default of every option for one nsqlookupd.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the address is invalid.
    pub fn new(address: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder([address]).build()
    }

    /// Starts with the default of every option for these nsqlookupds.
    pub fn builder(addresses: impl IntoIterator<Item = impl Into<String>>) -> LookupConfigBuilder {
        LookupConfigBuilder {
            settings: LookupSettings {
                addresses: addresses.into_iter().map(Into::into).collect(),
                ..LookupSettings::default()
            },
            connection: None,
            problem: None,
        }
    }

    /// Returns the table of the options of discovery.
    #[must_use]
    pub fn options() -> Vec<ConfigOption> {
        <Values<LookupOptions> as ByName>::TABLE.to_vec()
    }

    /// Returns the addresses, each once, without their queries.
    pub fn lookupds(&self) -> impl Iterator<Item = &str> {
        self.addresses.iter().map(|address| &**address.shown())
    }

    /// Returns the options of the connections to the nsqlookupds, such as `dial_timeout` and
    /// `tls_root_ca_file`.
    #[must_use]
    pub fn connection(&self) -> &ConnectionConfig {
        &self.connection
    }

    pub(super) fn values(&self) -> &LookupOptions {
        &self.options
    }

    pub(crate) fn addresses(&self) -> &[LookupdAddress] {
        &self.addresses
    }

    /// Whether the filter of the program accepts a node.
    pub(crate) fn accepts(&self, node: &Node) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter(node))
    }

    /// The secret to send, if it is to be sent.
    pub(crate) fn authorization(&self) -> Option<AuthSecret> {
        let secret = || self.connection.auth_secret_source();
        self.options.lookupd_authorization.then(secret)
    }

    /// Returns the settings of connections to an nsqlookupd.
    pub(crate) fn stream_options(
        &self,
        address: &LookupdAddress,
    ) -> Result<StreamOptions, ConfigError> {
        #[cfg(not(feature = "rustls"))]
        if address.is_https() {
            return Err(crate::error::ConfigCause::Feature {
                name: "https",
                feature: "tls",
            }
            .into());
        }
        #[cfg(feature = "rustls")]
        let tls = if address.is_https() {
            let config = match &self.tls {
                Some(config) => Arc::clone(config),
                None => self.connection.client_config()?,
            };
            Some(tls::tls_for_host(config, address.authority())?)
        } else {
            None
        };
        Ok(StreamOptions {
            connector: self.connection.connector(),
            target: self.connection.target(address.authority()),
            #[cfg(feature = "rustls")]
            tls,
        })
    }
}

impl fmt::Debug for LookupConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupConfig")
            .field("addresses", &self.addresses)
            .field("connection", &self.connection)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Builds a [`LookupConfig`]. [`build`](Self::build) reports the first invalid value.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct LookupConfigBuilder {
    settings: LookupSettings,
    connection: Option<ConnectionConfig>,
    problem: Option<ConfigError>,
}

impl LookupConfigBuilder {
    /// Sets the options of the connections to the nsqlookupds: `dial_timeout`, `local_addr`,
    /// `tcp_keepalive`, the `tls_*` options, and the secret for `lookupd_authorization`. Set
    /// `tls_v1` for the `tls_*` options.
    pub fn connection(mut self, config: ConnectionConfig) -> Self {
        self.connection = Some(config);
        self
    }

    /// Uses only the nodes for which this function returns `true`.
    pub fn node_filter(mut self, accepts: impl Fn(&Node) -> bool + Send + Sync + 'static) -> Self {
        self.settings.filter = Some(Arc::new(accepts));
        self
    }

    /// Sets an option of discovery by name, as read from a command line or a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the option is unknown, or if it cannot have the value.
    pub fn set(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        let name = name.replace('-', "_");
        match self.settings.values.set(&name, value) {
            Some(set) => set.map(|()| self),
            None => Err(not_an_option(
                &name,
                "LookupConfig",
                LookupConfig::options(),
            )),
        }
    }

    /// Checks addresses and options, and reads the files that the options of the connection name.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if an address is invalid, a value is out of its bounds, or a file cannot be
    /// read.
    pub fn build(self) -> Result<LookupConfig, ConfigError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let connection = match self.connection {
            Some(connection) => connection,
            None => ConnectionConfig::builder().build()?,
        };
        LookupConfig::from_settings(self.settings, &connection)
    }

    pub(super) fn values(&mut self) -> &mut Values<LookupOptions> {
        &mut self.settings.values
    }

    pub(super) fn note(mut self, result: Result<(), ConfigError>) -> Self {
        if let Err(problem) = result {
            self.problem.get_or_insert(problem);
        }
        self
    }
}

impl fmt::Debug for LookupConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.settings.addresses.iter();
        let addresses: Vec<_> = addresses.map(|it| shown_address(it)).collect();
        f.debug_struct("LookupConfigBuilder")
            .field("addresses", &addresses)
            .field("connection", &self.connection)
            .field("options", &self.settings.values.options)
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}
