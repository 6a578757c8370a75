//! The page of the example `actix_web_pipeline` in a real browser without a window.
//!
//! A trial is ignored, with the reason, without `FULL=1` or without Chromium; `BROWSER_REQUIRED=1`
//! makes a missing Chromium a failure. `UPDATE_DOCS=1` writes `docs/pipeline.png`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(
    unreachable_pub,
    reason = "`pub` marks the interface of a module; nothing leaves a test binary"
)]

#[path = "../support/mod.rs"]
mod support;

mod chromium;
mod dom;
mod pipeline;
mod proxy;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    libtest_mimic::run(&arguments, pipeline::trials()).exit();
}
