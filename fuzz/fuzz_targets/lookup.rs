//! Runs the check in `checks/lookup.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::lookup(data));
