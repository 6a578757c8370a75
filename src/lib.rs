//! The NSQ client for Actix applications: every publish gets exactly one, truthful answer.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod backoff;
mod config;
mod conn;
mod error;
mod producer;
pub mod protocol;

#[cfg(feature = "embedded")]
#[cfg_attr(docsrs, doc(cfg(feature = "embedded")))]
pub mod embedded;

pub use self::{
    config::{Config, ConfigBuilder, ConfigOption},
    conn::{ConnectFuture, Connector, Stream},
    error::{ConnectionError, Delivery, Error, ErrorKind},
    producer::{DeferredPublish, Drain, DrainReport, MultiPublish, Producer, Publish},
    protocol::{Channel, NameError, Topic},
};
pub use actix;
pub use bytes;
