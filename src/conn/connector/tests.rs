//! The options of a socket, the addresses that are tried, and a resolver that hangs.

use std::{
    net::TcpListener,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use actix::System;
use tokio::time::timeout;

use super::*;
use crate::{
    config::ProducerConfig,
    producer::{Drain, Producer, PublishExt},
};

const PATIENCE: Duration = Duration::from_secs(10);

fn target(address: &str) -> ConnectTarget {
    ProducerConfig::new(address).unwrap().connect_target()
}

/// A socket that is connected to a listener on loopback.
async fn connected(change: impl FnOnce(&mut ConnectTarget)) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut target = target(&address.to_string());
    change(&mut target);
    let deadline = Instant::now() + PATIENCE;
    target.dial(&[address], deadline).await.unwrap()
}

/// checklist: 22
#[tokio::test]
async fn socket_has_nodelay_and_the_configured_keepalive() {
    let stream = connected(|_| {}).await;
    assert!(stream.nodelay().unwrap());
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap());
    assert_eq!(
        socket.tcp_keepalive_time().unwrap(),
        Duration::from_secs(30)
    );

    let idle = Duration::from_secs(7);
    let stream = connected(|target| target.tcp_keepalive = Some(idle)).await;
    let socket = SockRef::from(&stream);
    assert_eq!(socket.tcp_keepalive_time().unwrap(), idle);

    let stream = connected(|target| target.tcp_keepalive = None).await;
    assert!(!SockRef::from(&stream).keepalive().unwrap());
}

/// checklist: 21
#[tokio::test]
async fn addresses_of_another_family_than_local_addr_are_not_tried() {
    let both = |_: &str| {
        Ok(vec![
            ([127, 0, 0, 1], 0).into(),
            ([0, 0, 0, 0, 0, 0, 0, 1], 0).into(),
        ])
    };
    let resolver = Resolver::new(both, 1);
    let mut target = target("nsqd:4150");
    for local in ["127.0.0.2:0", "[::1]:0"] {
        let local: SocketAddr = local.parse().unwrap();
        target.local_addr = Some(local);
        let resolved = target.resolve(&resolver, Instant::now() + PATIENCE).await;
        let [address] = resolved.unwrap()[..] else {
            panic!("one address");
        };
        assert_eq!(address.is_ipv4(), local.is_ipv4());
        assert_eq!(address.port(), 4150);
    }
    target.address = "127.0.0.1:4150".into();
    let error = target.resolve(&resolver, Instant::now() + PATIENCE).await;
    let text = "cannot resolve 127.0.0.1:4150: there is no IPv6 address to connect to from \
                local_addr ([::1]:0)";
    assert_eq!(error.unwrap_err().to_string(), text);
}

/// contract: 10
/// fault: P2
#[test]
fn hanging_resolver_delays_neither_drain_nor_program_end() {
    let calls = Arc::new(AtomicUsize::new(0));
    // Dropped at the end of the test, which ends the look-up.
    let (_release, released) = mpsc::channel::<()>();
    let (counter, released) = (Arc::clone(&calls), Mutex::new(released));
    let resolver = Resolver::new(
        move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = released.lock().unwrap().recv();
            Ok(Vec::new())
        },
        1,
    );
    let began = std::time::Instant::now();
    System::new().block_on(async {
        let start = |address: &str| {
            let config = ProducerConfig::builder(address)
                .connector(DefaultConnector {
                    resolver: resolver.clone(),
                })
                .dial_timeout(Duration::from_millis(50))
                .publish_timeout(Duration::from_millis(500));
            Producer::start(config.build().unwrap())
        };
        let producers: Vec<_> = (0..100).map(|_| start("nsqd:4150")).collect();
        let other = start("other:4150");
        for (producer, reason) in [
            (&producers[0], "the resolver has not answered"),
            (&other, "every resolver thread waits for another name"),
        ] {
            let error = producer.publish("t", "a").await.unwrap_err();
            let error = error.connection_error().unwrap().to_string();
            assert!(error.starts_with("cannot resolve "), "{error}");
            let end = format!(" within dial_timeout (50ms): {reason}");
            assert!(error.ends_with(&end), "{error}");
        }
        let drain = other.send(Drain::new(Duration::from_millis(50)));
        timeout(PATIENCE, drain).await.unwrap().unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    });
    // tokio would join a thread of its own at the end of the System.
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

/// checklist: 20
#[cfg(target_os = "linux")] // `lo` is the name of the loopback interface.
#[tokio::test]
async fn zone_of_an_ipv6_address_is_resolved_by_name() {
    let deadline = Instant::now() + PATIENCE;
    let target = target("[fe80::7%lo]:4150");
    let resolved = target.resolve(&Resolver::system(), deadline).await;
    let [SocketAddr::V6(address)] = resolved.unwrap()[..] else {
        panic!("one IPv6 address");
    };
    assert_eq!(address.ip().to_string(), "fe80::7");
    assert_ne!(address.scope_id(), 0);
    assert_eq!(address.port(), 4150);
}
