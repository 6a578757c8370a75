//! Runs the check in `checks/embedded.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::embedded(data));
