//! A real nsqd and a client that shares no code with the crate, from the tests of the crate.
#![allow(dead_code, reason = "the tests of the crate use more of it")]

use std::path::Path;

use self::nsqd_program::{Found, Nsqd};

#[path = "../../../../tests/support/diskqueue.rs"]
pub mod diskqueue;
#[path = "../../../../tests/support/nsqd_program.rs"]
pub mod nsqd_program;
#[path = "../../../../tests/support/nsqd_version.rs"]
pub mod nsqd_version;
#[path = "../../../../tests/support/raw_client.rs"]
pub mod raw_client;
#[path = "../../../../tests/support/real_nsqd.rs"]
pub mod real_nsqd;
#[path = "../../../../tests/support/simulated_host.rs"]
pub mod simulated_host;
#[path = "../../../../tests/support/small_disk.rs"]
pub mod small_disk;
#[path = "../../../../tests/support/wait.rs"]
pub mod wait;

/// Returns nsqd from `NSQD_BIN` or `PATH`, else the one that the tests of the crate have built.
pub fn nsqd() -> Option<Nsqd> {
    let reason = match nsqd_program::find() {
        Found::At(nsqd) => return Some(nsqd.clone()),
        Found::Missing(reason) => reason,
    };
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/nsqd/1.3.0/nsqd");
    let nsqd = Nsqd::at(built).ok();
    assert!(nsqd.is_some() || !nsqd_program::is_required(), "{reason}");
    nsqd
}
