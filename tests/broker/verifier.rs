//! The example `verifier`, in a short form: it finds true answers under all faults, and reports
//! every kind of false one.
//!
//! In full: `cargo run --release --example verifier -- --duration 60 --kill9-every 3`.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};
use crate::support::{example, full, scaled, wait};

/// A rate that a debug build on a busy machine can keep.
const EASY: &str = "--rate 2000 --require 500";

pub fn scenarios() -> Vec<Scenario> {
    let real_only = "it starts a real nsqd itself";
    scenarios![
        answers_are_true_under_faults_of_process_and_network.only(Kind::Real, real_only),
        ambiguous_publishes_are_stored_if_retried.only(Kind::Real, real_only),
        messages_are_consumed_under_faults_of_process_and_network.only(Kind::Real, real_only),
        verifier_reports_every_kind_of_false_answer.only(Kind::Real, real_only),
        verifier_fails_if_the_rate_is_not_kept.only(Kind::Real, real_only),
        interrupted_verifier_checks_what_it_has_published.only(Kind::Real, real_only),
    ]
}

fn command(options: &str) -> Command {
    let mut command = Command::new(example::program("verifier").unwrap());
    command.args(options.split(' ')).stdin(Stdio::null());
    command
}

/// Exit code and output.
async fn verify(options: &str) -> (Option<i32>, String) {
    let mut command = command(options);
    let ended = tokio::task::spawn_blocking(move || command.output()).await;
    let ended = ended.unwrap().unwrap();
    let output = [ended.stdout, ended.stderr].concat();
    let output = String::from_utf8_lossy(&output).into_owned();
    (ended.status.code(), output)
}

/// contract: 1
/// fault: X2
async fn answers_are_true_under_faults_of_process_and_network(_: Broker) {
    let faults = scaled(
        "--duration 6 --kill9-every 1 --sigterm-every 1.5 --sigstop-every 2",
        "--duration 12 --kill9-every 2 --sigterm-every 3 --sigstop-every 4",
    );
    let network = "latency=2ms,jitter=1ms,slice-down=1..300,cut-every=1500ms,end=rst";
    let (code, output) = verify(&format!("{EASY} {faults} --proxy {network}")).await;
    assert_eq!(code, Some(0), "{output}");
    for fault in ["x kill -9: in flight", "x SIGTERM: in", "x SIGSTOP: in"] {
        assert!(output.contains(fault), "{output}");
    }
}

/// contract: 1
/// fault: X2
async fn ambiguous_publishes_are_stored_if_retried(_: Broker) {
    let faults = "--retry-maybe-written --duration 3 --kill9-every 1 --proxy latency=5ms";
    let (code, output) = verify(&format!("{EASY} {faults}")).await;
    assert_eq!(code, Some(0), "{output}");
    let none = " 0 not written, 0 maybe written";
    assert!(output.contains(none), "{output}");
}

/// consumer contract: 2, 4
async fn messages_are_consumed_under_faults_of_process_and_network(_: Broker) {
    let network = "latency=2ms,jitter=1ms,slice-down=1..300,cut-every=1500ms,end=rst";
    let faults = scaled(
        "--duration 5 --kill9-every 1 --sigterm-every 1.5 --sigstop-every 2",
        "--duration 30 --kill9-every 2 --sigterm-every 3 --sigstop-every 4",
    );
    let (code, output) = verify(&format!("{EASY} --consume {faults} --proxy {network}")).await;
    assert_eq!(code, Some(0), "{output}");
    if full() {
        let faults = "--duration 30 --sigterm-every 1";
        let (code, output) = verify(&format!("{EASY} --consume {faults}")).await;
        assert_eq!(code, Some(0), "{output}");
    }
}

/// The fourth case is not the verifier's own doing: a network that alters bytes, against which NSQ
/// has no checksum. Bodies are so large that commands and lengths are hardly ever altered.
/// contract: 1
/// fault: X2
async fn verifier_reports_every_kind_of_false_answer(_: Broker) {
    let cases = [
        ("--sabotage lost", " lost (0:"),
        ("--sabotage misattributed", "1 misattributed (0:"),
        ("--sabotage unhandled --consume", "1 lost ("),
        ("--proxy corrupt-up=10000 --size 2000", " corrupt ("),
        ("--sabotage duplicate", "1 duplicate (0:"),
        ("--sabotage corrupt", "1 corrupt ("),
        ("--sabotage unanswered", "1 unanswered (0:"),
        ("--sabotage twice", "1 answered twice (0:"),
        ("--sabotage idle", "nothing in flight: kill -9"),
    ];
    // The others are tested with `Record`.
    for (options, problem) in &cases[..scaled(4, cases.len())] {
        let short = "--rate 500 --require 1 --duration 2 --kill9-every 1.5";
        let (code, output) = verify(&format!("{short} {options}")).await;
        assert_eq!(code, Some(1), "{options}: {output}");
        let reported = output.contains(problem) && output.contains("NOT CLEAN");
        assert!(reported, "{output}");
    }
}

/// contract: 1
async fn verifier_fails_if_the_rate_is_not_kept(_: Broker) {
    let impossible = "--rate 0 --require 10000000 --duration 1 --producers 1";
    let (code, output) = verify(impossible).await;
    // A wrong answer beside it has the exit code of a wrong answer.
    assert_eq!(code, Some(4), "{output}");
    let (code, output) = verify(&format!("{impossible} --sabotage unanswered")).await;
    assert_eq!(code, Some(1), "{output}");
    let reported = output.contains("which is less than the required 10000000/s");
    assert!(reported, "{output}");
}

/// Waits until the log contains `text`, interrupts the process, and returns its exit code and
/// standard output.
async fn interrupt_at(child: Child, log: &Path, text: &str) -> (Option<i32>, String) {
    let logged = || std::fs::read_to_string(log).is_ok_and(|log| log.contains(text));
    wait::until("the verifier writes its log", logged).await;
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output()).await;
    let ended = ended.unwrap().unwrap();
    let stdout = String::from_utf8_lossy(&ended.stdout).into_owned();
    (ended.status.code(), stdout)
}

/// contract: 1
async fn interrupted_verifier_checks_what_it_has_published(_: Broker) {
    let files = tempfile::tempdir().unwrap();
    let log = files.path().join("log");
    let start = |options: &str, log: &Path| {
        let mut command = command(options);
        command.arg("--log").arg(log);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let child = start(&format!("{EASY} --duration 1h"), &log);
    let (code, stdout) = interrupt_at(child, &log, " ok ").await;
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains("\n0 lost, 0 duplicate, "), "{stdout}");
    // The log has a line for every message.
    let lines = std::fs::read_to_string(&log).unwrap();
    let answers = lines.lines().filter(|line| !line.starts_with('#')).count();
    assert!(
        stdout.starts_with(&format!("{answers} offered: ")),
        "{stdout}"
    );

    // During the check, it exits at once and without a report.
    let log = files.path().join("second");
    let child = start("--rate 0 --duration 3 --producers 1", &log);
    let (code, stdout) = interrupt_at(child, &log, " drained: ").await;
    assert_eq!((code, &stdout[..]), (Some(3), ""));
}
