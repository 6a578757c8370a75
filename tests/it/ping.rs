//! `Ping`: a command that nsqd answers, in its place among the publishes.

use actix::Addr;
use actix_nsq::{
    Delivery, ErrorKind, Ping, Producer, ProducerState,
    producer::{Drain, GetStats},
};
use tokio::time::sleep;

use crate::harness::{
    Answer, Network, assert_error, in_virtual_time, is_pending, ms, never_sent, s, send, timed,
};
use crate::support::spoken::heartbeat_frame;

fn ping(producer: &Addr<Producer>, seconds: u64) -> Answer {
    let timeout = s(seconds);
    send(producer, Ping { timeout })
}

/// checklist: 44
#[test]
fn ping_is_a_second_identify_with_the_names_only() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| {
            let config = config.client_id("me").hostname("me.example");
            config.user_agent("test/1").topology_region("eu")
        });
        let mut nsqd = network.connected().await;
        let answer = ping(&producer, 5);
        let json = concat!(
            r#"{"client_id":"me","hostname":"me.example","user_agent":"test/1","#,
            r#""topology_region":"eu"}"#
        );
        let size = u32::try_from(json.len()).unwrap().to_be_bytes();
        nsqd.expect([&b"IDENTIFY\n"[..], &size, json.as_bytes()].concat())
            .await;
        nsqd.send_ok().await;
        answer.await.unwrap();
    });
}

/// contract: 2
/// checklist: 44
#[test]
fn heartbeat_is_not_a_response_to_a_ping() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let mut answer = ping(&producer, 5);
        nsqd.expect_identify().await;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
        sleep(s(1)).await;
        assert!(is_pending(&mut answer));
        nsqd.send_ok().await;
        answer.await.unwrap();
    });
}

/// checklist: 44
#[test]
fn ping_waits_for_a_connection_within_its_timeout() {
    in_virtual_time(async |mut network: Network| {
        let producer =
            network.start_with(|config| config.connect_at_start(false).dial_timeout(s(300)));
        assert_eq!(timed(never_sent(ping(&producer, 3))).await.0, s(3));
        let cancelled = ping(&producer, 60);
        let answer = ping(&producer, 60);
        sleep(ms(1)).await;
        drop((cancelled, producer));
        let mut nsqd = network.connected().await;
        // Neither the expired nor the cancelled one is sent.
        nsqd.expect_identify().await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send_ok().await;
        answer.await.unwrap();
        // A pending ping keeps the producer without an address.
        nsqd.wait_closed().await;
        assert!(network.next_dial().await.is_none());
    });
}

/// checklist: 44
#[test]
fn unanswered_ping_ends_the_connection_and_is_repeated() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| config.ack_timeout(s(4)))
            .await;
        let answer = ping(&producer, 20);
        nsqd.expect_identify().await;
        let (after, _) = timed(nsqd.wait_closed()).await;
        assert!(after >= s(4) && after < s(6), "{after:?}");
        let mut nsqd = network.connected().await;
        nsqd.expect_identify().await;
        nsqd.send_ok().await;
        answer.await.unwrap();
        let stats = producer.send(GetStats).await.unwrap();
        assert_eq!(
            (stats.disconnects, stats.published, stats.requeued),
            (1, 0, 0)
        );
    });
}

/// checklist: 44
#[test]
fn drain_waits_for_pings_and_rejects_new_ones() {
    for answered in [true, false] {
        in_virtual_time(async |mut network: Network| {
            let (producer, mut nsqd) = network.start_connected().await;
            let outstanding = ping(&producer, 3600);
            nsqd.expect_identify().await;
            let drain = producer.send(Drain { timeout: s(10) });
            let (after, answer) = timed(ping(&producer, 5)).await;
            assert_eq!(after, s(0));
            assert_error(answer, ErrorKind::Drained, Delivery::NotWritten);
            if answered {
                nsqd.send_ok().await;
                outstanding.await.unwrap();
            } else {
                assert_error(outstanding.await, ErrorKind::Drained, Delivery::NotWritten);
                assert_eq!(network.elapsed(), s(10));
            }
            let report = drain.await.unwrap();
            assert!(report.is_clean() && report.ok == 0, "{report:?}");
            let stats = producer.send(GetStats).await.unwrap();
            assert_eq!((stats.state, stats.published), (ProducerState::Drained, 0));
        });
    }
}

#[test]
fn ping_without_time_is_not_sent() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let (after, _) = timed(never_sent(ping(&producer, 0))).await;
        assert!(after <= ms(20), "{after:?}");
        nsqd.expect_silence(s(5)).await;
    });
}
