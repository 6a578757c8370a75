//! What automatic batching must not change: one answer of the broker is for many publishes, and each is still told what is true
//! of it. Where each publish is a command, `refusals` and `stalls` say the same.

use std::time::Duration;

use actix_nsq::protocol::ErrorCode;
use actix_nsq::{Delivery, ErrorKind, Publish, producer::GetStats};

use super::load::{
    Answers, TOPIC, config, numbered, numbers, producer, publish, publish_all, start, topic,
};
use super::refusals::{assert_all_forbidden, refused_by, small};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};

const EMBEDDED_ONLY: &str = "a real nsqd cannot be told to behave like this";

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        a_refused_publish_in_the_midst_of_a_batch_fails_alone.with(small()),
        a_batch_that_failed_is_open_and_nothing_is_folded_until_all_is_well
            .only(Kind::Embedded, EMBEDDED_ONLY),
        an_unknown_refusal_leaves_all_of_a_batch_open.only(Kind::Embedded, EMBEDDED_ONLY),
        a_known_refusal_of_a_batch_fails_nobody_and_late_answers_are_each_callers_own
            .only(Kind::Embedded, EMBEDDED_ONLY),
        a_forbidden_topic_fails_with_all_its_batches_and_nothing_else
            .only(Kind::Embedded, EMBEDDED_ONLY),
        what_was_answered_before_the_end_is_ok_by_whole_batches.only(Kind::Embedded, EMBEDDED_ONLY),
        at_least_once_publishes_a_whole_batch_again.only(Kind::Embedded, EMBEDDED_ONLY),
    ]
}

/// The whole batch is refused, and nsqd stores nothing of it: the innocent are sent again one by one.
/// contract: 2, 3, 4, 7, 9
/// fault: P19
async fn a_refused_publish_in_the_midst_of_a_batch_fails_alone(broker: Broker) {
    let producer = producer(&broker).await;
    let error = refused_by(producer.clone(), &broker, async |producer| {
        publish(producer, vec![b'x'; 1_001]).await
    });
    let error = error.await;
    assert_eq!(error.kind(), ErrorKind::Rejected(ErrorCode::BadMessage));
    let text = error.to_string();
    assert!(text.contains("E_BAD_MESSAGE MPUB message too big 1001 > 1000"));
    let stats = producer.send(GetStats).await.unwrap();
    assert_eq!((stats.batches, stats.batched), (1, 101));
    // Each of the others was sent twice, and the guilty one once.
    assert_eq!((stats.commands, stats.requeued), (101, 100));
}

#[track_caller]
fn assert_all_open(answers: &Answers, code: ErrorCode) {
    for error in answers.errors() {
        assert_eq!(error.kind(), ErrorKind::Rejected(code), "{error}");
    }
    assert_eq!(answers.failed(Delivery::MaybeWritten), answers.len());
}

/// contract: 2, 3, 4, 7, 9
async fn a_batch_that_failed_is_open_and_nothing_is_folded_until_all_is_well(broker: Broker) {
    let faults = broker.embedded().faults();
    let disk = "failed write: no space left on device";
    faults.fail_after_storing("MPUB", &format!("E_MPUB_FAILED MPUB {disk}"), 2);
    let producer = producer(&broker).await;
    let mut answers = publish_all(&producer, 0..50).await;
    assert_all_open(&answers, ErrorCode::MpubFailed);
    // A batch would not be caught by this, or fail as a whole.
    faults.fail_next("PUB", &format!("E_PUB_FAILED PUB {disk}"));
    let next = publish_all(&producer, 50..60).await;
    assert_eq!((next.failed(Delivery::NotWritten), next.ok()), (1, 9));
    // One OK, and all is well.
    let folded = producer.send(GetStats).await.unwrap().batches;
    let last = publish_all(&producer, 60..80).await;
    last.assert_all_ok();
    assert!(producer.send(GetStats).await.unwrap().batches > folded);
    answers.merge(next);
    answers.merge(last);
    let bodies = broker.bodies(TOPIC, 31).await;
    answers.assert_true_of(&bodies);
    let expected: Vec<_> = (0..2).chain(51..80).collect();
    assert_eq!(numbers(&bodies), expected);
}

/// contract: 2, 3, 4, 7, 9
/// fault: P20
async fn an_unknown_refusal_leaves_all_of_a_batch_open(broker: Broker) {
    let faults = broker.embedded().faults();
    faults.fail_after_storing("MPUB", "E_TOMORROW \u{1f600}", 1);
    let producer = producer(&broker).await;
    let answers = publish_all(&producer, 0..50).await;
    assert_all_open(&answers, ErrorCode::Unknown);
    publish(&producer, numbered(50)).await.unwrap();
    assert_eq!(numbers(&broker.bodies(TOPIC, 2).await), [0, 50]);
}

/// Three batches of a window are refused whole; their members go one by one, with many answers on their way.
/// contract: 2, 3, 4, 7, 9
async fn a_known_refusal_of_a_batch_fails_nobody_and_late_answers_are_each_callers_own(
    broker: Broker,
) {
    let faults = broker.embedded().faults();
    faults.delay_responses(Duration::from_millis(100));
    for _ in 0..3 {
        faults.fail_next("MPUB", "E_PUB_FAILED MPUB failed exiting");
    }
    let producer = start(config(&broker).await.publish_window(50));
    publish_all(&producer, 0..200).await.assert_all_ok();
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 200).await),
        Vec::from_iter(0..200)
    );
    assert_eq!(broker.handshakes().await, 4);
}

/// contract: 2, 3, 4, 7, 9
async fn a_forbidden_topic_fails_with_all_its_batches_and_nothing_else(broker: Broker) {
    let verdict = "E_UNAUTHORIZED AUTH failed for MPUB on \"forbidden\" \"\"";
    broker.embedded().faults().fail_next("MPUB", verdict);
    let config = config(&broker).await.auto_batch_messages(2);
    let producer = start(config);
    let forbidden = || producer.send(Publish::new(topic("forbidden"), "x"));
    // Two batches of two, and the first of them is refused.
    let (one, two, good, three, four) = tokio::join!(
        forbidden(),
        forbidden(),
        publish_all(&producer, 0..50),
        forbidden(),
        forbidden()
    );
    good.assert_all_ok();
    assert_all_forbidden(&broker, [one, two, three, four]).await;
}

/// nsqd executed 20 of 30 batches, answered all of these but the last, and closed.
/// contract: 2, 3, 4, 7, 9
/// fault: P9
async fn what_was_answered_before_the_end_is_ok_by_whole_batches(broker: Broker) {
    for reset in [false, true] {
        let producer = start(config(&broker).await.auto_batch_messages(10));
        publish(&producer, numbered(1_000_000)).await.unwrap();
        let before = broker.message_count(TOPIC).await;
        let faults = broker.embedded().faults();
        if reset {
            faults.reset_after_commands(20);
        } else {
            faults.close_after_commands(20);
        }
        let answers = publish_all(&producer, 0..300).await;
        faults.clear();
        let stored = broker.bodies(TOPIC, 0).await.split_off(before);
        answers.assert_true_of(&stored);
        // A reset may overtake answers; a close does not. A batch may be smaller where a turn of the producer ends.
        assert!(reset || answers.ok() >= 180, "{} Ok", answers.ok());
        assert!(answers.failed(Delivery::MaybeWritten) > 1);
        assert_eq!(answers.failed(Delivery::NotWritten), 0);
    }
}

/// contract: 2, 3, 4, 7, 9
async fn at_least_once_publishes_a_whole_batch_again(broker: Broker) {
    let config = config(&broker).await.retry_maybe_written(true);
    let producer = start(config.auto_batch_messages(2));
    publish(&producer, numbered(0)).await.unwrap();
    broker.embedded().faults().close_after_commands(2);
    publish_all(&producer, 1..6).await.assert_all_ok();
    // 1 and 2 were answered by one OK; 3 and 4 were stored without one, and come again before all that is younger.
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 8).await),
        [0, 1, 2, 3, 4, 3, 4, 5]
    );
}
