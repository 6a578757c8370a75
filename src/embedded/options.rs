//! The settings of an embedded nsqd, as the builder produces them.

use std::time::Duration;

use super::{auth::Authorizer, wire::tls};

/// nsqd's flags, resolved: files are read and defaults filled in.
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
    /// See `EmbeddedNsqdBuilder::realistic_timing`.
    pub(super) realistic_timing: bool,
    pub(super) registration: Registration,
}

/// How nsqd registers with nsqlookupds.
#[derive(Debug, Clone)]
pub(super) struct Registration {
    /// Addresses of their TCP ports.
    pub(super) lookupds: Vec<String>,
    /// `None`: the IP address of the TCP port.
    pub(super) broadcast_address: Option<String>,
    /// `None`: the TCP port.
    pub(super) broadcast_tcp_port: Option<u16>,
    pub(super) ping_interval: Duration,
    pub(super) http_client_request_timeout: Duration,
}

/// The limits that decide whether the parser accepts a command. Signed, as in nsqd, because every
/// size on the wire is.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) max_msg_size: i64,
    pub(super) max_body_size: i64,
    pub(super) max_req_timeout: Duration,
    pub(super) max_rdy_count: i64,
}
