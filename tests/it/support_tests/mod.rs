//! Tests of the test support itself, which other tests rely on.

mod auth_server;
mod script;
