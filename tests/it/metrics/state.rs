//! `GetState`: how far the producer is, at every point of its life.

use actix::Addr;
use actix_nsq::{Producer, ProducerState, Publish, producer::Drain, producer::GetState};
use futures::FutureExt;
use tokio::time::sleep;

use crate::harness::{HOUR, Network, in_virtual_time, ms, publish, s, topic};
use crate::support::spoken::{error_frame, identify_answer, ok_frame};

async fn state(producer: &Addr<Producer>) -> ProducerState {
    producer.send(GetState).await.unwrap()
}

/// checklist: 103, 104, 105
#[test]
fn a_life_from_idle_to_drained() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| {
            config
                .connect_at_start(false)
                .reconnect_backoff(s(10))
                .max_reconnect_backoff(s(10))
        });
        sleep(s(1)).await;
        assert_eq!(state(&producer).await, ProducerState::Idle);
        let answer = publish(&producer, "a");
        let dial = network.dial().await;
        assert_eq!(state(&producer).await, ProducerState::Connecting);
        dial.refuse();
        sleep(ms(1)).await;
        assert_eq!(state(&producer).await, ProducerState::BackingOff);
        let dial = network.dial().await;
        assert_eq!(state(&producer).await, ProducerState::Connecting);
        let mut nsqd = dial.accept();
        nsqd.expect_magic().await;
        nsqd.expect_identify().await;
        assert_eq!(state(&producer).await, ProducerState::Connecting);
        nsqd.send(identify_answer()).await;
        nsqd.expect_pub("t", "a").await;
        assert_eq!(state(&producer).await, ProducerState::Connected);
        nsqd.send(ok_frame()).await;
        answer.await.unwrap();
        assert_eq!(state(&producer).await, ProducerState::Connected);

        // nsqd's last words are waited for.
        let bad = publish(&producer, "bad");
        nsqd.expect_pub("t", "bad").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        bad.await.unwrap_err();
        assert_eq!(state(&producer).await, ProducerState::Disconnecting);
        nsqd.fin().await;
        sleep(ms(1)).await;
        assert_eq!(state(&producer).await, ProducerState::BackingOff);
        let mut nsqd = network.connected().await;

        let last = publish(&producer, "last");
        nsqd.expect_pub("t", "last").await;
        let report = producer.send(Drain { timeout: s(60) });
        let mut report = Box::pin(report);
        assert!((&mut report).now_or_never().is_none());
        assert_eq!(state(&producer).await, ProducerState::Draining);
        nsqd.send(ok_frame()).await;
        report.await.unwrap();
        last.await.unwrap();
        assert_eq!(state(&producer).await, ProducerState::Drained);
        sleep(HOUR).await;
        assert_eq!(state(&producer).await, ProducerState::Drained);
    });
}

/// checklist: 103, 104, 105
#[test]
fn a_drain_is_one_state_whatever_the_connection_does() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        producer.do_send(Publish::new(topic("t"), "a"));
        let dial = network.dial().await;
        let mut report = Box::pin(producer.send(Drain { timeout: s(20) }));
        assert!((&mut report).now_or_never().is_none());
        assert_eq!(state(&producer).await, ProducerState::Draining);
        dial.refuse();
        sleep(ms(1)).await;
        assert_eq!(state(&producer).await, ProducerState::Draining);
        // The socket takes half of the publish, which stays outstanding.
        let (nsqd, _line) = network.connected_over(8).await;
        sleep(ms(1)).await;
        assert_eq!(state(&producer).await, ProducerState::Draining);
        drop(nsqd);
        sleep(ms(1)).await;
        assert_eq!(state(&producer).await, ProducerState::Draining);
        while network.elapsed() < s(21) {
            tokio::select! {
                dial = network.dial() => dial.refuse(),
                () = sleep(s(1)) => {}
            }
        }
        assert_eq!(state(&producer).await, ProducerState::Drained);
        let report = report.await.unwrap();
        assert_eq!(report.not_written, 1);
    });
}

/// checklist: 103, 104, 105
#[test]
fn asking_does_not_begin_to_connect() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        for _ in 0..600 {
            assert_eq!(state(&producer).await, ProducerState::Idle);
            producer.send(actix_nsq::producer::GetStats).await.unwrap();
        }
        network.expect_no_dial(HOUR).await;
    });
}
