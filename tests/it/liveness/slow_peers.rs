//! Peers that read or respond slowly.

use std::time::Duration;

use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, MultiPublish, Producer, ProducerConfig, WaitConnected,
    producer::GetStats,
};
use tokio::{
    io::AsyncReadExt,
    time::{Instant, sleep},
};

use crate::harness::{
    HOUR, Network, Peer, assert_error, in_system, in_virtual_time, lost, ms, publish,
    publish_within, s, send, timed, topic,
};
use crate::support::{
    script::ScriptedPeer,
    spoken::{heartbeat_frame, ok_frame},
};

/// Sends one byte per second.
async fn send_slowly(nsqd: &mut Peer, bytes: &[u8]) {
    for byte in bytes {
        sleep(s(1)).await;
        nsqd.send([*byte]).await;
    }
}

/// Publishes a batch of 5 MiB to a peer that reads `size` bytes each 4.9 s. Returns whether it was
/// acknowledged before a reconnect.
async fn reads_slowly(network: &mut Network, size: usize) -> bool {
    let producer = network.start_with(|config| {
        let config = config.publish_timeout(HOUR).ack_timeout(s(10));
        config.heartbeat_interval(None)
    });
    let bodies = vec![vec![b'x'; (1 << 20) - 5]; 5];
    let batch = send(&producer, MultiPublish::new(topic("t"), bodies.clone()));
    let mut command = b"MPUB t\n\x00\x4f\xff\xff\x00\x00\x00\x05".to_vec();
    for body in &bodies {
        command.extend(b"\x00\x0f\xff\xfb");
        command.extend(body);
    }
    let (mut nsqd, _stream) = network.connected_over(4096).await;
    let read = async {
        for part in command.chunks(size) {
            sleep(ms(4_900)).await;
            nsqd.expect(part).await;
        }
        nsqd.send_ok().await;
    };
    tokio::select! {
        _reconnect = network.dial() => false,
        (answer, ()) = async { tokio::join!(batch, read) } => answer.is_ok(),
    }
}

/// fault: P15
/// checklist: 8
#[test]
fn slow_but_steady_reader_is_kept_and_a_slower_one_is_left() {
    in_virtual_time(async |mut network: Network| {
        let (after, acknowledged) = timed(reads_slowly(&mut network, 64 << 10)).await;
        assert!(acknowledged);
        assert!(after > s(360), "{after:?}");
    });
    in_virtual_time(async |mut network: Network| {
        let (after, acknowledged) = timed(reads_slowly(&mut network, 32 << 10)).await;
        assert!(!acknowledged);
        assert!(after < s(20), "{after:?}");
    });
}

/// Publishes 8 x 1 MB to a real socket, of which the peer reads `rate` bytes per second. Returns
/// when the connection was lost, if it was within `limit`.
///
/// `write_timeout` is a fifth of its default, so the rates are five times those for the default.
fn lost_after(rate: usize, limit: Duration) -> Option<Duration> {
    let peer = ScriptedPeer::play(move |mut client| async move {
        client.greet().await;
        let begin = Instant::now();
        let mut read = 0;
        let mut buffer = vec![0; 8 << 10];
        while begin.elapsed() < 2 * limit {
            let due = begin + Duration::from_secs(read as u64) / rate as u32;
            sleep(due.saturating_duration_since(Instant::now())).await;
            match client.stream().read(&mut buffer).await {
                Ok(bytes @ 1..) => read += bytes,
                _ => return,
            }
        }
    });
    let after = in_system(async |_| {
        let config = ProducerConfig::builder(peer.address()).write_timeout(s(1));
        let producer = Producer::start(config.auto_batch(false).build().unwrap());
        send(&producer, WaitConnected { timeout: s(10) })
            .await
            .unwrap();
        let _answers = [(); 8].map(|()| publish(&producer, vec![b'x'; 1_000_000]));
        let begin = Instant::now();
        while begin.elapsed() < limit {
            if producer.send(GetStats).await.unwrap().disconnects > 0 {
                return Some(begin.elapsed());
            }
            sleep(ms(10)).await;
        }
        None
    });
    drop(in_system(async |_| peer.finish().await));
    after
}

/// The kernel accepts bytes in large portions, and the peer's window opens in large steps.
/// fault: P15
/// checklist: 8
#[test]
fn slow_but_steady_reader_of_a_socket_is_kept() {
    assert_eq!(lost_after(150_000, s(8)), None);
    // A quarter of the minimum: three times `write_timeout`, and a second for responses.
    let after = lost_after(16_384, s(8)).expect("cut off");
    assert!(after < s(4), "{after:?}");
}

/// fault: P15
/// checklist: 7
#[test]
fn ack_timeout_begins_when_a_large_publish_is_written() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_timeout(HOUR));
        let body = vec![b'x'; 600 << 10];
        let (mut nsqd, _stream) = network.connected_over(4096).await;
        let large = publish(&producer, body.clone());
        nsqd.expect("PUB t\n\x00\x09\x60\x00").await;
        for part in body.chunks(64 << 10) {
            sleep(ms(3_900)).await;
            nsqd.expect(part).await;
            nsqd.send(heartbeat_frame()).await;
        }
        let (after, reason) = timed(lost(large)).await;
        assert!(after > s(8) && after <= s(10), "{after:?}");
        assert!(
            matches!(reason, ConnectionError::AckTimeout { .. }),
            "{reason}"
        );
    });
}

/// fault: P15
#[test]
fn slow_responses_complete_their_own_publishes() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| {
                let config = config.publish_timeout(HOUR).ack_timeout(s(11));
                config.publish_window(2)
            })
            .await;
        let bodies = ["1", "2", "3", "4", "5"];
        let mut answers = bodies.map(|body| publish(&producer, body)).into_iter();
        nsqd.expect_pub("t", "1").await;
        for body in &bodies[1..] {
            nsqd.expect_pub("t", body).await;
            // An incomplete response frees no place in the window.
            let ok = ok_frame();
            send_slowly(&mut nsqd, &ok[..9]).await;
            nsqd.expect_silence(s(1)).await;
            nsqd.send(&ok[9..]).await;
            answers.next().unwrap().await.unwrap();
        }
        let (after, ()) = timed(send_slowly(&mut nsqd, &ok_frame())).await;
        assert_eq!(after, s(10));
        answers.next().unwrap().await.unwrap();
        network.expect_no_dial(s(1)).await;
    });
}

/// fault: P15
#[test]
fn slow_response_after_its_deadline_is_discarded() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| config.publish_timeout(s(60)).ack_timeout(s(30)))
            .await;
        let late = timed(publish_within(&producer, s(7), "late"));
        let other = timed(publish(&producer, "other"));
        nsqd.expect_pubs(&["late", "other"]).await;
        let bytes = [ok_frame(), heartbeat_frame(), ok_frame()].concat();
        let (late, other, ()) = tokio::join!(late, other, send_slowly(&mut nsqd, &bytes));
        assert_eq!(late.0, s(7));
        assert_error(late.1, ErrorKind::Timeout, Delivery::MaybeWritten);
        other.1.unwrap();
        assert_eq!(other.0, Duration::from_secs(bytes.len() as u64));
        nsqd.expect_nop().await;
    });
}
