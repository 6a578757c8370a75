//! The disk of nsqd is full for a while: errors say what may be stored, and the same producer
//! continues.

use std::cell::RefCell;
use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::protocol::ErrorCode;
use actix_nsq::{Delivery, ErrorKind, Producer, PublishError};

use super::fixture::{TOPIC, assert_error, config, start, topic};
use super::load::{Load, audit, publish_recorded};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::record::Record;
use crate::support::{small_disk, wait};

pub fn scenarios() -> Vec<Scenario> {
    let real_only = "it needs a real disk";
    let small = || Settings {
        disk: Some(64 << 20),
        ..Settings::default()
    };
    scenarios![
        full_disk_rejects_a_publish_and_stores_a_batch_in_part
            .only(Kind::Real, real_only)
            .unless(small_disk::problem)
            .with(small()),
        disk_full_for_a_while_costs_only_rejected_publishes
            .only(Kind::Real, real_only)
            .unless(small_disk::problem)
            .with(small()),
    ]
}

async fn start_eager(broker: &Broker, batching: bool) -> Addr<Producer> {
    let config = config(broker).await.auto_batch(batching);
    start(config.max_reconnect_backoff(Duration::from_millis(50)))
}

#[track_caller]
fn assert_no_space(answer: Result<(), PublishError>, code: ErrorCode, delivery: Delivery) {
    let error = answer.expect_err("the disk is full");
    assert_error(&error, ErrorKind::Rejected(code), delivery);
    assert!(
        error.to_string().contains("no space left on device"),
        "{error}"
    );
}

/// contract: 4
/// fault: P23
async fn full_disk_rejects_a_publish_and_stores_a_batch_in_part(broker: Broker) {
    let producer = start_eager(&broker, true).await;
    let record = RefCell::new(Record::new());
    let publisher = record.borrow_mut().publisher(TOPIC);
    let topic = topic(TOPIC);
    let publish = async |sizes: &[usize]| {
        publish_recorded(&producer, &record, (&topic, publisher), sizes).await
    };
    publish(&[0]).await.unwrap();
    broker.fill_disk().await;
    for _ in 0..3 {
        let answer = publish(&[10_000]).await;
        assert_no_space(answer, ErrorCode::PubFailed, Delivery::NotWritten);
    }
    let before = broker.message_count(TOPIC).await;
    let answer = publish(&[100; 100]).await;
    assert_no_space(answer, ErrorCode::MpubFailed, Delivery::MaybePartial);
    // The last page of nsqd's file holds the first ones.
    let part = broker.message_count(TOPIC).await - before;
    assert!(part > 0 && part < 100, "{part} of 100 are stored");

    broker.free_disk().await;
    publish(&[10_000]).await.unwrap();
    publish(&[100; 100]).await.unwrap();
    let audit = audit(record.take(), &broker).await;
    audit.assert_clean();
    assert_eq!((audit.ok, audit.maybe_stored), (102, part));
}

/// contract: 4
/// fault: P23
async fn disk_full_for_a_while_costs_only_rejected_publishes(broker: Broker) {
    for batching in [false, true] {
        let producer = start_eager(&broker, batching).await;
        let load = Load::start(&producer, 64, &format!("batching_{batching}"));
        for _ in 0..2 {
            load.until_more_ok(500).await;
            broker.fill_disk().await;
            let before = load.errors().len();
            // Some error responses are lost, see below.
            wait::until("publishes are rejected", || {
                let errors = load.errors();
                let mut new = errors.iter().skip(before);
                let is_rejected = |it: &PublishError| it.delivery() == Delivery::NotWritten;
                new.len() > 5 && (batching || new.any(is_rejected))
            })
            .await;
            broker.free_disk().await;
        }
        load.until_more_ok(500).await;
        for error in load.errors().iter() {
            let kind = error.kind();
            let mpub_failed = kind == ErrorKind::Rejected(ErrorCode::MpubFailed);
            let expected = match error.delivery() {
                Delivery::NotWritten => kind == ErrorKind::Rejected(ErrorCode::PubFailed),
                Delivery::MaybePartial if mpub_failed => true,
                Delivery::MaybeWritten if mpub_failed => batching,
                // The error response is lost if nsqd closes with unread commands.
                _ => kind == ErrorKind::ConnectionLost,
            };
            assert!(expected, "{error}");
        }
        let audit = load.audit(&broker).await;
        audit.assert_clean();
        // With batching, perhaps only batches met the full disk.
        assert!(batching || audit.not_written > 0, "{audit}");
    }
}
