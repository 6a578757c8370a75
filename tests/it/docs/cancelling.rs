//! What `docs/cancel-safety.md` says of requests that are dropped early, where no other test says it.

use std::time::Duration;

use actix_nsq::{
    Delivery, Drain, ErrorKind, GetStats, Handle, Ping, ProducerState, Publish, Reconnect,
};

use crate::memory::{Network, failure, in_virtual_time, ms, publish, s, topic};
use crate::support::spoken::ok_frame;

#[test]
fn a_request_dropped_before_the_producer_comes_to_it_never_was() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        drop(producer.send(Publish::new(topic("t"), "a")));
        drop(producer.send(Drain {
            deadline: Duration::ZERO,
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
fn a_drain_goes_on_when_its_request_is_dropped() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let drain = producer.send(Drain { deadline: s(1) });
        tokio::time::sleep(ms(1)).await;
        drop(drain);
        assert!(nsqd.wait_closed().await.is_empty());
        failure(
            publish(&producer, "a").await,
            ErrorKind::Drained,
            Delivery::NotWritten,
        );
    });
}

#[test]
fn a_cancelled_publish_gives_its_room_back_when_its_turn_comes_or_its_time_is_over() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_pending(1));
        let dial = network.dial().await;
        let cancelled = publish(&producer, "a");
        tokio::time::sleep(ms(1)).await;
        drop(cancelled);
        failure(
            publish(&producer, "b").await,
            ErrorKind::Full,
            Delivery::NotWritten,
        );
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        tokio::time::sleep(ms(1)).await;
        let publish = publish(&producer, "c");
        nsqd.expect_pub("t", "c").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
        let stats = producer.send(GetStats).await.unwrap();
        assert_eq!((stats.published, stats.ok, stats.not_written), (3, 1, 2));
    });
}

#[test]
fn a_handle_that_waits_for_room_can_be_dropped() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_pending(1));
        let mut nsqd = network.connected().await;
        let first = publish(&producer, "a");
        nsqd.expect_pub("t", "a").await;
        let handle = Handle::from(producer.clone());
        let waited = tokio::time::timeout(s(1), handle.publish("t", "b")).await;
        assert!(waited.is_err(), "there is no room");
        nsqd.send(ok_frame()).await;
        first.await.unwrap();
        nsqd.expect_silence(s(1)).await;
    });
}
