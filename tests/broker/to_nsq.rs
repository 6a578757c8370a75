//! The example `to_nsq` as its users know it: flags, splitting, outcomes and exit codes.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::harness::{Scenario, scenarios};
use crate::support::broker::Broker;
use crate::support::to_nsq;

/// Nothing listens there.
const NOWHERE: &str = "127.0.0.1:1";

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        to_nsq_publishes_line_by_line_and_skips_empty_ones,
        to_nsq_takes_the_flags_of_nsqs_own_tool,
        to_nsq_tells_which_address_failed,
        to_nsq_refuses_a_wrong_command_line,
    ]
}

/// What to_nsq says of `input` under these flags: exit code, standard error, outcome log.
async fn run(flags: Vec<String>, input: &'static [u8]) -> (Option<i32>, String, String) {
    let files = tempfile::tempdir().unwrap();
    let log = files.path().join("outcomes");
    let mut command = Command::new(to_nsq::program().unwrap());
    command.args(flags).arg("-outcome-log").arg(&log);
    let ended = tokio::task::spawn_blocking(move || output(command, input)).await;
    let Output { status, stderr, .. } = ended.unwrap();
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    let log = std::fs::read_to_string(log).unwrap_or_default();
    (status.code(), stderr, log)
}

fn output(mut command: Command, input: &[u8]) -> Output {
    let child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    // One that refuses its command line reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn flags(flags: &[&str]) -> Vec<String> {
    flags.iter().map(|flag| (*flag).to_owned()).collect()
}

async fn to_nsq_publishes_line_by_line_and_skips_empty_ones(broker: Broker) {
    let address = broker.address().await;
    let given = flags(&["--topic", "lines", "--nsqd-tcp-address", &address]);
    let (code, stderr, log) = run(given, b"one\n\ntwo\r\n\n\nlast").await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stderr, "published: 3 ok, 0 not written, 0 maybe written\n");
    assert_eq!(log, "0 ok\n1 ok\n2 ok\n");
    let stored = broker.bodies("lines", 3).await;
    assert_eq!(stored, [&b"one"[..], b"two\r", b"last"]);
}

async fn to_nsq_takes_the_flags_of_nsqs_own_tool(broker: Broker) {
    let address = format!("-nsqd-tcp-address={}", broker.address().await);
    let given = flags(&[
        "-topic",
        "flags",
        &address,
        "-rate=1000",
        "-delimiter",
        r"\0",
    ]);
    let options = flags(&[
        "-producer-opt",
        "max_pending,50",
        "-producer-opt",
        "publish_window=10",
        "-producer-opt",
        "retry-maybe-written",
    ]);
    let (code, stderr, _) = run([given, options].concat(), b"one\ntwo\0three\0").await;
    assert_eq!(code, Some(0), "{stderr}");
    let stored = broker.bodies("flags", 2).await;
    assert_eq!(stored, [&b"one\ntwo"[..], b"three"]);
}

async fn to_nsq_tells_which_address_failed(broker: Broker) {
    let address = broker.address().await;
    let addresses = [
        "--nsqd-tcp-address",
        &address,
        "--nsqd-tcp-address",
        NOWHERE,
    ];
    let given = flags(&["--topic", "two", "--producer-opt", "publish_timeout,200ms"]);
    let (code, stderr, log) = run([given, flags(&addresses)].concat(), b"one\n").await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.ends_with("published: 1 ok, 1 not written, 0 maybe written\n"),
        "{stderr}"
    );
    let [ok, failed] = log.lines().collect::<Vec<_>>()[..] else {
        panic!("{log}");
    };
    assert_eq!(ok, "0 ok");
    assert!(
        failed.starts_with("0 not_written 127.0.0.1:1: not sent within 200ms"),
        "{failed}"
    );
    assert_eq!(broker.bodies("two", 1).await, [b"one"]);
}

async fn to_nsq_refuses_a_wrong_command_line(_: Broker) {
    let wrong = [
        (&["--rate", "1"][..], "--topic"),
        (&["--topic", "not a name"], "not a name"),
        (&["--topic", "t", "--delimiter", "ab"], "single byte"),
        (&["--topic", "t", "--nsqd-tcp-address", "host"], "no port"),
        (
            &["--topic", "t", "--producer-opt", "max_pending,0"],
            "option max_pending = \"0\": must be a number from 1",
        ),
        (
            &["--topic", "t", "--producer-opt", "nonsense"],
            "unknown option \"nonsense\"",
        ),
        (
            &["--topic", "t", "--producer-opt", "auth_secret"],
            "must be auth_secret=VALUE",
        ),
        // The first of the two separates.
        (
            &["--topic", "t", "--producer-opt", "max_pending=0,5"],
            "option max_pending = \"0,5\"",
        ),
        (
            &["--topic", "t", "--producer-opt", "max_pending,0=5"],
            "option max_pending = \"0=5\"",
        ),
        (
            &["--topic", "t", "--producer-opt", "auth_secret:hunter2"],
            "unknown option \"auth_secret***\"",
        ),
    ];
    for (given, said) in wrong {
        let (code, stderr, log) = run(flags(given), b"one\n").await;
        assert_eq!((code, log.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}
