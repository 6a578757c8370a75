//! The example `verifier`, short: clean under every kind of fault, and red when somebody lies.
//!
//! In full size: `cargo run --release --example verifier -- --duration 60 --kill9-every 3`.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};
use crate::support::example;
use crate::support::wait;

/// Why no other.
const REAL_ONLY: &str = "it is about a program that starts a real nsqd itself";

/// It has a watchdog of its own, which says more.
const LONGEST: Duration = Duration::from_secs(300);

/// A load that a debug build on a busy machine keeps up.
const EASY: &[&str] = &["--rate", "2000", "--require", "500"];

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        every_answer_is_true_under_all_faults_of_a_process_and_a_network
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        every_answer_is_true_where_each_publish_is_a_command
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        what_may_be_stored_is_stored_when_it_is_sent_again
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        the_verifier_finds_each_lie_and_names_it
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        the_verifier_fails_when_the_rate_is_not_kept_up
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        a_verifier_that_is_interrupted_verifies_what_it_has_published
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        a_verifier_that_is_interrupted_while_it_verifies_ends_at_once
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        the_verifier_refuses_a_wrong_command_line.only(Kind::Real, REAL_ONLY),
    ]
}

/// Exit code, and all that it said.
async fn verify(options: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(example::program("verifier").unwrap());
    command.args(options).stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || command.output()).await;
    let ended = ended.unwrap().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (
        ended.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// contract: 1
/// fault: X2
async fn every_answer_is_true_under_all_faults_of_a_process_and_a_network(_: Broker) {
    let struck = [
        &["--duration", "12", "--kill9-every", "2"][..],
        &["--sigterm-every", "3", "--sigstop-every", "4"],
        &[
            "--proxy",
            "latency=2ms,jitter=1ms,slice-down=1..300,cut-every=1500ms,end=rst",
        ],
    ];
    let (code, said) = verify(&[EASY, &struck.concat()].concat()).await;
    assert_eq!(code, Some(0), "{said}");
    for fault in ["x kill -9: in flight", "x SIGTERM: in", "x SIGSTOP: in"] {
        assert!(said.contains(fault), "{said}");
    }
}

/// contract: 1
async fn every_answer_is_true_where_each_publish_is_a_command(_: Broker) {
    let struck = [
        "--producer-opt",
        "auto_batch=false",
        "--duration",
        "6",
        "--kill9-every",
        "2",
    ];
    let (code, said) = verify(&[EASY, &struck].concat()).await;
    assert_eq!(code, Some(0), "{said}");
}

/// contract: 1
/// fault: X2
async fn what_may_be_stored_is_stored_when_it_is_sent_again(_: Broker) {
    let struck = [
        "--duration",
        "6",
        "--retry-maybe-written",
        "--kill9-every",
        "1",
        "--proxy",
        "latency=5ms",
    ];
    let (code, said) = verify(&[EASY, &struck].concat()).await;
    assert_eq!(code, Some(0), "{said}");
    let told = said.contains(" 0 not written, 0 maybe written");
    assert!(told, "{said}");
}

/// contract: 1
/// fault: X2
async fn the_verifier_finds_each_lie_and_names_it(_: Broker) {
    let short = ["--rate", "500", "--require", "1", "--duration", "2"];
    let killed = ["--kill9-every", "1.5"];
    let lies: [(&[&str], &str); 8] = [
        (&["--sabotage", "lost"], " lost (0:"),
        (&["--sabotage", "duplicate"], "1 duplicate (0:"),
        (&["--sabotage", "corrupt"], "1 corrupt ("),
        (&["--sabotage", "misattributed"], "1 misattributed (0:"),
        (&["--sabotage", "unanswered"], "1 unanswered (0:"),
        (&["--sabotage", "twice"], "1 answered twice (0:"),
        (
            &["--sabotage", "idle"],
            "NOT CLEAN: nothing in flight: kill -9",
        ),
        // No lie of the verifier's own: a network that changes a byte, which NSQ has no checksum against. Bodies are so
        // large that it is hardly ever one of a command or a length, and never on each of the connections.
        (
            &["--proxy", "corrupt-up=10000", "--size", "2000"],
            " corrupt (",
        ),
    ];
    for (lie, named) in lies {
        let (code, said) = verify(&[&short[..], &killed, lie].concat()).await;
        assert_eq!(code, Some(1), "{lie:?}: {said}");
        assert!(said.contains(named) && said.contains("NOT CLEAN"), "{said}");
    }
}

/// contract: 1
async fn the_verifier_fails_when_the_rate_is_not_kept_up(_: Broker) {
    // More than nsqd takes on any machine while it writes each message to the disk.
    let (code, said) = verify(&["--rate", "500000", "--duration", "2"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("/s, and not 500000/s, were kept up"),
        "{said}"
    );
}

/// contract: 1
async fn a_verifier_that_is_interrupted_verifies_what_it_has_published(_: Broker) {
    let files = tempfile::tempdir().unwrap();
    let log = files.path().join("log");
    let mut command = Command::new(example::program("verifier").unwrap());
    command
        .args(EASY)
        .args(["--duration", "1h", "--log"])
        .arg(&log);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.stdin(Stdio::null()).spawn().unwrap();
    wait::until("answers are written to the log", || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains(" ok "))
    })
    .await;
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output()).await;
    let ended = ended.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(said.contains("\n0 lost, 0 duplicate, "), "{said}");
    // Every message has its line.
    let log = std::fs::read_to_string(&log).unwrap();
    let answers = log.lines().filter(|line| !line.starts_with('#')).count();
    assert!(said.starts_with(&format!("{answers} offered: ")), "{said}");
}

/// contract: 1
async fn a_verifier_that_is_interrupted_while_it_verifies_ends_at_once(_: Broker) {
    let files = tempfile::tempdir().unwrap();
    let log = files.path().join("log");
    let mut command = Command::new(example::program("verifier").unwrap());
    command
        .args([
            "--rate",
            "0",
            "--duration",
            "3",
            "--producers",
            "1",
            "--log",
        ])
        .arg(&log);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.stdin(Stdio::null()).spawn().unwrap();
    // The last that is told before nsqd is emptied, which takes seconds.
    wait::until("the producer is drained", || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains(" drained: "))
    })
    .await;
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output()).await;
    let ended = ended.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(said.contains("ended before"), "{said}");
    assert!(ended.stdout.is_empty(), "no verdict");
}

/// contract: 1
async fn the_verifier_refuses_a_wrong_command_line(_: Broker) {
    for wrong in [
        &["--duration", "soon"][..],
        &["--kill9-every", "0"],
        &["--kill9-every", "2m"],
        &["--batches", "2"],
        &["--producer-opt", "max_pending"],
        &["--proxy", "latency"],
    ] {
        let (code, said) = verify(wrong).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(wrong[0]), "{said}");
    }
}
