//! Automatic batching: one response of nsqd answers several publishes, each of them correctly.

use actix_nsq::protocol::ErrorCode;
use actix_nsq::{Delivery, ErrorKind, Publish};
use futures::future::join_all;

use super::fixture::{assert_error, assert_stored, producer, publish, publish_all, stats, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Settings};

pub fn scenarios() -> Vec<Scenario> {
    scenarios![rejected_member_of_a_batch_fails_alone.with(Settings {
        max_msg_size: 1_000,
        ..Settings::default()
    }),]
}

/// nsqd rejects the whole batch and stores nothing of it.
/// contract: 2, 3, 4, 7, 9
/// fault: P19
async fn rejected_member_of_a_batch_fails_alone(broker: Broker) {
    let producer = producer(&broker).await;
    // The first batches of a connection are small, until nsqd's speed is known.
    let first = |_| producer.send(Publish::new(topic("other"), "first"));
    for answer in join_all((0..16).map(first)).await {
        answer.unwrap().unwrap();
    }
    let first = stats(&producer).await;
    // So few are not divided among several batches.
    let (before, rejected, after) = tokio::join!(
        publish_all(&producer, 0..12),
        publish(&producer, vec![b'x'; 1_001]),
        publish_all(&producer, 12..24),
    );
    before.assert_all_ok();
    after.assert_all_ok();
    assert_stored(&broker, 0..24).await;
    assert_eq!(broker.handshakes().await, 2);
    let error = rejected.unwrap_err();
    let kind = ErrorKind::Rejected(ErrorCode::BadMessage);
    assert_error(&error, kind, Delivery::NotWritten);
    let text = error.to_string();
    assert!(
        text.contains("E_BAD_MESSAGE MPUB message too big 1001 > 1000"),
        "{text}"
    );
    let stats = stats(&producer).await;
    let batches = (stats.batches - first.batches, stats.batched - first.batched);
    assert_eq!(batches, (1, 25));
    // The 24 others were sent again one by one.
    let commands = stats.commands - first.commands;
    assert_eq!((commands, stats.requeued), (1 + 24, 24));
}
