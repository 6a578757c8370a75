//! Drain: outstanding publishes are answered and counted, and nothing of the producer remains.

use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::{
    Delivery, ErrorKind, Producer, ProducerHandle, Publish, producer::Drain, producer::DrainReport,
};
use futures::future::join_all;

use super::fixture::{
    Answers, LONG, TOPIC, assert_stored, config, numbered, producer, publish, publish_all, start,
    stats, topic,
};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::Broker;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        five_thousand_publishes_are_stored_before_the_drain_ends,
        five_thousand_publishes_of_a_handle_are_stored,
        drained_producer_leaves_no_socket,
        outage_longer_than_the_timeout_stores_nothing,
        frozen_nsqd_is_abandoned_after_the_timeout,
        killed_nsqd_during_a_drain_is_reported_truthfully,
        dropped_producer_finishes_its_publishes,
    ]
}

async fn drain(producer: &Addr<Producer>, timeout: Duration) -> DrainReport {
    producer
        .send(Drain { timeout })
        .await
        .expect("the producer answers")
}

/// Asserts that the report has the same counts as the answers.
#[track_caller]
fn assert_reported(report: DrainReport, answers: &Answers) {
    let count = |number: usize| number as u64;
    let reported = (
        report.ok,
        report.not_written,
        report.maybe_written,
        report.maybe_partial,
    );
    let answered = (
        count(answers.ok()),
        count(answers.failed(Delivery::NotWritten)),
        count(answers.failed(Delivery::MaybeWritten)),
        0,
    );
    assert_eq!(reported, answered);
}

/// contract: 10
/// checklist: 107, 108
async fn five_thousand_publishes_are_stored_before_the_drain_ends(broker: Broker) {
    let producer = producer(&broker).await;
    let (answers, report) = tokio::join!(publish_all(&producer, 0..5_000), drain(&producer, LONG));
    answers.assert_all_ok();
    assert!(report.is_clean() && report.ok == 5_000, "{report:?}");
    assert_stored(&broker, 0..5_000).await;
}

/// The queue holds 100; the others wait for capacity.
/// contract: 10
async fn five_thousand_publishes_of_a_handle_are_stored(broker: Broker) {
    let handle = ProducerHandle::start(config(&broker).await.max_pending(100).build().unwrap());
    let producer = handle.address().clone();
    let calls = join_all((0..5_000).map(|number| handle.publish(TOPIC, numbered(number))));
    let (answers, report) = tokio::join!(calls, handle.drain(LONG));
    answers.into_iter().for_each(Result::unwrap);
    let report = report.unwrap();
    assert!(report.is_clean() && report.ok == 5_000, "{report:?}");
    assert_stored(&broker, 0..5_000).await;
    let stats = stats(&producer).await;
    assert_eq!(
        (stats.published, stats.ok, stats.rejected_full),
        (5_000, 5_000, 0),
        "{stats:#?}"
    );
}

/// contract: 10
async fn drained_producer_leaves_no_socket(broker: Broker) {
    let producer = producer(&broker).await;
    publish_all(&producer, 0..100).await.assert_all_ok();
    assert_eq!(broker.sockets_of_ours().await, 1);
    drain(&producer, LONG).await;
    assert_eq!(broker.sockets_of_ours().await, 0);
    broker.until_no_client_is_left().await;
    assert_eq!(broker.handshakes().await, 1);
}

/// contract: 10
async fn outage_longer_than_the_timeout_stores_nothing(broker: Broker) {
    broker.kill().await;
    let drained = producer(&broker).await;
    let (began, timeout) = (Instant::now(), Duration::from_millis(200));
    let (answers, report) = tokio::join!(publish_all(&drained, 0..2_000), drain(&drained, timeout));
    assert!(began.elapsed() < timeout * 10, "{:?}", began.elapsed());
    assert_eq!(answers.failed(Delivery::NotWritten), 2_000);
    assert!(
        answers
            .errors()
            .all(|error| error.kind() == ErrorKind::Drained)
    );
    assert_reported(report, &answers);

    broker.restart().await;
    // If the drained producer still dialled, it would connect before this one.
    publish(&producer(&broker).await, numbered(2_000))
        .await
        .unwrap();
    assert_stored(&broker, 2_000..2_001).await;
    assert_eq!(broker.handshakes().await, 1);
}

/// contract: 10
async fn frozen_nsqd_is_abandoned_after_the_timeout(broker: Broker) {
    let config = config(&broker).await.publish_window(1_000);
    let producer = start(config.auto_batch(false));
    publish(&producer, numbered(0)).await.unwrap();
    broker.freeze(true).await;
    let (began, timeout) = (Instant::now(), Duration::from_millis(300));
    let (mut answers, report) =
        tokio::join!(publish_all(&producer, 1..3_001), drain(&producer, timeout));
    let took = began.elapsed();
    assert!(
        took >= timeout && took < timeout + Duration::from_secs(2),
        "{took:?}"
    );
    assert_reported(report, &answers);
    assert_eq!(answers.failed(Delivery::MaybeWritten), 1_000);
    assert_eq!(answers.failed(Delivery::NotWritten), 2_000);
    assert_eq!(broker.sockets_of_ours().await, 0);

    broker.freeze(false).await;
    broker.until_no_client_is_left().await;
    answers.record(0, Ok(()));
    answers.assert_agree_with(&broker.bodies(TOPIC, 1).await);
}

/// contract: 10
async fn killed_nsqd_during_a_drain_is_reported_truthfully(broker: Broker) {
    let producer = start(config(&broker).await.publish_window(1_000));
    publish(&producer, numbered(0)).await.unwrap();
    let restart = async {
        broker.kill().await;
        broker.restart().await;
    };
    let (mut answers, report, ()) = tokio::join!(
        publish_all(&producer, 1..5_001),
        drain(&producer, LONG),
        restart
    );
    assert_reported(report, &answers);
    assert_eq!(answers.failed(Delivery::NotWritten), 0);
    assert!(
        answers.failed(Delivery::MaybeWritten) <= 1_000,
        "{report:?}"
    );
    answers.record(0, Ok(()));
    answers.assert_agree_with(&broker.bodies(TOPIC, answers.ok()).await);
}

/// Without a drain.
/// contract: 10
/// fault: P28
async fn dropped_producer_finishes_its_publishes(broker: Broker) {
    let producer = producer(&broker).await;
    publish(&producer, numbered(0)).await.unwrap();
    for number in 1..2_000 {
        producer.do_send(Publish::new(topic(TOPIC), numbered(number)));
    }
    drop(producer);
    broker.until_no_client_is_left().await;
    assert_eq!(broker.sockets_of_ours().await, 0);
    assert_stored(&broker, 0..2_000).await;
}
