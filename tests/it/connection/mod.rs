//! Connecting over TCP: names, addresses, and the errors of failed attempts.

mod unexpected;

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs},
};

use actix_nsq::{ConnectionError, Producer, ProducerConfig, ProducerConfigBuilder};

use crate::harness::{in_system, ms, never_sent, publish, s};
use crate::support::wait;

/// The error of attempts to connect to an address.
fn error_of(address: &str) -> ConnectionError {
    in_system(async |_| {
        let config = ProducerConfig::builder(address);
        let config = config.dial_timeout(s(5)).publish_timeout(ms(300));
        let producer = Producer::start(config.build().unwrap());
        // A slow resolver has not failed yet when the first publish times out.
        loop {
            let error = never_sent(publish(&producer, "a")).await;
            if let Some(error) = error.connection_error() {
                assert!(error.to_string().contains(address), "{error}");
                return error.clone();
            }
        }
    })
}

/// The address from which a producer connects to a listener that it knows by this host name.
fn client_address(
    listener: TcpListener,
    host: &str,
    options: impl FnOnce(ProducerConfigBuilder) -> ProducerConfigBuilder,
) -> SocketAddr {
    let address = format!("{host}:{}", listener.local_addr().unwrap().port());
    let accepted = std::thread::spawn(move || {
        let (mut client, from) = listener.accept().unwrap();
        client.set_read_timeout(Some(s(10))).unwrap();
        let mut magic = [0; 4];
        client.read_exact(&mut magic).unwrap();
        assert_eq!(&magic, b"  V2");
        from
    });
    in_system(async |_| {
        let config = options(ProducerConfig::builder(address));
        let _producer = Producer::start(config.build().unwrap());
        wait::until("the producer connects", || accepted.is_finished()).await;
        accepted.join().unwrap()
    })
}

/// fault: P1
#[test]
fn closed_port_is_reported_with_its_address() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = error_of(&address);
    let ConnectionError::Dial { source, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// fault: P2
#[test]
fn unknown_host_is_reported_with_its_name() {
    // RFC 2606 reserves this name. Without a resolver the attempt times out.
    let error = error_of("x.invalid:4150");
    let expected = matches!(
        error,
        ConnectionError::Resolve { .. } | ConnectionError::ResolveTimeout { .. }
    );
    assert!(expected, "{error}");
}

/// fault: P3
/// checklist: 20
#[test]
fn each_address_of_a_name_is_tried() {
    // If `localhost` has two addresses, only one of these listeners has the first.
    let listeners = ["127.0.0.1:0", "[::1]:0"].map(TcpListener::bind);
    let resolved: Vec<_> = "localhost:4150".to_socket_addrs().unwrap().collect();
    let mut connected = 0;
    for listener in listeners.into_iter().flatten() {
        let ip = listener.local_addr().unwrap().ip();
        if resolved.iter().any(|address| address.ip() == ip) {
            let from = client_address(listener, "localhost", |config| config);
            assert_eq!(from.ip(), ip);
            connected += 1;
        }
    }
    assert!(connected > 0, "no listener among {resolved:?}");
}

/// checklist: 20
#[test]
fn ipv6_literal_is_accepted() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        eprintln!("no IPv6 on this machine");
        return;
    };
    assert!(client_address(listener, "[::1]", |config| config).is_ipv6());
}

/// checklist: 21
#[cfg(target_os = "linux")] // Elsewhere the loopback interface has only 127.0.0.1.
#[test]
fn connection_is_made_from_the_configured_local_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local: SocketAddr = "127.0.0.2:0".parse().unwrap();
    let from = client_address(listener, "127.0.0.1", |config| config.local_addr(local));
    assert_eq!(from.ip(), local.ip());
}
