//! An nsqd inside the process, on a real loopback socket: to publish against, look inside, and make
//! misbehave.
//!
//! [`EmbeddedNsqd`] answers as nsqd 1.3.0 does, byte for byte where a client can see it: the same
//! limits, checked in the same order, the same error texts, the same heartbeats and dead-lines, and
//! the same way of hanging up. It parses with its own code, so that a mistake in the crate's codec
//! cannot cancel out. Everything a test of an application needs is on the handle:
//!
//! - [`messages`](EmbeddedNsqd::messages) and its neighbours look inside,
//! - [`wait_for_messages`](EmbeddedNsqd::wait_for_messages) and its neighbours wait without
//!   sleeping,
//! - [`faults`](EmbeddedNsqd::faults) makes it stall, freeze, refuse, delay, lie and hang up,
//! - [`stop`](EmbeddedNsqd::stop) and [`restart`](EmbeddedNsqd::restart) take it down and up again.
//!
//! **What it does not do.** It serves publishing only: SUB, and with it RDY, FIN, REQ, TOUCH and
//! CLS, are answered with a fatal `E_INVALID cannot SUB in current state`. It has no disk, no HTTP,
//! no TLS, no compression and no AUTH: it declines them as an nsqd does that was started without.
//! Messages are kept in memory until the handle is dropped or
//! [`delete_topic`](EmbeddedNsqd::delete_topic) is called.

// Where things are:
//
//   handle, faults, inspect, builder   what users see
//   server                             the thread, the listener, the port
//   connection                         a task per connection: socket, clock, faults
//   session                            a connection without its socket: bytes in, frames out
//   parser, identify, text             the protocol; nothing of the crate's own codec
//   state, misbehaviour                what is known, and what is switched on; one lock

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

pub use builder::EmbeddedNsqdBuilder;
pub use faults::Faults;
pub use handle::EmbeddedNsqd;
pub use inspect::{ConnectionInfo, ReceivedCommand, StoredMessage};
pub use stats::{ChannelInfo, ClientInfo, TopicInfo};

#[cfg(test)]
mod tests;
