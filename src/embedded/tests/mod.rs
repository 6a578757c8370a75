//! Tests of the embedded nsqd with clients that write raw bytes to blocking sockets.
//!
//! The protocol itself is tested in `tests/conformance`, against a real nsqd as well.

mod admin;
mod auth;
mod client;
mod cuts;
mod delivery;
mod faults;
mod heartbeats;
mod http;
mod inspect;
mod layered_client;
mod layers;
mod lifecycle;
mod registration;
mod tls;

use client::*;

use super::EmbeddedNsqd;
