//! The process's own environment, whose values need not be UTF-8: this test starts itself with such ones.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, process::Command};

use actix_nsq::ProducerConfig;

const NAME: &str = "config::environment::a_value_that_is_not_utf_8_is_refused_by_name";

const CHILD: &str = "HOSTILE_ENVIRONMENT";

/// fault: P25
#[test]
fn a_value_that_is_not_utf_8_is_refused_by_name() {
    if std::env::var_os(CHILD).is_some() {
        match ProducerConfig::from_env() {
            Ok(config) => println!("taken: {}", config.address()),
            Err(error) => println!("refused: {error}"),
        }
        return;
    }
    let good = OsStr::new("127.0.0.1:4150");
    let not_utf_8 = OsStr::from_bytes(b"1\xff\n2");
    for (variable, value, says) in [
        // What is no option's may be anything.
        ("NSQ_SERVICE_HOST", not_utf_8, "taken: 127.0.0.1:4150"),
        (
            "NSQ_MAX_PENDING",
            not_utf_8,
            "refused: option max_pending = \"1\u{fffd}\\n2\"",
        ),
        (
            "NSQ_CLIENT_ID",
            not_utf_8,
            "refused: option client_id = \"1\u{fffd}\\n2\"",
        ),
        (
            "NSQ_MAX_IN_FLIGHT",
            not_utf_8,
            "refused: unsupported option max_in_flight of go-nsq: ",
        ),
        (
            "NSQ_AUTH_SECRET",
            not_utf_8,
            "refused: option auth_secret = \"***\": must be UTF-8",
        ),
        (
            "NSQD_TCP_ADDRESS",
            not_utf_8,
            "refused: nsqd address \"1\u{fffd}***\"",
        ),
    ] {
        let ran = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .env("NSQD_TCP_ADDRESS", good)
            .env(variable, value)
            .output();
        let ran = ran.unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(
            ran.status.success() && said.contains(says),
            "{variable}: {said}"
        );
    }
}
