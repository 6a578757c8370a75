//! Setting up and starting an embedded nsqlookupd: nsqlookupd's flags with its defaults.

use std::{fmt::Display, io, time::Duration};

use super::{
    handle::EmbeddedLookupd,
    registry::Lifetimes,
    state::{Format, Options},
};
use crate::embedded::address::resolve;

/// Sets up an [`EmbeddedLookupd`]. Options have the names and defaults of nsqlookupd's flags.
///
/// ```
/// use std::time::Duration;
///
/// use actix_nsq::embedded::EmbeddedLookupd;
///
/// # fn main() -> std::io::Result<()> {
/// let lookupd = EmbeddedLookupd::builder()
///     .tombstone_lifetime(Duration::from_secs(1))
///     .start()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "call `start` to run the nsqlookupd"]
pub struct EmbeddedLookupdBuilder {
    http_address: String,
    tcp_address: String,
    broadcast_address: Option<String>,
    version: String,
    lifetimes: Lifetimes,
    format: LookupdFormat,
}

/// The format of HTTP answers, which depends on the version of nsqlookupd.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupdFormat {
    /// 1.0 and later.
    #[default]
    Plain,
    /// 0.2.29 to 0.3.8: plain with `Accept: application/vnd.nsq; version=1.0`. Otherwise wrapped,
    /// and every error has the status 500: `{"status_code":200,"status_txt":"OK","data":{..}}`,
    /// `{"status_code":500,"status_txt":"TOPIC_NOT_FOUND","data":null}`.
    Negotiated,
    /// Up to 0.2.28: always wrapped. A topic that does not exist is `INVALID_ARG_TOPIC`.
    Wrapped,
    /// Up to 0.2.24: wrapped, and nodes also have a field `address`.
    WrappedWithAddress,
}

impl LookupdFormat {
    fn resolved(self) -> Format {
        match self {
            Self::Plain => Format::Plain,
            Self::Negotiated => Format::Negotiated,
            Self::Wrapped => Format::Wrapped {
                with_address: false,
            },
            Self::WrappedWithAddress => Format::Wrapped { with_address: true },
        }
    }
}

/// Starting.
impl EmbeddedLookupd {
    /// Starts an nsqlookupd with nsqlookupd's defaults on free ports of the loopback interface.
    ///
    /// # Errors
    ///
    /// If no socket or thread can be created.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// Returns a builder with nsqlookupd's defaults.
    pub fn builder() -> EmbeddedLookupdBuilder {
        EmbeddedLookupdBuilder {
            http_address: "127.0.0.1:0".into(),
            tcp_address: "127.0.0.1:0".into(),
            broadcast_address: None,
            version: "1.3.0".into(),
            lifetimes: Lifetimes {
                inactive_producer_timeout: Duration::from_secs(300),
                tombstone_lifetime: Duration::from_secs(45),
            },
            format: LookupdFormat::Plain,
        }
    }

    /// Changes the format of the answers from now on.
    pub fn set_format(&self, format: LookupdFormat) {
        self.shared.change(|state| state.format = format.resolved());
    }
}

impl EmbeddedLookupdBuilder {
    /// Address that clients query: a `SocketAddr`, or `"host:port"`, of which the first resolved
    /// address is used. Default: `127.0.0.1:0`, a free port of the loopback interface.
    pub fn http_address(mut self, address: impl Display) -> Self {
        self.http_address = address.to_string();
        self
    }

    /// Address that nsqds register with, in the form of [`http_address`](Self::http_address).
    /// Default: `127.0.0.1:0`.
    pub fn tcp_address(mut self, address: impl Display) -> Self {
        self.tcp_address = address.to_string();
        self
    }

    /// Address that it announces to nsqds, which query it for the channels of a new topic. Default:
    /// the IP address of [`http_address`](Self::http_address). (nsqlookupd's default is the name of
    /// the host.)
    pub fn broadcast_address(mut self, address: impl Into<String>) -> Self {
        self.broadcast_address = Some(address.into());
        self
    }

    /// Time after which an nsqd that sent no PING is not listed. Default: 300 s. Nodes that were
    /// registered by hand are always listed.
    pub fn inactive_producer_timeout(mut self, timeout: Duration) -> Self {
        self.lifetimes.inactive_producer_timeout = timeout;
        self
    }

    /// Time after which a tombstone has no effect. Default: 45 s.
    pub fn tombstone_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetimes.tombstone_lifetime = lifetime;
        self
    }

    /// Version in `/info` and in the response to IDENTIFY. Default: `1.3.0`. It does not change the
    /// [`format`](Self::format).
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Format of the answers. Default: that of 1.0 and later.
    /// [`set_format`](EmbeddedLookupd::set_format) changes it later.
    pub fn format(mut self, format: LookupdFormat) -> Self {
        self.format = format;
        self
    }

    /// Starts the nsqlookupd. Its ports accept connections when this returns.
    ///
    /// # Errors
    ///
    /// An address does not resolve or cannot be bound, or the thread cannot be created.
    pub fn start(self) -> io::Result<EmbeddedLookupd> {
        let http = resolve(&self.http_address)?;
        let tcp = resolve(&self.tcp_address)?;
        let broadcast_address = self.broadcast_address;
        let options = Options {
            lifetimes: self.lifetimes,
            broadcast_address: broadcast_address.unwrap_or_else(|| http.ip().to_string()),
            version: self.version,
        };
        EmbeddedLookupd::launch(http, tcp, options, self.format.resolved())
    }
}
