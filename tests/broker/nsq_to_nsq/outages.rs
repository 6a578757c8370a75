//! Destinations of the example `nsq_to_nsq` that are down or hang: they delay no message while
//! another one is up.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::{
    CHANNEL, COPY, NOWHERE, all_ok, another, assert_ended, copying, offer, terminated, until_left,
    until_stored,
};
use crate::fixture::{TOPIC, numbered, numbers, producer, publish};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, ChannelState, Kind, Settings};
use crate::support::{small_disk, wait};

/// Maximum time of a message while a destination is up.
const IN_TIME: Duration = Duration::from_secs(1);

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        dead_destination_delays_no_message.with(Settings::in_memory()),
        killed_destination_delays_no_message.with(Settings::in_memory()),
        hanging_destination_delays_no_message.with(Settings::in_memory()),
        full_disk_of_a_destination_delays_no_message
            .with(Settings::in_memory())
            .only(Kind::Real, "it needs a real disk")
            .unless(small_disk::problem),
        no_message_is_requested_before_a_destination_is_up.with(Settings::in_memory()),
        signal_returns_what_cannot_be_published.with(Settings::in_memory()),
    ]
}

async fn dead_destination_delays_no_message(source: Broker) {
    let destination = another(&source).await;
    let address = destination.address().await;
    for mode in ["hostpool", "round-robin"] {
        let before = destination.message_count(COPY).await;
        let flags = format!("--mode {mode}");
        let tool = copying(&source, &[NOWHERE, &address], &flags).await;
        let publisher = producer(&source).await;
        // The first waits for the connections.
        for number in 0..50 {
            let began = Instant::now();
            publish(&publisher, numbered(number)).await.unwrap();
            until_stored(&[&destination], before + number + 1).await;
            let took = began.elapsed();
            assert!(number == 0 || took < IN_TIME, "{number}: {took:?}");
        }
        until_left(&source, 0).await;
        assert_ended(&terminated(tool).await, 0, &all_ok(50));
    }
}

/// What is in flight there moves, and may be stored twice.
async fn killed_destination_delays_no_message(source: Broker) {
    let killed = Broker::start(source.kind(), Settings::default()).await;
    let other = another(&source).await;
    let (first, second) = (killed.address().await, other.address().await);
    let tool = copying(&source, &[&first, &second], "").await;
    offer(&source, 0..10_000).await;
    while killed.message_count(COPY).await < 100 {
        tokio::task::yield_now().await;
    }
    killed.kill().await;
    // A message that is requeued comes again after 90 seconds.
    until_left(&source, 0).await;
    let numbers = 10_000..10_020;
    assert_in_time(&source, &[&other], numbers, IN_TIME).await;
    let ended = terminated(tool).await;
    killed.restart().await;
    assert_stored_with_duplicates([&killed, &other], 10_020, &ended).await;
}

/// What is in flight there moves, and may be stored twice.
async fn hanging_destination_delays_no_message(source: Broker) {
    let (hanging, other) = (another(&source).await, another(&source).await);
    let (first, second) = (hanging.address().await, other.address().await);
    let mode = "--mode round-robin";
    let tool = copying(&source, &[&first, &second], mode).await;
    let publisher = producer(&source).await;
    let mut number = 0;
    // It is in use.
    while hanging.message_count(COPY).await < 10 {
        publish(&publisher, numbered(number)).await.unwrap();
        number += 1;
        until_stored(&[&hanging, &other], number).await;
    }
    hanging.freeze(true).await;
    // One second, and one more on a busy machine.
    let limit = 2 * IN_TIME;
    let began = Instant::now();
    offer(&source, number..number + 200).await;
    until_left(&source, 0).await;
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
    let (more, all) = (number + 200, number + 220);
    assert_in_time(&source, &[&other], more..all, limit).await;
    let ended = terminated(tool).await;
    hanging.freeze(false).await;
    let twice = assert_stored_with_duplicates([&hanging, &other], all, &ended).await;
    assert!(twice > 0, "nothing was in flight there: {}", ended.1);
}

/// It rejects each message, which then goes to the other one.
async fn full_disk_of_a_destination_delays_no_message(source: Broker) {
    let small = Settings {
        disk: Some(64 << 20),
        ..Settings::default()
    };
    let full = Broker::start(source.kind(), small).await;
    let other = another(&source).await;
    let (first, second) = (full.address().await, other.address().await);
    let tool = copying(&source, &[&first, &second], "--mode round-robin").await;
    offer(&source, 0..100).await;
    until_stored(&[&full, &other], 100).await;
    assert!(full.message_count(COPY).await > 0, "it is in use");
    full.fill_disk().await;
    // The last page of its file holds a few more.
    assert_in_time(&source, &[&full, &other], 100..150, IN_TIME).await;
    assert!(full.message_count(COPY).await < 75, "its disk is full");
    assert_ended(&terminated(tool).await, 0, &all_ok(150));
}

/// Publishes one message after the other, and asserts how long each takes to a destination.
async fn assert_in_time(
    source: &Broker,
    destinations: &[&Broker],
    numbers: Range<usize>,
    limit: Duration,
) {
    let publisher = producer(source).await;
    for number in numbers {
        let mut before = 0;
        for destination in destinations {
            before += destination.message_count(COPY).await;
        }
        let began = Instant::now();
        publish(&publisher, numbered(number)).await.unwrap();
        until_stored(destinations, before + 1).await;
        let took = began.elapsed();
        assert!(took < limit, "{number}: {took:?}");
    }
    until_left(source, 0).await;
}

/// Asserts that all messages were published, none was requeued, and none is stored twice beyond
/// what the summary says. Returns how many it says.
async fn assert_stored_with_duplicates(
    destinations: [&Broker; 2],
    count: usize,
    (code, stderr): &(Option<i32>, String),
) -> usize {
    assert_eq!(*code, Some(0), "{stderr}");
    let summary = stderr.lines().last().unwrap_or_default();
    let expected = all_ok(count);
    let expected = expected.trim_end_matches("0 maybe twice");
    let twice = summary
        .strip_prefix(&format!("nsq_to_nsq: published: {expected}"))
        .and_then(|rest| rest.strip_suffix(" maybe twice")?.parse::<usize>().ok())
        .unwrap_or_else(|| panic!("{stderr}"));
    let mut all = Vec::new();
    for destination in destinations {
        all.extend(numbers(&destination.bodies(COPY, 0).await));
    }
    all.sort_unstable();
    let stored = all.len();
    all.dedup();
    assert_eq!(all, Vec::from_iter(0..count));
    let duplicates = stored - all.len();
    assert!(
        duplicates <= twice && twice <= 200,
        "{duplicates}: {stderr}"
    );
    twice
}

async fn no_message_is_requested_before_a_destination_is_up(source: Broker) {
    let destination = another(&source).await;
    let address = destination.address().await;
    destination.terminate().await;
    offer(&source, 0..100).await;
    let tool = copying(&source, &[NOWHERE, &address], "").await;
    tool.until_reported("no destination is connected; no messages are requested")
        .await;
    let state = source.channel(TOPIC, CHANNEL).await;
    assert_eq!((state.in_flight, state.deferred), (0, 0));
    destination.restart().await;
    until_stored(&[&destination], 100).await;
    tool.until_reported("a destination is connected\n").await;
    until_left(&source, 0).await;
    // In a later outage, too.
    destination.terminate().await;
    let reported = "no destination is connected; no messages are requested";
    wait::until(reported, || tool.stderr().matches(reported).count() == 2).await;
    offer(&source, 100..200).await;
    let state = source.channel(TOPIC, CHANNEL).await;
    assert_eq!((state.in_flight, state.deferred), (0, 0));
    let ended = terminated(tool).await;
    assert_ended(&ended, 0, &all_ok(100));
    assert_eq!(source.channel(TOPIC, CHANNEL).await.depth, 100);
}

async fn signal_returns_what_cannot_be_published(source: Broker) {
    let hanging = another(&source).await;
    let address = hanging.address().await;
    let flags = "--producer-opt ack_timeout=200ms";
    let tool = copying(&source, &[&address], flags).await;
    offer(&source, 0..10).await;
    until_stored(&[&hanging], 10).await;
    until_left(&source, 0).await;
    hanging.freeze(true).await;
    offer(&source, 10..20).await;
    let held = "no response to any publish within ack_timeout";
    tool.until_reported(held).await;
    // At once, and not with the delay of a failure.
    let ended = terminated(tool).await;
    let summary = "10 ok, 0 passed over, 0 not JSON, 0 rejected, 10 requeued, 10 maybe twice";
    assert_ended(&ended, 0, summary);
    let returned = ChannelState {
        depth: 10,
        ..ChannelState::default()
    };
    assert_eq!(source.channel(TOPIC, CHANNEL).await, returned);
    hanging.freeze(false).await;
}
