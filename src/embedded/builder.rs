//! Setting up and starting an embedded nsqd: nsqd's flags with nsqd's defaults.

#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::{fmt::Display, io, net::SocketAddr, time::Duration};

#[cfg(feature = "tls")]
use super::wire::tls::{self, TlsClientAuthPolicy};
use super::{
    address::resolve,
    auth::{AuthRequest, AuthServerDown, Authorizer, Grant},
    handle::EmbeddedNsqd,
    options::{Limits, Options, Registration},
};
#[cfg(feature = "tls")]
use crate::TlsVersion;

/// Sets up an [`EmbeddedNsqd`]. Options have the names and defaults of nsqd's flags.
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
#[must_use = "call `start` to run the nsqd"]
pub struct EmbeddedNsqdBuilder {
    address: String,
    port: Option<u16>,
    http_address: Option<String>,
    options: Options,
    #[cfg(feature = "tls")]
    tls: tls::Flags,
}

/// Starting.
impl EmbeddedNsqd {
    /// Starts an nsqd with nsqd's defaults on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// If no socket or thread can be created.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// Returns a builder with nsqd's defaults.
    pub fn builder() -> EmbeddedNsqdBuilder {
        EmbeddedNsqdBuilder::new()
    }
}

impl EmbeddedNsqdBuilder {
    fn new() -> Self {
        Self {
            address: "127.0.0.1:0".into(),
            port: None,
            http_address: None,
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
                realistic_timing: false,
                registration: Registration {
                    lookupds: Vec::new(),
                    broadcast_address: None,
                    broadcast_tcp_port: None,
                    ping_interval: Duration::from_secs(15),
                    http_client_request_timeout: Duration::from_secs(5),
                },
            },
            #[cfg(feature = "tls")]
            tls: tls::Flags::default(),
        }
    }

    /// Address to listen on: a `SocketAddr`, or `"host:port"`, of which the first resolved address
    /// is used. Default: `127.0.0.1:0`, a free port of the loopback interface.
    pub fn address(mut self, address: impl Display) -> Self {
        self.address = address.to_string();
        self
    }

    /// Port to listen on, instead of the one in [`address`](Self::address); 0 is any free port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Address of the HTTP API, in the form of [`address`](Self::address). Default: none, because
    /// few tests need it. It answers GET of `/ping`, `/info` and `/stats`.
    ///
    /// ```
    /// use std::{
    ///     io::{Read, Write},
    ///     net::TcpStream,
    /// };
    ///
    /// use actix_nsq::embedded::EmbeddedNsqd;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let nsqd = EmbeddedNsqd::builder().http_address("127.0.0.1:0").start()?;
    /// let mut client = TcpStream::connect(nsqd.http_address().ok_or("no HTTP")?)?;
    /// client.write_all(b"GET /ping HTTP/1.0\r\n\r\n")?;
    /// let mut response = String::new();
    /// client.read_to_string(&mut response)?;
    /// assert!(response.ends_with("\r\n\r\nOK"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn http_address(mut self, address: impl Display) -> Self {
        self.http_address = Some(address.to_string());
        self
    }

    /// Maximum size of a message in bytes. Default: 1 MiB.
    pub fn max_msg_size(mut self, bytes: usize) -> Self {
        self.options.limits.max_msg_size = i64::try_from(bytes).unwrap_or(i64::MAX);
        self
    }

    /// Maximum size of the body of an IDENTIFY, AUTH or MPUB in bytes. Default: 5 MiB.
    pub fn max_body_size(mut self, bytes: usize) -> Self {
        self.options.limits.max_body_size = i64::try_from(bytes).unwrap_or(i64::MAX);
        self
    }

    /// Time after which an unanswered message is requeued, unless IDENTIFY sets another. Default:
    /// 60 s.
    pub fn msg_timeout(mut self, timeout: Duration) -> Self {
        self.options.msg_timeout = timeout;
        self
    }

    /// Maximum message timeout, both in IDENTIFY and as extended with TOUCH. Default: 15 minutes.
    pub fn max_msg_timeout(mut self, timeout: Duration) -> Self {
        self.options.max_msg_timeout = timeout;
        self
    }

    /// Maximum count of a RDY. Default: 2500.
    pub fn max_rdy_count(mut self, count: usize) -> Self {
        self.options.limits.max_rdy_count = i64::try_from(count).unwrap_or(i64::MAX);
        self
    }

    /// Maximum delay: a longer one of a DPUB is rejected, that of a REQ is shortened. Default: one
    /// hour.
    pub fn max_req_timeout(mut self, timeout: Duration) -> Self {
        self.options.limits.max_req_timeout = timeout;
        self
    }

    /// Maximum heartbeat interval in IDENTIFY. Default: 60 s.
    pub fn max_heartbeat_interval(mut self, interval: Duration) -> Self {
        self.options.max_heartbeat_interval = interval;
        self
    }

    /// Whether messages are as late as those of nsqd. Default: false, so that tests do not wait.
    ///
    /// - Messages to a consumer stay in its output buffer for up to `output_buffer_timeout` of
    ///   IDENTIFY (250 ms by default). The buffer is flushed when the consumer has as many messages
    ///   in flight as it may, when the channel is paused, when the buffer is full, and with every
    ///   other frame.
    /// - Message timeouts and delays are checked every 100 ms.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use actix_nsq::embedded::EmbeddedNsqd;
    ///
    /// let nsqd = EmbeddedNsqd::builder().realistic_timing(true).start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn realistic_timing(mut self, enabled: bool) -> Self {
        self.options.realistic_timing = enabled;
        self
    }

    /// Version in the response to IDENTIFY. Default: `1.3.0`.
    pub fn version(mut self, version: &str) -> Self {
        self.options.version = version.into();
        self
    }

    /// Requires AUTH, and sets the function that decides: nsqd asks an auth server over HTTP
    /// (`--auth-http-address`), the embedded nsqd calls `decide`. A client may neither publish nor
    /// subscribe before AUTH.
    ///
    /// `decide` is called for each AUTH, and again when the [`ttl`](Grant::ttl) of its grant has
    /// passed. To revoke a permission, let it read shared state.
    ///
    /// It runs on the thread of the nsqd: it must not block or call methods of the
    /// [`EmbeddedNsqd`]. A panic counts as [`AuthServerDown`].
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use actix_nsq::embedded::{EmbeddedNsqd, Grant};
    ///
    /// let nsqd = EmbeddedNsqd::builder()
    ///     .auth(|request| match request.secret() {
    ///         b"shop-secret" => Ok(Grant::new("shop").publish("orders")),
    ///         b"billing-secret" => Ok(Grant::new("billing").subscribe("orders", "*")),
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

    /// Starts the nsqd. Its port accepts connections when this returns.
    ///
    /// # Errors
    ///
    /// - The address does not resolve or cannot be bound, or the thread cannot be created.
    /// - With TLS: a file cannot be read or used, or TLS is required without a certificate.
    #[cfg_attr(
        not(feature = "tls"),
        allow(unused_mut, reason = "mutated only with the feature `tls`")
    )]
    pub fn start(mut self) -> io::Result<EmbeddedNsqd> {
        #[cfg(feature = "tls")]
        {
            self.options.tls = self.tls.config()?;
            self.options.tls_required = self.tls.is_required();
        }
        let mut address = resolve(&self.address)?;
        if let Some(port) = self.port {
            address.set_port(port);
        }
        let registers = !self.options.registration.lookupds.is_empty();
        let http_address = match self.http_address.as_deref() {
            Some(http_address) => Some(resolve(http_address)?),
            // nsqlookupd rejects an nsqd without one.
            None if registers => Some(SocketAddr::new(address.ip(), 0)),
            None => None,
        };
        EmbeddedNsqd::launch(address, http_address, self.options)
    }
}

/// Registration with nsqlookupds: embedded ones, or real ones.
impl EmbeddedNsqdBuilder {
    /// Adds the TCP address of an nsqlookupd, `host:port`, with which nsqd registers its topics and
    /// channels. Can be called several times. Default: none.
    ///
    /// As nsqd does,
    ///
    /// - it connects at the start, and after a failure with the next command: a PING
    ///   ([`lookupd_ping_interval`](Self::lookupd_ping_interval)), a topic or channel that was
    ///   created or deleted. Each nsqlookupd has one second to answer, and delays the others
    ///   meanwhile;
    /// - it queries `/channels` of all nsqlookupds for a new topic, and creates these channels
    ///   before the command that created the topic is executed. That connection waits for up to
    ///   [`http_client_request_timeout`](Self::http_client_request_timeout). Methods such as
    ///   [`create_topic`](EmbeddedNsqd::create_topic) do not wait.
    ///
    /// nsqlookupd rejects an nsqd without an HTTP port, so that
    /// [`http_address`](Self::http_address) becomes a free port by default.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use actix_nsq::embedded::{EmbeddedLookupd, EmbeddedNsqd};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// # runtime.block_on(async {
    /// let lookupd = EmbeddedLookupd::start()?;
    /// let nsqd = EmbeddedNsqd::builder().lookupd(lookupd.tcp_address()).start()?;
    /// nsqd.create_topic("orders");
    /// lookupd.wait_for_producers("orders", 1, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn lookupd(mut self, address: impl Display) -> Self {
        let (address, lookupds) = (address.to_string(), &mut self.options.registration.lookupds);
        if !lookupds.contains(&address) {
            lookupds.push(address);
        }
        self
    }

    /// Host that nsqd announces to nsqlookupds. Default: the IP address of
    /// [`address`](Self::address). (nsqd's default is the name of its host.)
    pub fn broadcast_address(mut self, host: impl Into<String>) -> Self {
        self.options.registration.broadcast_address = Some(host.into());
        self
    }

    /// Port that nsqd announces to nsqlookupds: that of a proxy, for example. Default: the one it
    /// listens on.
    pub fn broadcast_tcp_port(mut self, port: u16) -> Self {
        self.options.registration.broadcast_tcp_port = Some(port);
        self
    }

    /// Interval of the PINGs to nsqlookupds. Default: 15 s. nsqd notices with a PING that a
    /// connection is lost, and connects again with the next one.
    pub fn lookupd_ping_interval(mut self, interval: Duration) -> Self {
        self.options.registration.ping_interval = interval;
        self
    }

    /// Time for the query of the channels of a new topic. Default: 5 s.
    pub fn http_client_request_timeout(mut self, timeout: Duration) -> Self {
        self.options.registration.http_client_request_timeout = timeout;
        self
    }
}

/// TLS, with the feature `tls`. A client gets TLS if it asks for it and a certificate is set. Files
/// are PEM; [`start`](Self::start) reads them.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// use actix_nsq::embedded::{EmbeddedNsqd, TlsClientAuthPolicy};
///
/// let nsqd = EmbeddedNsqd::builder()
///     .tls_cert("nsqd.pem")
///     .tls_key("nsqd.key")
///     .tls_root_ca_file("ca.pem")
///     .tls_client_auth_policy(TlsClientAuthPolicy::RequireVerify)
///     .start()?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
impl EmbeddedNsqdBuilder {
    /// File with the certificate, followed by the intermediate certificates that clients need to
    /// verify it. Default: none, without TLS.
    pub fn tls_cert(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.cert = Some(file.into());
        self
    }

    /// File with the private key of the certificate.
    pub fn tls_key(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.key = Some(file.into());
        self
    }

    /// File with the CAs that verify certificates of clients. Default: those of the system.
    pub fn tls_root_ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.root_ca_file = Some(file.into());
        self
    }

    /// Requirements for certificates of clients. As in nsqd, any policy makes TLS required.
    /// Default: none; clients need no certificate.
    pub fn tls_client_auth_policy(mut self, policy: TlsClientAuthPolicy) -> Self {
        self.tls.client_auth_policy = Some(policy);
        self
    }

    /// Whether TLS is required: without it, all commands but IDENTIFY are rejected. Default: false.
    pub fn tls_required(mut self, required: bool) -> Self {
        self.tls.required = required;
        self
    }

    /// Lowest version of TLS. Default: 1.2. (nsqd's default, 1.0, is not supported.)
    pub fn tls_min_version(mut self, version: TlsVersion) -> Self {
        self.tls.min_version = Some(version);
        self
    }
}

/// Snappy compression, with the feature `snappy`.
#[cfg(feature = "snappy")]
#[cfg_attr(docsrs, doc(cfg(feature = "snappy")))]
impl EmbeddedNsqdBuilder {
    /// Whether a client gets snappy if it asks for it. Default: true.
    pub fn snappy(mut self, enabled: bool) -> Self {
        self.options.snappy = enabled;
        self
    }
}

/// Deflate compression, with the feature `deflate`.
#[cfg(feature = "deflate")]
#[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
impl EmbeddedNsqdBuilder {
    /// Whether a client gets deflate if it asks for it. Default: true.
    pub fn deflate(mut self, enabled: bool) -> Self {
        self.options.deflate = enabled;
        self
    }

    /// Maximum deflate level, clamped to 1 to 9. A client that asks for a higher one gets this.
    /// Default: 6.
    pub fn max_deflate_level(mut self, level: u32) -> Self {
        self.options.max_deflate_level = level.clamp(1, 9);
        self
    }
}
