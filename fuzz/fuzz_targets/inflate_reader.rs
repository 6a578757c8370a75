//! Fuzzes what `checks/compression.rs` holds to be true.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::inflate_reader(data));
