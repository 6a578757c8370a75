//! How a producer is set up. A [`Config`] in hand is valid: every value was checked on the way in.

mod options;
mod outside;
mod value;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

pub use self::options::ConfigOption;
use self::{options::Options, value::Value};
use crate::{
    conn::{Connector, TcpConnector},
    error::{Cause, Delivery, Error},
    protocol::{Identify, one_line},
};

/// What a producer is started with: the address of nsqd, and a value for each [option](Config::options). The
/// methods of [`ConfigBuilder`] tell defaults and bounds; `docs/options.md` lists them all, beside go-nsq's.
///
/// ```
/// use std::time::Duration;
///
/// let config = actix_nsq::Config::builder("127.0.0.1:4150")
///     .publish_timeout(Duration::from_secs(10))
///     .set("max_pending", "5000")?
///     .build()?;
/// assert_eq!(config.max_pending(), 5000);
/// # Ok::<_, actix_nsq::Error>(())
/// ```
#[derive(Clone)]
pub struct Config {
    address: Arc<str>,
    options: Options,
    connector: Arc<dyn Connector>,
}

impl Config {
    /// A configuration with the default of every option, for the nsqd at `address`, a `host:port`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the address has no host or no port.
    pub fn new(address: impl Into<String>) -> Result<Self, Error> {
        Self::builder(address).build()
    }

    /// Starts a configuration for the nsqd at `address`, a `host:port`.
    pub fn builder(address: impl Into<String>) -> ConfigBuilder {
        ConfigBuilder {
            address: address.into(),
            options: Options::default(),
            given: Vec::new(),
            connector: None,
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

    pub(crate) fn shared_address(&self) -> &Arc<str> {
        &self.address
    }

    /// By what the producer dials.
    pub(crate) fn connector(&self) -> &Arc<dyn Connector> {
        &self.connector
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
            ..Identify::default()
        }
    }
}

/// A time as IDENTIFY has it: in milliseconds, and -1 for off.
fn milliseconds(time: Option<Duration>) -> i64 {
    time.map_or(-1, |time| time.as_millis().try_into().unwrap_or(i64::MAX))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("address", &self.address)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Collects a [`Config`]. The first value out of its bounds is remembered, and [`build`](Self::build) reports it.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ConfigBuilder {
    address: String,
    options: Options,
    given: Vec<&'static str>,
    connector: Option<Arc<dyn Connector>>,
    problem: Option<Error>,
}

impl ConfigBuilder {
    /// Sets the option `name`, as a command line or a file has it: `-` and `_` are the same in a name, a number is
    /// milliseconds where a time is wanted, and a time may have units (`250ms`, `1m30s`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming option, value and bounds, when there is no such option
    /// or it cannot have this value.
    pub fn set(self, name: &str, value: &str) -> Result<Self, Error> {
        options::set(self, &name.replace('-', "_"), value.trim())
    }

    /// Dials by `connector` instead of TCP: a Unix socket, a proxy, a pipe in memory. The address may then be
    /// whatever the connector understands.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// The finished configuration.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config): a value is out of its bounds, two contradict each other, or
    /// the address is not `host:port`.
    pub fn build(mut self) -> Result<Config, Error> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        if self.connector.is_none() {
            check_address(&self.address)?;
        }
        self.check_ack_timeout()?;
        let options = &self.options;
        let largest = options.max_publish_size.max(options.max_batch_size);
        if options.max_pending_bytes < largest {
            return Err(contradiction(
                "max_pending_bytes",
                &options.max_pending_bytes,
                "the larger of max_publish_size and max_batch_size",
                &largest,
                "the largest publish must have room",
            ));
        }
        if options.max_reconnect_backoff < options.reconnect_backoff {
            return Err(contradiction(
                "max_reconnect_backoff",
                &options.max_reconnect_backoff,
                "reconnect_backoff",
                &options.reconnect_backoff,
                "the longest delay cannot be below the first",
            ));
        }
        Ok(Config {
            address: self.address.into(),
            options: self.options,
            connector: self.connector.unwrap_or_else(|| Arc::new(TcpConnector)),
        })
    }

    fn check_ack_timeout(&mut self) -> Result<(), Error> {
        let Options {
            ack_timeout,
            publish_timeout,
            ..
        } = &mut self.options;
        let half = *publish_timeout / 2;
        if *ack_timeout > half {
            if self.given.contains(&"ack_timeout") {
                return Err(contradiction(
                    "ack_timeout",
                    ack_timeout,
                    "publish_timeout",
                    publish_timeout,
                    "it can be at most half of it, so that a stall is found before the publishes time out",
                ));
            }
            *ack_timeout = half;
        }
        Ok(())
    }
}

impl fmt::Debug for ConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigBuilder")
            .field("address", &self.address)
            .field("options", &self.options)
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}

fn contradiction<T: Value>(
    name: &'static str,
    value: &T,
    other: &'static str,
    bound: &T,
    rule: &'static str,
) -> Error {
    Error::new(
        Cause::Options {
            name,
            value: value.show(),
            other,
            bound: bound.show(),
            rule,
        },
        Delivery::NotWritten,
    )
}

/// A value from outside as an error shows it: on one line of a log, and no more of it than tells which it is.
fn shown(value: &str) -> String {
    const SHOWN: usize = 80;
    one_line(value.chars(), SHOWN)
}

fn address_error(address: &str, problem: &'static str) -> Error {
    // What stands before an @ may be a secret, and so may the options of a URL.
    let without_password = |text: &str| match text.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => text.into(),
    };
    let address = match address.split_once('?') {
        // The ? may be a part of the password.
        Some((_, options)) if options.contains('@') => "***".into(),
        Some((front, _)) => format!("{}?***", without_password(front)),
        None => without_password(address),
    };
    Error::new(
        Cause::Address {
            address: shown(&address),
            problem,
        },
        Delivery::NotWritten,
    )
}

/// The longest name that DNS has is 253 bytes.
const LONGEST_HOST: usize = 255;

/// Accepts what can be dialled: `host:port`, where the host is a name, an IPv4 address, or an IPv6 one in brackets. Names
/// need not be ASCII, but they are shown in logs: with nothing in them that is not plainly to be seen.
fn check_address(address: &str) -> Result<(), Error> {
    let refused = |problem| Err(address_error(address, problem));
    if let Ok(address) = address.parse::<SocketAddr>() {
        return if address.port() == 0 {
            refused("port 0 cannot be connected to")
        } else {
            Ok(())
        };
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return refused("no port");
    };
    if host.is_empty() {
        return refused("no host");
    }
    if address.contains("://") {
        return refused("a URL, which Config::from_url takes");
    }
    let is_plain = one_line(host.chars(), LONGEST_HOST) == host;
    let forbidden = |c: char| matches!(c, ':' | '[' | ']' | '/' | '@' | '?') || c.is_whitespace();
    if !is_plain || host.contains(forbidden) {
        return refused("not a host name");
    }
    match port.parse::<u16>() {
        Ok(0) => refused("port 0 cannot be connected to"),
        Ok(_) => Ok(()),
        Err(_) => refused("not a port number"),
    }
}

#[cfg(test)]
mod tests;
