//! A publish that nsqd rejects fails alone, with nsqd's reason, and delays no other caller.

use std::ops::RangeInclusive;
use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::bytes::Bytes;
use actix_nsq::protocol::ErrorCode;
use actix_nsq::{
    DeferredPublish, Delivery, ErrorKind, MultiPublish, Producer, Publish, PublishError,
};

use super::event_log::EventLog;
use super::fixture::{
    TOPIC, assert_error, assert_stored, config, number_of, numbers, producer, publish, publish_all,
    start, stats, topic,
};
use super::load::Load;
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Settings};
use crate::support::scaled;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        rejected_pub_mpub_and_dpub_fail_alone.with(strict(1_000)),
        rejection_lost_in_a_reset_is_ambiguous.with(strict(1_000)),
        reason_is_reported_although_the_write_fails,
        rejected_messages_delay_no_other_caller.with(strict(6_000)),
        rejected_delays_delay_no_other_caller.with(strict(6_000)),
    ]
}

/// Lower limits than those of the producers.
fn strict(max_msg_size: usize) -> Settings {
    Settings {
        max_msg_size,
        max_body_size: 5 * max_msg_size,
        max_req_timeout: Duration::from_secs(1),
        ..Settings::default()
    }
}

/// A publish that [`strict`] limits reject.
#[derive(Clone, Copy, Debug)]
enum Rejected {
    /// A message of this size.
    Pub(usize),
    MpubMember,
    MpubBody,
    Dpub,
}

impl Rejected {
    async fn send(self, producer: &Addr<Producer>, name: &str) -> Result<(), PublishError> {
        let (topic, delay) = (topic(name), Duration::from_millis(1_001));
        let body = |size| vec![b'x'; size];
        let mpub = |bodies| producer.send(MultiPublish::new(topic.clone(), bodies));
        match self {
            Self::Pub(size) => producer.send(Publish::new(topic, body(size))).await?,
            Self::MpubMember => mpub(vec![body(1), body(1_001), body(1)]).await?,
            Self::MpubBody => mpub(vec![body(1_000); 5]).await?,
            Self::Dpub => {
                producer
                    .send(DeferredPublish::new(topic, delay, "x"))
                    .await?
            }
        }
    }
}

/// contract: 3, 4
/// fault: P19, P25
/// checklist: 42
async fn rejected_pub_mpub_and_dpub_fail_alone(broker: Broker) {
    let cases = [
        (
            Rejected::Pub(1_001),
            ErrorCode::BadMessage,
            "PUB message too big 1001 > 1000",
        ),
        (
            Rejected::MpubMember,
            ErrorCode::BadMessage,
            "MPUB message too big 1001 > 1000",
        ),
        (
            Rejected::MpubBody,
            ErrorCode::BadBody,
            "MPUB body too big 5024 > 5000",
        ),
        (
            Rejected::Dpub,
            ErrorCode::Invalid,
            "1001 out of range 0-1000",
        ),
    ];
    for (case, (rejected, code, reason)) in cases.into_iter().enumerate() {
        let producer = start(config(&broker).await.auto_batch(false));
        let first = 100 * case;
        let (before, answer, after) = tokio::join!(
            publish_all(&producer, first..first + 50),
            rejected.send(&producer, TOPIC),
            publish_all(&producer, first + 50..first + 100),
        );
        before.assert_all_ok();
        after.assert_all_ok();
        let error = answer.expect_err("nsqd rejects it");
        assert_error(&error, ErrorKind::Rejected(code), Delivery::NotWritten);
        assert!(
            !error.is_retryable() && error.to_string().contains(reason),
            "{error}"
        );
        assert_eq!(broker.handshakes().await, 2 * (case + 1), "{rejected:?}");
    }
    assert_stored(&broker, 0..100 * cases.len()).await;
}

/// If more than nsqd's read buffer of 16 KiB follows a rejected publish, nsqd's close is a reset.
/// The kernel then drops unsent responses: the last `OK`s and the error response, in a third of
/// the runs.
/// contract: 3
/// fault: P19
async fn rejection_lost_in_a_reset_is_ambiguous(broker: Broker) {
    for round in 0..scaled(3, 10) {
        let producer = producer(&broker).await;
        let range = round * 2_000..(round + 1) * 2_000;
        let middle = range.start + 300;
        let (mut answers, rejected, after) = tokio::join!(
            publish_all(&producer, range.start..middle),
            Rejected::Pub(1_001).send(&producer, TOPIC),
            publish_all(&producer, middle..range.end),
        );
        answers.merge(after);
        if rejected.unwrap_err().delivery() == Delivery::NotWritten {
            answers.assert_all_ok();
        }
        assert_eq!(answers.failed(Delivery::NotWritten), 0);
        let mut bodies = broker.bodies(TOPIC, 0).await;
        bodies.retain(|body| range.contains(&number_of(body)));
        answers.assert_agree_with(&bodies);
        assert!(numbers(&bodies).is_sorted(), "not in arrival order");
    }
}

/// nsqd reads no byte of the body, so the kernel resets the connection while it is written.
/// contract: 3, 8
/// checklist: 17
async fn reason_is_reported_although_the_write_fails(broker: Broker) {
    let body = Bytes::from(vec![b'x'; 20 << 20]);
    for attempt in 0..scaled(3, 20) {
        let producer = start(config(&broker).await.max_publish_size(32 << 20));
        let error = publish(&producer, body.clone()).await.unwrap_err();
        let kind = ErrorKind::Rejected(ErrorCode::BadMessage);
        assert_error(&error, kind, Delivery::NotWritten);
        assert!(
            error.to_string().contains("20971520 > 1048576"),
            "{attempt}: {error}"
        );
    }
    assert_eq!(broker.message_count(TOPIC).await, 0);
}

/// The producer learns nsqd's limit from the first error response.
/// contract: 4
/// fault: P25
async fn rejected_messages_delay_no_other_caller(broker: Broker) {
    let kind = ErrorKind::Rejected(ErrorCode::BadMessage);
    reject_under_load(
        &broker,
        scaled(200, 1_000),
        Rejected::Pub(6_001),
        kind,
        |_| 1..=2,
    )
    .await;
}

/// The producer learns no limit from this error response: each costs a connection.
/// contract: 4
/// fault: P25
async fn rejected_delays_delay_no_other_caller(broker: Broker) {
    let kind = ErrorKind::Rejected(ErrorCode::Invalid);
    reject_under_load(&broker, scaled(20, 50), Rejected::Dpub, kind, |times| {
        times..=times
    })
    .await;
}

/// With a window of 1, no command follows a rejected one, so nsqd's close is not a reset.
async fn reject_under_load(
    broker: &Broker,
    times: u64,
    rejected: Rejected,
    kind: ErrorKind,
    connections: fn(u64) -> RangeInclusive<u64>,
) {
    const CALLERS: usize = 64;
    // A caller that waits for this backoff exceeds the limit below.
    let backoff = Duration::from_secs(60);
    let config = config(broker).await.reconnect_backoff(backoff);
    let producer = start(config.max_reconnect_backoff(backoff).publish_window(1));
    let events = EventLog::of(&producer);
    let load = Load::start(&producer, CALLERS, "others");
    load.until_more_ok(CALLERS).await;
    for _ in 0..times {
        let error = rejected
            .send(&producer, "rejected")
            .await
            .expect_err("nsqd rejects it");
        assert_error(&error, kind, Delivery::NotWritten);
    }
    load.until_more_ok(CALLERS).await;
    let (longest, failed) = (load.longest(), load.errors().first().cloned());
    assert!(failed.is_none(), "another caller failed: {failed:?}");
    assert!(
        longest < Duration::from_secs(3),
        "another caller waited {longest:?}"
    );
    let longest = events.longest_backoff();
    assert!(
        longest <= Duration::from_millis(20),
        "reconnected after {longest:?}"
    );
    let losses = stats(&producer).await.disconnects;
    assert!(
        connections(times).contains(&losses),
        "{losses} connections lost"
    );
    let audit = load.audit(broker).await;
    audit.assert_clean();
    assert_eq!(audit.ok, audit.offered, "{audit}");
    assert_eq!(broker.message_count("rejected").await, 0);
}
