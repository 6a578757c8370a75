//! What connections leave behind, what a flood fills, and what a large body costs: in a binary of its own, since the allocator is counted.
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

/// Loses the connection so many times, in turn by a reset, by an end, and by its own wish, with publishes on their way.
async fn lose_connections(nsqd: &EmbeddedNsqd, producer: &Addr<Producer>, times: usize) {
    let topic = Topic::new("costs").unwrap();
    let connects = || async { producer.send(GetStats).await.unwrap().connects };
    for time in 0..times {
        let before = connects().await;
        let publishes = [(); 3].map(|()| {
            let body = Bytes::from_static(b"on its way");
            producer.send(Publish::new(&topic, body))
        });
        // What the embedded nsqd is told is made here, and let go of on its own thread.
        match time % 3 {
            0 => allocation_counter::opt_out(|| nsqd.faults().reset_connections()),
            1 => allocation_counter::opt_out(|| nsqd.faults().close_connections()),
            _ => producer.send(Reconnect).await.unwrap(),
        }
        for publish in publishes {
            // Some were on their way, and some are sent again.
            let _ = publish.await.unwrap();
        }
        while connects().await == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What a connection leaves on the producer's thread, be it a task, a timer or an actor, is memory that is never given back.
/// fault: P28
#[test]
fn a_thousand_connections_leave_no_allocation_behind() {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let system = System::new();
    let backoff = Duration::from_millis(1);
    let config = ProducerConfig::builder(nsqd.address().to_string())
        .reconnect_backoff(backoff)
        .max_reconnect_backoff(backoff)
        .build()
        .unwrap();
    let producer = system.block_on(async { Producer::start(config) });
    // What grows once, as the tables of runtime and actors do, has grown.
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

/// Eight callers publish the same body so many times each.
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
fn a_large_body_is_not_copied_on_its_way_be_it_alone_or_in_a_batch() {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let system = System::new();
    let config = ProducerConfig::new(nsqd.address().to_string()).unwrap();
    let producer = system.block_on(async { Producer::start(config) });
    for size in [1 << 20, 64 << 10, 5 << 10] {
        let body = Bytes::from(vec![7; size]);
        // What grows once, has grown.
        system.block_on(publish_large(&producer, &body, 5));
        let counted = allocation_counter::measure(|| {
            system.block_on(publish_large(&producer, &body, 20));
        });
        let sent = 8 * 20 * size as u64;
        println!("{} bytes for {sent}", counted.bytes_total);
        assert!(counted.bytes_total < sent / 4, "{size}: {counted:?}");
        // What is held at a time is little, too.
        assert!(counted.bytes_max < 1 << 19, "{size}: {counted:?}");
    }
}

/// A peer that shakes hands as an old nsqd does, and then says the same without end.
struct Flood {
    address: String,
    /// So many bytes the socket has taken.
    said: Arc<AtomicUsize>,
    /// The client has hung up.
    over: Arc<AtomicBool>,
}

impl Flood {
    fn of(said: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let flood = Self {
            address: listener.local_addr().unwrap().to_string(),
            said: Arc::default(),
            over: Arc::default(),
        };
        let (count, over) = (Arc::clone(&flood.said), Arc::clone(&flood.over));
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.read_exact(&mut [0; 13]).unwrap();
            client.write_all(b"\0\0\0\x06\0\0\0\0OK").unwrap();
            let said = said.repeat((1 << 18) / said.len());
            while client.write_all(&said).is_ok() {
                count.fetch_add(said.len(), Ordering::Relaxed);
            }
            over.store(true, Ordering::Relaxed);
        });
        flood
    }

    /// Whether far more was said than may be held, or the client wants to hear no more.
    fn has_risen(&self) -> bool {
        self.said.load(Ordering::Relaxed) > 4 * MOST || self.over.load(Ordering::Relaxed)
    }
}

/// What a client that is flooded may hold.
const MOST: usize = 16 << 20;

/// fault: P14
#[test]
fn a_peer_that_floods_fills_no_memory() {
    for (said, is_borne) in [
        (&b"\0\0\0\x0f\0\0\0\0_heartbeat_"[..], true),
        (b"\0\0\0\x04\0\0\0\0", false),
        (b"\0\0\0\x06\0\0\0\0OK", false),
    ] {
        let flood = Flood::of(said);
        let config = ProducerConfig::new(&flood.address).unwrap();
        let counted = allocation_counter::measure(|| {
            System::new().block_on(async {
                let _producer = Producer::start(config);
                let patience = Instant::now() + Duration::from_secs(60);
                while !flood.has_risen() && Instant::now() < patience {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    // The arbiter is busy now and then, and the flood rises meanwhile.
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        });
        assert!(flood.has_risen(), "the client does not read");
        if is_borne {
            let said = flood.said.load(Ordering::Relaxed);
            assert!(said > 4 * MOST, "hung up after {said} bytes of heartbeats");
        }
        println!("{} bytes at most", counted.bytes_max);
        assert!(
            counted.bytes_max < MOST as u64,
            "{} bytes",
            counted.bytes_max
        );
    }
}
