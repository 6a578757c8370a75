//! The error types: of a publish, of a configuration, of a connection, and of waiting for a
//! connection.

mod add_member;
mod add_nsqd;
mod answer;
mod config;
mod connection;
mod delivery;
#[cfg(feature = "lookup")]
mod lookup;
mod publish;
mod tls;
mod wait;

#[cfg(feature = "lookup")]
pub use self::lookup::{AddLookupdError, LookupError};
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
pub(crate) use self::{config::ConfigCause, publish::Cause};
