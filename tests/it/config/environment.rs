//! Environment variables that are not UTF-8. The test runs itself with them as a child process.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, process::Command};

use actix_nsq::ProducerConfig;

const NAME: &str = "config::environment::value_that_is_not_utf_8_is_rejected_by_name";

const CHILD: &str = "NON_UTF_8_CHILD";

/// fault: P25
#[test]
fn value_that_is_not_utf_8_is_rejected_by_name() {
    if std::env::var_os(CHILD).is_some() {
        match ProducerConfig::from_env() {
            Ok(config) => println!("accepted: {}", config.address()),
            Err(error) => println!("rejected: {error}"),
        }
        return;
    }
    let not_utf_8 = OsStr::from_bytes(b"1\xff\n2");
    for (variable, expected) in [
        // Not a variable of the crate.
        ("NSQ_SERVICE_HOST", "accepted: 127.0.0.1:4150"),
        (
            "NSQ_MAX_PENDING",
            "rejected: option max_pending = \"1\u{fffd}\\n2\"",
        ),
        (
            "NSQ_CLIENT_ID",
            "rejected: option client_id = \"1\u{fffd}\\n2\"",
        ),
        ("NSQ_AUTH_SECRET", "rejected: option auth_secret = \"***\""),
        (
            "NSQD_TCP_ADDRESS",
            "rejected: nsqd address \"1\u{fffd}***\"",
        ),
    ] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .env("NSQD_TCP_ADDRESS", "127.0.0.1:4150")
            .env(variable, not_utf_8)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let succeeded = output.status.success();
        assert!(
            succeeded && printed.contains(expected),
            "{variable}: {printed}"
        );
    }
}
