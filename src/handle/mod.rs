//! Handles: the actors of this crate as plain async methods, for programs without actors.

mod producer;
mod readiness;

pub use self::{
    producer::{HandleEvent, ProducerHandle},
    readiness::Readiness,
};
