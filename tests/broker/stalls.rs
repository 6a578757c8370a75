//! A broker that is slow, silent or cut off in the middle: found out in time, and told as it is.

use std::time::{Duration, Instant};

use actix_nsq::bytes::Bytes;
use actix_nsq::{ConnectionError, Delivery, ErrorKind, MultiPublish, Publish, PublishError};

use super::load::{TOPIC, config, numbered, numbers, producer, publish, publish_all, start, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};

const EMBEDDED_ONLY: &str = "a real nsqd cannot be told to behave like this";

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        a_broker_that_answers_nothing_is_left_after_ack_timeout,
        a_broker_that_beats_and_answers_nothing_is_left_too.only(Kind::Embedded, EMBEDDED_ONLY),
        a_broker_that_never_answers_the_handshake_is_left,
        late_answers_are_each_callers_own.only(Kind::Embedded, EMBEDDED_ONLY),
        a_late_answer_to_who_gave_up_is_swallowed.only(Kind::Embedded, EMBEDDED_ONLY),
        what_was_answered_before_the_end_is_ok.only(Kind::Embedded, EMBEDDED_ONLY),
        half_a_command_is_sent_again.only(Kind::Embedded, EMBEDDED_ONLY),
        an_answer_after_the_write_failed_still_counts.only(Kind::Embedded, EMBEDDED_ONLY),
        a_batch_without_an_answer_may_be_partly_stored.only(Kind::Embedded, EMBEDDED_ONLY),
        at_least_once_publishes_again_what_was_not_answered.only(Kind::Embedded, EMBEDDED_ONLY),
        an_answer_too_many_ends_the_connection.only(Kind::Embedded, EMBEDDED_ONLY),
        an_answer_that_is_none_ends_the_connection.only(Kind::Embedded, EMBEDDED_ONLY),
        a_frame_of_an_absurd_size_ends_the_connection.only(Kind::Embedded, EMBEDDED_ONLY),
        an_old_broker_without_features_takes_publishes.only(Kind::Embedded, EMBEDDED_ONLY),
    ]
}

const SOON: Duration = Duration::from_millis(300);

#[track_caller]
fn assert_lost(answer: Result<(), PublishError>, why: fn(&ConnectionError) -> bool) {
    let error = answer.expect_err("nsqd did not answer it");
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::ConnectionLost, Delivery::MaybeWritten)
    );
    assert!(error.connection_error().is_some_and(why), "{error}");
}

/// contract: 1
async fn a_broker_that_answers_nothing_is_left_after_ack_timeout(broker: Broker) {
    let producer = start(config(&broker).await.ack_timeout(SOON));
    publish(&producer, numbered(0)).await.unwrap();
    broker.freeze(true).await;
    let asked = Instant::now();
    let answer = publish(&producer, numbered(1)).await;
    assert_lost(answer, |why| {
        matches!(why, ConnectionError::AckTimeout { .. })
    });
    let took = asked.elapsed();
    assert!(took >= SOON && took < SOON * 5, "it took {took:?}");
    broker.freeze(false).await;
    publish(&producer, numbered(2)).await.unwrap();

    assert_eq!(broker.handshakes().await, 2);
    let stored = numbers(&broker.bodies(TOPIC, 2).await);
    assert!(stored == [0, 2] || stored == [0, 1, 2], "{stored:?}");
}

/// contract: 1
/// fault: P12
async fn a_broker_that_beats_and_answers_nothing_is_left_too(broker: Broker) {
    let config = config(&broker)
        .await
        .heartbeat_interval(Duration::from_secs(1));
    let producer = start(config.ack_timeout(Duration::from_millis(1_500)));
    publish(&producer, numbered(0)).await.unwrap();
    broker.embedded().faults().stall(true);
    let answers = publish_all(&producer, 1..100).await;
    for error in answers.errors() {
        assert!(
            matches!(
                error.connection_error(),
                Some(ConnectionError::AckTimeout { .. })
            ),
            "{error}"
        );
    }
    assert_eq!(answers.failed(Delivery::MaybeWritten), 99);
    broker.embedded().faults().stall(false);
    publish(&producer, numbered(100)).await.unwrap();
    // They were stored, which nobody could know.
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 101).await),
        Vec::from_iter(0..=100)
    );
    assert!(broker.embedded().command_count("NOP") >= 1, "it did beat");
    assert_eq!(broker.handshakes().await, 2);
}

/// contract: 1
/// fault: P5
/// checklist: 5, 6
async fn a_broker_that_never_answers_the_handshake_is_left(broker: Broker) {
    broker.freeze(true).await;
    let producer = start(
        config(&broker)
            .await
            .handshake_timeout(Duration::from_millis(100)),
    );
    let hasty = Publish::new(topic(TOPIC), "hasty").expires_in(SOON);
    let error = producer.send(hasty).await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::NotWritten)
    );
    let why = error.connection_error();
    assert!(
        matches!(why, Some(ConnectionError::HandshakeTimeout { .. })),
        "{error}"
    );
    let (answer, ()) = tokio::join!(publish(&producer, numbered(0)), broker.freeze(false));
    answer.unwrap();
    assert_eq!(numbers(&broker.bodies(TOPIC, 1).await), [0]);
}

/// contract: 1, 2
async fn late_answers_are_each_callers_own(broker: Broker) {
    broker
        .embedded()
        .faults()
        .delay_responses(Duration::from_millis(100));
    let producer = start(config(&broker).await.publish_window(50).auto_batch(false));
    let refusal = "E_PUB_FAILED PUB failed exiting";
    for _ in 0..3 {
        broker.embedded().faults().fail_next("PUB", refusal);
    }
    // The first of each connection is refused, three times; the others wait for the next one.
    let answers = publish_all(&producer, 0..200).await;
    assert_eq!(answers.failed(Delivery::NotWritten), 3);
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 197).await),
        Vec::from_iter(3..200)
    );
    answers.assert_true_of(&broker.bodies(TOPIC, 197).await);
}

/// contract: 1, 7
async fn a_late_answer_to_who_gave_up_is_swallowed(broker: Broker) {
    let producer = producer(&broker).await;
    publish(&producer, numbered(0)).await.unwrap();
    broker.embedded().faults().stall(true);
    let hasty = Publish::new(topic(TOPIC), numbered(1)).expires_in(Duration::from_millis(50));
    let error = producer.send(hasty).await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::MaybeWritten)
    );
    let next = producer.send(Publish::new(topic(TOPIC), numbered(2)));
    broker.embedded().wait_for_command("PUB", 3).await;
    let after = producer.send(Publish::new(topic(TOPIC), numbered(3)).expires_in(SOON));
    broker.embedded().faults().stall(false);
    next.await.unwrap().unwrap();
    after.await.unwrap().unwrap();
    // Not sent again, and nobody's answer shifted: one more would find no answer left.
    publish(&producer, numbered(4)).await.unwrap();
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 5).await),
        Vec::from_iter(0..5)
    );
    assert_eq!(broker.handshakes().await, 1);
}

/// nsqd executed a third, answered all of these but the last, and closed.
/// contract: 1
/// fault: P9
async fn what_was_answered_before_the_end_is_ok(broker: Broker) {
    for reset in [false, true] {
        let producer = start(config(&broker).await.auto_batch(false));
        publish(&producer, numbered(1_000_000)).await.unwrap();
        let before = broker.message_count(TOPIC).await;
        let faults = broker.embedded().faults();
        if reset {
            faults.reset_after_commands(100);
        } else {
            faults.close_after_commands(100);
        }
        let answers = publish_all(&producer, 0..300).await;
        faults.clear();
        let stored = broker.bodies(TOPIC, 0).await.split_off(before);
        answers.assert_true_of(&stored);
        // A reset may overtake answers; a close does not.
        assert!(reset || answers.ok() >= 99, "{} Ok", answers.ok());
        assert!(answers.failed(Delivery::MaybeWritten) >= 1);
        assert_eq!(answers.failed(Delivery::NotWritten), 0);
    }
}

/// contract: 1, 3
async fn half_a_command_is_sent_again(broker: Broker) {
    let producer = start(config(&broker).await.publish_window_bytes(64 << 20));
    publish(&producer, numbered(0)).await.unwrap();
    // More than the sockets hold, so that a part of it is never handed over.
    broker.embedded().faults().stop_reading(true);
    let large = Bytes::from(vec![b'x'; 1 << 20]);
    let sent: Vec<_> = (0..24)
        .map(|_| producer.send(Publish::new(topic("large"), large.clone())))
        .collect();
    let hasty = Publish::new(topic(TOPIC), "hasty").expires_in(SOON);
    let hasty = producer.send(hasty).await.unwrap().unwrap_err();
    assert_eq!(hasty.kind(), ErrorKind::Timeout);
    broker.embedded().faults().reset_connections();
    broker.embedded().faults().stop_reading(false);

    let (mut ok, mut maybe) = (0, 0);
    for answer in sent {
        match answer.await.unwrap() {
            Ok(()) => ok += 1,
            Err(error) => {
                assert_eq!(error.delivery(), Delivery::MaybeWritten, "{error}");
                maybe += 1;
            }
        }
    }
    assert!(
        ok >= 1,
        "what was not wholly taken is sent again: {ok} Ok, {maybe} unknown"
    );
    assert_eq!(broker.message_count("large").await, ok);
}

/// contract: 1, 8
/// fault: P10
async fn an_answer_after_the_write_failed_still_counts(broker: Broker) {
    let config = config(&broker).await.publish_window_bytes(64 << 20);
    let producer = start(config.write_timeout(SOON));
    let faults = broker.embedded().faults();
    faults.delay_responses(SOON * 2);
    let early = producer.send(Publish::new(topic(TOPIC), numbered(0)));
    broker.embedded().wait_for_command("PUB", 1).await;
    // From here on the socket takes little, so that writing fails after SOON, and the answer comes after twice that.
    faults.stop_reading(true);
    let large = Bytes::from(vec![b'x'; 1 << 20]);
    let sent: Vec<_> = (0..24)
        .map(|_| producer.send(Publish::new(topic("large"), large.clone())))
        .collect();
    early.await.unwrap().unwrap();
    faults.clear();

    let (mut ok, mut maybe) = (0, 0);
    for answer in sent {
        match answer.await.unwrap() {
            Ok(()) => ok += 1,
            answer => {
                assert_lost(answer, |why| {
                    matches!(why, ConnectionError::WriteTimeout { .. })
                });
                maybe += 1;
            }
        }
    }
    let stored = broker.message_count("large").await;
    assert!(
        (ok..=ok + maybe).contains(&stored),
        "{stored} stored, {ok} Ok, {maybe} unknown"
    );
    assert_eq!(numbers(&broker.bodies(TOPIC, 1).await), [0]);
}

/// contract: 1
async fn a_batch_without_an_answer_may_be_partly_stored(broker: Broker) {
    let producer = producer(&broker).await;
    publish(&producer, numbered(0)).await.unwrap();
    broker.embedded().faults().close_after_commands(1);
    let batch = MultiPublish::new(topic(TOPIC), (1..10).map(numbered));
    let error = producer.send(batch).await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::ConnectionLost, Delivery::MaybePartial)
    );
    publish(&producer, numbered(10)).await.unwrap();
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 11).await),
        Vec::from_iter(0..=10)
    );
}

/// contract: 1
async fn at_least_once_publishes_again_what_was_not_answered(broker: Broker) {
    let config = config(&broker).await.retry_maybe_written(true);
    let producer = start(config.auto_batch(false));
    publish(&producer, numbered(0)).await.unwrap();
    broker.embedded().faults().close_after_commands(3);
    publish_all(&producer, 1..6).await.assert_all_ok();
    // 1 and 2 were answered; 3 was stored without an answer, and comes again before all that is younger.
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 7).await),
        [0, 1, 2, 3, 3, 4, 5]
    );
}

/// contract: 1
/// fault: P18
async fn an_answer_too_many_ends_the_connection(broker: Broker) {
    let producer = producer(&broker).await;
    publish(&producer, numbered(0)).await.unwrap();
    broker.embedded().faults().send_raw(b"\0\0\0\x06\0\0\0\0OK");
    broker.embedded().wait_for_command("IDENTIFY", 2).await;
    // Taken for an answer, it would be one to a publish that nsqd then refuses.
    broker
        .embedded()
        .faults()
        .fail_next("PUB", "E_PUB_FAILED PUB failed exiting");
    publish(&producer, numbered(1)).await.unwrap_err();
    publish(&producer, numbered(2)).await.unwrap();
    assert_eq!(numbers(&broker.bodies(TOPIC, 2).await), [0, 2]);
}

/// contract: 1
/// fault: P17
async fn an_answer_that_is_none_ends_the_connection(broker: Broker) {
    let producer = producer(&broker).await;
    for (at, answer) in [
        &b"\0\0\0\x07\0\0\0\0HUH"[..],
        b"\0\0\0\x06\0\0\0\x09OK",
        b"\0\0\0\x0e\0\0\0\0CLOSE_WAIT",
        b"\0\0\0\x03\0\0\0",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        broker.embedded().faults().respond_next("PUB", answer);
        let error = publish(&producer, numbered(at * 2)).await.unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::ConnectionLost,
            "{answer:?}: {error}"
        );
        assert_eq!(
            error.delivery(),
            Delivery::MaybeWritten,
            "{answer:?}: {error}"
        );
        publish(&producer, numbered(at * 2 + 1)).await.unwrap();
    }
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 10).await),
        Vec::from_iter(0..10)
    );
}

/// contract: 1
/// fault: P16
async fn a_frame_of_an_absurd_size_ends_the_connection(broker: Broker) {
    let producer = producer(&broker).await;
    for size in [b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\x20\0\0"] {
        broker.embedded().faults().respond_next("PUB", size);
        let answer = publish(&producer, "x").await;
        assert_lost(answer, |why| matches!(why, ConnectionError::Protocol(_)));
    }
    publish(&producer, "x").await.unwrap();
}

/// contract: 1
/// fault: P6
/// checklist: 2
async fn an_old_broker_without_features_takes_publishes(broker: Broker) {
    broker
        .embedded()
        .faults()
        .respond_next("IDENTIFY", b"\0\0\0\x06\0\0\0\0OK");
    let producer = producer(&broker).await;
    publish_all(&producer, 0..10).await.assert_all_ok();
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 10).await),
        Vec::from_iter(0..10)
    );
}
