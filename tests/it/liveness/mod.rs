//! Dead, stalled and slow peers: dead ones are detected in time, slow ones are kept.

mod blocks;
mod slow_peers;

use actix_nsq::ConnectionError;
use tokio::time::sleep;

use crate::harness::{HOUR, Network, in_virtual_time, lost, ms, publish, publish_each, s, timed};
use crate::support::spoken::{heartbeat_frame, identify_answer, ok_frame};

/// fault: P11
/// checklist: 7
#[test]
fn silence_of_two_heartbeat_intervals_closes_the_connection() {
    for interval in [1, 30] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start_with(|config| config.heartbeat_interval(s(interval)));
            let mut nsqd = network.accept().await;
            nsqd.identify().await;
            // The handshake has a timeout of its own.
            sleep(ms(4_900)).await;
            nsqd.send(identify_answer()).await;
            let silence = s(2 * interval);
            let (after, received) = timed(nsqd.wait_closed()).await;
            assert_eq!((after, received), (silence, Vec::new()));
            // It is counted from the last frame.
            let mut nsqd = network.connected().await;
            sleep(silence - ms(100)).await;
            nsqd.send(heartbeat_frame()).await;
            nsqd.expect_nop().await;
            let (after, reason) = timed(lost(publish(&producer, "a"))).await;
            assert_eq!(after, silence.min(s(10)));
            if interval == 1 {
                let expected = matches!(
                    reason, ConnectionError::HeartbeatTimeout { after } if after == silence
                );
                assert!(expected, "{reason}");
            }
        });
    }
}

/// fault: P11
/// checklist: 7
#[test]
fn incomplete_frame_counts_as_silence() {
    in_virtual_time(async |mut network: Network| {
        let (_producer, mut nsqd) = network
            .start_connected_with(|config| config.heartbeat_interval(s(1)))
            .await;
        let connected = network.elapsed();
        // A frame of 1 MiB, one byte at a time.
        nsqd.send(b"\x00\x10\x00\x00").await;
        for _ in 0..19 {
            nsqd.send(b"\x00").await;
            sleep(ms(100)).await;
        }
        nsqd.wait_closed().await;
        assert_eq!(network.elapsed() - connected, s(2));
    });
}

/// fault: P11
/// checklist: 9
#[test]
fn heartbeats_keep_an_idle_connection() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        for _ in 0..240 {
            sleep(s(30)).await;
            nsqd.send(heartbeat_frame()).await;
            nsqd.expect_nop().await;
        }
        let answer = publish(&producer, "a");
        nsqd.confirm("a").await;
        answer.await.unwrap();
    });
}

/// fault: P13
/// checklist: 11
#[test]
fn without_heartbeats_ack_timeout_detects_a_dead_peer() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| config.heartbeat_interval(None))
            .await;
        nsqd.expect_silence(HOUR).await;
        let (after, reason) = timed(lost(publish(&producer, "a"))).await;
        assert_eq!(after, s(10));
        let expected = matches!(reason, ConnectionError::AckTimeout { after } if after == s(10));
        assert!(expected, "{reason}");
        nsqd.wait_closed().await;
    });
}

/// fault: P12
/// checklist: 7
#[test]
fn peer_that_sends_only_heartbeats_is_left_after_ack_timeout() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| config.heartbeat_interval(s(1)))
            .await;
        let unanswered = timed(lost(publish(&producer, "a")));
        let heartbeats = async {
            nsqd.expect_pub("t", "a").await;
            loop {
                sleep(s(1)).await;
                nsqd.send(heartbeat_frame()).await;
            }
        };
        tokio::select! {
            (after, reason) = unanswered => {
                assert_eq!(after, s(10));
                assert!(matches!(reason, ConnectionError::AckTimeout { .. }), "{reason}");
            }
            () = heartbeats => {}
        }
        network.connected().await;
    });
}

/// fault: P12
#[test]
fn slow_responses_within_ack_timeout_keep_the_connection() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        for answer in publish_each(&producer, ["1", "2", "3"]) {
            sleep(ms(9_900)).await;
            nsqd.send([ok_frame(), heartbeat_frame()].concat()).await;
            answer.await.unwrap();
        }
        // It is counted from the time a publish was sent, not from the last response.
        sleep(s(30)).await;
        let late = publish(&producer, "4");
        sleep(ms(9_900)).await;
        nsqd.send_ok().await;
        late.await.unwrap();
    });
}

/// fault: P14
/// checklist: 8
#[test]
fn peer_that_stops_reading_is_left_after_write_timeout() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let body = vec![b'x'; 10_000];
        let (nsqd, _stream) = network.connected_over(1000).await;
        let partly_written = publish(&producer, body.clone());
        let (after, dial) = timed(network.dial()).await;
        // 5 s, a second for responses, and a backoff of at most 100 ms.
        assert!(after >= s(6) && after <= ms(6_101), "{after:?}");
        drop(nsqd);
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        nsqd.confirm(body).await;
        partly_written.await.unwrap();
    });
}

/// fault: P14
/// checklist: 8
#[test]
fn peer_that_does_not_read_a_nop_is_left_after_write_timeout() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let (mut nsqd, _stream) = network.connected_over(3).await;
        nsqd.send(heartbeat_frame()).await;
        let (after, _dial) = timed(network.dial()).await;
        assert!(after >= s(6) && after <= ms(6_101), "{after:?}");
    });
}
