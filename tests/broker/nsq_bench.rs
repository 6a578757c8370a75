//! The example `nsq_bench` as its users know it: what it counts is what the broker has, and what fails shows.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::join;
use serde_json::Value;

use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Settings};
use crate::support::example;
use crate::support::wait::PATIENCE;

/// Nothing listens there.
const NOWHERE: &str = "127.0.0.1:1";

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        nsq_bench_publishes_as_many_messages_as_it_says,
        nsq_bench_publishes_in_every_way_that_it_offers,
        nsq_bench_keeps_to_a_rate,
        nsq_bench_hides_no_stall,
        nsq_bench_tells_what_nsqd_refuses_and_gives_up.with(Settings {
            max_msg_size: 100,
            ..Settings::default()
        }),
        nsq_bench_ends_when_its_nsqd_has_gone,
        nsq_bench_does_not_wait_for_an_nsqd_that_is_not_there,
        nsq_bench_refuses_a_wrong_command_line,
    ]
}

/// How it ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// The last line of its standard output.
    fn object(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|_| panic!("{}{}", self.stdout, self.stderr))
    }
}

fn command(address: &str, topic: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(example::program("nsq_bench").unwrap());
    let given = ["publish", "--nsqd-tcp-address", address, "--topic", topic];
    command.args(given).args(flags).stdin(Stdio::null());
    command
}

async fn run(mut command: Command) -> Ended {
    let ended = tokio::task::spawn_blocking(move || command.output()).await;
    let ended = ended.unwrap().unwrap();
    Ended {
        code: ended.status.code(),
        stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

/// What a run with these flags says that went well.
async fn bench(broker: &Broker, topic: &str, flags: &[&str]) -> Value {
    let flags = [flags, &["--json"]].concat();
    let ended = run(command(&broker.address().await, topic, &flags)).await;
    assert_eq!(ended.code, Some(0), "{flags:?}: {}", ended.stderr);
    assert_eq!(ended.stderr, "", "{flags:?}");
    ended.object()
}

async fn nsq_bench_publishes_as_many_messages_as_it_says(broker: Broker) {
    let flags = [
        "--messages",
        "4000",
        "--warmup",
        "500",
        "--size",
        "33",
        "--json",
    ];
    let ended = run(command(&broker.address().await, "bench", &flags)).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let [sentence, _] = ended.stdout.lines().collect::<Vec<_>>()[..] else {
        panic!("{}", ended.stdout);
    };
    let parts: Vec<_> = sentence.split(" - ").collect();
    assert!(parts[0].starts_with("duration: "), "{sentence}");
    assert!(parts[1].ends_with("mb/s") && parts[2].ends_with("ops/s"));
    assert!(parts[3].ends_with("us/op") && parts.len() == 4);

    let said = ended.object();
    for (name, value) in [
        ("messages", 4_000),
        ("ok", 4_000),
        ("failed", 0),
        ("concurrency", 64),
        ("size", 33),
    ] {
        assert_eq!(said[name], value, "{said}");
    }
    let number = |name: &str| said[name].as_f64().unwrap();
    let took = number("duration_s");
    assert!(
        (number("rate") * took / 4_000.0 - 1.0).abs() < 1e-3,
        "{said}"
    );
    let work = number("cpu_us_per_message");
    assert!(work > 0.0 && work * 4_000.0 < took * 1e6 * 64.0, "{said}");
    // Each `send` costs actix itself three.
    assert!(number("allocs_per_message") >= 3.0, "{said}");
    assert!(number("p50_us") > 0.0 && number("p50_us") <= number("p99_us"));
    assert!(number("p99_us") <= number("p999_us") && number("p999_us") <= took * 1.01e6);

    assert_eq!(broker.message_count("bench").await, 4_500);
    let bodies = broker.bodies("bench", 4_500).await;
    assert!(bodies.iter().all(|body| body.len() == 33));
}

async fn nsq_bench_publishes_in_every_way_that_it_offers(broker: Broker) {
    // Not all of them are whole rounds.
    let ways: [(&str, &[&str]); 7] = [
        ("no_batching", &["--no-batching"]),
        ("one_caller", &["--concurrency", "1"]),
        ("crowd", &["--concurrency", "4096"]),
        ("mpub", &["--mpub", "7", "--concurrency", "3"]),
        ("other_arbiter", &["--other-arbiter"]),
        ("option", &["--producer-opt", "auto_batch_messages=2"]),
        ("large", &["--size", "70000", "--concurrency", "5"]),
    ];
    for (topic, flags) in ways {
        let flags = [flags, &["--messages", "2001", "--warmup", "9"]].concat();
        let said = bench(&broker, topic, &flags).await;
        assert_eq!((&said["ok"], &said["failed"]), (&2_001.into(), &0.into()));
        assert_eq!(broker.message_count(topic).await, 2_010, "{topic}");
        let commands = said["commands"].as_u64().unwrap();
        match topic {
            "no_batching" | "one_caller" | "large" => assert_eq!(commands, 2_001, "{topic}"),
            "mpub" => assert_eq!(commands, 286),
            "option" => assert!((1_000..2_001).contains(&commands), "{commands}"),
            _ => assert!(commands < 2_001, "{topic}: {commands}"),
        }
        let counted = said["allocs_per_message"].is_number();
        assert_eq!(counted, topic != "other_arbiter", "{said}");
    }

    let spread = ["--topics", "3", "--messages", "900", "--warmup", "90"];
    let said = bench(&broker, "spread", &spread).await;
    assert_eq!((&said["ok"], &said["topics"]), (&900.into(), &3.into()));
    let mut all = 0;
    for number in 0..3 {
        let count = broker.message_count(&format!("spread_{number}")).await;
        assert!(count > 0, "nobody has published to {number}");
        all += count;
    }
    assert_eq!(all, 990);
}

async fn nsq_bench_keeps_to_a_rate(broker: Broker) {
    let began = Instant::now();
    let paced = ["--rate", "2000", "--messages", "1000", "--warmup", "0"];
    let said = bench(&broker, "paced", &paced).await;
    // The last is due after 999 times half a millisecond.
    let least = Duration::from_micros(999 * 500);
    let took = Duration::from_secs_f64(said["duration_s"].as_f64().unwrap());
    assert!(least <= took && took <= began.elapsed(), "{said}");
    assert_eq!(broker.message_count("paced").await, 1_000);
}

/// Of a quarter of all messages each is due while nsqd stands still. With times that count from the send, four would be late:
/// as many as there are callers.
async fn nsq_bench_hides_no_stall(broker: Broker) {
    let stall = Duration::from_millis(500);
    let paced = ["--rate", "1000", "--messages", "2000", "--warmup", "0"];
    let flags = [&paced[..], &["--concurrency", "4"]].concat();
    let stalled = async {
        while broker.message_count("stalled").await < 100 {
            tokio::task::yield_now().await;
        }
        broker.freeze(true).await;
        tokio::time::sleep(stall).await;
        broker.freeze(false).await;
    };
    let (said, ()) = join(bench(&broker, "stalled", &flags), stalled).await;
    assert!(said["p99_us"].as_f64() > Some(400e3), "{said}");
    assert_eq!(said["ok"], 2_000);
}

async fn nsq_bench_tells_what_nsqd_refuses_and_gives_up(broker: Broker) {
    let flags = ["--messages", "100000", "--concurrency", "8", "--json"];
    let cold = [&flags[..], &["--warmup", "0"]].concat();
    let address = broker.address().await;
    let ended = run(command(&address, "refused", &cold)).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told = "x Rejected(BadMessage), NotWritten: ";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    let said = ended.object();
    assert_eq!(said["ok"], 0, "{said}");
    let failed = said["failed"].as_u64().unwrap();
    // Those that were begun before the eighth failed.
    assert!((8..16).contains(&failed), "{said}");

    let ended = run(command(&address, "refused", &flags)).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let told = ended.stderr.starts_with("nsq_bench: the warm-up failed: ");
    assert!(told && ended.stderr.contains("too big"), "{}", ended.stderr);
}

async fn nsq_bench_ends_when_its_nsqd_has_gone(broker: Broker) {
    let endless = ["--messages", "1000000000", "--warmup", "0", "--json"];
    let paced = ["--rate", "5000", "--producer-opt", "publish_timeout=1s"];
    let address = broker.address().await;
    let bench = run(command(&address, "gone", &[&endless[..], &paced].concat()));
    let kill = async {
        while broker.message_count("gone").await < 100 {
            tokio::task::yield_now().await;
        }
        broker.kill().await;
        Instant::now()
    };
    let (ended, killed) = join(bench, kill).await;
    assert!(killed.elapsed() < PATIENCE, "{:?}", killed.elapsed());
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let said = ended.object();
    assert!(said["ok"].as_u64() >= Some(1), "{said}");
    assert!(said["failed"].as_u64() >= Some(64), "{said}");
    assert!(
        ended.stderr.contains("Timeout, NotWritten"),
        "{}",
        ended.stderr
    );
}

async fn nsq_bench_does_not_wait_for_an_nsqd_that_is_not_there(_: Broker) {
    let quick = ["--producer-opt", "dial_timeout=200ms"];
    let ended = run(command(NOWHERE, "nowhere", &quick)).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let told = ended
        .stderr
        .starts_with("nsq_bench: not connected within 220ms");
    assert!(told && ended.stderr.contains("refused"), "{}", ended.stderr);
}

async fn nsq_bench_refuses_a_wrong_command_line(_: Broker) {
    for wrong in [
        &["--size", "0"][..],
        &["--concurrency", "none"],
        &["--topics", "65"],
        &["--rate", "-1"],
        &["--producer-opt", "max_pending=0"],
    ] {
        let ended = run(command(NOWHERE, "t", wrong)).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
        let named = wrong[0].trim_start_matches("--producer-opt");
        assert!(ended.stderr.contains(named), "{}", ended.stderr);
    }
}
