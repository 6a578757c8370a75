//! The example `to_nsq` with `--pool`: each record is stored at one of the addresses.

use super::fixture::{TOPIC, numbered, numbers};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::to_nsq::{Ended, ToNsq};
use crate::support::wait::{self, PATIENCE};

/// All lines at once.
const AT_ONCE: usize = usize::MAX;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        pool_stores_each_record_at_one_address.with(Settings::in_memory()),
        pool_loses_nothing_when_one_address_is_killed,
        pool_waits_only_while_no_address_is_up.with(Settings::in_memory()),
        pool_goes_past_an_address_that_hangs.with(Settings::in_memory()),
        pool_retries_a_rejected_record_alone
            .with(Settings::in_memory())
            .only(Kind::Embedded, "it needs a fault of the embedded nsqd"),
        pool_passes_over_an_invalid_record.with(Settings {
            max_msg_size: 1000,
            ..Settings::in_memory()
        }),
        pool_ends_if_no_address_can_ever_be_connected_to.with(Settings::in_memory()),
    ]
}

fn start(addresses: &[&str], count: usize, options: &[&str]) -> ToNsq {
    let mut all = vec![
        "--pool".to_owned(),
        format!("--topic={TOPIC}"),
        "--producer-opt=max_reconnect_backoff,200ms".to_owned(),
    ];
    all.extend(
        addresses
            .iter()
            .map(|it| format!("--nsqd-tcp-address={it}")),
    );
    all.extend(options.iter().map(|option| (*option).to_owned()));
    let lines = (0..count).map(numbered).collect();
    ToNsq::start(lines, AT_ONCE, &all).unwrap()
}

/// Waits for its end in a separate thread, because brokers need this one.
async fn ended(mut to_nsq: ToNsq) -> Ended {
    let wait = move || to_nsq.wait(4 * PATIENCE).unwrap();
    tokio::task::spawn_blocking(wait).await.unwrap()
}

async fn until_reported(to_nsq: &ToNsq, text: &str) {
    wait::until(text, || to_nsq.stderr().contains(text)).await;
}

/// The numbers of the records at both nsqds, in ascending order.
async fn stored(brokers: [&Broker; 2]) -> Vec<usize> {
    let mut all = Vec::new();
    for broker in brokers {
        all.extend(numbers(&broker.bodies(TOPIC, 0).await));
    }
    all.sort_unstable();
    all
}

#[track_caller]
fn assert_summary(ended: &Ended, expected: &str) {
    let last = ended.stderr.lines().last();
    let expected = format!("published: {expected}");
    assert_eq!(last, Some(&expected[..]), "{}", ended.stderr);
}

async fn pool_stores_each_record_at_one_address(one: Broker) {
    let two = Broker::start(one.kind(), Settings::in_memory()).await;
    let addresses = [&*one.address().await, &two.address().await];
    let ended = ended(start(&addresses, 5000, &[])).await;
    assert_summary(&ended, "5000 ok, 0 not written, 0 maybe written");
    assert_eq!(ended.status.code(), Some(0));
    let mut logged: Vec<_> = ended.outcomes.iter().map(|(number, ..)| *number).collect();
    logged.sort_unstable();
    assert_eq!(logged, Vec::from_iter(0..5000));
    for broker in [&one, &two] {
        assert!(broker.message_count(TOPIC).await > 500);
    }
    assert_eq!(stored([&one, &two]).await, Vec::from_iter(0..5000));
}

/// Only what was in flight there may be stored or not, and is reported.
async fn pool_loses_nothing_when_one_address_is_killed(other: Broker) {
    let killed = Broker::start(other.kind(), Settings::default()).await;
    let addresses = [&*killed.address().await, &other.address().await];
    let count = 50_000;
    let to_nsq = start(&addresses, count, &["--producer-opt=publish_window,500"]);
    while killed.message_count(TOPIC).await < 1000 {
        tokio::task::yield_now().await;
    }
    killed.kill().await;
    let ended = ended(to_nsq).await;
    let ambiguous = ended.ambiguous();
    assert!(ambiguous <= 500, "{ambiguous} are ambiguous");
    let ok = count - ambiguous;
    assert_summary(
        &ended,
        &format!("{ok} ok, 0 not written, {ambiguous} maybe written"),
    );
    assert_eq!(ended.status.code(), Some(i32::from(ambiguous > 0)));
    assert!(
        !ended.stderr.contains("the input waits"),
        "{}",
        ended.stderr
    );
    killed.restart().await;
    let mut times = vec![0; count];
    for number in stored([&killed, &other]).await {
        times[number] += 1;
    }
    assert_eq!(ended.outcomes.len(), count);
    for (number, outcome, _) in &ended.outcomes {
        let allowed = match &outcome[..] {
            "ok" => 1..=1,
            _ => 0..=1,
        };
        let times = times[*number];
        assert!(
            allowed.contains(&times),
            "{number} {outcome}: {times} times"
        );
    }
}

async fn pool_waits_only_while_no_address_is_up(one: Broker) {
    let two = Broker::start(one.kind(), Settings::in_memory()).await;
    let addresses = [&*one.address().await, &two.address().await];
    one.terminate().await;
    two.terminate().await;
    let to_nsq = start(&addresses, 1000, &["--producer-opt=publish_timeout,500ms"]);
    until_reported(&to_nsq, "not connected; the input waits").await;
    two.restart().await;
    let ended = ended(to_nsq).await;
    assert_summary(&ended, "1000 ok, 0 not written, 0 maybe written");
    let [first, second] = addresses;
    for text in ["not connected; the input waits", "connected again after"] {
        let line = format!("to_nsq: {first}, {second}: {text}");
        assert_eq!(ended.stderr.matches(&line).count(), 1, "{}", ended.stderr);
    }
    one.restart().await;
    assert_eq!(stored([&one, &two]).await, Vec::from_iter(0..1000));
    assert_eq!(one.message_count(TOPIC).await, 0);
}

/// Only what is in flight there waits.
async fn pool_goes_past_an_address_that_hangs(one: Broker) {
    let hanging = Broker::start(one.kind(), Settings::in_memory()).await;
    let addresses = [&*one.address().await, &hanging.address().await];
    let options = [
        "--producer-opt=ack_timeout,5s",
        "--producer-opt=publish_window,100",
    ];
    let to_nsq = start(&addresses, 100_000, &options);
    while hanging.message_count(TOPIC).await < 1000 {
        tokio::task::yield_now().await;
    }
    hanging.freeze(true).await;
    let before = one.message_count(TOPIC).await;
    while one.message_count(TOPIC).await < before + 10_000 {
        assert!(!to_nsq.stderr().contains("maybe"), "{}", to_nsq.stderr());
        tokio::task::yield_now().await;
    }
    hanging.freeze(false).await;
    let ended = ended(to_nsq).await;
    assert_summary(&ended, "100000 ok, 0 not written, 0 maybe written");
    assert_eq!(stored([&one, &hanging]).await, Vec::from_iter(0..100_000));
}

/// Those behind it may be stored at the other address.
async fn pool_retries_a_rejected_record_alone(one: Broker) {
    let two = Broker::start(one.kind(), Settings::in_memory()).await;
    for broker in [&one, &two] {
        for command in ["PUB", "MPUB"] {
            let error = "E_PUB_FAILED PUB failed exiting";
            broker.embedded().faults().fail_next(command, error);
        }
    }
    let addresses = [&*one.address().await, &two.address().await];
    let options = ["--producer-opt=auto_batch_messages,3"];
    let ended = ended(start(&addresses, 1000, &options)).await;
    assert_summary(&ended, "1000 ok, 0 not written, 0 maybe written");
    let reported = "PUB failed exiting; the input waits";
    assert!(ended.stderr.contains(reported), "{}", ended.stderr);
    assert_eq!(stored([&one, &two]).await, Vec::from_iter(0..1000));
}

/// The window is small: nsqd resets a connection that has unread commands when it closes it, and
/// responses that wait in its send buffer are lost.
async fn pool_passes_over_an_invalid_record(one: Broker) {
    let limited = Settings {
        max_msg_size: 1000,
        ..Settings::in_memory()
    };
    let two = Broker::start(one.kind(), limited).await;
    let options = [
        "--pool".to_owned(),
        format!("--topic={TOPIC}"),
        format!("--nsqd-tcp-address={}", one.address().await),
        format!("--nsqd-tcp-address={}", two.address().await),
        "--producer-opt=publish_window,16".to_owned(),
    ];
    let mut lines: Vec<_> = (0..1000).map(numbered).collect();
    lines.insert(500, vec![b'x'; 1001].into());
    let ended = ended(ToNsq::start(lines, AT_ONCE, &options).unwrap()).await;
    assert_summary(&ended, "1000 ok, 1 not written, 0 maybe written");
    assert_eq!(ended.status.code(), Some(1));
    let failed = ended
        .outcomes
        .iter()
        .find(|(_, outcome, _)| outcome != "ok");
    let (number, outcome, error) = failed.unwrap();
    assert_eq!((*number, &outcome[..]), (500, "not_written"));
    assert!(error.contains("E_BAD_MESSAGE"), "{error}");
    assert_eq!(stored([&one, &two]).await, Vec::from_iter(0..1000));
}

/// One that can be connected to later is waited for.
async fn pool_ends_if_no_address_can_ever_be_connected_to(broker: Broker) {
    let wrong = "nsqd.invalid:4150";
    let tls = ["--producer-opt=tls_v1"];
    let address = broker.address().await;
    let ended_at_start = ended(start(&[wrong, &address], 9, &tls)).await;
    assert_eq!(ended_at_start.status.code(), Some(1));
    for reason in [
        "cannot resolve nsqd.invalid:4150",
        &format!("{address}: nsqd does not offer TLS"),
    ] {
        let stderr = &ended_at_start.stderr;
        assert!(stderr.contains(reason), "{stderr}");
    }
    broker.terminate().await;
    let to_nsq = start(&[wrong, &address], 9, &[]);
    until_reported(&to_nsq, "not connected; the input waits").await;
    broker.restart().await;
    let ended = ended(to_nsq).await;
    assert_summary(&ended, "9 ok, 0 not written, 0 maybe written");
}
