//! An nsqd inside the process, on a real loopback socket: to publish to, consume from, look inside,
//! and make misbehave.
//!
//! [`EmbeddedNsqd`] answers as nsqd 1.3.0 does, byte for byte where a client can see it: the same
//! limits, checked in the same order, the same error texts, the same heartbeats and dead-lines, and
//! the same way of hanging up. It parses with its own code, so that a mistake in the crate's codec
//! cannot cancel out. Everything a test of an application needs is on the handle:
//!
//! - [`messages`](EmbeddedNsqd::messages) and its neighbours look inside,
//!   [`channel`](EmbeddedNsqd::channel) and its neighbours tell what nsqd tells in its `/stats`,
//! - [`wait_for_messages`](EmbeddedNsqd::wait_for_messages) and its neighbours wait without
//!   sleeping,
//! - [`pause_channel`](EmbeddedNsqd::pause_channel) and its neighbours do what nsqd's HTTP API is
//!   there for,
//! - [`faults`](EmbeddedNsqd::faults) makes it stall, freeze, refuse, delay, lie and hang up,
//! - [`stop`](EmbeddedNsqd::stop) and [`restart`](EmbeddedNsqd::restart) take it down and up again.
//!
//! Any NSQ client can publish to it and consume from it; the example `embedded_nsqd` runs it alone.
//!
//! **TLS, compression and AUTH.** With the features `tls`, `snappy` and `deflate` it speaks what they say:
//! [`tls_cert`](EmbeddedNsqdBuilder#method.tls_cert) and its neighbours set up TLS, and who asks for
//! snappy or deflate gets it, as from nsqd. In a build without a feature it declines, as an nsqd that
//! was started without. AUTH needs no feature: [`auth`](EmbeddedNsqdBuilder::auth) asks the test itself
//! in place of an auth server. [`connections`](EmbeddedNsqd::connections) tells what is in force.
//!
//! **What it does not do.** It has no disk and no HTTP, and no TLS below 1.2. `--max-channel-consumers`
//! is not there. All that was published is kept in memory, also when it has been consumed, until the
//! handle is dropped or [`delete_topic`](EmbeddedNsqd::delete_topic) is called.
//!
//! **What it does otherwise.** The settings of the output buffer are checked and answered, but every
//! frame is written at once: where nsqd lets a message wait in its buffer for up to 250 ms, it comes
//! here at once. Messages time out, and deferred ones come, to the moment: nsqd looks every 100 ms,
//! and at a new channel for up to five seconds not at all. The consumers of a channel take turns,
//! where nsqd leaves it to chance. A consumer that does not read is hung up on when a write has
//! taken a heartbeat interval; nsqd stops sending to it, but goes on serving it. A later IDENTIFY that
//! sets the size of the output buffer leaves TLS and compression as they are; nsqd's answers are in
//! clear text from then on. Deflated commands are executed when they have come; nsqd waits for the flush
//! behind them.

// Where things are:
//
//   handle, builder, control, faults   what users do
//   inspect, stats                     what users see
//   server                             the thread, the listener, the port
//   connection, ticker                 a task per connection: socket, clock, faults
//   wire                               the layers between them: TLS, compression
//   session                            a connection without its socket: bytes in, frames out
//   auth                               what AUTH asks the user, and what that allows
//   parser, identify, text             the protocol; nothing of the crate's own codec
//   state, misbehaviour                what is known, and what is switched on; one lock
//   topic, channel, consuming          messages on their way: topic, channel, consumer, and time

mod auth;
mod builder;
mod channel;
mod connection;
mod consuming;
mod control;
mod faults;
mod handle;
mod identify;
mod inspect;
mod misbehaviour;
mod parser;
mod server;
mod session;
mod state;
mod stats;
mod text;
mod ticker;
mod topic;
mod wire;

pub use auth::{AuthRequest, AuthServerDown, Grant};
pub use builder::EmbeddedNsqdBuilder;
pub use faults::Faults;
pub use handle::EmbeddedNsqd;
pub use inspect::{ConnectionInfo, ReceivedCommand, StoredMessage};
pub use stats::{ChannelInfo, ClientInfo, TopicInfo};
#[cfg(feature = "tls")]
pub use wire::tls::TlsClientAuthPolicy;

#[cfg(test)]
mod tests;
