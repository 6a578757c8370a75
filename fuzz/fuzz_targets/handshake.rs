//! Runs the check in `checks/handshake.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::handshake(data));
