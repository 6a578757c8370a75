//! Statements of docs/delivery.md on dropped requests that no other test checks.

use std::time::Duration;

use actix_nsq::{
    Delivery, ErrorKind, Ping, ProducerState, Publish, Reconnect, producer::Drain,
    producer::GetStats,
};

use crate::harness::{Network, assert_error, in_virtual_time, ms, publish, s, topic};
use crate::support::spoken::ok_frame;

/// fault: A4
#[test]
fn request_dropped_before_it_is_received_has_no_effect() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        drop(producer.send(Publish::new(topic("t"), "a")));
        drop(producer.send(Drain {
            timeout: Duration::ZERO,
        }));
        drop(producer.send(Reconnect));
        drop(producer.send(Ping { timeout: s(1) }));
        nsqd.expect_silence(s(1)).await;
        let stats = producer.send(GetStats).await.unwrap();
        assert_eq!(
            (stats.state, stats.published, stats.connects),
            (ProducerState::Connected, 0, 1)
        );
    });
}

#[test]
fn drain_continues_when_its_request_is_dropped() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let drain = producer.send(Drain { timeout: s(1) });
        tokio::time::sleep(ms(1)).await;
        drop(drain);
        assert!(nsqd.wait_closed().await.is_empty());
        assert_error(
            publish(&producer, "a").await,
            ErrorKind::Drained,
            Delivery::NotWritten,
        );
    });
}

#[test]
fn publish_dropped_while_it_waits_for_capacity_is_not_sent() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config.max_pending(1));
        let producer = handle.address().clone();
        let mut nsqd = network.connected().await;
        let first = publish(&producer, "a");
        nsqd.expect_pub("t", "a").await;
        let waited = tokio::time::timeout(s(1), handle.publish("t", "b")).await;
        assert!(waited.is_err(), "the queue is full");
        nsqd.send(ok_frame()).await;
        first.await.unwrap();
        nsqd.expect_silence(s(1)).await;
    });
}
