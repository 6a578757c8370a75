//! `Reconnect`: a new connection at once, without loss.

use actix_nsq::{
    ProducerState, Reconnect,
    producer::{Drain, GetState, GetStats},
};
use tokio::time::sleep;

use crate::harness::{
    HOUR, Network, all_ok, in_virtual_time, is_pending, lost, ms, publish, publish_each, s, timed,
};

#[test]
fn reconnect_replaces_an_idle_connection_at_once() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut old) = network.start_connected().await;
        old.expect_silence(s(5)).await;
        // Several requests at once are one.
        for _ in 0..1000 {
            producer.do_send(Reconnect);
        }
        let (after, mut new) = timed(network.connected()).await;
        assert_eq!(after, s(0));
        old.wait_closed().await;
        assert_eq!(network.open_connections(), 1);
        new.expect_silence(s(5)).await;
    });
}

#[test]
fn reconnect_waits_for_publishes_in_flight_and_sends_none_twice() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(2));
        let [one, two, three] = publish_each(&producer, ["1", "2", "3"]);
        let mut old = network.connected().await;
        old.expect_pubs(&["1", "2"]).await;
        producer.do_send(Reconnect);
        let mut younger = publish(&producer, "4");
        old.expect_silence(s(1)).await;
        old.send_oks(2).await;
        all_ok([one, two]).await;
        let (after, mut new) = timed(network.connected()).await;
        assert_eq!(after, s(0));
        assert_eq!(old.wait_closed().await, b"");
        assert!(is_pending(&mut younger));
        new.confirm_all(&["3", "4"]).await;
        all_ok([three, younger]).await;
        let stats = producer.send(GetStats).await.unwrap();
        assert_eq!((stats.ok, stats.requeued, stats.published), (4, 0, 4));
        assert_eq!((stats.connects, stats.disconnects), (2, 1));
    });
}

#[test]
fn reconnect_waits_for_a_response_at_most_ack_timeout() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut old) = network
            .start_connected_with(|config| config.ack_timeout(s(4)))
            .await;
        let unanswered = publish(&producer, "1");
        old.expect_pub("t", "1").await;
        producer.do_send(Reconnect);
        let (after, _new) = timed(network.connected()).await;
        assert!(after >= s(4) && after < s(6), "{after:?}");
        lost(unanswered).await;
    });
}

#[test]
fn reconnect_ends_a_backoff_and_a_failed_attempt_begins_one() {
    in_virtual_time(async |mut network: Network| {
        let producer =
            network.start_with(|config| config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR));
        let answer = publish(&producer, "a");
        network.dial().await.refuse();
        for _ in 0..20 {
            sleep(ms(1)).await;
            let state = producer.send(GetState).await.unwrap();
            assert_eq!(state, ProducerState::BackingOff);
            producer.do_send(Reconnect);
            let (after, dial) = timed(network.dial()).await;
            assert_eq!(after, s(0));
            dial.refuse();
        }
        sleep(ms(1)).await;
        producer.do_send(Reconnect);
        let dial = network.dial().await;
        // An attempt is not repeated while it lasts.
        producer.do_send(Reconnect);
        network.expect_no_dial(s(1)).await;
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        nsqd.confirm("a").await;
        answer.await.unwrap();
    });
}

/// contract: 10
#[test]
fn reconnect_does_not_disturb_a_drain() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(1));
        let answers = publish_each(&producer, ["1", "2"]);
        let mut old = network.connected().await;
        old.expect_pub("t", "1").await;
        let drain = producer.send(Drain { timeout: s(30) });
        producer.do_send(Reconnect);
        sleep(ms(1)).await;
        old.send_ok().await;
        let mut new = network.connected().await;
        new.confirm("2").await;
        all_ok(answers).await;
        assert_eq!(drain.await.unwrap().ok, 2);
        new.wait_closed().await;
        // A drained producer does not reconnect.
        producer.send(Reconnect).await.unwrap();
        network.expect_no_dial(HOUR).await;
        let state = producer.send(GetState).await.unwrap();
        assert_eq!(state, ProducerState::Drained);
    });
}
