//! Drain: what was outstanding is answered truthfully and counted, and nothing of the producer is left at the broker.

use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::{Delivery, ErrorKind, Producer, producer::Drain, producer::DrainReport};

use super::load::{
    Answers, TOPIC, config, numbered, numbers, producer, publish, publish_all, start,
};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Settings};

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        five_thousand_publishes_are_stored_before_the_end,
        nothing_is_left_of_a_drained_producer,
        a_drained_producer_refuses_publishes_for_good,
        a_producer_with_nothing_outstanding_is_drained_at_once,
        an_outage_that_ends_in_time_loses_nothing,
        an_outage_past_the_dead_line_leaves_nothing_stored,
        a_frozen_broker_is_left_at_the_dead_line,
        a_frozen_broker_is_left_at_the_dead_line_with_batches_on_their_way,
        a_broker_killed_meanwhile_is_told_as_it_is,
        a_refusal_meanwhile_fails_alone.with(small()),
        the_earliest_dead_line_counts,
        a_dropped_producer_finishes_first,
    ]
}

const LONG: Duration = Duration::from_secs(30);

/// contract: 10
fn small() -> Settings {
    Settings {
        max_msg_size: 1_000,
        ..Settings::default()
    }
}

async fn drain(producer: &Addr<Producer>, deadline: Duration) -> DrainReport {
    producer
        .send(Drain { timeout: deadline })
        .await
        .expect("a drained producer is alive")
}

/// The report says what the callers were told.
#[track_caller]
fn assert_reported(report: DrainReport, answers: &Answers) {
    let told = (
        answers.ok(),
        answers.failed(Delivery::NotWritten),
        answers.failed(Delivery::MaybeWritten),
    );
    let count = |number: u64| usize::try_from(number).unwrap();
    assert_eq!(
        (
            count(report.ok),
            count(report.not_written),
            count(report.maybe_written)
        ),
        told
    );
    assert_eq!(report.maybe_partial, 0);
}

/// contract: 10
/// checklist: 107, 108
async fn five_thousand_publishes_are_stored_before_the_end(broker: Broker) {
    let producer = producer(&broker).await;
    let (answers, report) = tokio::join!(publish_all(&producer, 0..5_000), drain(&producer, LONG));
    answers.assert_all_ok();
    assert!(report.is_clean() && report.ok == 5_000, "{report:?}");
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 5_000).await),
        Vec::from_iter(0..5_000)
    );
}

/// contract: 10
async fn nothing_is_left_of_a_drained_producer(broker: Broker) {
    let producer = producer(&broker).await;
    publish_all(&producer, 0..100).await.assert_all_ok();
    assert_eq!(broker.sockets_of_ours().await, 1);
    drain(&producer, LONG).await;
    // When the answer comes, and not some time later.
    assert_eq!(broker.sockets_of_ours().await, 0);
    broker.until_no_client_is_left().await;
    assert_eq!(broker.handshakes().await, 1);
}

/// contract: 10
async fn a_drained_producer_refuses_publishes_for_good(broker: Broker) {
    let producer = producer(&broker).await;
    let (first, report) = tokio::join!(publish_all(&producer, 0..10), drain(&producer, LONG));
    first.assert_all_ok();
    for number in 10..20 {
        let error = publish(&producer, numbered(number)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Drained, Delivery::NotWritten)
        );
    }
    assert_eq!(drain(&producer, LONG).await, report);
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 10).await),
        Vec::from_iter(0..10)
    );
    assert_eq!(broker.handshakes().await, 1);
}

/// contract: 10
async fn a_producer_with_nothing_outstanding_is_drained_at_once(broker: Broker) {
    // One that was never connected, one in its backoff, one that is connected.
    let lazy = start(config(&broker).await.connect_at_start(false));
    let connected = producer(&broker).await;
    publish(&connected, numbered(0)).await.unwrap();
    for producer in [&lazy, &connected] {
        assert_eq!(drain(producer, LONG).await, drain(producer, LONG).await);
    }
    broker.kill().await;
    let alone = producer(&broker).await;
    let begun = Instant::now();
    assert!(drain(&alone, LONG).await.is_clean());
    assert!(begun.elapsed() < LONG / 10, "{:?}", begun.elapsed());
}

/// contract: 10
async fn an_outage_that_ends_in_time_loses_nothing(broker: Broker) {
    broker.kill().await;
    let producer = producer(&broker).await;
    let (answers, report, ()) = tokio::join!(
        publish_all(&producer, 0..2_000),
        drain(&producer, LONG),
        broker.restart(),
    );
    answers.assert_all_ok();
    assert_reported(report, &answers);
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 2_000).await),
        Vec::from_iter(0..2_000)
    );
}

/// contract: 10
async fn an_outage_past_the_dead_line_leaves_nothing_stored(broker: Broker) {
    broker.kill().await;
    let producer = producer(&broker).await;
    let deadline = Duration::from_millis(200);
    let begun = Instant::now();
    let (answers, report) =
        tokio::join!(publish_all(&producer, 0..2_000), drain(&producer, deadline));
    assert!(begun.elapsed() < deadline * 10, "{:?}", begun.elapsed());
    assert_eq!(answers.failed(Delivery::NotWritten), 2_000);
    assert!(
        answers
            .errors()
            .all(|error| error.kind() == ErrorKind::Drained)
    );
    assert_reported(report, &answers);

    broker.restart().await;
    // Had it gone on dialling, it would be here before this one.
    publish(&super::load::producer(&broker).await, numbered(2_000))
        .await
        .unwrap();
    assert_eq!(numbers(&broker.bodies(TOPIC, 1).await), [2_000]);
    assert_eq!(broker.handshakes().await, 1);
}

/// contract: 10
async fn a_frozen_broker_is_left_at_the_dead_line(broker: Broker) {
    let config = config(&broker).await.publish_window(1_000);
    let producer = start(config.auto_batch(false));
    let answers = left_frozen(&broker, &producer).await;
    assert_eq!(answers.failed(Delivery::MaybeWritten), 1_000);
    assert_eq!(answers.failed(Delivery::NotWritten), 2_000);
}

/// With automatic batching less is sent to an nsqd that does not answer.
/// contract: 10
async fn a_frozen_broker_is_left_at_the_dead_line_with_batches_on_their_way(broker: Broker) {
    let producer = start(config(&broker).await.publish_window(1_000));
    let answers = left_frozen(&broker, &producer).await;
    let sent = answers.failed(Delivery::MaybeWritten);
    let waiting = answers.failed(Delivery::NotWritten);
    assert!(sent > 1 && sent <= 1_000, "{sent}");
    assert_eq!(sent + waiting, 3_000);
}

async fn left_frozen(broker: &Broker, producer: &Addr<Producer>) -> Answers {
    publish(producer, numbered(0)).await.unwrap();
    broker.freeze(true).await;
    let deadline = Duration::from_millis(300);
    let begun = Instant::now();
    let (mut answers, report) =
        tokio::join!(publish_all(producer, 1..3_001), drain(producer, deadline));
    let took = begun.elapsed();
    assert!(
        took >= deadline && took < deadline + Duration::from_secs(2),
        "{took:?}"
    );
    assert_reported(report, &answers);
    answers.note(0, Ok(()));
    assert_eq!(broker.sockets_of_ours().await, 0);

    broker.freeze(false).await;
    broker.until_no_client_is_left().await;
    let bodies = broker.bodies(TOPIC, 1).await;
    answers.assert_true_of(&bodies);
    answers
}

/// contract: 10
async fn a_broker_killed_meanwhile_is_told_as_it_is(broker: Broker) {
    let producer = producer(&broker).await;
    publish(&producer, numbered(0)).await.unwrap();
    let outage = async {
        broker.kill().await;
        broker.restart().await;
    };
    let (mut answers, report, ()) = tokio::join!(
        publish_all(&producer, 1..5_001),
        drain(&producer, LONG),
        outage
    );
    assert_reported(report, &answers);
    answers.note(0, Ok(()));
    assert_eq!(answers.failed(Delivery::NotWritten), 0);
    assert!(
        answers.failed(Delivery::MaybeWritten) <= 1_000,
        "{report:?}"
    );
    let bodies = broker.bodies(TOPIC, answers.ok()).await;
    answers.assert_true_of(&bodies);
}

/// contract: 10
async fn a_refusal_meanwhile_fails_alone(broker: Broker) {
    let producer = producer(&broker).await;
    let (before, guilty, behind, report) = tokio::join!(
        publish_all(&producer, 0..50),
        publish(&producer, vec![b'x'; 1_001]),
        publish_all(&producer, 50..100),
        drain(&producer, LONG),
    );
    before.assert_all_ok();
    behind.assert_all_ok();
    assert_eq!(guilty.unwrap_err().delivery(), Delivery::NotWritten);
    assert_eq!(
        (report.ok, report.not_written, report.maybe_written),
        (100, 1, 0)
    );
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 100).await),
        Vec::from_iter(0..100)
    );
}

/// contract: 10
async fn the_earliest_dead_line_counts(broker: Broker) {
    let producer = producer(&broker).await;
    publish(&producer, numbered(0)).await.unwrap();
    broker.freeze(true).await;
    let soon = Duration::from_millis(100);
    let begun = Instant::now();
    let (answer, first, second) = tokio::join!(
        publish(&producer, numbered(1)),
        drain(&producer, LONG),
        drain(&producer, soon),
    );
    assert!(begun.elapsed() < LONG / 10, "{:?}", begun.elapsed());
    assert_eq!(answer.unwrap_err().delivery(), Delivery::MaybeWritten);
    assert_eq!(first, second);
    broker.freeze(false).await;
}

/// Without a drain: the last address is gone, and what was accepted is still published before the connection ends.
/// contract: 10
/// fault: P28
async fn a_dropped_producer_finishes_first(broker: Broker) {
    let producer = producer(&broker).await;
    let sent = publish_all(&producer, 0..2_000);
    for number in 2_000..2_100 {
        // Nobody awaits these.
        producer.do_send(actix_nsq::Publish::new(
            super::load::topic(TOPIC),
            numbered(number),
        ));
    }
    let answers = sent.await;
    drop(producer);
    answers.assert_all_ok();
    broker.until_no_client_is_left().await;
    assert_eq!(broker.sockets_of_ours().await, 0);
    let mut stored = numbers(&broker.bodies(TOPIC, 2_100).await);
    stored.sort_unstable();
    assert_eq!(stored, Vec::from_iter(0..2_100));
}
