//! Runs the check `snappy_reader` in `checks/compression.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::snappy_reader(data));
