//! Dialling TCP: names, addresses of both families, the local address, and what is told when nobody answers.

mod unexpected;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, Producer, ProducerConfig, ProducerConfigBuilder,
    PublishError, actix::Addr,
};

use crate::harness::{assert_error, in_system, is_pending, ms, publish, s};
use crate::support::script::ScriptedPeer;
use crate::support::spoken::ok_frame;

/// What publishes to `address` are told when it cannot be connected to.
fn cannot_connect(address: String, check: impl FnOnce(&ConnectionError)) {
    in_system(async |_| {
        let config = ProducerConfig::builder(&address)
            .dial_timeout(s(5))
            .publish_timeout(ms(300));
        let producer = Producer::start(config.build().unwrap());
        // A slow resolver has not failed yet when the first of them times out.
        let lost = loop {
            let answer = publish(&producer, "a").await;
            let error = assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
            if let Some(lost) = error.connection_error() {
                break lost.clone();
            }
        };
        assert!(lost.to_string().contains(&address), "{lost}");
        check(&lost);
    });
}

/// The address that a listener on `address` sees a producer come from, which it has been told of as `name`.
fn caller_of(
    listener: TcpListener,
    name: &str,
    options: impl FnOnce(ProducerConfigBuilder) -> ProducerConfigBuilder,
) -> SocketAddr {
    let address = format!("{name}:{}", listener.local_addr().unwrap().port());
    let accepted = std::thread::spawn(move || {
        let (mut client, from) = listener.accept().unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut magic = [0; 4];
        client.read_exact(&mut magic).unwrap();
        assert_eq!(&magic, b"  V2");
        from
    });
    in_system(async |_| {
        let _producer = Producer::start(options(ProducerConfig::builder(address)).build().unwrap());
        crate::support::wait::until("the producer connects", || accepted.is_finished()).await;
        accepted.join().unwrap()
    })
}

/// fault: P1
/// checklist: 20, 21
#[test]
fn a_closed_port_is_told() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    cannot_connect(address, |lost| {
        let ConnectionError::Dial { source, .. } = lost else {
            panic!("{lost}");
        };
        assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

/// fault: P2
/// checklist: 20, 21
#[test]
fn a_name_that_cannot_be_resolved_is_told() {
    // RFC 2606: no resolver has it.
    cannot_connect("x.invalid:4150".into(), |lost| {
        // Where no resolver answers at all, nobody knows that there is no such name.
        let told = matches!(
            lost,
            ConnectionError::Resolve { .. } | ConnectionError::DialTimeout { .. }
        );
        assert!(told, "{lost}");
    });
}

/// fault: P3
/// checklist: 20, 21
#[test]
fn a_name_is_dialled_at_each_of_its_addresses() {
    // Where `localhost` has two addresses, only one of these two is served by the first.
    let (v4, v6) = (
        TcpListener::bind("127.0.0.1:0"),
        TcpListener::bind("[::1]:0"),
    );
    let resolved: Vec<SocketAddr> = std::net::ToSocketAddrs::to_socket_addrs("localhost:4150")
        .unwrap()
        .collect();
    let mut dialled = 0;
    for listener in [v4, v6].into_iter().flatten() {
        let ip = listener.local_addr().unwrap().ip();
        if resolved.iter().any(|address| address.ip() == ip) {
            assert_eq!(caller_of(listener, "localhost", |config| config).ip(), ip);
            dialled += 1;
        }
    }
    assert!(dialled > 0, "localhost is none of {resolved:?}");
}

/// checklist: 20, 21
#[test]
fn an_ipv6_literal_is_dialled() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        eprintln!("this machine has no IPv6");
        return;
    };
    assert!(caller_of(listener, "[::1]", |config| config).is_ipv6());
}

/// checklist: 20, 21
#[cfg(target_os = "linux")] // Others give only 127.0.0.1 to the loopback interface.
#[test]
fn the_local_address_is_the_one_that_was_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local: SocketAddr = "127.0.0.2:0".parse().unwrap();
    let from = caller_of(listener, "127.0.0.1", |config| config.local_addr(local));
    assert_eq!(from.ip(), local.ip());
}

/// checklist: 20, 21
#[test]
fn a_publish_over_tcp_is_answered() {
    let peer = ScriptedPeer::play(|mut client| async move {
        client.greet().await;
        client.expect_pub("t", "hello").await;
        client.send(ok_frame()).await;
        client.wait_closed().await;
    });
    in_system(async |_| {
        let producer = Producer::start(ProducerConfig::new(peer.address()).unwrap());
        publish(&producer, "hello").await.unwrap();
        drop(producer);
        peer.finish().await;
    });
}

/// A listener that answers no connection attempt any more: its backlog is full.
struct Overrun {
    listener: socket2::Socket,
    address: SocketAddr,
    _waiting: Vec<socket2::Socket>,
}

impl Overrun {
    fn new() -> Self {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        loop {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let connected = client.connect_timeout(&address.into(), Duration::from_millis(200));
            waiting.push(client);
            if connected.is_err() {
                break;
            }
            assert!(waiting.len() < 100, "a backlog of 0 is never full");
        }
        Self {
            listener,
            address,
            _waiting: waiting,
        }
    }
}

/// A producer that does not connect in time, and what its publisher is told.
async fn without_a_connection(config: ProducerConfigBuilder) -> (Addr<Producer>, PublishError) {
    let producer = Producer::start(config.publish_timeout(ms(500)).build().unwrap());
    let error = assert_error(
        publish(&producer, "a").await,
        ErrorKind::Timeout,
        Delivery::NotWritten,
    );
    (producer, error)
}

/// fault: P4
/// checklist: 20, 21
#[test]
fn a_listener_whose_backlog_is_full_is_given_up_after_dial_timeout_and_tried_again() {
    let nsqd = Overrun::new();
    in_system(async |_| {
        let after = ms(300);
        let config = ProducerConfig::builder(nsqd.address.to_string()).dial_timeout(after);
        let (_producer, error) = without_a_connection(config).await;
        let lost = error.connection_error();
        assert!(
            matches!(lost, Some(ConnectionError::DialTimeout { after: told, .. }) if *told == after),
            "{error}"
        );
        // Once those who wait are taken, there is room for the producer.
        let listener: TcpListener = nsqd.listener.into();
        let greeted = std::thread::spawn(move || {
            loop {
                let (mut client, _) = listener.accept().unwrap();
                client
                    .set_read_timeout(Some(Duration::from_millis(500)))
                    .unwrap();
                let mut magic = [0; 4];
                if client.read_exact(&mut magic).is_ok() && &magic == b"  V2" {
                    break;
                }
            }
        });
        crate::support::wait::until("it connects", || greeted.is_finished()).await;
        greeted.join().unwrap();
    });
}

/// fault: P1
/// checklist: 20, 21
#[test]
fn a_host_to_which_no_way_leads_is_told() {
    in_system(async |_| {
        // From the loopback interface there is none to elsewhere.
        let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let config = ProducerConfig::builder("192.0.2.1:4150").local_addr(local);
        let (_producer, error) = without_a_connection(config).await;
        let lost = error.connection_error();
        assert!(
            matches!(lost, Some(ConnectionError::Dial { .. })),
            "{error}"
        );
    });
}

/// Names are resolved on threads that may block, and there is one here, which does nothing else for now.
/// fault: P2
/// checklist: 20, 21
#[test]
fn a_resolver_that_hangs_delays_nobody_else_on_the_arbiter() {
    let peer = ScriptedPeer::play(|mut client| async move {
        client.greet().await;
        for _ in 0..200 {
            client.expect_pub("t", "a").await;
            client.send(ok_frame()).await;
        }
        client.wait_closed().await;
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let resolver = runtime.spawn_blocking(move || released.recv());
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let named = format!("localhost:{}", listener.local_addr().unwrap().port());
        let config = ProducerConfig::builder(named).dial_timeout(ms(300));
        let stuck = Producer::start(config.publish_timeout(s(1)).build().unwrap());
        let mut waiting = publish(&stuck, "b");

        let producer = Producer::start(ProducerConfig::new(peer.address()).unwrap());
        for _ in 0..200 {
            publish(&producer, "a").await.unwrap();
        }
        assert!(is_pending(&mut waiting), "the name is not resolved");
        let error = assert_error(waiting.await, ErrorKind::Timeout, Delivery::NotWritten);
        let lost = error.connection_error();
        assert!(
            matches!(lost, Some(ConnectionError::DialTimeout { .. })),
            "{error}"
        );
        // The resolver was all that was missing.
        release.send(()).unwrap();
        let accepted = std::thread::spawn(move || listener.accept().map(drop));
        crate::support::wait::until("it connects", || accepted.is_finished()).await;
        accepted.join().unwrap().unwrap();
        drop(producer);
        peer.finish().await;
    });
    runtime.block_on(resolver).unwrap().unwrap();
}
