//! What nsqd refuses fails alone: not with its neighbours, and not without nsqd's reason.

use std::time::Duration;

use actix_nsq::actix::{Addr, MailboxError};
use actix_nsq::protocol::ErrorCode;
use actix_nsq::{
    DeferredPublish, Delivery, ErrorKind, MultiPublish, Producer, Publish, PublishError, Topic,
};

use super::load::{
    TOPIC, config, number_of, numbered, numbers, producer, publish, publish_all, start, topic,
};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::raw_client;

const EMBEDDED_ONLY: &str = "a real nsqd cannot be told to refuse this";

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        a_refused_publish_fails_alone.with(small()),
        a_refused_batch_fails_alone.with(small()),
        a_batch_that_is_too_large_fails_alone.with(small()),
        a_refused_delay_fails_alone.with(small()),
        a_thousand_refused_publishes_cost_few_connections.with(small()),
        a_thousand_refused_batches_cost_few_connections.with(small()),
        a_refusal_lost_in_a_reset_is_told_as_it_is.with(small()),
        nsqds_reason_is_heard_although_the_write_fails,
        names_are_judged_as_nsqd_judges_them,
        a_failing_disk_refuses_one_publish.only(Kind::Embedded, EMBEDDED_ONLY),
        a_failing_disk_may_store_a_part_of_a_batch.only(Kind::Embedded, EMBEDDED_ONLY),
        an_unknown_refusal_leaves_it_open.only(Kind::Embedded, EMBEDDED_ONLY),
        a_forbidden_topic_fails_alone.only(Kind::Embedded, EMBEDDED_ONLY),
        a_topic_deleted_under_load_comes_back,
    ]
}

/// A broker that takes less than the producer thinks it does.
/// contract: 3
pub fn small() -> Settings {
    Settings {
        max_msg_size: 1_000,
        max_body_size: 5_000,
        max_req_timeout: Duration::from_secs(1),
        ..Settings::default()
    }
}

/// A producer that makes each publish a command. What is otherwise with batches is in `batches`.
async fn one_by_one(broker: &Broker) -> Addr<Producer> {
    start(config(broker).await.auto_batch(false))
}

/// The refusal of a publish amid a hundred good ones, all sent in one breath.
async fn refused_amid_good_ones(
    broker: &Broker,
    guilty: impl AsyncFnOnce(&Addr<Producer>) -> Result<(), PublishError>,
) -> PublishError {
    refused_by(producer(broker).await, broker, guilty).await
}

/// The same by this producer.
pub async fn refused_by(
    producer: Addr<Producer>,
    broker: &Broker,
    guilty: impl AsyncFnOnce(&Addr<Producer>) -> Result<(), PublishError>,
) -> PublishError {
    let (before, guilty, behind) = tokio::join!(
        publish_all(&producer, 0..50),
        guilty(&producer),
        publish_all(&producer, 50..100),
    );
    before.assert_all_ok();
    behind.assert_all_ok();
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 100).await),
        Vec::from_iter(0..100)
    );
    assert_eq!(broker.handshakes().await, 2);
    let error = guilty.expect_err("the broker refuses it");
    assert_eq!(error.delivery(), Delivery::NotWritten, "{error}");
    assert!(!error.is_retryable(), "{error}");
    error
}

/// contract: 3, 4
/// fault: P19
async fn a_refused_publish_fails_alone(broker: Broker) {
    let error = refused_by(one_by_one(&broker).await, &broker, async |producer| {
        publish(producer, vec![b'x'; 1_001]).await
    });
    let error = error.await;
    assert_eq!(error.kind(), ErrorKind::Rejected(ErrorCode::BadMessage));
    assert!(
        error
            .to_string()
            .contains("E_BAD_MESSAGE PUB message too big 1001 > 1000"),
        "{error}"
    );
}

/// contract: 3
async fn a_refused_batch_fails_alone(broker: Broker) {
    let error = refused_amid_good_ones(&broker, async |producer| {
        let bodies = [vec![b'x'; 1], vec![b'x'; 1_001], vec![b'x'; 1]];
        producer
            .send(MultiPublish::new(topic(TOPIC), bodies))
            .await?
    });
    let error = error.await;
    assert_eq!(error.kind(), ErrorKind::Rejected(ErrorCode::BadMessage));
    assert!(
        error
            .to_string()
            .contains("E_BAD_MESSAGE MPUB message too big 1001 > 1000"),
        "{error}"
    );
}

/// contract: 3
/// fault: P25
async fn a_batch_that_is_too_large_fails_alone(broker: Broker) {
    let error = refused_amid_good_ones(&broker, async |producer| {
        let bodies = vec![vec![b'x'; 1_000]; 5];
        producer
            .send(MultiPublish::new(topic(TOPIC), bodies))
            .await?
    });
    let error = error.await;
    assert_eq!(error.kind(), ErrorKind::Rejected(ErrorCode::BadBody));
    assert!(
        error
            .to_string()
            .contains("E_BAD_BODY MPUB body too big 5024 > 5000"),
        "{error}"
    );
}

/// contract: 3
/// checklist: 42
async fn a_refused_delay_fails_alone(broker: Broker) {
    let error = refused_amid_good_ones(&broker, async |producer| {
        let delay = Duration::from_millis(1_001);
        producer
            .send(DeferredPublish::new(topic(TOPIC), delay, "late"))
            .await?
    });
    let error = error.await;
    assert_eq!(error.kind(), ErrorKind::Rejected(ErrorCode::Invalid));
    assert!(
        error.to_string().contains("1001 out of range 0-1000"),
        "{error}"
    );
}

/// contract: 3, 4
/// fault: P25
async fn a_thousand_refused_publishes_cost_few_connections(broker: Broker) {
    let too_large = |_| Publish::new(topic(TOPIC), vec![b'x'; 1_001]);
    refuse_a_thousand(&broker, ErrorCode::BadMessage, too_large).await;
}

/// contract: 3
async fn a_thousand_refused_batches_cost_few_connections(broker: Broker) {
    let too_large = |_| MultiPublish::new(topic(TOPIC), vec![vec![b'x'; 1_000]; 5]);
    refuse_a_thousand(&broker, ErrorCode::BadBody, too_large).await;
}

async fn refuse_a_thousand<M>(broker: &Broker, code: ErrorCode, guilty: impl Fn(usize) -> M)
where
    M: actix_nsq::actix::Message<Result = Result<(), PublishError>> + Send + 'static,
    Producer: actix_nsq::actix::Handler<M>,
{
    let producer = producer(broker).await;
    let sent: Vec<_> = (0..1_000)
        .map(|number| {
            let good = producer.send::<Publish>(Publish::new(topic(TOPIC), numbered(number)));
            (good, producer.send(guilty(number)))
        })
        .collect();
    for (good, guilty) in sent {
        good.await.unwrap().unwrap();
        let error = guilty.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected(code), "{error}");
        assert_eq!(error.delivery(), Delivery::NotWritten, "{error}");
    }
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 1_000).await),
        Vec::from_iter(0..1_000)
    );
    let handshakes = broker.handshakes().await;
    assert!(
        handshakes <= 3,
        "a thousand refusals took {handshakes} connections"
    );
}

/// With more behind the guilty one than nsqd's buffer of 16 KiB, nsqd's end is a reset, and the kernel then drops what it has
/// not sent yet: when more than ten answers come at once, the last ones and the refusal itself are lost in a third of the runs.
/// contract: 3
/// fault: P19
async fn a_refusal_lost_in_a_reset_is_told_as_it_is(broker: Broker) {
    for round in 0..10 {
        let producer = producer(&broker).await;
        let first = round * 2_000;
        let (mut answers, guilty, behind) = tokio::join!(
            publish_all(&producer, first..first + 300),
            publish(&producer, vec![b'x'; 1_001]),
            publish_all(&producer, first + 300..first + 2_000),
        );
        answers.merge(behind);
        let guilty = guilty.unwrap_err();
        if guilty.delivery() == Delivery::NotWritten {
            answers.assert_all_ok();
        }
        assert_eq!(answers.failed(Delivery::NotWritten), 0);
        let mut bodies = broker.bodies(TOPIC, 0).await;
        bodies.retain(|body| (first..first + 2_000).contains(&number_of(body)));
        answers.assert_true_of(&bodies);
        assert!(numbers(&bodies).is_sorted(), "the order is kept");
    }
}

/// nsqd reads no byte of such a body, so the kernel resets the connection while it is still being written.
/// contract: 3, 8
/// checklist: 17
async fn nsqds_reason_is_heard_although_the_write_fails(broker: Broker) {
    let body = actix_nsq::bytes::Bytes::from(vec![b'x'; 20 << 20]);
    for attempt in 0..20 {
        let producer = start(config(&broker).await.max_publish_size(32 << 20));
        let error = publish(&producer, body.clone()).await.unwrap_err();
        let refused = ErrorKind::Rejected(ErrorCode::BadMessage);
        assert_eq!(error.kind(), refused, "attempt {attempt}: {error}");
        assert_eq!(error.delivery(), Delivery::NotWritten);
        assert!(error.to_string().contains("20971520 > 1048576"), "{error}");
    }
    assert_eq!(broker.message_count(TOPIC).await, 0);
}

/// contract: 3, 5
/// fault: P26
async fn names_are_judged_as_nsqd_judges_them(broker: Broker) {
    let (long, longer) = ("x".repeat(64), "x".repeat(65));
    let fleeting = format!("{}#ephemeral", "x".repeat(54));
    let too_fleeting = format!("{}#ephemeral", "x".repeat(55));
    let names = [
        "a",
        ".",
        "-_.09azAZ",
        &long,
        &longer,
        &fleeting,
        &too_fleeting,
        "x#ephemeral",
        "#ephemeral",
        "x#ephemera",
        "x#ephemeral#ephemeral",
        "x#",
        "a/b",
        "a:b",
        "caf\u{e9}",
        "\u{fc}",
        "a\tb",
        "a\0b",
        "*",
    ];
    let address = broker.address().await;
    for name in names {
        let (address, to_nsqd) = (address.clone(), name.to_owned());
        let publish = move || raw_client::publish(&address, &to_nsqd, &[b"x"]);
        let nsqd = tokio::task::spawn_blocking(publish).await.unwrap();
        let ours = name.parse::<Topic>();
        assert_eq!(
            ours.is_ok(),
            nsqd.is_ok(),
            "{name:?}: {ours:?}, but nsqd: {nsqd:?}"
        );
    }
    // These would not even be one name on the wire.
    for name in ["", " ", "a b", "a\n", "a\r\nPUB b", "a\u{2028}b"] {
        assert!(name.parse::<Topic>().is_err(), "{name:?}");
    }
}

/// contract: 3
async fn a_failing_disk_refuses_one_publish(broker: Broker) {
    let disk = "E_PUB_FAILED PUB failed write: no space left on device";
    broker.embedded().faults().fail_next("PUB", disk);
    let producer = one_by_one(&broker).await;
    let (first, others) = tokio::join!(publish(&producer, "x"), publish_all(&producer, 0..50));
    let error = first.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected(ErrorCode::PubFailed));
    assert_eq!(error.delivery(), Delivery::NotWritten);
    assert!(
        error.is_retryable() && error.to_string().contains(disk),
        "{error}"
    );
    others.assert_all_ok();
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 50).await),
        Vec::from_iter(0..50)
    );
}

/// contract: 3
async fn a_failing_disk_may_store_a_part_of_a_batch(broker: Broker) {
    let disk = "E_MPUB_FAILED MPUB failed write: no space left on device";
    broker
        .embedded()
        .faults()
        .fail_after_storing("MPUB", disk, 2);
    let producer = producer(&broker).await;
    let batch = MultiPublish::new(topic(TOPIC), (0..5).map(numbered));
    let (batch, others) = tokio::join!(producer.send(batch), publish_all(&producer, 5..50));
    let error = batch.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected(ErrorCode::MpubFailed));
    assert_eq!(error.delivery(), Delivery::MaybePartial);
    others.assert_all_ok();
    let expected: Vec<_> = (0..2).chain(5..50).collect();
    assert_eq!(numbers(&broker.bodies(TOPIC, 47).await), expected);
}

/// contract: 3
/// fault: P20
async fn an_unknown_refusal_leaves_it_open(broker: Broker) {
    broker
        .embedded()
        .faults()
        .fail_after_storing("PUB", "E_TOMORROW \u{1f600}", 1);
    let producer = one_by_one(&broker).await;
    let (first, others) = tokio::join!(
        publish(&producer, numbered(0)),
        publish_all(&producer, 1..50)
    );
    let error = first.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected(ErrorCode::Unknown));
    assert_eq!(error.delivery(), Delivery::MaybeWritten);
    assert!(error.to_string().contains("E_TOMORROW"), "{error}");
    others.assert_all_ok();
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 50).await),
        Vec::from_iter(0..50)
    );
}

/// A verdict on the topic: what waits behind for the same topic would fare no better, and what is for another is sent again.
/// contract: 3
/// fault: P19
async fn a_forbidden_topic_fails_alone(broker: Broker) {
    let verdict = "E_UNAUTHORIZED AUTH failed for PUB on \"forbidden\" \"\"";
    broker.embedded().faults().fail_next("PUB", verdict);
    let producer = one_by_one(&broker).await;
    let forbidden = || producer.send(Publish::new(topic("forbidden"), "x"));
    let (first, good, second) =
        tokio::join!(forbidden(), publish_all(&producer, 0..50), forbidden());
    good.assert_all_ok();
    assert_all_forbidden(&broker, [first, second]).await;
}

/// Nothing of the topic is stored, everything of the other is, and one connection was lost for it.
pub async fn assert_all_forbidden(
    broker: &Broker,
    answers: impl IntoIterator<Item = Result<Result<(), PublishError>, MailboxError>>,
) {
    for answer in answers {
        let error = answer.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected(ErrorCode::Unauthorized));
        assert_eq!(error.delivery(), Delivery::NotWritten);
    }
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 50).await),
        Vec::from_iter(0..50)
    );
    assert_eq!(broker.message_count("forbidden").await, 0);
    assert_eq!(broker.handshakes().await, 2);
}

/// contract: 3
/// fault: P24
async fn a_topic_deleted_under_load_comes_back(broker: Broker) {
    let producer = producer(&broker).await;
    let load = super::load::Load::start(&producer, 32);
    for _ in 0..5 {
        load.until_more_ok(200).await;
        broker.delete_topic(TOPIC).await;
    }
    load.until_more_ok(200).await;
    let answers = load.stop().await;
    for error in answers.errors() {
        let told = (error.kind(), error.delivery());
        let expected = [
            // nsqd says so of what arrives while the topic is closing,
            (
                ErrorKind::Rejected(ErrorCode::PubFailed),
                Delivery::NotWritten,
            ),
            (
                ErrorKind::Rejected(ErrorCode::MpubFailed),
                Delivery::MaybeWritten,
            ),
            // and its word can be lost in the reset when it closes with unread commands behind.
            (ErrorKind::ConnectionLost, Delivery::MaybeWritten),
        ];
        assert!(expected.contains(&told), "{error}");
        assert!(error.is_retryable(), "{error}");
    }
    let stored = broker.message_count(TOPIC).await;
    assert!(
        stored > 100 && stored < answers.ok(),
        "{stored} of {}",
        answers.ok()
    );
}
