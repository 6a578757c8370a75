//! What nsqlookupd knows about an nsqd.

use std::net::SocketAddr;

use crate::embedded::text::go_json;

/// An nsqd as [`EmbeddedLookupd`](super::EmbeddedLookupd) returns it. Fields are named as in the
/// answer of `/lookup`.
///
/// Nothing is validated, as in nsqlookupd: ports may be 70000 or -1, and addresses any text.
///
/// ```
/// use actix_nsq::embedded::LookupdNode;
///
/// let node = LookupdNode::new("nsqd-1.example", 4150).version("1.2.1");
/// assert_eq!(node.http_port, 4151);
///
/// let address: std::net::SocketAddr = "127.0.0.1:4150".parse().unwrap();
/// assert_eq!(LookupdNode::from(address).broadcast_address, "127.0.0.1");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LookupdNode {
    /// Address of its connection to nsqlookupd.
    pub remote_address: String,
    /// Name of its host.
    pub hostname: String,
    /// Host that clients connect to.
    pub broadcast_address: String,
    /// Port that clients connect to.
    pub tcp_port: i64,
    /// Port of its HTTP API.
    pub http_port: i64,
    /// Version of nsqd.
    pub version: String,
}

impl LookupdNode {
    /// Creates a node of nsqd 1.3.0 with this address. Its HTTP port is the next one.
    pub fn new(broadcast_address: impl Into<String>, tcp_port: i64) -> Self {
        Self {
            remote_address: "127.0.0.1:50000".into(),
            hostname: "localhost".into(),
            broadcast_address: broadcast_address.into(),
            tcp_port,
            http_port: tcp_port.saturating_add(1),
            version: "1.3.0".into(),
        }
    }

    /// Sets the port of the HTTP API, which names the node in a tombstone.
    #[must_use]
    pub fn http_port(mut self, port: i64) -> Self {
        self.http_port = port;
        self
    }

    /// Sets the name of the host.
    #[must_use]
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = hostname.into();
        self
    }

    /// Sets the version of nsqd.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets the address of the connection to nsqlookupd.
    #[must_use]
    pub fn remote_address(mut self, address: impl Into<String>) -> Self {
        self.remote_address = address.into();
        self
    }

    /// The name of the node in `/topic/tombstone`: without brackets around an IPv6 address.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.broadcast_address, self.http_port)
    }

    /// Whether clients connect to the same address.
    pub(super) fn has_same_address(&self, other: &Self) -> bool {
        (&self.broadcast_address, self.tcp_port) == (&other.broadcast_address, other.tcp_port)
    }

    /// Returns the fields as JSON, without the braces. `address` is a field of old versions.
    pub(super) fn json_fields(&self, with_address: bool) -> String {
        let text = |text: &str| go_json(text);
        let address = if with_address {
            format!("\"address\":{},", text(&self.broadcast_address))
        } else {
            String::new()
        };
        format!(
            "\"remote_address\":{},{address}\"hostname\":{},\"broadcast_address\":{},\
             \"tcp_port\":{},\"http_port\":{},\"version\":{}",
            text(&self.remote_address),
            text(&self.hostname),
            text(&self.broadcast_address),
            self.tcp_port,
            self.http_port,
            text(&self.version),
        )
    }
}

impl From<SocketAddr> for LookupdNode {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip().to_string(), address.port().into())
    }
}

impl From<&LookupdNode> for LookupdNode {
    fn from(node: &LookupdNode) -> Self {
        node.clone()
    }
}
