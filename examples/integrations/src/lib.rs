//! The crate with sqlx, metrics, prometheus and tracing. `docs/integrations.md` explains each
//! module; copy the ones that you need.

pub mod collector;
pub mod facade;
pub mod outbox;
pub mod trace;
pub mod traceparent;
