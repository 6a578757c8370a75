//! nsqd's disk is full, and has room again: refused is what nsqd did not store, and the same producer goes on afterwards.

use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::protocol::ErrorCode;
use actix_nsq::{Delivery, ErrorKind, MultiPublish, Producer, Publish, PublishError};

use super::load::{TOPIC, config, start, topic};
use super::recorded::{RecordedLoad, is_time_out, of_many_sizes};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::record::{Id, Record};
use crate::support::{small_disk, wait};

const REAL_ONLY: &str = "it is about a real disk";

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        a_publish_to_a_full_disk_is_not_written_and_a_batch_in_part
            .only(Kind::Real, REAL_ONLY)
            .unless(small_disk::problem)
            .with(on_a_small_disk()),
        a_disk_that_is_full_for_a_while_costs_only_what_nsqd_refuses
            .only(Kind::Real, REAL_ONLY)
            .unless(small_disk::problem)
            .with(on_a_small_disk()),
        a_disk_that_is_full_for_a_while_leaves_a_batch_open_and_nothing_untrue
            .only(Kind::Real, REAL_ONLY)
            .unless(small_disk::problem)
            .with(on_a_small_disk()),
    ]
}

/// contract: 4
fn on_a_small_disk() -> Settings {
    Settings {
        disk: Some(64 << 20),
        ..Settings::default()
    }
}

/// Nobody waits for long before the next attempt, or the scenario would.
async fn producer(broker: &Broker) -> Addr<Producer> {
    let config = config(broker).await;
    start(config.max_reconnect_backoff(Duration::from_millis(50)))
}

async fn fill_disk(broker: &Broker) {
    let nsqd = broker.real();
    let filled = nsqd.with_nsqd(|nsqd| nsqd.fill_disk()).await;
    filled.expect("a small disk can be filled");
}

async fn free_disk(broker: &Broker) {
    let nsqd = broker.real();
    let freed = nsqd.with_nsqd(|nsqd| nsqd.free_disk()).await;
    freed.expect("what fills it can be removed");
}

/// A batch of small messages, of which the last page of nsqd's file still holds some; or one that is larger than a page.
async fn publish(
    producer: &Addr<Producer>,
    record: &mut Record,
    (count, size): (usize, usize),
) -> Result<(), PublishError> {
    let offers = (0..count).map(|_| record.offer(0, size));
    let (ids, mut bodies): (Vec<Id>, Vec<_>) = offers.unzip();
    let answer = match (count, bodies.pop()) {
        (1, Some(body)) => producer.send(Publish::new(topic(TOPIC), body)).await,
        (_, last) => {
            bodies.extend(last);
            let batch = MultiPublish::new(topic(TOPIC), bodies);
            producer.send(batch).await
        }
    };
    let answer = answer.expect("a producer answers");
    for id in ids {
        record.answer(id, &answer);
    }
    answer
}

#[track_caller]
fn assert_no_space(answer: Result<(), PublishError>, code: ErrorCode, delivery: Delivery) {
    let error = answer.expect_err("nsqd has no room for it");
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Rejected(code), delivery),
        "{error}"
    );
    assert!(
        error.to_string().contains("no space left on device"),
        "{error}"
    );
}

/// contract: 4
/// fault: P23
async fn a_publish_to_a_full_disk_is_not_written_and_a_batch_in_part(broker: Broker) {
    let producer = producer(&broker).await;
    let mut record = Record::new();
    record.publisher(TOPIC);
    publish(&producer, &mut record, (1, 0)).await.unwrap();
    fill_disk(&broker).await;
    for _ in 0..3 {
        let large = publish(&producer, &mut record, (1, 10_000)).await;
        assert_no_space(large, ErrorCode::PubFailed, Delivery::NotWritten);
    }
    let before = broker.message_count(TOPIC).await;
    let batch = publish(&producer, &mut record, (100, 100)).await;
    assert_no_space(batch, ErrorCode::MpubFailed, Delivery::MaybePartial);
    // That is why nobody is told that nothing of it is stored.
    let part = broker.message_count(TOPIC).await - before;
    assert!(part > 0 && part < 100, "{part} of 100 are stored");

    free_disk(&broker).await;
    publish(&producer, &mut record, (1, 10_000)).await.unwrap();
    publish(&producer, &mut record, (100, 100)).await.unwrap();
    let bodies = broker.bodies(TOPIC, 102 + part).await;
    let verdict = record.judge(bodies.iter().map(|body| (TOPIC, &body[..])));
    verdict.assert_clean();
    assert_eq!((verdict.ok, verdict.maybe_stored), (102, part));
}

/// contract: 4
/// fault: P23
async fn a_disk_that_is_full_for_a_while_costs_only_what_nsqd_refuses(broker: Broker) {
    full_for_a_while(broker, false).await;
}

/// Of a batch of the producer's own nsqd may have stored a part: its members are told so.
/// contract: 4
/// fault: P23
async fn a_disk_that_is_full_for_a_while_leaves_a_batch_open_and_nothing_untrue(broker: Broker) {
    full_for_a_while(broker, true).await;
}

async fn full_for_a_while(broker: Broker, batching: bool) {
    let config = config(&broker).await.auto_batch(batching);
    let producer = start(config.max_reconnect_backoff(Duration::from_millis(50)));
    let load = RecordedLoad::start(&producer, 64, TOPIC, of_many_sizes);
    for _ in 0..3 {
        load.until_more_ok(500).await;
        fill_disk(&broker).await;
        let before = load.errors().len();
        wait::until("publishes are refused", || load.errors().len() > before + 5).await;
        free_disk(&broker).await;
    }
    load.until_more_ok(500).await;
    for error in load.errors().iter() {
        assert!(!is_time_out(error), "{error}");
        let told = match error.delivery() {
            // Behind a refusal, nothing is executed: such ones are sent again and not told.
            Delivery::NotWritten => error.kind() == ErrorKind::Rejected(ErrorCode::PubFailed),
            // Or the refusal is lost, when nsqd closes with something unread.
            Delivery::MaybePartial
                if error.kind() == ErrorKind::Rejected(ErrorCode::MpubFailed) =>
            {
                true
            }
            Delivery::MaybeWritten
                if error.kind() == ErrorKind::Rejected(ErrorCode::MpubFailed) =>
            {
                batching
            }
            _ => error.kind() == ErrorKind::ConnectionLost,
        };
        assert!(told, "{error}");
    }
    let verdict = load.judge(&broker).await;
    verdict.assert_clean();
    // With batching it may happen that only batches meet the full disk, and of those nothing is known.
    assert!(batching || verdict.not_written > 0, "{verdict}");
}
