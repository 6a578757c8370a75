//! The examples `to_nsq` and `nsq_bench` as programs: flags, output, exit codes, and what is
//! stored.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use futures::future::join;
use serde_json::Value;

use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, ChannelState, Kind, Settings};
use crate::support::wait::PATIENCE;
use crate::support::{example, to_nsq};

/// Nothing listens there.
const NOWHERE: &str = "127.0.0.1:1";

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        to_nsq_publishes_each_line,
        to_nsq_accepts_the_flags_of_nsqs_own_tool,
        to_nsq_reports_which_address_failed,
        to_nsq_rejects_a_wrong_command_line,
        tools_reject_arguments_that_are_wrong_or_not_utf8
            .only(Kind::Embedded, "it starts no tool that connects"),
        nsq_bench_publishes_the_reported_number_of_messages,
        nsq_bench_publishes_in_every_mode,
        nsq_bench_keeps_the_rate_and_reports_a_stall,
        nsq_bench_reports_rejections_and_exits.with(Settings {
            max_msg_size: 100,
            ..Settings::default()
        }),
        nsq_bench_exits_when_nsqd_is_killed,
        nsq_bench_consumes_in_every_mode_and_returns_the_rest,
        nsq_bench_consumes_what_it_publishes,
        nsq_bench_fails_without_enough_messages_to_consume,
    ]
}

/// Exit code, standard error and outcome log of `to_nsq` with these flags.
async fn run_to_nsq(flags: &str, input: &'static [u8]) -> (Option<i32>, String, String) {
    let files = tempfile::tempdir().unwrap();
    let log = files.path().join("outcomes");
    let mut command = Command::new(to_nsq::program().unwrap());
    command.args(flags.split(' ')).arg("-outcome-log").arg(&log);
    let run = move || {
        let child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        // With a wrong command line, it reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    };
    let Output { status, stderr, .. } = tokio::task::spawn_blocking(run).await.unwrap();
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    let log = std::fs::read_to_string(log).unwrap_or_default();
    (status.code(), stderr, log)
}

async fn to_nsq_publishes_each_line(broker: Broker) {
    let flags = format!(
        "--topic lines --nsqd-tcp-address {}",
        broker.address().await
    );
    let (code, stderr, log) = run_to_nsq(&flags, b"one\ntwo\r\nlast").await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stderr, "published: 3 ok, 0 not written, 0 maybe written\n");
    assert_eq!(log, "0 ok\n1 ok\n2 ok\n");
    let stored = broker.bodies("lines", 3).await;
    assert_eq!(stored, [&b"one"[..], b"two\r", b"last"]);
}

async fn to_nsq_accepts_the_flags_of_nsqs_own_tool(broker: Broker) {
    let flags = format!(
        "-topic flags -nsqd-tcp-address={} -rate=1000 -delimiter \\0 \
         -producer-opt max_pending,50 -producer-opt publish_window=10 \
         -producer-opt retry-maybe-written",
        broker.address().await
    );
    let (code, stderr, _) = run_to_nsq(&flags, b"one\ntwo\0three\0").await;
    assert_eq!(code, Some(0), "{stderr}");
    let stored = broker.bodies("flags", 2).await;
    assert_eq!(stored, [&b"one\ntwo"[..], b"three"]);
}

async fn to_nsq_reports_which_address_failed(broker: Broker) {
    let flags = format!(
        "--topic two --on-failure skip --producer-opt publish_timeout,200ms \
         --nsqd-tcp-address {} --nsqd-tcp-address {NOWHERE}",
        broker.address().await
    );
    let (code, stderr, log) = run_to_nsq(&flags, b"one\n").await;
    assert_eq!(code, Some(1), "{stderr}");
    let summary = "published: 1 ok, 1 not written, 0 maybe written\n";
    assert!(stderr.ends_with(summary), "{stderr}");
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

async fn to_nsq_rejects_a_wrong_command_line(_: Broker) {
    let wrong = [
        ("--rate 1", "--topic"),
        ("--topic a/b --nsqd-tcp-address h:1", "a/b"),
        ("--topic t", "--nsqd-tcp-address <HOST:PORT>"),
        (
            "--nsqd-tcp-address h:1 --topic t --on-failure no",
            "[possible values: retry, stop, skip]",
        ),
        (
            "--nsqd-tcp-address h:1 --topic t --delimiter ab",
            "single byte",
        ),
        ("--topic t --nsqd-tcp-address host", "no port"),
        (
            "--nsqd-tcp-address h:1 --topic t --producer-opt max_pending,0",
            "must be a number from 1",
        ),
        (
            "--nsqd-tcp-address h:1 --topic t --producer-opt nonsense",
            "unknown option \"nonsense\"",
        ),
        (
            "--nsqd-tcp-address h:1 --topic t --producer-opt auth_secret",
            "must be auth_secret=VALUE",
        ),
        // The first of the two characters separates.
        (
            "--nsqd-tcp-address h:1 --topic t --producer-opt max_pending=0,5",
            "max_pending = \"0,5\"",
        ),
        (
            "--nsqd-tcp-address h:1 --topic t --producer-opt max_pending,0=5",
            "max_pending = \"0=5\"",
        ),
        (
            "--nsqd-tcp-address h:1 --topic t --producer-opt auth_secret:hunter2",
            "\"auth_secret***\"",
        ),
    ];
    for (flags, reason) in wrong {
        let (code, stderr, log) = run_to_nsq(flags, b"one\n").await;
        assert_eq!((code, log.as_str()), (Some(2), ""), "{stderr}");
        assert!(
            stderr.contains(reason) && !stderr.contains("hunter2"),
            "{stderr}"
        );
    }
}

/// Each tool names the whole flag, and neither panics nor shows what may be a secret.
async fn tools_reject_arguments_that_are_wrong_or_not_utf8(_: Broker) {
    let secret = OsStr::from_bytes(b"auth_secret=hunter2\xff");
    for tool in [
        "to_nsq",
        "nsq_tail",
        "nsq_to_file",
        "nsq_to_nsq",
        "nsq_bench",
        "embedded_nsqd",
        "embedded_nsqlookupd",
        "verifier",
        "chaos_proxy",
    ] {
        let run = |arguments: Vec<&'static OsStr>| async move {
            let mut command = Command::new(example::program(tool).unwrap());
            command.args(arguments).stdin(Stdio::null());
            let ended = tokio::task::spawn_blocking(move || command.output()).await;
            let Output { status, stderr, .. } = ended.unwrap().unwrap();
            let stderr = String::from_utf8_lossy(&stderr).into_owned();
            assert_eq!(status.code(), Some(2), "{tool}: {stderr}");
            stderr
        };
        let stderr = run(vec![OsStr::new("-foo")]).await;
        assert!(stderr.contains("'--foo'"), "{tool}: {stderr}");
        let stderr = run(vec![OsStr::from_bytes(b"\xff")]).await;
        assert!(stderr.starts_with("error: "), "{tool}: {stderr}");
        let (value, named) = match tool {
            "to_nsq" | "nsq_to_nsq" | "verifier" => (vec!["-producer-opt"], "--producer-opt"),
            "nsq_tail" | "nsq_to_file" => (vec!["-consumer-opt"], "--consumer-opt"),
            "nsq_bench" => (vec!["publish", "-producer-opt"], "--producer-opt"),
            "embedded_nsqd" => (vec!["-auth-secret"], "--auth-secret"),
            "embedded_nsqlookupd" => (vec!["-node"], "--node"),
            _ => (vec!["-upstream"], "--upstream"),
        };
        let arguments = value.into_iter().map(OsStr::new).chain([secret]);
        let stderr = run(arguments.collect()).await;
        let expected = format!("error: the value of {named} is not UTF-8");
        assert!(stderr.starts_with(&expected), "{tool}: {stderr}");
        assert!(!stderr.contains("hunter2"), "{tool}: {stderr}");
    }
}

/// The result of a run of `nsq_bench`.
struct Bench {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Bench {
    async fn run(address: &str, topic: &str, flags: &str) -> Self {
        Self::execute("publish", address, topic, flags).await
    }

    async fn consume(address: &str, topic: &str, flags: &str) -> Self {
        Self::execute("consume --channel bench", address, topic, flags).await
    }

    async fn execute(what: &str, address: &str, topic: &str, flags: &str) -> Self {
        let mut command = Command::new(example::program("nsq_bench").unwrap());
        let given = format!("{what} --json --nsqd-tcp-address {address} --topic {topic} {flags}");
        command.args(given.split(' ')).stdin(Stdio::null());
        let ended = tokio::task::spawn_blocking(move || command.output()).await;
        let ended = ended.unwrap().unwrap();
        Self {
            code: ended.status.code(),
            stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
        }
    }

    /// Runs it without an error, and returns its report.
    async fn report_of(broker: &Broker, topic: &str, flags: &str) -> Value {
        let ended = Self::run(&broker.address().await, topic, flags).await;
        assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""), "{flags:?}");
        ended.report()
    }

    /// The last line of standard output.
    fn report(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|_| panic!("{}{}", self.stdout, self.stderr))
    }
}

async fn nsq_bench_publishes_the_reported_number_of_messages(broker: Broker) {
    let flags = "--messages 4000 --warmup 500 --size 33";
    let ended = Bench::run(&broker.address().await, "bench", flags).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let [sentence, _] = ended.stdout.lines().collect::<Vec<_>>()[..] else {
        panic!("{}", ended.stdout);
    };
    let parts: Vec<_> = sentence.split(" - ").collect();
    assert!(parts[0].starts_with("duration: "), "{sentence}");
    assert!(
        parts[1].ends_with("mb/s") && parts[2].ends_with("ops/s"),
        "{sentence}"
    );
    assert!(
        parts[3].ends_with("us/op") && parts.len() == 4,
        "{sentence}"
    );

    let report = ended.report();
    for (name, value) in [
        ("messages", 4_000),
        ("ok", 4_000),
        ("failed", 0),
        ("concurrency", 64),
        ("size", 33),
    ] {
        assert_eq!(report[name], value, "{report}");
    }
    let number = |name: &str| report[name].as_f64().unwrap();
    let duration = number("duration_s");
    assert!(
        (number("rate") * duration / 4_000.0 - 1.0).abs() < 1e-3,
        "{report}"
    );
    let cpu = number("cpu_us_per_message");
    assert!(
        cpu > 0.0 && cpu * 4_000.0 < duration * 1e6 * 64.0,
        "{report}"
    );
    // `send` of actix alone costs three.
    assert!(number("allocs_per_message") >= 3.0, "{report}");
    assert!(
        number("p50_us") > 0.0 && number("p50_us") <= number("p99_us"),
        "{report}"
    );
    assert!(number("p99_us") <= number("p999_us"), "{report}");
    assert!(number("p999_us") <= duration * 1.01e6, "{report}");

    assert_eq!(broker.message_count("bench").await, 4_500);
    let bodies = broker.bodies("bench", 4_500).await;
    assert!(bodies.iter().all(|body| body.len() == 33));
}

async fn nsq_bench_publishes_in_every_mode(broker: Broker) {
    let modes = [
        ("no_batching", "--no-batching"),
        ("one_caller", "--concurrency 1"),
        ("many_callers", "--concurrency 4096"),
        ("mpub", "--mpub 7 --concurrency 3"),
        ("other_arbiter", "--other-arbiter"),
        ("handle", "--handle"),
        ("deferred", "--defer 1s"),
        ("option", "--producer-opt auto_batch_messages=2"),
        ("large", "--size 70000 --concurrency 5"),
    ];
    for (topic, flags) in modes {
        // The number of messages is not a multiple of the concurrency.
        let flags = format!("{flags} --messages 501 --warmup 9");
        let report = Bench::report_of(&broker, topic, &flags).await;
        assert_eq!((&report["ok"], &report["failed"]), (&501.into(), &0.into()));
        assert_eq!(broker.message_count(topic).await, 510, "{topic}");
        let commands = report["commands"].as_u64().unwrap();
        match topic {
            "no_batching" | "one_caller" | "large" | "deferred" => {
                assert_eq!(commands, 501, "{topic}")
            }
            "mpub" => assert_eq!(commands, 72),
            "option" => assert!((250..501).contains(&commands), "{commands}"),
            _ => assert!(commands < 501, "{topic}: {commands}"),
        }
        let counted = report["allocs_per_message"].is_number();
        assert_eq!(counted, topic != "other_arbiter", "{report}");
    }

    let spread = "--topics 3 --messages 900 --warmup 90";
    let report = Bench::report_of(&broker, "spread", spread).await;
    assert_eq!((&report["ok"], &report["topics"]), (&900.into(), &3.into()));
    let mut sum = 0;
    for number in 0..3 {
        let count = broker.message_count(&format!("spread_{number}")).await;
        assert!(count > 0, "nothing in topic {number}");
        sum += count;
    }
    assert_eq!(sum, 990);
}

/// nsqd is frozen for half of the run. Latencies count from the time when a message was due, so
/// half of them are high; from the send, only those of the four callers would be.
async fn nsq_bench_keeps_the_rate_and_reports_a_stall(broker: Broker) {
    let flags = "--rate 1000 --messages 1000 --warmup 0 --concurrency 4";
    let stall = async {
        while broker.message_count("stalled").await < 100 {
            tokio::task::yield_now().await;
        }
        broker.freeze(true).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        broker.freeze(false).await;
    };
    let (report, ()) = join(Bench::report_of(&broker, "stalled", flags), stall).await;
    assert!(report["p99_us"].as_f64() > Some(400e3), "{report}");
    // The last message is due after 999 ms.
    assert!(report["duration_s"].as_f64() >= Some(0.999), "{report}");
    assert_eq!(report["ok"], 1000);
    assert_eq!(broker.message_count("stalled").await, 1_000);
}

async fn nsq_bench_reports_rejections_and_exits(broker: Broker) {
    let flags = "--messages 100000 --concurrency 8";
    let address = broker.address().await;
    let without_warmup = format!("{flags} --warmup 0");
    let ended = Bench::run(&address, "rejected", &without_warmup).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("(BadMessage), NotWritten: "),
        "{}",
        ended.stderr
    );
    let report = ended.report();
    assert_eq!(report["ok"], 0, "{report}");
    // It stops after the eighth failure; others are in flight then.
    let failed = report["failed"].as_u64().unwrap();
    assert!((8..16).contains(&failed), "{report}");

    let ended = Bench::run(&address, "rejected", flags).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let reported = ended.stderr.starts_with("nsq_bench: the warm-up failed: ");
    assert!(
        reported && ended.stderr.contains("too big"),
        "{}",
        ended.stderr
    );
}

async fn nsq_bench_exits_when_nsqd_is_killed(broker: Broker) {
    let flags = "--messages 1000000000 --warmup 0 --rate 5000 --producer-opt publish_timeout=1s";
    let address = broker.address().await;
    let kill = async {
        while broker.message_count("killed").await < 100 {
            tokio::task::yield_now().await;
        }
        broker.kill().await;
        Instant::now()
    };
    let (ended, killed) = join(Bench::run(&address, "killed", flags), kill).await;
    assert!(killed.elapsed() < PATIENCE, "{:?}", killed.elapsed());
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let report = ended.report();
    assert!(report["ok"].as_u64() >= Some(1), "{report}");
    assert!(report["failed"].as_u64() >= Some(64), "{report}");
    assert!(
        ended.stderr.contains("Timeout, NotWritten"),
        "{}",
        ended.stderr
    );
}

async fn nsq_bench_consumes_in_every_mode_and_returns_the_rest(broker: Broker) {
    let address = broker.address().await;
    let modes = [
        ("recipient", ""),
        ("batch", "--consumer-opt msg_timeout=5s"),
        ("closure", "--handler-time 1ms"),
        ("stream", "--nsqd-tcp-address 127.0.0.1:1"),
    ];
    for (mode, more) in modes {
        let stored = Bench::report_of(&broker, mode, "--messages 600 --warmup 0 --size 33").await;
        assert_eq!(stored["ok"], 600, "{mode}");
        let flags = format!("--messages 500 --max-in-flight 70 --mode {mode} {more}");
        let ended = Bench::consume(&address, mode, flags.trim_end()).await;
        assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""), "{mode}");
        let report = ended.report();
        for (name, value) in [
            ("messages", 500),
            ("ok", 500),
            ("failed", 0),
            ("not_confirmed", 0),
            ("max_in_flight", 70),
        ] {
            assert_eq!(report[name], value, "{report}");
        }
        assert_eq!(report["mode"], mode);
        assert_eq!(report["size"].as_f64(), Some(33.0), "{report}");
        // 494 messages follow the first one within the first 99 percent.
        let number = |name: &str| report[name].as_f64().unwrap();
        let measured = number("rate") * number("duration_s");
        assert!((measured / 494.0 - 1.0).abs() < 1e-3, "{report}");
        assert!(number("cpu_us_per_message") > 0.0, "{report}");
        assert!(report["allocs_per_message"].is_null(), "{report}");
        let left = ChannelState {
            depth: 100,
            ..ChannelState::default()
        };
        assert_eq!(broker.channel(mode, "bench").await, left, "{mode}");
    }
}

async fn nsq_bench_consumes_what_it_publishes(broker: Broker) {
    let flags = "--messages 700 --publishers 7 --size 33 --max-in-flight 70 --count-allocations";
    let ended = Bench::consume(&broker.address().await, "both", flags).await;
    assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""));
    let report = ended.report();
    assert_eq!(
        (&report["ok"], &report["publishers"]),
        (&700.into(), &7.into())
    );
    assert_eq!(report["size"].as_f64(), Some(33.0), "{report}");
    // `send` of actix alone costs three, and the message to the handler two.
    assert!(
        report["allocs_per_message"].as_f64() >= Some(5.0),
        "{report}"
    );
    let state = broker.channel("both", "bench").await;
    assert_eq!(state, ChannelState::default());
}

async fn nsq_bench_fails_without_enough_messages_to_consume(broker: Broker) {
    let address = broker.address().await;
    Bench::report_of(&broker, "few", "--messages 10 --warmup 0").await;
    let flags = "--messages 20 --idle-timeout 1s";
    let ended = Bench::consume(&address, "few", flags).await;
    let error = "nsq_bench: 10 of 20 finished, 0 not confirmed\n";
    assert_eq!((ended.code, &ended.stderr[..]), (Some(1), error));
    let report = ended.report();
    assert_eq!((&report["ok"], &report["failed"]), (&10.into(), &10.into()));
    let state = broker.channel("few", "bench").await;
    assert_eq!(state, ChannelState::default());

    let ended = Bench::consume(NOWHERE, "few", "--consumer-opt dial_timeout=200ms").await;
    assert_eq!((ended.code, &ended.stdout[..]), (Some(1), ""));
    assert!(ended.stderr.contains("not connected"), "{}", ended.stderr);
}
