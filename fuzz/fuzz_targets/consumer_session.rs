//! Runs the check in `checks/consumer_session.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::consumer_session(data));
