//! Runs the check in `checks/publish.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::publish(data));
