//! Memory: what connections leave behind, what a flood occupies, and what a large body costs.
//! A binary of its own, since it counts all allocations.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix_nsq::{
    Producer, ProducerConfig, Publish, Reconnect, Topic,
    actix::{Addr, System},
    bytes::Bytes,
    embedded::EmbeddedNsqd,
    producer::GetStats,
};

/// Loses the connection `times` times, in turn by a reset, EOF and `Reconnect`, with publishes in
/// flight.
async fn lose_connections(nsqd: &EmbeddedNsqd, producer: &Addr<Producer>, times: usize) {
    let topic = Topic::new("costs").unwrap();
    let connects = || async { producer.send(GetStats).await.unwrap().connects };
    for time in 0..times {
        let before = connects().await;
        let publishes = [(); 3].map(|()| {
            let body = Bytes::from_static(b"in flight");
            producer.send(Publish::new(&topic, body))
        });
        // Allocated here, and freed on the thread of the embedded nsqd.
        match time % 3 {
            0 => allocation_counter::opt_out(|| nsqd.faults().reset_connections()),
            1 => allocation_counter::opt_out(|| nsqd.faults().close_connections()),
            _ => producer.send(Reconnect).await.unwrap(),
        }
        for publish in publishes {
            // Some are ambiguous, and some are retried.
            let _ = publish.await.unwrap();
        }
        while connects().await == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A task, timer or actor that a connection leaves behind is memory that is never freed.
/// fault: P28
#[test]
fn thousand_connections_leave_no_allocation_behind() {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let system = System::new();
    let backoff = Duration::from_millis(1);
    let config = ProducerConfig::builder(nsqd.address().to_string())
        .reconnect_backoff(backoff)
        .max_reconnect_backoff(backoff)
        .build()
        .unwrap();
    let producer = system.block_on(async { Producer::start(config) });
    // The tables of the runtime and of actors grow first.
    system.block_on(lose_connections(&nsqd, &producer, 100));
    let left = allocation_counter::measure(|| {
        system.block_on(lose_connections(&nsqd, &producer, 1_000));
    });
    println!("{left:?}");
    assert!(
        left.count_current < 10 && left.bytes_current < 4 << 10,
        "{left:?}"
    );
}

/// Eight callers publish the same body, `times` times each.
async fn publish_large(producer: &Addr<Producer>, body: &Bytes, times: usize) {
    let topic = Topic::new("large").unwrap();
    let caller = async || {
        for _ in 0..times {
            let publish = Publish::new(&topic, body.clone());
            producer.send(publish).await.unwrap().unwrap();
        }
    };
    futures::future::join_all((0..8).map(|_| caller())).await;
}

#[test]
fn large_body_is_not_copied() {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let system = System::new();
    let config = ProducerConfig::new(nsqd.address().to_string()).unwrap();
    let producer = system.block_on(async { Producer::start(config) });
    for size in [1 << 20, 64 << 10, 5 << 10] {
        let body = Bytes::from(vec![7; size]);
        // Buffers grow first.
        system.block_on(publish_large(&producer, &body, 5));
        let counted = allocation_counter::measure(|| {
            system.block_on(publish_large(&producer, &body, 20));
        });
        let sent = 8 * 20 * size as u64;
        println!("{} bytes for {sent}", counted.bytes_total);
        assert!(counted.bytes_total < sent / 4, "{size}: {counted:?}");
        assert!(counted.bytes_max < 1 << 19, "{size}: {counted:?}");
    }
}

/// A peer that completes the handshake and then sends the same bytes without end.
struct Flood {
    address: String,
    /// The number of bytes that the socket accepted.
    sent: Arc<AtomicUsize>,
    /// Whether the client has closed.
    closed: Arc<AtomicBool>,
}

impl Flood {
    fn of(bytes: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let flood = Self {
            address: listener.local_addr().unwrap().to_string(),
            sent: Arc::default(),
            closed: Arc::default(),
        };
        let (sent, closed) = (Arc::clone(&flood.sent), Arc::clone(&flood.closed));
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.read_exact(&mut [0; 13]).unwrap();
            client.write_all(b"\0\0\0\x06\0\0\0\0OK").unwrap();
            let bytes = bytes.repeat((1 << 18) / bytes.len());
            while client.write_all(&bytes).is_ok() {
                sent.fetch_add(bytes.len(), Ordering::Relaxed);
            }
            closed.store(true, Ordering::Relaxed);
        });
        flood
    }

    /// Whether the client has read far more than it may hold, or has closed.
    fn has_ended(&self) -> bool {
        self.sent.load(Ordering::Relaxed) > 4 * LIMIT || self.closed.load(Ordering::Relaxed)
    }
}

/// The largest amount of memory of a client during a flood, in bytes.
const LIMIT: usize = 16 << 20;

/// fault: P14
#[test]
fn flood_by_a_peer_does_not_grow_memory() {
    for (bytes, is_valid) in [
        (&b"\0\0\0\x0f\0\0\0\0_heartbeat_"[..], true),
        (b"\0\0\0\x04\0\0\0\0", false),
        (b"\0\0\0\x06\0\0\0\0OK", false),
    ] {
        let flood = Flood::of(bytes);
        let config = ProducerConfig::new(&flood.address).unwrap();
        let counted = allocation_counter::measure(|| {
            System::new().block_on(async {
                let _producer = Producer::start(config);
                let deadline = Instant::now() + Duration::from_secs(60);
                while !flood.has_ended() && Instant::now() < deadline {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    // The arbiter is busy while more bytes arrive.
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        });
        assert!(flood.has_ended(), "the client does not read");
        if is_valid {
            let sent = flood.sent.load(Ordering::Relaxed);
            assert!(sent > 4 * LIMIT, "closed after {sent} bytes of heartbeats");
        }
        println!("{} bytes at most", counted.bytes_max);
        assert!(
            counted.bytes_max < LIMIT as u64,
            "{} bytes",
            counted.bytes_max
        );
    }
}
