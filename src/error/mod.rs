//! The error types: of a publish, of a configuration, of a connection, and of waiting for a
//! connection.

mod add_member;
mod add_nsqd;
#[cfg(feature = "lookup")]
mod admin;
mod answer;
mod config;
mod connection;
mod delivery;
#[cfg(feature = "lookup")]
mod lookup;
mod publish;
mod tls;
mod wait;

pub use self::{
    add_member::AddMemberError,
    add_nsqd::AddNsqdError,
    answer::AnswerError,
    config::ConfigError,
    connection::ConnectionError,
    delivery::Delivery,
    publish::{ErrorKind, ErrorScope, PublishError},
    tls::TlsFailure,
    wait::WaitError,
};
#[cfg(feature = "lookup")]
pub use self::{
    admin::AdminError,
    lookup::{AddLookupdError, LookupError},
};
pub(crate) use self::{config::ConfigCause, publish::Cause};
