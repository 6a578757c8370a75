//! Runs the check `inflate_reader` in `checks/compression.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::inflate_reader(data));
