//! Fuzzes what `checks/embedded.rs` holds to be true.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::embedded(data));
