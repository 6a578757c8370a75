//! Handles: the actors of this crate as plain async methods, for programs without actors.

mod consumer;
mod producer;
mod readiness;
mod thread;

pub use self::{
    consumer::ConsumerHandle,
    producer::{ProducerHandle, Publisher},
    readiness::Readiness,
};
