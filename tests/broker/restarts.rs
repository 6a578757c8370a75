//! nsqd goes and comes back: every publish is answered once, truthfully, and the same address works on.

use std::time::{Duration, Instant};

use actix_nsq::{ConnectionError, Delivery, ErrorKind};

use super::load::{
    Load, TOPIC, config, numbered, numbers, producer, publish, publish_all, start, topic,
};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::Broker;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        killed_again_and_again_under_load,
        terminated_again_and_again_under_load,
        killed_with_a_full_window,
        killed_under_load_with_at_least_once_asked_for,
        frozen_for_longer_than_two_heartbeats_and_thawed,
        a_broker_may_start_after_the_producer,
        a_publish_right_after_a_restart_succeeds,
        what_waits_out_a_restart_keeps_its_order,
        an_outage_longer_than_the_time_out_leaves_nothing_stored,
        what_was_in_flight_at_the_end_is_told_from_what_was_not,
    ]
}

const CYCLES: usize = 5;

/// contract: 1
/// checklist: 18, 19, 37
async fn killed_again_and_again_under_load(broker: Broker) {
    let load = Load::start(&producer(&broker).await, 64);
    for _ in 0..CYCLES {
        load.until_more_ok(300).await;
        broker.kill().await;
        broker.restart().await;
    }
    load.until_more_ok(300).await;
    let answers = load.stop().await;
    answers.assert_true_of(&broker.bodies(TOPIC, answers.ok()).await);
    assert_eq!(broker.handshakes().await, CYCLES + 1);
}

/// contract: 1
/// checklist: 18, 19, 37
async fn terminated_again_and_again_under_load(broker: Broker) {
    let load = Load::start(&producer(&broker).await, 64);
    for _ in 0..CYCLES {
        load.until_more_ok(300).await;
        broker.terminate().await;
        broker.restart().await;
    }
    load.until_more_ok(300).await;
    let answers = load.stop().await;
    answers.assert_true_of(&broker.bodies(TOPIC, answers.ok()).await);
}

/// contract: 1
/// checklist: 18, 19, 37
async fn killed_with_a_full_window(broker: Broker) {
    // More callers than the window lets fly at once.
    let config = config(&broker).await.publish_window(1_000);
    let load = Load::start(&start(config.auto_batch(false)), 3_000);
    for _ in 0..CYCLES {
        load.until_more_ok(1_000).await;
        broker.kill().await;
        broker.restart().await;
    }
    load.until_more_ok(1_000).await;
    let answers = load.stop().await;
    let lost = answers.failed(Delivery::MaybeWritten);
    assert!(
        lost <= CYCLES * 1_000,
        "{lost} were lost, more than were in flight"
    );
    // What was not in flight waits out a restart.
    assert_eq!(answers.failed(Delivery::NotWritten), 0);
    answers.assert_true_of(&broker.bodies(TOPIC, answers.ok()).await);
}

/// contract: 1, 4
/// fault: P21
/// checklist: 18, 19, 37
async fn killed_under_load_with_at_least_once_asked_for(broker: Broker) {
    let load = Load::start(&start(config(&broker).await.retry_maybe_written(true)), 64);
    for _ in 0..CYCLES {
        load.until_more_ok(300).await;
        broker.kill().await;
        broker.restart().await;
    }
    load.until_more_ok(300).await;
    let answers = load.stop().await;
    answers.assert_all_ok();
    let mut stored = numbers(&broker.bodies(TOPIC, answers.len()).await);
    stored.sort_unstable();
    stored.dedup();
    assert_eq!(stored, Vec::from_iter(0..answers.len()));
}

/// contract: 1
/// fault: P11
/// checklist: 7, 8, 18, 19, 37
async fn frozen_for_longer_than_two_heartbeats_and_thawed(broker: Broker) {
    let config = config(&broker)
        .await
        .heartbeat_interval(Duration::from_secs(1));
    let config = config.ack_timeout(Duration::from_secs(15));
    // In batches, what comes while nsqd is frozen would wait here, and not be lost with the connection.
    let producer = start(config.auto_batch(false));
    let load = Load::start(&producer, 16);
    load.until_more_ok(100).await;
    let frozen = Instant::now();
    broker.freeze(true).await;
    // Told by the silence, not by a time-out.
    let error = loop {
        if let Err(error) = publish(&producer, numbered(1_000_000)).await {
            break error;
        }
    };
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::ConnectionLost, Delivery::MaybeWritten)
    );
    let why = error.connection_error();
    assert!(
        matches!(why, Some(ConnectionError::HeartbeatTimeout { .. })),
        "{error}"
    );
    let noticed = frozen.elapsed();
    assert!(
        noticed < Duration::from_secs(4),
        "noticed only after {noticed:?}"
    );

    broker.freeze(false).await;
    load.until_more_ok(100).await;
    let answers = load.stop().await;
    assert!(
        answers.failed(Delivery::MaybeWritten) <= 16,
        "no more than were in flight"
    );
    assert_eq!(answers.failed(Delivery::NotWritten), 0);
    let mut bodies = broker.bodies(TOPIC, answers.ok()).await;
    bodies.retain(|body| *body != numbered(1_000_000));
    answers.assert_true_of(&bodies);
}

/// contract: 1
/// fault: P1
/// checklist: 18, 19, 37
async fn a_broker_may_start_after_the_producer(broker: Broker) {
    broker.kill().await;
    let producer = producer(&broker).await;
    let hasty =
        actix_nsq::Publish::new(topic(TOPIC), "hasty").expires_in(Duration::from_millis(200));
    let error = producer.send(hasty).await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::NotWritten)
    );
    let why = error.connection_error();
    assert!(matches!(why, Some(ConnectionError::Dial { .. })), "{error}");

    let waiting = publish_all(&producer, 0..500);
    let (answers, ()) = tokio::join!(waiting, broker.restart());
    answers.assert_all_ok();
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 500).await),
        Vec::from_iter(0..500)
    );
}

/// contract: 1
/// checklist: 18, 19, 37
async fn a_publish_right_after_a_restart_succeeds(broker: Broker) {
    let producer = producer(&broker).await;
    for cycle in 0..CYCLES {
        publish(&producer, numbered(cycle * 2)).await.unwrap();
        broker.kill().await;
        broker.restart().await;
        publish(&producer, numbered(cycle * 2 + 1)).await.unwrap();
    }
    let expected: Vec<_> = (0..CYCLES * 2).collect();
    assert_eq!(numbers(&broker.bodies(TOPIC, CYCLES * 2).await), expected);
}

/// contract: 1, 9
/// checklist: 18, 19, 37
async fn what_waits_out_a_restart_keeps_its_order(broker: Broker) {
    let producer = producer(&broker).await;
    publish(&producer, numbered(0)).await.unwrap();
    broker.terminate().await;
    let (mut answers, ()) = tokio::join!(publish_all(&producer, 1..3_000), broker.restart());
    answers.note(0, Ok(()));
    // Some may have gone to the old connection, whose end was not heard yet.
    let bodies = broker.bodies(TOPIC, answers.ok()).await;
    let stored = numbers(&bodies);
    assert!(stored.is_sorted(), "{stored:?}");
    assert_eq!(answers.failed(Delivery::NotWritten), 0);
    answers.assert_true_of(&bodies);
    assert!(
        answers.ok() >= 2_000,
        "all but one window wait: {}",
        answers.ok()
    );
}

/// contract: 1, 3
/// checklist: 18, 19, 37
async fn an_outage_longer_than_the_time_out_leaves_nothing_stored(broker: Broker) {
    let producer = start(
        config(&broker)
            .await
            .publish_timeout(Duration::from_millis(400)),
    );
    publish(&producer, numbered(0)).await.unwrap();
    broker.kill().await;
    // Heard of the end, it hands over nothing more.
    let _ = publish(&producer, numbered(1_000_000)).await;

    let answers = publish_all(&producer, 1..500).await;
    assert_eq!(answers.failed(Delivery::NotWritten), 499);
    for error in answers.errors() {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(
            error.is_retryable() && error.connection_error().is_some(),
            "{error}"
        );
    }

    broker.restart().await;
    let patient = async || publish(&producer, numbered(500)).await;
    while let Err(error) = patient().await {
        // The backoff may be longer than this producer's patience.
        assert_eq!(error.delivery(), Delivery::NotWritten, "{error}");
    }
    assert_eq!(numbers(&broker.bodies(TOPIC, 2).await), [0, 500]);
}

/// contract: 1, 3
/// checklist: 18, 19, 37
async fn what_was_in_flight_at_the_end_is_told_from_what_was_not(broker: Broker) {
    let producer = start(config(&broker).await.publish_window(100));
    publish(&producer, numbered(0)).await.unwrap();
    broker.until_recoverable().await;
    broker.freeze(true).await;
    let the_end = async {
        // Behind all others; its time-out tells that those in the window are handed over.
        let hasty = actix_nsq::Publish::new(topic(TOPIC), "hasty");
        let hasty = producer
            .send(hasty.expires_in(Duration::from_millis(50)))
            .await;
        let error = hasty.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Timeout, Delivery::NotWritten)
        );
        broker.kill().await;
        broker.restart().await;
    };
    let (mut answers, ()) = tokio::join!(publish_all(&producer, 1..301), the_end);
    assert_eq!(answers.failed(Delivery::MaybeWritten), 100);
    assert_eq!(answers.ok(), 200);
    answers.note(0, Ok(()));
    for error in answers.errors() {
        assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
    }
    let bodies = broker.bodies(TOPIC, 201).await;
    answers.assert_true_of(&bodies);
}
