//! What nsqd would refuse is refused here, before the wire, and touches nobody else.

use actix::Addr;
use actix_nsq::{
    DeferredPublish, Delivery, ErrorKind, MultiPublish, Producer, ProducerConfigBuilder,
    PublishError,
};
use bytes::Bytes;

use crate::harness::{Answer, Network, assert_error, in_virtual_time, ms, publish, s, send, topic};
use crate::support::spoken::ok_frame;

/// Publishes something between two good ones: it is refused at once, they are stored, and the connection lives on.
fn refused(
    options: impl FnOnce(ProducerConfigBuilder) -> ProducerConfigBuilder,
    bad: impl FnOnce(&Addr<Producer>) -> Answer,
    kind: ErrorKind,
) -> PublishError {
    let mut error = None;
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(options);
        let mut nsqd = network.connected().await;
        let before = publish(&producer, "before");
        let bad = bad(&producer);
        let after = publish(&producer, "after");
        let refusal = assert_error(bad.await, kind, Delivery::NotWritten);
        assert!(!refusal.is_retryable());
        nsqd.expect_pub("t", "before").await;
        nsqd.expect_pub("t", "after").await;
        nsqd.send(ok_frame().repeat(2)).await;
        before.await.unwrap();
        after.await.unwrap();
        nsqd.expect_silence(s(20)).await;
        error = Some(refusal);
    });
    error.expect("the test ran")
}

#[track_caller]
fn says(error: &PublishError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text:?}");
    }
}

fn batch(bodies: Vec<Bytes>) -> impl FnOnce(&Addr<Producer>) -> Answer {
    move |producer| send(producer, MultiPublish::new(topic("t"), bodies))
}

fn zeros(size: usize) -> Bytes {
    vec![0; size].into()
}

/// contract: 5
/// fault: P25
/// checklist: 26, 27, 40, 42
#[test]
fn an_empty_body_is_refused() {
    refused(
        |config| config,
        |producer| publish(producer, ""),
        ErrorKind::EmptyBody,
    );
    let deferred = |producer: &_| send(producer, DeferredPublish::new(topic("t"), s(1), ""));
    refused(|config| config, deferred, ErrorKind::EmptyBody);
}

/// contract: 5
/// fault: P25
/// checklist: 26, 27, 40, 42
#[test]
fn a_body_above_max_publish_size_is_refused_with_size_and_limit() {
    let options = |config: ProducerConfigBuilder| config.max_publish_size(1000);
    let error = refused(
        options,
        |producer| publish(producer, zeros(1001)),
        ErrorKind::TooLarge,
    );
    says(&error, &["1001", "max_publish_size (1000)"]);
    let deferred = |producer: &_| {
        send(
            producer,
            DeferredPublish::new(topic("t"), s(1), zeros(1001)),
        )
    };
    says(
        &refused(options, deferred, ErrorKind::TooLarge),
        &["1001", "max_publish_size (1000)"],
    );
}

/// contract: 5
/// checklist: 26, 27, 40, 42
#[test]
fn by_default_the_limits_are_those_of_nsqd() {
    let mebibyte = 1 << 20;
    refused(
        |config| config,
        |producer| publish(producer, zeros(mebibyte + 1)),
        ErrorKind::TooLarge,
    );
    let full = vec![zeros(mebibyte); 5];
    let error = refused(|config| config, batch(full), ErrorKind::TooLarge);
    says(
        &error,
        &["5 messages", "5242904", "max_batch_size (5242880)"],
    );
    let hour_and_more = |producer: &_| {
        send(
            producer,
            DeferredPublish::new(topic("t"), s(3600) + ms(1), "a"),
        )
    };
    refused(|config| config, hour_and_more, ErrorKind::DelayTooLong);
}

/// contract: 5
/// checklist: 26, 27, 40, 42
#[test]
fn an_empty_batch_is_refused() {
    refused(|config| config, batch(Vec::new()), ErrorKind::EmptyBatch);
}

/// contract: 5
/// checklist: 26, 27, 40, 42
#[test]
fn an_empty_member_of_a_batch_is_refused_with_its_place() {
    let bodies = vec!["a".into(), "b".into(), "".into(), "c".into()];
    let error = refused(|config| config, batch(bodies), ErrorKind::EmptyBody);
    says(&error, &["index 2"]);
}

/// contract: 5
/// checklist: 26, 27, 40, 42
#[test]
fn a_member_of_a_batch_above_max_publish_size_is_refused_with_its_place() {
    let bodies = vec!["a".into(), zeros(1001), "c".into()];
    let options = |config: ProducerConfigBuilder| config.max_publish_size(1000);
    let error = refused(options, batch(bodies), ErrorKind::TooLarge);
    says(&error, &["index 1", "1001", "max_publish_size (1000)"]);
}

/// contract: 5
/// fault: P25
/// checklist: 26, 27, 40, 42
#[test]
fn a_batch_above_max_batch_size_is_refused_with_its_size_on_the_wire() {
    let options = |config: ProducerConfigBuilder| config.max_batch_size(4 + 2 * (4 + 10) - 1);
    let error = refused(
        options,
        batch(vec![zeros(10), zeros(10)]),
        ErrorKind::TooLarge,
    );
    says(&error, &["2 messages", "32 bytes", "max_batch_size (31)"]);
}

/// contract: 5
/// checklist: 26, 27, 40, 42
#[test]
fn a_delay_above_max_req_timeout_is_refused() {
    let options = |config: ProducerConfigBuilder| config.max_req_timeout(s(10));
    let deferred = |producer: &_| send(producer, DeferredPublish::new(topic("t"), ms(10_001), "a"));
    let error = refused(options, deferred, ErrorKind::DelayTooLong);
    says(&error, &["10.001s", "max_req_timeout (10s)"]);
}

/// contract: 5
/// fault: P25
/// checklist: 26, 27, 40, 42
#[test]
fn what_is_exactly_at_its_limit_is_sent() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| {
            config
                .max_publish_size(1000)
                .max_batch_size(4 + 2 * (4 + 1000))
                .max_req_timeout(s(10))
        });
        let mut nsqd = network.connected().await;
        let single = publish(&producer, zeros(1000));
        let batch = send(
            &producer,
            MultiPublish::new(topic("t"), [zeros(1000), zeros(1000)]),
        );
        let deferred = send(
            &producer,
            DeferredPublish::new(topic("t"), s(10), zeros(1000)),
        );
        nsqd.expect_pub("t", zeros(1000)).await;
        nsqd.expect_mpub("t", &[zeros(1000), zeros(1000)]).await;
        nsqd.expect_dpub("t", 10_000, zeros(1000)).await;
        nsqd.send(ok_frame().repeat(3)).await;
        for each in [single, batch, deferred] {
            each.await.unwrap();
        }
    });
}

/// contract: 5
/// checklist: 26, 27, 40, 42
#[test]
fn what_is_refused_takes_no_room() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_pending(1));
        for _ in 0..10 {
            let refused = publish(&producer, "").await;
            assert_error(refused, ErrorKind::EmptyBody, Delivery::NotWritten);
        }
        let good = publish(&producer, "a");
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        good.await.unwrap();
    });
}
