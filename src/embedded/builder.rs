//! What an embedded nsqd can be told before it starts: nsqd's own flags, with nsqd's defaults.

#[cfg(any(feature = "tls", feature = "snappy", feature = "deflate"))]
mod layers;

use std::{
    fmt::Display,
    io,
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

use super::{
    EmbeddedNsqd,
    auth::{AuthRequest, AuthServerDown, Authorizer, Grant},
    parser::Limits,
    wire::tls,
};

/// The flags, decided.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) limits: Limits,
    pub(super) max_heartbeat_interval: Duration,
    pub(super) msg_timeout: Duration,
    pub(super) max_msg_timeout: Duration,
    pub(super) version: String,
    pub(super) tls: Option<tls::Config>,
    pub(super) tls_required: bool,
    pub(super) snappy: bool,
    pub(super) deflate: bool,
    pub(super) max_deflate_level: u32,
    pub(super) auth: Option<Authorizer>,
}

/// Sets up an [`EmbeddedNsqd`]. Every option has the name and the default of nsqd's flag.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use actix_nsq::embedded::EmbeddedNsqd;
///
/// let nsqd = EmbeddedNsqd::builder().max_msg_size(1024).version("1.2.1").start()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing runs before `start`"]
pub struct EmbeddedNsqdBuilder {
    address: String,
    port: Option<u16>,
    options: Options,
    #[cfg(feature = "tls")]
    tls: tls::Flags,
}

impl EmbeddedNsqdBuilder {
    pub(super) fn new() -> Self {
        Self {
            address: "127.0.0.1:0".into(),
            port: None,
            options: Options {
                limits: Limits {
                    max_msg_size: 1024 * 1024,
                    max_body_size: 5 * 1024 * 1024,
                    max_req_timeout: Duration::from_secs(3600),
                    max_rdy_count: 2_500,
                },
                max_heartbeat_interval: Duration::from_secs(60),
                msg_timeout: Duration::from_secs(60),
                max_msg_timeout: Duration::from_secs(15 * 60),
                version: "1.3.0".into(),
                tls: None,
                tls_required: false,
                snappy: cfg!(feature = "snappy"),
                deflate: cfg!(feature = "deflate"),
                max_deflate_level: 6,
                auth: None,
            },
            #[cfg(feature = "tls")]
            tls: tls::Flags::default(),
        }
    }

    /// Where to listen: a `SocketAddr`, or a `"host:port"` of which the first address is taken.
    /// Default: `127.0.0.1:0`, a free port of the loopback interface.
    pub fn address(mut self, address: impl Display) -> Self {
        self.address = address.to_string();
        self
    }

    /// The port to listen on, in place of the one in [`address`](Self::address); 0 is any free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// The largest message in bytes. Default: 1 MiB.
    pub fn max_msg_size(mut self, bytes: usize) -> Self {
        self.options.limits.max_msg_size = i64::try_from(bytes).unwrap_or(i64::MAX);
        self
    }

    /// The largest body of an IDENTIFY, an AUTH or an MPUB in bytes. Default: 5 MiB.
    pub fn max_body_size(mut self, bytes: usize) -> Self {
        self.options.limits.max_body_size = i64::try_from(bytes).unwrap_or(i64::MAX);
        self
    }

    /// How long a consumer has for a message before it is given to another one, unless its IDENTIFY
    /// asks for something else. Default: 60 s.
    pub fn msg_timeout(mut self, timeout: Duration) -> Self {
        self.options.msg_timeout = timeout;
        self
    }

    /// The longest time-out that an IDENTIFY may ask for, and that TOUCH can stretch one to.
    /// Default: 15 minutes.
    pub fn max_msg_timeout(mut self, timeout: Duration) -> Self {
        self.options.max_msg_timeout = timeout;
        self
    }

    /// The largest count of a RDY. Default: 2500.
    pub fn max_rdy_count(mut self, count: usize) -> Self {
        self.options.limits.max_rdy_count = i64::try_from(count).unwrap_or(i64::MAX);
        self
    }

    /// The longest delay of a DPUB, and of a REQ, where a longer one is cut short. Default: one hour.
    pub fn max_req_timeout(mut self, timeout: Duration) -> Self {
        self.options.limits.max_req_timeout = timeout;
        self
    }

    /// The longest heartbeat interval a client may ask for. Default: 60 s.
    pub fn max_heartbeat_interval(mut self, interval: Duration) -> Self {
        self.options.max_heartbeat_interval = interval;
        self
    }

    /// The version told in the answer to IDENTIFY. Default: `1.3.0`.
    pub fn version(mut self, version: &str) -> Self {
        self.options.version = version.into();
        self
    }

    /// Makes AUTH a must, and decides about each: nsqd asks an auth server over HTTP (`--auth-http-address`), this one asks
    /// `decide`. It is asked at each AUTH, and again when what it has granted has [run out](Grant::ttl): one that looks at
    /// something shared can take back what it gave. A client that has not sent AUTH may neither publish nor subscribe.
    ///
    /// It runs on this nsqd's own thread and holds everything up: it must not wait, nor ask the handle anything. Should it
    /// panic, the auth server is [down](AuthServerDown).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use actix_nsq::embedded::{EmbeddedNsqd, Grant};
    ///
    /// let nsqd = EmbeddedNsqd::builder()
    ///     .auth(|asked| match asked.secret() {
    ///         b"of the shop" => Ok(Grant::new("shop").publish("orders")),
    ///         b"of billing" => Ok(Grant::new("billing").subscribe("orders", "*")),
    ///         _ => Ok(Grant::nothing()),
    ///     })
    ///     .start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn auth(
        mut self,
        decide: impl Fn(&AuthRequest) -> Result<Grant, AuthServerDown> + Send + Sync + 'static,
    ) -> Self {
        self.options.auth = Some(Authorizer::new(decide));
        self
    }

    /// Starts it. When this returns, its port accepts connections.
    ///
    /// # Errors
    ///
    /// When the address does not resolve or cannot be bound, or the thread cannot be started; with TLS, when one of its files
    /// cannot be read or used, or when TLS is a must and there is no certificate.
    #[cfg_attr(
        not(feature = "tls"),
        allow(unused_mut, reason = "there is no TLS to set up")
    )]
    pub fn start(mut self) -> io::Result<EmbeddedNsqd> {
        #[cfg(feature = "tls")]
        {
            self.options.tls = self.tls.config()?;
            self.options.tls_required = self.tls.is_required();
        }
        let mut address: SocketAddr = self.address.to_socket_addrs()?.next().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "the address resolves to nothing",
            )
        })?;
        if let Some(port) = self.port {
            address.set_port(port);
        }
        EmbeddedNsqd::launch(address, self.options)
    }
}
