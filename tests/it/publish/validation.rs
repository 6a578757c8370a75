//! Publishes that nsqd would reject are rejected before anything is sent.

use actix_nsq::{DeferredPublish, Delivery, ErrorKind, MultiPublish};
use bytes::Bytes;

use crate::harness::{Network, all_ok, assert_error, in_virtual_time, ms, publish, s, send, topic};

fn zeros(size: usize) -> Bytes {
    vec![0; size].into()
}

fn multi(bodies: Vec<Bytes>) -> MultiPublish {
    MultiPublish::new(topic("t"), bodies)
}

fn deferred(delay: std::time::Duration, size: usize) -> DeferredPublish {
    DeferredPublish::new(topic("t"), delay, zeros(size))
}

/// 18 messages, the last of them of another size.
fn with_last(size: usize) -> MultiPublish {
    let mut bodies = vec![zeros(1); 17];
    bodies.push(zeros(size));
    multi(bodies)
}

/// contract: 5
/// fault: P25
/// checklist: 26, 27, 40, 42
#[test]
fn invalid_publish_is_rejected_with_value_and_limit() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| {
                let config = config.max_publish_size(1000).max_batch_size(2012);
                // Capacity for the two valid publishes: rejected ones occupy none.
                config.max_req_timeout(s(10)).max_pending(2)
            })
            .await;
        let before = publish(&producer, "before");
        for (answer, kind, words) in [
            (publish(&producer, ""), ErrorKind::EmptyBody, &[][..]),
            (
                send(&producer, deferred(s(1), 0)),
                ErrorKind::EmptyBody,
                &[],
            ),
            (
                publish(&producer, zeros(1001)),
                ErrorKind::TooLarge,
                &["1001", "max_publish_size", "1000"],
            ),
            (
                send(&producer, deferred(s(1), 1001)),
                ErrorKind::TooLarge,
                &["1001", "max_publish_size", "1000"],
            ),
            (
                send(&producer, deferred(ms(10_001), 1)),
                ErrorKind::DelayTooLong,
                &["10.001s", "max_req_timeout", "10s"],
            ),
            (send(&producer, multi(vec![])), ErrorKind::EmptyBatch, &[]),
            (send(&producer, with_last(0)), ErrorKind::EmptyBody, &["17"]),
            (
                send(&producer, with_last(1001)),
                ErrorKind::TooLarge,
                &["17", "1001", "max_publish_size", "1000"],
            ),
            (
                send(&producer, multi(vec![zeros(1000), zeros(1000), zeros(1)])),
                ErrorKind::TooLarge,
                &["3 messages", "2017", "max_batch_size", "2012"],
            ),
        ] {
            let error = assert_error(answer.await, kind, Delivery::NotWritten);
            assert!(!error.is_retryable());
            let text = error.to_string();
            for word in words {
                assert!(text.contains(word), "no {word:?} in {text:?}");
            }
        }
        let after = publish(&producer, "after");
        nsqd.confirm_all(&["before", "after"]).await;
        all_ok([before, after]).await;
        nsqd.expect_silence(s(20)).await;
    });
}

/// contract: 5
/// fault: P25
/// checklist: 26, 27, 40, 42
#[test]
fn publish_at_the_limit_is_sent() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| {
                let config = config.max_publish_size(1000).max_batch_size(2012);
                config.max_req_timeout(s(10))
            })
            .await;
        let answers = [
            publish(&producer, zeros(1000)),
            send(&producer, multi(vec![zeros(1000); 2])),
            send(&producer, deferred(s(10), 1000)),
        ];
        nsqd.expect_pub("t", zeros(1000)).await;
        nsqd.expect_mpub("t", &[zeros(1000), zeros(1000)]).await;
        nsqd.expect_dpub("t", 10_000, zeros(1000)).await;
        nsqd.send_oks(3).await;
        all_ok(answers).await;
    });
}

/// contract: 5
/// checklist: 26, 27, 40, 42
#[test]
fn default_limits_are_those_of_nsqd() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let mebibyte = 1 << 20;
        let batch = multi(vec![zeros(mebibyte); 5]);
        for (answer, kind) in [
            (publish(&producer, zeros(mebibyte + 1)), ErrorKind::TooLarge),
            (send(&producer, batch), ErrorKind::TooLarge),
            (
                send(&producer, deferred(s(3600) + ms(1), 1)),
                ErrorKind::DelayTooLong,
            ),
        ] {
            assert_error(answer.await, kind, Delivery::NotWritten);
        }
        nsqd.expect_silence(s(1)).await;
    });
}

/// contract: 5
/// fault: P26
#[test]
fn handle_rejects_invalid_topic_names_locally() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config);
        let mut nsqd = network.connected().await;
        let long = "x".repeat(65);
        for name in ["", "a b", "a\nPUB b\n\0\0\0\x01x", "#ephemeral", "ü", &long] {
            for answer in [
                handle.publish(name, "x").await,
                handle.publish(name.to_owned(), "x").await,
                handle.multi_publish(name, ["x", "y"]).await,
                handle.deferred_publish(name, s(0), "x").await,
            ] {
                assert_error(answer, ErrorKind::InvalidName, Delivery::NotWritten);
            }
        }
        nsqd.expect_silence(s(1)).await;
    });
}
