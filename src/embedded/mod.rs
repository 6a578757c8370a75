//! An nsqd inside the process, on a loopback socket, to publish to, consume from, inspect, and make
//! fail; and an nsqlookupd.
//!
//! [`EmbeddedNsqd`] behaves like nsqd 1.3.0, byte for byte where a client can see it: the same
//! limits checked in the same order, the same error texts, heartbeats and deadlines, and the same
//! way to close connections. It has its own parser, so that a defect in the crate's codec cannot
//! hide in tests of the crate. Any NSQ client can publish to it and consume from it; the example
//! `embedded_nsqd` runs it as a program.
//!
//! ```
//! use std::{io::Write, net::TcpStream, time::Duration};
//!
//! use actix_nsq::embedded::EmbeddedNsqd;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let nsqd = EmbeddedNsqd::start()?;
//!
//! // The application under test connects to `nsqd.address()` and publishes.
//! let mut client = TcpStream::connect(nsqd.address())?;
//! client.write_all(b"  V2PUB orders\n\0\0\0\x0done apple pie")?;
//!
//! let stored = nsqd.wait_for_messages("orders", 1, Duration::from_secs(5)).await?;
//! assert_eq!(stored[0].body, "one apple pie");
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! - [`messages`](EmbeddedNsqd::messages), [`commands`](EmbeddedNsqd::commands) and
//!   [`connections`](EmbeddedNsqd::connections) inspect it; [`topic`](EmbeddedNsqd::topic) and
//!   [`channel`](EmbeddedNsqd::channel) return the statistics of nsqd's `/stats`.
//! - [`wait_for_messages`](EmbeddedNsqd::wait_for_messages) and
//!   [`wait_until`](EmbeddedNsqd::wait_until) wait without sleeping, up to a limit.
//! - [`create_channel`](EmbeddedNsqd::create_channel),
//!   [`pause_channel`](EmbeddedNsqd::pause_channel) and others correspond to nsqd's HTTP API.
//! - [`http_address`](EmbeddedNsqdBuilder::http_address) serves `/ping`, `/info` and `/stats`.
//! - [`faults`](EmbeddedNsqd::faults) makes it stall, freeze, fail commands, send wrong responses
//!   and close connections.
//! - [`stop`](EmbeddedNsqd::stop) and [`restart`](EmbeddedNsqd::restart) simulate an outage.
//! - [`lookupd`](EmbeddedNsqdBuilder::lookupd) registers it with an nsqlookupd.
//!
//! [`EmbeddedLookupd`] is an nsqlookupd inside the process, with which nsqds register and which
//! clients query. It is inspected and made to fail in the same way.
//!
//! # TLS, compression and AUTH
//!
//! With the features `tls`, `snappy` and `deflate`, clients get these layers if they ask for them;
//! a build without a feature declines, like an nsqd started without it. TLS needs a certificate:
//! see [`tls_cert`](EmbeddedNsqdBuilder#method.tls_cert). AUTH needs no feature:
//! [`auth`](EmbeddedNsqdBuilder::auth) sets a function that replaces the auth server.
//!
//! # Limitations
//!
//! - It has no disk, and no TLS below 1.2. `--max-channel-consumers` is unsupported.
//! - Its HTTP API changes nothing and has no HTTPS. `/stats` is always JSON, without the memory of
//!   the process and the cipher suites of TLS.
//! - It keeps all messages in memory, including consumed ones, until it is dropped or
//!   [`delete_topic`](EmbeddedNsqd::delete_topic) is called.
//!
//! # Differences from nsqd
//!
//! - By default it writes every frame at once, and message timeouts and delays are exact. nsqd
//!   buffers messages for up to `output_buffer_timeout`, and checks timeouts and delays every 100
//!   ms: see [`realistic_timing`](EmbeddedNsqdBuilder::realistic_timing). Only nsqd checks those of
//!   a new channel for the first time after up to five seconds.
//! - Consumers of a channel take turns. nsqd chooses at random.
//! - A client that does not read is disconnected when a write takes a whole heartbeat interval.
//!   nsqd stops sending to it, but still executes its commands.
//! - A later IDENTIFY that sets the size of the output buffer keeps TLS and compression. nsqd sends
//!   clear text from then on.
//! - A deflated command is executed as soon as it can be decompressed. nsqd waits for the flush
//!   behind it.

// Layers, from the public API to the protocol. A module imports only modules of later lines, or of
// its own line to the right.
//
//   builder, faults, admin, wait, inspect, stats   the public API around the handle
//   handle                                   stop, restart, requests to connections
//   server                                   the thread, the listeners, the ports
//   http_api, http                           HTTP: what is answered, and how
//   connection, expiry                       the tasks: connections, message timeouts
//   output_buffer, ticker                    when a connection sends messages and heartbeats
//   session                                  a connection without its socket: bytes in, frames out
//   registration                             the tasks that speak with nsqlookupds
//   state                                    everything behind the lock
//   identify, parser                         the protocol
//   options                                  the settings
//   wire                                     TLS and compression
//   lookupd                                  an nsqlookupd; has its own layers
//   listener, waiting, address               shared by nsqd and nsqlookupd
//   topic, channel, command                  messages and commands
//   auth, fault_state, upgrade, frame, text

mod address;
mod admin;
mod auth;
mod builder;
mod channel;
mod command;
mod connection;
mod expiry;
mod fault_state;
mod faults;
mod frame;
mod handle;
mod http;
mod http_admin;
mod http_api;
mod identify;
mod inspect;
mod listener;
mod lookupd;
mod options;
mod output_buffer;
mod parser;
mod registration;
mod server;
mod session;
mod state;
mod stats;
mod text;
mod ticker;
mod topic;
mod upgrade;
mod wait;
mod waiting;
mod wire;

pub use auth::{AuthRequest, AuthServerDown, Grant};
pub use builder::EmbeddedNsqdBuilder;
pub use faults::Faults;
pub use handle::EmbeddedNsqd;
pub use inspect::{ConnectionInfo, ReceivedCommand, StoredMessage};
pub use lookupd::{
    EmbeddedLookupd, EmbeddedLookupdBuilder, LookupdFaults, LookupdFormat, LookupdNode,
    LookupdQuery,
};
pub use stats::{ChannelInfo, ClientInfo, TopicInfo};
pub use waiting::WaitTimeout;
#[cfg(feature = "tls")]
pub use wire::tls::TlsClientAuthPolicy;

#[cfg(test)]
mod tests;
