//! Peers that fall silent, stall, or stop reading: each is found in its set time, and no living one is cut off.

mod slow_peers;

use std::time::Duration;

use actix_nsq::{ConnectionError, Delivery, ErrorKind, MultiPublish, PublishError};
use tokio::time::sleep;

use crate::harness::{
    HOUR, Network, assert_error, in_virtual_time, ms, publish, s, send, timed, topic,
};
use crate::support::spoken::{heartbeat_frame, identify_answer, ok_frame};

#[track_caller]
fn lost(answer: Result<(), PublishError>, delivery: Delivery) -> ConnectionError {
    let error = assert_error(answer, ErrorKind::ConnectionLost, delivery);
    error.connection_error().expect("why it was lost").clone()
}

/// fault: P11
/// checklist: 7, 8
#[test]
fn silence_for_two_heartbeat_intervals_ends_the_connection_at_exactly_that_time() {
    for (interval, expected) in [(1, s(2)), (30, s(60))] {
        in_virtual_time(async |mut network: Network| {
            let _producer = network.start_with(|config| config.heartbeat_interval(s(interval)));
            let mut nsqd = network.connected().await;
            let (after, said) = timed(nsqd.wait_closed()).await;
            assert_eq!((after, said), (expected, Vec::new()));
            network.connected().await;
        });
    }
}

/// fault: P11
/// checklist: 7, 8
#[test]
fn silence_counts_from_the_last_frame() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.heartbeat_interval(s(1)));
        let mut nsqd = network.connected().await;
        sleep(ms(1900)).await;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
        sleep(ms(1900)).await;
        let answered = publish(&producer, "a");
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        answered.await.unwrap();
        let (after, answer) = timed(publish(&producer, "b")).await;
        assert_eq!(after, s(2));
        let why = lost(answer, Delivery::MaybeWritten);
        assert!(
            matches!(why, ConnectionError::HeartbeatTimeout { after } if after == s(2)),
            "{why}"
        );
    });
}

/// fault: P11
/// checklist: 7, 8
#[test]
fn bytes_that_never_make_a_frame_are_silence() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start_with(|config| config.heartbeat_interval(s(1)));
        let mut nsqd = network.connected().await;
        let connected = network.elapsed();
        // A frame of 1 MiB, a byte at a time.
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
/// checklist: 7, 8, 9
#[test]
fn heartbeats_alone_keep_a_connection_for_an_hour_and_longer() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        for _ in 0..240 {
            sleep(s(30)).await;
            nsqd.send(heartbeat_frame()).await;
            nsqd.expect_nop().await;
        }
        let publish = publish(&producer, "a");
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// fault: P13
/// checklist: 7, 8, 11
#[test]
fn without_heartbeats_silence_is_no_sign_and_ack_timeout_finds_the_dead_peer() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.heartbeat_interval(None));
        let mut nsqd = network.connected().await;
        nsqd.expect_silence(24 * HOUR / 25).await;
        let (after, answer) = timed(publish(&producer, "a")).await;
        assert_eq!(after, s(10));
        let why = lost(answer, Delivery::MaybeWritten);
        assert!(
            matches!(why, ConnectionError::AckTimeout { after } if after == s(10)),
            "{why}"
        );
        nsqd.wait_closed().await;
    });
}

/// fault: P12
/// checklist: 7, 8
#[test]
fn heartbeats_without_answers_are_found_by_ack_timeout() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.heartbeat_interval(s(1)));
        let mut nsqd = network.connected().await;
        let mut stalled = Box::pin(timed(publish(&producer, "a")));
        nsqd.expect_pub("t", "a").await;
        let (after, answer) = loop {
            tokio::select! {
                outcome = &mut stalled => break outcome,
                () = sleep(s(1)) => nsqd.send(heartbeat_frame()).await,
            }
        };
        assert_eq!(after, s(10));
        let why = lost(answer, Delivery::MaybeWritten);
        assert!(matches!(why, ConnectionError::AckTimeout { .. }), "{why}");
        network.connected().await;
    });
}

/// fault: P12
/// checklist: 7, 8
#[test]
fn an_nsqd_that_answers_slowly_but_in_time_is_no_stall() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let publishes = ["1", "2", "3"].map(|body| publish(&producer, body));
        for each in publishes {
            sleep(ms(9_900)).await;
            nsqd.send([ok_frame(), heartbeat_frame()].concat()).await;
            each.await.unwrap();
        }
        // A stall is measured from the hand-over, and not from the last answer.
        sleep(s(30)).await;
        let late = publish(&producer, "4");
        sleep(ms(9_900)).await;
        nsqd.send(ok_frame()).await;
        late.await.unwrap();
    });
}

/// fault: P14
/// checklist: 7, 8
#[test]
fn a_peer_that_stops_reading_is_found_by_write_timeout_and_half_a_command_is_sent_again() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let body = vec![b'x'; 10_000];
        let (nsqd, _line) = network.connected_over(1000).await;
        let began = network.elapsed();
        let half = publish(&producer, body.clone());
        let dial = network.dial().await;
        // 5 s, the second in which it might still say something, and a backoff of at most 100 ms.
        let after = network.elapsed() - began;
        assert!(after >= s(6) && after <= ms(6_101), "{after:?}");
        drop(nsqd);
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        nsqd.expect_pub("t", body).await;
        nsqd.send(ok_frame()).await;
        half.await.unwrap();
    });
}

/// fault: P14
/// checklist: 7, 8
#[test]
fn a_peer_that_reads_no_nop_is_found_by_write_timeout() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let (mut nsqd, _line) = network.connected_over(3).await;
        nsqd.send(heartbeat_frame()).await;
        let (after, _dial) = timed(network.dial()).await;
        assert!(after >= s(6) && after <= ms(6_101), "{after:?}");
    });
}

/// A batch of 5 MiB goes to a peer that reads so many bytes, and then rests.
async fn slowly(
    network: &mut Network,
    size: usize,
    rest: Duration,
) -> Option<Result<(), PublishError>> {
    let producer = network.start_with(|config| {
        config
            .publish_timeout(HOUR)
            .heartbeat_interval(None)
            .ack_timeout(s(10))
    });
    let body = vec![b'x'; (1 << 20) - 5];
    let batch = send(
        &producer,
        MultiPublish::new(topic("t"), vec![body.clone(); 5]),
    );
    let mut whole = b"MPUB t\n\x00\x4f\xff\xff\x00\x00\x00\x05".to_vec();
    for _ in 0..5 {
        whole.extend(b"\x00\x0f\xff\xfb");
        whole.extend(&body);
    }
    let (mut nsqd, _line) = network.connected_over(4096).await;
    let read = async {
        for part in whole.chunks(size) {
            sleep(rest).await;
            nsqd.expect(part).await;
        }
        nsqd.send(ok_frame()).await;
    };
    tokio::select! {
        _cut = network.dial() => None,
        (answer, ()) = async { tokio::join!(batch, read) } => Some(answer),
    }
}

/// fault: P15
/// checklist: 7, 8
#[test]
fn a_slow_but_steady_reader_of_a_large_batch_is_not_cut_off() {
    in_virtual_time(async |mut network: Network| {
        // 64 KiB in each 4.9 s: more than six minutes for all of it.
        let (after, answer) = timed(slowly(&mut network, 64 << 10, ms(4_900))).await;
        answer.expect("cut off").unwrap();
        assert!(after > s(360), "{after:?}");
    });
}

/// fault: P15
/// checklist: 7, 8
#[test]
fn a_reader_that_is_slower_than_that_is_cut_off() {
    in_virtual_time(async |mut network: Network| {
        let answer = slowly(&mut network, 32 << 10, ms(4_900)).await;
        assert!(answer.is_none(), "not cut off");
        assert!(network.elapsed() < s(20), "{:?}", network.elapsed());
    });
}

/// checklist: 7, 8
#[test]
fn a_large_batch_is_no_stall_while_it_is_on_its_way_and_one_when_it_has_arrived() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_timeout(HOUR));
        let body = vec![b'x'; 600 << 10];
        let (mut nsqd, _line) = network.connected_over(4096).await;
        let large = publish(&producer, body.clone());
        nsqd.expect("PUB t\n\x00\x09\x60\x00").await;
        for part in body.chunks(64 << 10) {
            sleep(ms(3_900)).await;
            nsqd.expect(part).await;
            nsqd.send(heartbeat_frame()).await;
        }
        let (after, answer) = timed(large).await;
        assert!(after > s(8) && after <= s(10), "{after:?}");
        let why = lost(answer, Delivery::MaybeWritten);
        assert!(matches!(why, ConnectionError::AckTimeout { .. }), "{why}");
    });
}

/// fault: P11
/// checklist: 7, 8
#[test]
fn a_silent_handshake_answer_is_no_heartbeat() {
    in_virtual_time(async |mut network: Network| {
        // The time before the handshake's end counts for handshake_timeout, not for silence.
        let _producer = network.start_with(|config| config.heartbeat_interval(s(1)));
        let mut nsqd = network.accept().await;
        nsqd.expect_magic().await;
        nsqd.expect_identify().await;
        sleep(ms(4_900)).await;
        nsqd.send(identify_answer()).await;
        let (after, _) = timed(nsqd.wait_closed()).await;
        assert_eq!(after, s(2));
    });
}
