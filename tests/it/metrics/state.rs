//! `GetState`: the state of the producer.

use actix::Addr;
use actix_nsq::{
    Producer, ProducerState,
    producer::{Drain, GetState, GetStats},
};
use tokio::time::sleep;

use crate::harness::{HOUR, Network, PUB_FAILED, in_virtual_time, ms, publish, rejected, s};
use crate::support::spoken::{error_frame, identify_answer};

async fn assert_state(producer: &Addr<Producer>, expected: ProducerState) {
    assert_eq!(producer.send(GetState).await.unwrap(), expected);
}

/// checklist: 103
#[test]
fn state_follows_the_connection() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| {
            let config = config.connect_at_start(false);
            config.reconnect_backoff(s(10)).max_reconnect_backoff(s(10))
        });
        // Asking does not begin to connect.
        for _ in 0..600 {
            assert_state(&producer, ProducerState::Idle).await;
            producer.send(GetStats).await.unwrap();
        }
        network.expect_no_dial(HOUR).await;
        let answer = publish(&producer, "a");
        let dial = network.dial().await;
        assert_state(&producer, ProducerState::Connecting).await;
        dial.refuse();
        sleep(ms(1)).await;
        assert_state(&producer, ProducerState::BackingOff).await;
        let mut nsqd = network.accept().await;
        nsqd.identify().await;
        assert_state(&producer, ProducerState::Connecting).await;
        nsqd.send(identify_answer()).await;
        nsqd.confirm("a").await;
        answer.await.unwrap();
        assert_state(&producer, ProducerState::Connected).await;

        // After an error response the client waits for EOF.
        let bad = publish(&producer, "bad");
        nsqd.expect_pub("t", "bad").await;
        nsqd.send(error_frame(PUB_FAILED)).await;
        rejected(bad).await;
        assert_state(&producer, ProducerState::Disconnecting).await;
        nsqd.fin().await;
        sleep(ms(1)).await;
        assert_state(&producer, ProducerState::BackingOff).await;
    });
}

/// checklist: 103
#[test]
fn state_is_draining_whatever_the_connection_does() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let answer = publish(&producer, "a");
        let dial = network.dial().await;
        let drain = producer.send(Drain { timeout: s(20) });
        assert_state(&producer, ProducerState::Draining).await;
        dial.refuse();
        sleep(ms(1)).await;
        assert_state(&producer, ProducerState::Draining).await;
        // Half of the publish is written, and stays outstanding.
        let (nsqd, _stream) = network.connected_over(8).await;
        sleep(ms(1)).await;
        assert_state(&producer, ProducerState::Draining).await;
        drop(nsqd);
        let mut nsqd = network.connected().await;
        nsqd.confirm("a").await;
        answer.await.unwrap();
        assert_eq!(drain.await.unwrap().ok, 1);
        assert_state(&producer, ProducerState::Drained).await;
        sleep(HOUR).await;
        assert_state(&producer, ProducerState::Drained).await;
    });
}
