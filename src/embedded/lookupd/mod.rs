//! An nsqlookupd inside the process.

// Layers, from the public API to the protocol. A module imports only modules of later lines, or of
// its own line to the right.
//
//   builder, admin, wait, inspect, faults    the public API around the handle
//   handle                                   stop, restart, requests to connections
//   server                                   the thread with its two ports
//   http_connection, tcp_connection          the tasks
//   answer, session                          requests and commands: what is answered
//   response                                 an answer as bytes, with its faults
//   state                                    everything behind the lock
//   registry, fault_state                    who is registered; which faults apply
//   node

mod admin;
mod answer;
mod builder;
mod fault_state;
mod faults;
mod handle;
mod http_connection;
mod inspect;
mod node;
mod registry;
mod response;
mod server;
mod session;
mod state;
mod tcp_connection;
mod wait;

pub use builder::{EmbeddedLookupdBuilder, LookupdFormat};
pub use faults::LookupdFaults;
pub use handle::EmbeddedLookupd;
pub use inspect::LookupdQuery;
pub use node::LookupdNode;

#[cfg(test)]
mod tests;
