//! Runs the check in `checks/frames.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::frames(data));
