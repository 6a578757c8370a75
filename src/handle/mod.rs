//! Handles: the actors of this crate as plain async methods, for programs without actors.

mod consumer;
mod producer;
mod publisher;
mod readiness;
mod sink;
mod thread;

pub use self::{
    consumer::ConsumerHandle,
    producer::ProducerHandle,
    publisher::Publisher,
    readiness::Readiness,
    sink::{PublishSink, SinkError},
};
