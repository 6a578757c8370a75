//! Compression with a peer that uses it in every allowed way, and in wrong ones.

mod peer;

use actix_nsq::{ConnectionError, MultiPublish, producer::Drain};
use flate2::{Decompress, FlushDecompress, Status};
use tokio::{
    io::AsyncReadExt,
    time::{sleep, timeout},
};

use self::peer::{BOTH, Compressor, Method, Nsqd, decompress};
use crate::harness::{
    HOUR, Network, in_virtual_time, is_pending, lost, ms, never_sent, publish, publish_within, s,
    send, topic,
};
use crate::support::spoken::{Command, frame, heartbeat_frame, ok_frame, response_frame};

/// fault: T7, T8, T9
/// checklist: 96, 99
#[test]
fn each_burst_can_be_decompressed_as_soon_as_it_is_sent() {
    for method in BOTH {
        for piece in [usize::MAX, 1] {
            in_virtual_time(async move |mut network: Network| {
                let producer = network.start_with(|config| method.requested(config));
                let mut nsqd = Nsqd::connected(network.accept().await, method).await;
                nsqd.client.chunk(piece);
                for body in ["a", "b", "c"] {
                    let answer = publish(&producer, body);
                    nsqd.expect_pub(body).await;
                    nsqd.send(ok_frame()).await;
                    answer.await.unwrap();
                }
                nsqd.send(heartbeat_frame()).await;
                assert_eq!(nsqd.command().await, Command::Nop);
            });
        }
    }
}

/// fault: T8
#[test]
fn flood_of_compressed_heartbeats_delays_no_response() {
    for method in BOTH {
        in_virtual_time(async move |mut network: Network| {
            let producer = network.start_with(|config| method.requested(config));
            let mut nsqd = Nsqd::connected(network.accept().await, method).await;
            let answer = publish(&producer, "a");
            nsqd.expect_pub("a").await;
            // Some KiB on the wire.
            let flood = heartbeat_frame().repeat(300_000);
            nsqd.send([flood, ok_frame()].concat()).await;
            answer.await.unwrap();
        });
    }
}

/// checklist: 97, 98
#[test]
fn drain_ends_the_deflate_stream_with_its_final_block() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| Method::Deflate.requested(config));
        let mut nsqd = Nsqd::connected(network.accept().await, Method::Deflate).await;
        let answer = publish(&producer, "a");
        nsqd.expect_pub("a").await;
        nsqd.send(ok_frame()).await;
        answer.await.unwrap();
        producer.send(Drain::new(s(1))).await.unwrap();
        let stream = nsqd.client.stream();
        stream.read_to_end(&mut nsqd.received).await.unwrap();
        let (mut inflate, mut plain) = (Decompress::new(false), Vec::with_capacity(64 << 10));
        let end = inflate.decompress_vec(&nsqd.received, &mut plain, FlushDecompress::Sync);
        assert_eq!(end.unwrap(), Status::StreamEnd);
    });
}

/// `write_timeout` concerns the bytes that the socket accepts, not those that the layer holds.
/// checklist: 98
#[test]
fn slow_but_steady_reader_of_a_compressed_batch_is_kept() {
    for method in BOTH {
        in_virtual_time(async move |mut network: Network| {
            let producer = network.start_with(|config| {
                let config = method.requested(config).publish_timeout(HOUR);
                config.heartbeat_interval(None).ack_timeout(s(60))
            });
            let mut body = vec![0; (1 << 20) - 5];
            fastrand::Rng::with_seed(7).fill(&mut body);
            let batch = MultiPublish::new(topic("t"), vec![body; 5]);
            let mut batch = send(&producer, batch);
            let (client, _stream) = network.dial().await.accept_over(4096);
            let mut nsqd = Nsqd::connected(client, method).await;
            // 64 KiB each 4.9 s, until all is read.
            loop {
                sleep(ms(4_900)).await;
                let mut part = Vec::new();
                let mut stream = nsqd.client.stream().take(64 << 10);
                let complete = timeout(ms(50), stream.read_to_end(&mut part)).await;
                assert!(is_pending(&mut batch), "disconnected: {method:?}");
                nsqd.received.extend(part);
                if complete.is_err() {
                    break;
                }
            }
            assert!(nsqd.received.len() > 5 << 20);
            nsqd.send(ok_frame()).await;
            batch.await.unwrap();
        });
    }
}

/// fault: T7
#[test]
fn padding_and_skippable_chunks_of_snappy_are_skipped() {
    let method = Method::Snappy;
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| method.requested(config));
        let mut nsqd = Nsqd::connected(network.accept().await, method).await;
        for chunk in [
            &b"\xfe\x05\x00\x00\x00\x00\x00\x00\x00"[..],
            b"\x80\x03\x00\x00any",
            b"\xff\x06\x00\x00sNaPpY",
        ] {
            let answer = publish(&producer, "a");
            nsqd.expect_pub("a").await;
            nsqd.client.send(chunk).await;
            nsqd.send(ok_frame()).await;
            answer.await.unwrap();
        }
    });
}

/// The result of a publish in flight whose response are these bytes, not compressed.
async fn error_after(network: &mut Network, method: Method, bytes: &[u8]) -> ConnectionError {
    let producer = network.start_with(|config| method.requested(config));
    let answer = publish(&producer, "a");
    let mut nsqd = Nsqd::connected(network.accept().await, method).await;
    nsqd.expect_pub("a").await;
    nsqd.client.send(bytes).await;
    lost(answer).await
}

/// fault: T7, T8
#[test]
fn invalid_compressed_bytes_close_the_connection() {
    let wrong_checksum = b"\x01\x0e\0\0\0\0\0\0\0\0\0\x06\0\0\0\0OK";
    for (method, bytes) in [
        (Method::Snappy, &wrong_checksum[..]),
        // A reserved chunk, an impossible length, and bytes that are not compressed.
        (Method::Snappy, b"\x02\x03\x00\x00any"),
        (Method::Snappy, b"\x00\xff\xff\xff"),
        (Method::Snappy, &ok_frame()),
        // An invalid kind of block, lengths that disagree, and an early end.
        (Method::Deflate, b"\x07\x00\x00"),
        (Method::Deflate, b"\x00\x05\x00\x05\x00hello"),
        (Method::Deflate, b"\x03\x00"),
    ] {
        in_virtual_time(async |mut network: Network| {
            let error = error_after(&mut network, method, bytes).await;
            assert!(
                matches!(error, ConnectionError::Io(_)),
                "{bytes:?}: {error:?}"
            );
        });
    }
}

/// fault: T8
#[test]
fn compressed_frame_above_the_size_limit_closes_the_connection() {
    for method in BOTH {
        let mut compressor = Compressor::new(method);
        // The layer's OK precedes it in the same stream.
        compressor.burst(ok_frame());
        let frame = compressor.burst(frame(0, &vec![0; 8 << 20]));
        let beginning = &frame[..(frame.len() / 2).min(32 << 10)];
        in_virtual_time(async |mut network: Network| {
            let error = error_after(&mut network, method, beginning).await;
            assert!(matches!(error, ConnectionError::Protocol(_)), "{error:?}");
        });
    }
}

/// checklist: 99
#[test]
fn layer_that_does_not_begin_with_ok_ends_the_handshake() {
    for method in BOTH {
        for response in [
            heartbeat_frame(),
            response_frame("NO"),
            b"\0\0\0\x06\0\0".to_vec(),
        ] {
            in_virtual_time(async |mut network: Network| {
                let producer = network.start_with(|config| method.requested(config));
                let answer = publish_within(&producer, s(6), "a");
                let mut nsqd = network.accept().await;
                nsqd.identify().await;
                let burst = Compressor::new(method).burst(&response);
                nsqd.send([method.granted(), burst].concat()).await;
                nsqd.fin().await;
                let sent = decompress(method, &nsqd.wait_closed().await);
                assert!(sent.is_empty() || sent == b"NOP\n", "{sent:?}");
                never_sent(answer).await;
            });
        }
    }
}
