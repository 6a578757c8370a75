//! The example `to_nsq` on streams: outages, slow lines, several addresses, and records that
//! cannot be published.

use std::fs::File;
use std::io::{Seek, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actix_nsq::bytes::Bytes;

use super::fixture::{TOPIC, numbered, numbers};
use crate::harness::{Scenario, scenarios};
use crate::support::auth_server::Grant;
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::chaos::{ChaosProxy, Faults};
use crate::support::scaled;
use crate::support::to_nsq::{Ended, ToNsq};
use crate::support::wait::{self, PATIENCE};

/// Nothing listens there.
const NOWHERE: &str = "127.0.0.1:1";

/// All lines at once.
const AT_ONCE: usize = usize::MAX;

/// `publish_timeout` is short, so that what depends on it fails soon.
const IMPATIENT: &str = "--producer-opt=publish_timeout,500ms";

/// Maximum time of a start that fails.
const SOON: Duration = Duration::from_secs(2);

pub fn scenarios() -> Vec<Scenario> {
    let limited = || Settings {
        max_msg_size: 1000,
        ..Settings::in_memory()
    };
    let guarded = || Settings::in_memory().and_auth();
    let embedded_only = "it needs a fault of the embedded nsqd";
    scenarios![
        input_waits_for_an_nsqd_that_is_away_at_the_start.with(Settings::in_memory()),
        input_waits_during_an_outage_and_the_order_is_kept,
        signal_ends_the_wait_for_nsqd_and_completes_the_log.with(Settings::in_memory()),
        rejected_record_is_retried_before_those_behind_it
            .with(Settings::in_memory())
            .only(Kind::Embedded, embedded_only),
        outage_ends_the_program_or_skips_records_on_request.with(Settings::in_memory()),
        slow_line_is_read_only_as_far_as_it_answers_in_time.with(Settings::in_memory()),
        record_that_may_be_written_is_sent_again_on_request_only.with(Settings::in_memory()),
        input_waits_for_the_slowest_address.with(Settings::in_memory()),
        invalid_record_is_reported_and_passed_over.with(limited()),
        unauthorized_topic_ends_the_program.with(guarded()),
        start_that_cannot_succeed_ends_and_reads_nothing.with(guarded()),
        endless_input_without_records_takes_bounded_memory.with(Settings::in_memory()),
    ]
}

async fn to_nsq(broker: &Broker, input: Vec<Bytes>, options: &[&str]) -> ToNsq {
    start(&broker.address().await, input, options)
}

fn start(address: &str, input: Vec<Bytes>, options: &[&str]) -> ToNsq {
    let mut all = vec![
        format!("--topic={TOPIC}"),
        format!("--nsqd-tcp-address={address}"),
        "--producer-opt=max_reconnect_backoff,200ms".to_owned(),
    ];
    all.extend(options.iter().map(|option| (*option).to_owned()));
    ToNsq::start(input, AT_ONCE, &all).unwrap()
}

fn lines(count: usize) -> Vec<Bytes> {
    (0..count).map(numbered).collect()
}

/// Waits for its end in a separate thread, because brokers and proxies need this one.
async fn ended(mut to_nsq: ToNsq) -> Ended {
    let wait = move || to_nsq.wait(4 * PATIENCE).unwrap();
    tokio::task::spawn_blocking(wait).await.unwrap()
}

async fn until_reported(to_nsq: &ToNsq, text: &str) {
    wait::until(text, || to_nsq.stderr().contains(text)).await;
}

#[track_caller]
fn assert_all_ok(ended: &Ended, count: usize) {
    let summary = format!("published: {count} ok, 0 not written, 0 maybe written");
    assert_eq!(
        ended.stderr.lines().last(),
        Some(&summary[..]),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.status.code(), Some(0));
    let outcomes = ended
        .outcomes
        .iter()
        .map(|(number, outcome, _)| (*number, &outcome[..]));
    assert!(outcomes.eq((0..count).map(|number| (number, "ok"))));
}

async fn input_waits_for_an_nsqd_that_is_away_at_the_start(broker: Broker) {
    broker.terminate().await;
    let to_nsq = to_nsq(&broker, lines(3000), &[IMPATIENT]).await;
    until_reported(&to_nsq, "not connected; the input waits").await;
    broker.restart().await;
    let ended = ended(to_nsq).await;
    assert_all_ok(&ended, 3000);
    assert!(
        ended.stderr.contains("connected again after"),
        "{}",
        ended.stderr
    );
    let stored = broker.bodies(TOPIC, 3000).await;
    assert_eq!(numbers(&stored), Vec::from_iter(0..3000));
}

/// What is in flight when nsqd goes away may be stored. Nothing else fails, although the outage is
/// longer than `publish_timeout`.
async fn input_waits_during_an_outage_and_the_order_is_kept(broker: Broker) {
    let count = 20_000;
    let options = [IMPATIENT, "--producer-opt=publish_window,500"];
    let to_nsq = to_nsq(&broker, lines(count), &options).await;
    while broker.message_count(TOPIC).await < 1000 {
        tokio::task::yield_now().await;
    }
    broker.terminate().await;
    until_reported(&to_nsq, "not connected; the input waits").await;
    assert!(to_nsq.written() < count, "the input did not wait");
    broker.restart().await;
    let ended = ended(to_nsq).await;
    let failed = ended
        .outcomes
        .iter()
        .filter(|(_, outcome, _)| outcome == "not_written");
    assert_eq!(failed.count(), 0, "{}", ended.stderr);
    assert_eq!(ended.outcomes.len(), count);
    assert_eq!(ended.status.code(), Some(i32::from(ended.ambiguous() > 0)));
    let stored = numbers(&broker.bodies(TOPIC, count - ended.ambiguous()).await);
    assert!(
        stored.is_sorted_by(|one, next| one < next),
        "out of order, or twice"
    );
}

/// Each line that was read from the file has an outcome.
async fn signal_ends_the_wait_for_nsqd_and_completes_the_log(broker: Broker) {
    let mut file = tempfile::tempfile().unwrap();
    let text: Vec<u8> = lines(100_000)
        .iter()
        .flat_map(|line| [line, &b"\n"[..]].concat())
        .collect();
    file.write_all(&text).unwrap();
    file.rewind().unwrap();
    let options = [
        format!("--topic={TOPIC}"),
        format!("--nsqd-tcp-address={}", broker.address().await),
        "--producer-opt=publish_window,500".to_owned(),
    ];
    let to_nsq = ToNsq::reading(file.try_clone().unwrap().into(), &options).unwrap();
    while broker.message_count(TOPIC).await < 1000 {
        tokio::task::yield_now().await;
    }
    broker.terminate().await;
    until_reported(&to_nsq, "not connected; the input waits").await;
    to_nsq.terminate().unwrap();
    let ended = ended(to_nsq).await;
    assert_eq!(ended.status.code(), Some(1));
    let position = file.stream_position().unwrap() as usize;
    let read = text[..position]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    assert!(read < 100_000, "the input did not wait");
    assert_eq!(ended.outcomes.len(), read, "{}", ended.stderr);
}

async fn rejected_record_is_retried_before_those_behind_it(broker: Broker) {
    for command in ["PUB", "PUB", "MPUB"] {
        broker
            .embedded()
            .faults()
            .fail_next(command, "E_PUB_FAILED PUB failed exiting");
    }
    let options = ["--producer-opt=auto_batch_messages,3"];
    let ended = ended(to_nsq(&broker, lines(100), &options).await).await;
    assert_all_ok(&ended, 100);
    let reported = "PUB failed exiting; the input waits";
    assert!(ended.stderr.contains(reported), "{}", ended.stderr);
    let stored = broker.bodies(TOPIC, 100).await;
    assert_eq!(numbers(&stored), Vec::from_iter(0..100));
}

async fn outage_ends_the_program_or_skips_records_on_request(broker: Broker) {
    let assert_failed = |ended: &Ended, reason: &str| {
        let (number, outcome, error) = &ended.outcomes[0];
        assert_eq!(
            (*number, &outcome[..]),
            (0, "not_written"),
            "{}",
            ended.stderr
        );
        assert!(error.starts_with(reason), "{error}");
        assert_eq!(ended.status.code(), Some(1));
    };
    // As NSQ's own tool, it does not wait.
    let stopped = ended(start(NOWHERE, lines(9), &["-on-failure", "stop"])).await;
    assert_failed(&stopped, "not connected");
    assert!(
        stopped.stderr.contains("to_nsq: stopped at record 0\n"),
        "{}",
        stopped.stderr
    );
    assert!(stopped.took < SOON, "{:?}", stopped.took);
    let waits = "--producer-opt=wait_for_connection,always";
    let stopped = ended(start(
        NOWHERE,
        lines(9),
        &[IMPATIENT, waits, "-on-failure=stop"],
    ))
    .await;
    assert_failed(&stopped, "not sent within 500ms");

    let skipped = ended(start(NOWHERE, lines(9), &[IMPATIENT, "--on-failure=skip"])).await;
    assert_failed(&skipped, "not sent within 500ms");
    assert_eq!(skipped.outcomes.len(), 9);
    assert!(!skipped.stderr.contains("stopped"), "{}", skipped.stderr);

    // The other address takes what was read.
    let other = format!("--nsqd-tcp-address={}", broker.address().await);
    let options = [IMPATIENT, "--on-failure=stop", &other];
    let ended = ended(start(NOWHERE, lines(9), &options)).await;
    assert_eq!(ended.status.code(), Some(1));
    let stored = broker.bodies(TOPIC, 9).await;
    assert_eq!(numbers(&stored), Vec::from_iter(0..9));
    assert_eq!(ended.outcomes.len(), 18, "{}", ended.stderr);
}

/// The line needs several times `publish_timeout` for all records.
async fn slow_line_is_read_only_as_far_as_it_answers_in_time(broker: Broker) {
    let record = Bytes::from(vec![b'x'; 1000]);
    let all = ["retry", "skip", "stop"];
    for on_failure in scaled(&all[..1], &all) {
        let faults: Faults = "bandwidth-up=250kB/s,latency=10ms".parse().unwrap();
        let proxy = ChaosProxy::start(broker.address().await, faults, 1).unwrap();
        let options = [
            &format!("--on-failure={on_failure}"),
            "--producer-opt=publish_timeout,1s",
        ];
        let records = vec![record.clone(); 1000];
        let to_nsq = start(&proxy.address().to_string(), records, &options);
        assert_all_ok(&ended(to_nsq).await, 1000);
    }
}

async fn record_that_may_be_written_is_sent_again_on_request_only(broker: Broker) {
    let stalled: Faults = "stall-down=0".parse().unwrap();
    for (at_least_once, outcome, stored) in [("false", "maybe_written", 2), ("true", "ok", 5)] {
        let proxy = ChaosProxy::start(broker.address().await, Faults::default(), 1).unwrap();
        let (input, mut output) = std::io::pipe().unwrap();
        let retry = format!("--producer-opt=retry_maybe_written={at_least_once}");
        let options = [
            format!("--topic={TOPIC}"),
            format!("--nsqd-tcp-address={}", proxy.address()),
            IMPATIENT.to_owned(),
            retry,
        ];
        let to_nsq = ToNsq::reading(input.into(), &options).unwrap();
        let before = broker.message_count(TOPIC).await;
        output.write_all(b"one\n").unwrap();
        while broker.message_count(TOPIC).await == before {
            tokio::task::yield_now().await;
        }
        proxy.set(stalled.clone());
        output.write_all(b"two\n").unwrap();
        while broker.message_count(TOPIC).await < before + 2 {
            tokio::task::yield_now().await;
        }
        until_reported(&to_nsq, "no response to any publish within ack_timeout").await;
        proxy.set(Faults::default());
        drop(output);
        let ended = ended(to_nsq).await;
        let (number, last, _) = &ended.outcomes[1];
        assert_eq!((*number, &last[..]), (1, outcome), "{}", ended.stderr);
        assert_eq!(ended.status.code(), Some(i32::from(outcome != "ok")));
        // With at-least-once delivery another copy may be stored before the fault ends.
        let count = broker.message_count(TOPIC).await;
        assert!(
            count == stored || outcome == "ok" && count > stored,
            "{count}"
        );
    }
}

async fn input_waits_for_the_slowest_address(broker: Broker) {
    let count = 20_000;
    let stalled = ChaosProxy::start(broker.address().await, Faults::default(), 1).unwrap();
    let (input, mut output) = std::io::pipe().unwrap();
    let options = [
        format!("--topic={TOPIC}"),
        format!("--nsqd-tcp-address={}", broker.address().await),
        format!("--nsqd-tcp-address={}", stalled.address()),
        "--producer-opt=publish_window,500".to_owned(),
    ];
    let to_nsq = ToNsq::reading(input.into(), &options).unwrap();
    output.write_all(b"first\n").unwrap();
    while broker.message_count(TOPIC).await < 2 {
        tokio::task::yield_now().await;
    }
    stalled.set(Faults::black_hole());
    let feed = std::thread::spawn(move || {
        for number in 1..count {
            writeln!(output, "{number:0100}").unwrap();
        }
    });
    // The fast address has taken everything that is read ahead.
    let mut taken = (0, std::time::Instant::now());
    while taken.1.elapsed() < Duration::from_millis(300) {
        let now = broker.message_count(TOPIC).await;
        if now != taken.0 {
            taken = (now, std::time::Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        !feed.is_finished() && taken.0 < 5_000,
        "{} records were read ahead",
        taken.0
    );
    stalled.set(Faults::default());
    let ended = ended(to_nsq).await;
    feed.join().unwrap();
    let summary = format!(
        "published: {} ok, 0 not written, 0 maybe written",
        2 * count
    );
    assert_eq!(
        ended.stderr.lines().last(),
        Some(&summary[..]),
        "{}",
        ended.stderr
    );
}

async fn invalid_record_is_reported_and_passed_over(broker: Broker) {
    // nsqd's limit is not known before it rejects a record.
    let beyond_nsqd = "x".repeat(1001);
    let beyond_option = "x".repeat(2001);
    let input = || {
        let records = ["one", "", &beyond_nsqd, &beyond_option, "two"];
        records
            .iter()
            .map(|record| Bytes::copy_from_slice(record.as_bytes()))
            .collect()
    };
    let options = ["--producer-opt=max_publish_size,2000"];
    let ended_at_end = ended(to_nsq(&broker, input(), &options).await).await;
    assert_eq!(ended_at_end.status.code(), Some(1));
    let stderr = &ended_at_end.stderr;
    let summary = "published: 2 ok, 3 not written, 0 maybe written\n";
    assert!(stderr.ends_with(summary), "{stderr}");
    for (number, reason) in [
        (1, "empty record"),
        (
            2,
            "1001 bytes exceed the limit that nsqd reported earlier: E_BAD_MESSAGE",
        ),
        (3, "record exceeds max_publish_size (2000 bytes)"),
    ] {
        assert!(
            stderr.contains(&format!("to_nsq: record {number}: {reason}")),
            "{stderr}"
        );
        let (logged, outcome, error) = &ended_at_end.outcomes[number];
        assert_eq!((*logged, &outcome[..]), (number, "not_written"));
        assert!(error.starts_with(reason), "{error}");
    }
    assert_eq!(broker.bodies(TOPIC, 2).await, [b"one", b"two"]);

    let options = ["-producer-opt=max_publish_size=2000", "-on-invalid=stop"];
    let stopped = ended(to_nsq(&broker, input(), &options).await).await;
    assert_eq!(stopped.status.code(), Some(1));
    assert_eq!(stopped.outcomes.len(), 2, "{}", stopped.stderr);
    let input = input().split_off(2);
    let stopped = ended(to_nsq(&broker, input, &options).await).await;
    assert_eq!(stopped.status.code(), Some(1));
    assert!(
        stopped.stderr.contains("to_nsq: stopped at record 0\n"),
        "{}",
        stopped.stderr
    );
    assert_eq!(broker.message_count(TOPIC).await, 3);
}

/// Waiting does not help, and every further record would fail.
async fn unauthorized_topic_ends_the_program(broker: Broker) {
    broker
        .auth()
        .authority()
        .grant("secret", Grant::topics("client", &["other"]));
    let options = ["--producer-opt=auth_secret=secret"];
    let ended = ended(to_nsq(&broker, lines(9), &options).await).await;
    assert_eq!(ended.status.code(), Some(1));
    let (number, outcome, error) = &ended.outcomes[0];
    assert_eq!(
        (*number, &outcome[..]),
        (0, "not_written"),
        "{}",
        ended.stderr
    );
    assert!(error.contains("E_UNAUTHORIZED"), "{error}");
    assert!(
        ended.stderr.contains("to_nsq: stopped at record 0\n"),
        "{}",
        ended.stderr
    );
}

/// A server that answers each connection with this text.
fn server(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Ends with the process.
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.write_all(text.as_bytes());
        }
    });
    address
}

async fn start_that_cannot_succeed_ends_and_reads_nothing(broker: Broker) {
    let nsqd = broker.address().await;
    let http = server("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request");
    let lookupd = server("\0\0\0\x0eE_BAD_PROTOCOL");
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("input");
    std::fs::write(&path, "one\ntwo\n").unwrap();
    for (address, option, reason) in [
        (
            "nsqd.invalid:4150",
            "auto_batch",
            "cannot resolve nsqd.invalid:4150",
        ),
        (&http, "auto_batch", "an HTTP server answered"),
        (&lookupd, "auto_batch", "an nsqlookupd answered"),
        (&nsqd, "tls_v1", "nsqd does not offer TLS"),
        (&nsqd, "auto_batch", "nsqd requires AUTH; set auth_secret"),
        (&nsqd, "auth_secret=wrong", "nsqd rejected AUTH"),
    ] {
        // The file and the program share one position.
        let mut input = File::open(&path).unwrap();
        let shared = input.try_clone().unwrap();
        let options = [
            format!("--topic={TOPIC}"),
            format!("--nsqd-tcp-address={address}"),
            format!("--producer-opt={option}"),
        ];
        let ended = ended(ToNsq::reading(shared.into(), &options).unwrap()).await;
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.took < SOON, "{:?}: {}", ended.took, ended.stderr);
        // The address comes first, unless the reason has it.
        let expected = if reason.contains(address) {
            format!("to_nsq: {reason}")
        } else {
            format!("to_nsq: {address}: {reason}")
        };
        assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
        assert_eq!(input.stream_position().unwrap(), 0, "{address} {option}");
    }
}

/// A child process that is killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn endless_input_without_records_takes_bounded_memory(broker: Broker) {
    let mut yes = Command::new("yes");
    let mut yes = Killed(yes.arg("").stdout(Stdio::piped()).spawn().unwrap());
    let empty = Stdio::from(yes.0.stdout.take().unwrap());
    let zero = Stdio::from(File::open("/dev/zero").unwrap());
    let options = [
        format!("--topic={TOPIC}"),
        format!("--nsqd-tcp-address={}", broker.address().await),
    ];
    for (input, reason) in [
        (empty, "record 9: empty record"),
        (
            zero,
            "record 0: record exceeds max_publish_size (1048576 bytes)",
        ),
    ] {
        let to_nsq = ToNsq::reading(input, &options).unwrap();
        until_reported(&to_nsq, reason).await;
        // It reads hundreds of megabytes in this time.
        let used = || to_nsq.cpu_time_and_peak_memory().unwrap();
        let enough = used().0 + Duration::from_millis(300);
        wait::until("300 ms of CPU time", || used().0 > enough).await;
        let megabytes = used().1 >> 20;
        assert!(megabytes < 64, "{megabytes} MiB: {}", to_nsq.stderr());
        to_nsq.terminate().unwrap();
        assert_eq!(ended(to_nsq).await.status.code(), Some(1));
    }
}
