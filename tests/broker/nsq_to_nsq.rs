//! The example `nsq_to_nsq`: what it stores, what it reports, and what it returns.

mod outages;

use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::fixture::{LONG, TOPIC, numbered, numbers, producer, publish, publish_all};
use super::lookupd::registered;
use crate::harness::{Scenario, lookupd_scenarios, scenarios};
use crate::support::auth_server::Grant;
use crate::support::broker::{Broker, ChannelState, Kind, Settings};
use crate::support::lookupd::{Lookupd, LookupdSettings};
use crate::support::raw_client;
use crate::support::tool::{Ended, Tool};

/// The topic at the destination.
const COPY: &str = "copy";

/// The default of the tool.
const CHANNEL: &str = "nsq_to_nsq";

/// Nothing listens there.
const NOWHERE: &str = "127.0.0.1:1";

pub fn scenarios() -> Vec<Scenario> {
    let mut scenarios = scenarios![
        each_message_is_stored_once_and_finished.with(Settings::in_memory()),
        topic_and_body_are_kept_without_flags.with(Settings::in_memory()),
        round_robin_sends_each_message_by_itself.with(Settings::in_memory()),
        rejected_message_delays_no_other.with(Settings::in_memory()),
        unauthorized_topic_causes_backoff.with(Settings::in_memory()),
        text_that_is_not_json_is_reported_and_counted.with(Settings::in_memory()),
        flags_select_messages_and_their_fields.with(Settings::in_memory()),
        sigterm_publishes_what_it_has_and_returns_the_rest.with(Settings::in_memory()),
        second_signal_ends_it_at_once.with(Settings::in_memory()),
        source_that_cannot_be_connected_to_ends_it.with(Settings::in_memory()),
        wrong_command_line_is_rejected.only(Kind::Embedded, "it does not connect"),
    ];
    scenarios.extend(outages::scenarios());
    scenarios.extend(lookupd_scenarios![
        topics_of_looked_up_nsqds_keep_their_names(LookupdSettings::default()),
    ]);
    scenarios
}

/// Starts a tool that copies [`TOPIC`] to [`COPY`], with more flags.
async fn copying(source: &Broker, destinations: &[&str], flags: &str) -> Tool {
    let mut all = vec![
        format!("--topic={TOPIC}"),
        format!("--nsqd-tcp-address={}", source.address().await),
        format!("--destination-topic={COPY}"),
        "--producer-opt=max_reconnect_backoff,200ms".to_owned(),
    ];
    let destinations = destinations.iter();
    all.extend(destinations.map(|it| format!("--destination-nsqd-tcp-address={it}")));
    all.extend(flags.split_whitespace().map(str::to_owned));
    start(&all)
}

fn start(flags: &[String]) -> Tool {
    Tool::start("nsq_to_nsq", flags).unwrap()
}

/// Exit code and standard error after its end.
async fn ended(tool: Tool) -> (Option<i32>, String) {
    let Ended { code, stderr, .. } = tool.ended().await;
    (code, stderr)
}

/// The same after a SIGTERM.
async fn terminated(tool: Tool) -> (Option<i32>, String) {
    tool.signal(Signal::TERM).unwrap();
    ended(tool).await
}

/// Another nsqd of the same kind, with messages in memory.
async fn another(broker: &Broker) -> Broker {
    Broker::start(broker.kind(), Settings::in_memory()).await
}

/// Waits until the destinations have this number of messages.
async fn until_stored(destinations: &[&Broker], count: usize) {
    let end = Instant::now() + LONG;
    loop {
        let mut stored = 0;
        for destination in destinations {
            stored += destination.message_count(COPY).await;
        }
        if stored >= count {
            return;
        }
        assert!(Instant::now() < end, "{stored} of {count} are stored");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until the channel of the source has nothing but this number of messages that were
/// requeued.
async fn until_left(source: &Broker, deferred: u64) {
    let expected = ChannelState {
        deferred,
        ..ChannelState::default()
    };
    let end = Instant::now() + LONG;
    loop {
        let state = source.channel(TOPIC, CHANNEL).await;
        if state == expected {
            return;
        }
        assert!(Instant::now() < end, "{state:?}, and not {expected:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The numbers of the messages at the destinations, in ascending order.
async fn stored(destinations: &[&Broker], expected: usize) -> Vec<usize> {
    let mut all = Vec::new();
    for destination in destinations {
        let expected = match destinations.len() {
            1 => expected,
            _ => destination.message_count(COPY).await,
        };
        all.extend(numbers(&destination.bodies(COPY, expected).await));
    }
    all.sort_unstable();
    all
}

/// Publishes messages with these numbers to the source.
async fn offer(source: &Broker, numbers: Range<usize>) {
    let producer = producer(source).await;
    publish_all(&producer, numbers).await.assert_all_ok();
}

#[track_caller]
fn assert_ended((code, stderr): &(Option<i32>, String), expected: i32, summary: &str) {
    assert_eq!(*code, Some(expected), "{stderr}");
    let last = format!("nsq_to_nsq: published: {summary}");
    assert_eq!(stderr.lines().last(), Some(&last[..]), "{stderr}");
}

/// The summary if nothing failed.
fn all_ok(count: usize) -> String {
    format!("{count} ok, 0 passed over, 0 not JSON, 0 rejected, 0 requeued, 0 maybe twice")
}

async fn each_message_is_stored_once_and_finished(source: Broker) {
    let (one, two) = (another(&source).await, another(&source).await);
    offer(&source, 0..2000).await;
    let addresses = [one.address().await, two.address().await];
    let flags = "--status-every 500 --max-in-flight 100";
    let tool = copying(&source, &[&addresses[0], &addresses[1]], flags).await;
    until_stored(&[&one, &two], 2000).await;
    until_left(&source, 0).await;
    let ended = terminated(tool).await;
    assert_ended(&ended, 0, &all_ok(2000));
    let lines = ended
        .1
        .matches("[aggregate]: finished 500 - 99th: ")
        .count();
    assert_eq!(lines, 4, "{}", ended.1);
    // One of them got half of the messages at least.
    let has_line = |it: &String| ended.1.contains(&format!("[{it}]: finished "));
    assert!(addresses.iter().any(has_line), "{}", ended.1);
    assert_eq!(stored(&[&one, &two], 2000).await, Vec::from_iter(0..2000));
}

async fn topic_and_body_are_kept_without_flags(source: Broker) {
    let destination = another(&source).await;
    let publisher = producer(&source).await;
    let bodies = [&b"\0\xff {"[..], b"{\"a\": 1.0}"];
    for body in bodies {
        publish(&publisher, body).await.unwrap();
    }
    let tool = start(&[
        format!("-topic={TOPIC}"),
        "-channel=other".to_owned(),
        format!("-nsqd-tcp-address={}", source.address().await),
        format!(
            "-destination-nsqd-tcp-address={}",
            destination.address().await
        ),
    ]);
    while destination.message_count(TOPIC).await < 2 {
        tokio::task::yield_now().await;
    }
    let mut stored = destination.bodies(TOPIC, 2).await;
    stored.sort_unstable();
    assert_eq!(stored, bodies);
    assert_ended(&terminated(tool).await, 0, &all_ok(2));
}

async fn topics_of_looked_up_nsqds_keep_their_names(lookupd: Lookupd) {
    let kind = lookupd.kind();
    let sources = [
        registered(kind, &lookupd).await,
        registered(kind, &lookupd).await,
    ];
    let destination = Broker::start(kind, Settings::in_memory()).await;
    for (source, (topic, body)) in sources.iter().zip([("one", "1"), ("two", "2")]) {
        let bodies = [body.as_bytes()];
        raw_client::publish(&source.address().await, topic, &bodies).unwrap();
    }
    let tool = start(&[
        "--topic=one".to_owned(),
        "--topic=two".to_owned(),
        format!("--lookupd-http-address={}", lookupd.http_address()),
        format!(
            "--destination-nsqd-tcp-address={}",
            destination.address().await
        ),
    ]);
    for (topic, body) in [("one", "1"), ("two", "2")] {
        while destination.message_count(topic).await < 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(destination.bodies(topic, 1).await, [body.as_bytes()]);
    }
    for (source, topic) in sources.iter().zip(["one", "two"]) {
        let is_finished = async || {
            let left = source.channel(topic, CHANNEL).await;
            (left.depth, left.in_flight) == (0, 0)
        };
        while !is_finished().await {
            tokio::task::yield_now().await;
        }
    }
    assert_ended(&terminated(tool).await, 0, &all_ok(2));
}

async fn round_robin_sends_each_message_by_itself(source: Broker) {
    let (one, two) = (another(&source).await, another(&source).await);
    let (first, second) = (one.address().await, two.address().await);
    offer(&source, 0..2000).await;
    let tool = copying(&source, &[&first, &second], "--mode round-robin").await;
    until_stored(&[&one, &two], 2000).await;
    until_left(&source, 0).await;
    assert_ended(&terminated(tool).await, 0, &all_ok(2000));
    for destination in [&one, &two] {
        // One that was slow got fewer.
        let count = destination.message_count(COPY).await;
        assert!(count >= 50, "{count} of 2000");
        if destination.kind() == Kind::Embedded {
            assert_eq!(destination.embedded().command_count("MPUB"), 0);
        }
    }
    assert_eq!(stored(&[&one, &two], 2000).await, Vec::from_iter(0..2000));
}

async fn rejected_message_delays_no_other(source: Broker) {
    let limited = Settings {
        max_msg_size: 1000,
        ..Settings::in_memory()
    };
    let destination = Broker::start(source.kind(), limited).await;
    let publisher = producer(&source).await;
    for number in 0..100 {
        let body = match number {
            50 => vec![b'x'; 1001].into(),
            _ => numbered(number),
        };
        publish(&publisher, body).await.unwrap();
    }
    let address = destination.address().await;
    let tool = copying(&source, &[&address], "").await;
    until_stored(&[&destination], 99).await;
    // It comes again after 90 seconds; no other was requeued.
    until_left(&source, 1).await;
    let ended = terminated(tool).await;
    let summary = "99 ok, 0 passed over, 0 not JSON, 1 rejected, 0 requeued, 0 maybe twice";
    assert_ended(&ended, 1, summary);
    let line = ended.1.lines().rev().nth(1).unwrap_or_default();
    let reported = "rejected and requeued after attempt 1: ";
    assert!(
        line.contains(reported) && line.contains("E_BAD_MESSAGE"),
        "{line}"
    );
    until_left(&source, 1).await;
    let expected: Vec<_> = (0..100).filter(|number| *number != 50).collect();
    assert_eq!(stored(&[&destination], 99).await, expected);
}

/// Every message would fail.
async fn unauthorized_topic_causes_backoff(source: Broker) {
    let guarded = Settings::in_memory().and_auth();
    let destination = Broker::start(source.kind(), guarded).await;
    let other_topic = Grant::topics("client", &["other"]);
    destination.auth().authority().grant("secret", other_topic);
    let address = destination.address().await;
    let flags = "--producer-opt auth_secret=secret --max-in-flight 10";
    let tool = copying(&source, &[&address], flags).await;
    offer(&source, 0..100).await;
    tool.until_reported("backoff level 1").await;
    let (code, stderr) = terminated(tool).await;
    assert_eq!(code, Some(0), "{stderr}");
    let reported = "requeued after attempt 1: rejected by nsqd: E_UNAUTHORIZED";
    assert!(stderr.contains(reported), "{stderr}");
    // Those that were in flight, and one for each second since.
    let state = source.channel(TOPIC, CHANNEL).await;
    assert!((1..50).contains(&state.deferred), "{state:?}");
    assert_eq!(state.depth + state.deferred, 100, "{state:?}");
}

async fn text_that_is_not_json_is_reported_and_counted(source: Broker) {
    let destination = another(&source).await;
    let publisher = producer(&source).await;
    for number in 0..12 {
        let body = format!("{{\"a\":{number}");
        publish(&publisher, body).await.unwrap();
    }
    publish(&publisher, "[1]").await.unwrap();
    publish(&publisher, r#"{"a":1}"#).await.unwrap();
    let address = destination.address().await;
    let tool = copying(&source, &[&address], "--require-json-field a").await;
    until_stored(&[&destination], 1).await;
    until_left(&source, 0).await;
    let ended = terminated(tool).await;
    let summary = "1 ok, 0 passed over, 13 not JSON, 0 rejected, 0 requeued, 0 maybe twice";
    assert_ended(&ended, 1, summary);
    let reported = "finished, not a JSON object: EOF while parsing an object at line 1 column ";
    assert_eq!(ended.1.matches(reported).count(), 10, "{}", ended.1);
    assert!(ended.1.contains(r#": {\"a\":0"#), "{}", ended.1);
    assert_eq!(destination.bodies(COPY, 1).await, [br#"{"a":1}"#]);
}

async fn flags_select_messages_and_their_fields(source: Broker) {
    let destination = another(&source).await;
    let publisher = producer(&source).await;
    for body in [
        r#"{"id":12345678901234567890123, "type":"a", "rest":1}"#,
        r#"{"id":2,"type":"b"}"#,
        r#"{"id":3}"#,
        r#"{"rest": 1.50, "type":"a"}"#,
    ] {
        publish(&publisher, body).await.unwrap();
    }
    let address = destination.address().await;
    let flags = "--require-json-field type --require-json-value a \
                 --whitelist-json-field id --whitelist-json-field rest";
    let tool = copying(&source, &[&address], flags).await;
    until_stored(&[&destination], 2).await;
    until_left(&source, 0).await;
    let ended = terminated(tool).await;
    let summary = "2 ok, 2 passed over, 0 not JSON, 0 rejected, 0 requeued, 0 maybe twice";
    assert_ended(&ended, 0, summary);
    let mut stored = destination.bodies(COPY, 2).await;
    stored.sort_unstable();
    let expected = [
        r#"{"id":12345678901234567890123,"rest":1}"#,
        r#"{"rest":1.50}"#,
    ];
    assert_eq!(stored, expected.map(str::as_bytes));
}

/// Each message is stored or left at the source, and none is both.
async fn sigterm_publishes_what_it_has_and_returns_the_rest(source: Broker) {
    let destination = another(&source).await;
    let count = 20_000;
    offer(&source, 0..count).await;
    let address = destination.address().await;
    let tool = copying(&source, &[&address], "--mode round-robin").await;
    until_stored(&[&destination], 100).await;
    let (code, stderr) = terminated(tool).await;
    assert_eq!(code, Some(0), "{stderr}");
    let mut all = stored(&[&destination], 0).await;
    assert!(all.len() < count, "it has ended before the signal");
    let summary = format!("nsq_to_nsq: published: {}", all_ok(all.len()));
    assert_eq!(stderr.lines().last(), Some(&summary[..]), "{stderr}");
    let state = source.channel(TOPIC, CHANNEL).await;
    assert_eq!((state.in_flight, state.deferred), (0, 0));
    assert_eq!(state.depth as usize, count - all.len());
    all.dedup();
    assert_eq!(all.len(), destination.message_count(COPY).await);
}

async fn second_signal_ends_it_at_once(source: Broker) {
    let hanging = another(&source).await;
    let address = hanging.address().await;
    let flags = "--producer-opt ack_timeout=200ms";
    let mut tool = copying(&source, &[&address], flags).await;
    offer(&source, 0..1).await;
    until_stored(&[&hanging], 1).await;
    until_left(&source, 0).await;
    hanging.freeze(true).await;
    offer(&source, 1..2).await;
    let held = "no response to any publish within ack_timeout";
    tool.until_reported(held).await;
    let began = Instant::now();
    // When the second one arrives, it may not have handled the first one.
    while tool.is_running() {
        tool.signal(Signal::TERM).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (code, stderr) = ended(tool).await;
    assert_eq!(code, Some(1), "{stderr}");
    // It would wait for five seconds.
    assert!(began.elapsed() < Duration::from_secs(4), "{stderr}");
    hanging.freeze(false).await;
}

async fn source_that_cannot_be_connected_to_ends_it(destination: Broker) {
    let address = destination.address().await;
    let (code, stderr) = ended(start(&[
        format!("--topic={TOPIC}"),
        format!("--nsqd-tcp-address={NOWHERE}"),
        format!("--destination-nsqd-tcp-address={address}"),
    ]))
    .await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains(&format!("nsq_to_nsq: cannot connect to {NOWHERE}")),
        "{stderr}"
    );
}

async fn wrong_command_line_is_rejected(_: Broker) {
    let valid = "--topic t --nsqd-tcp-address h:1 --destination-nsqd-tcp-address h:2";
    for (flags, reason) in [
        (
            "--mode fastest",
            "[possible values: hostpool, round-robin, epsilon-greedy]",
        ),
        ("--lookupd-http-address h:3", "cannot be used with"),
        ("--destination-topic a/b", "--destination-topic: "),
        ("--channel a/b", "a/b"),
        ("--require-json-value x", "needs --require-json-field"),
        ("--producer-opt nonsense", "unknown option \"nonsense\""),
        ("--consumer-opt nonsense", "unknown option \"nonsense\""),
        ("--max-in-flight 0", "from 1 to 1000000"),
        ("--destination-nsqd-tcp-address host", "no port"),
    ] {
        let given = valid.split(' ').chain(flags.split(' '));
        let given: Vec<_> = given.map(str::to_owned).collect();
        let (code, stderr) = ended(start(&given)).await;
        assert_eq!(code, Some(2), "{flags}: {stderr}");
        assert!(stderr.contains(reason), "{flags}: {stderr}");
    }
}
