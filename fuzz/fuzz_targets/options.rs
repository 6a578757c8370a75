//! Fuzzes what `checks/options.rs` holds to be true.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::options(data));
