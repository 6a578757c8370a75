//! The error types: of a publish, of a configuration, of a connection, and of waiting for a connection.

mod config;
mod connection;
mod delivery;
mod publish;
mod wait;

pub(crate) use self::{config::ConfigCause, publish::Cause};
pub use self::{
    config::ConfigError,
    connection::{ConnectionError, TlsFailure},
    delivery::Delivery,
    publish::{ErrorKind, ErrorScope, PublishError},
    wait::WaitError,
};
