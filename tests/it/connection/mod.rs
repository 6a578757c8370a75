//! Connecting over TCP: names, addresses, and the errors of failed attempts.

mod unexpected;

use std::{
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs},
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
};

use actix_nsq::{
    ConnectFuture, ConnectTarget, ConnectionError, ConnectionEvent, Connector, Producer,
    ProducerConfig, ProducerConfigBuilder, SubscribeEvents, Transport, embedded::EmbeddedNsqd,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::harness::{Recorder, in_system, ms, never_sent, publish, s};
use crate::support::{conversation::Conversation, wait};

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

/// checklist: 20
#[cfg(unix)]
#[test]
fn unix_socket_is_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nsqd.sock");
    let address = format!("unix:{}", path.display());
    let missing = error_of(&address);
    assert!(matches!(missing, ConnectionError::Dial { .. }), "{missing}");
    in_system(async |_| {
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let producer = Producer::start(ProducerConfig::new(address).unwrap());
        let answer = publish(&producer, "a");
        let mut nsqd = Conversation::over(listener.accept().await.unwrap().0);
        nsqd.greet().await;
        nsqd.confirm("a").await;
        answer.await.unwrap();
    });
}

/// Panics in another place at each of its first attempts.
#[derive(Debug)]
struct Panicking {
    attempts: AtomicUsize,
    nsqd: SocketAddr,
}

impl Connector for Panicking {
    fn connect(&self, _: &ConnectTarget) -> ConnectFuture {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        assert_ne!(attempt, 0, "in the connector");
        let nsqd = self.nsqd;
        Box::pin(async move {
            assert_ne!(attempt, 1, "in its future");
            let panics_at = [None, None, Some("  V2"), Some("PUB")];
            Ok(Transport::new(PanickingStream {
                stream: TcpStream::connect(nsqd).await?,
                panics_at: panics_at.into_iter().nth(attempt).flatten(),
            }))
        })
    }
}

/// Panics when these bytes are written.
struct PanickingStream {
    stream: TcpStream,
    panics_at: Option<&'static str>,
}

impl AsyncRead for PanickingStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PanickingStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(text) = self.panics_at {
            assert!(!bytes.starts_with(text.as_bytes()), "in the stream");
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert!(self.panics_at.is_none(), "in the shutdown");
        Poll::Ready(Ok(()))
    }
}

/// contract: 1
/// checklist: 21
#[test]
fn panic_in_connector_or_stream_fails_only_the_attempt() {
    in_system(async |_| {
        let nsqd = EmbeddedNsqd::start().unwrap();
        let connector = Panicking {
            attempts: AtomicUsize::new(0),
            nsqd: nsqd.address(),
        };
        let config = ProducerConfig::builder("nsqd").connector(connector);
        let producer = Producer::start(config.build().unwrap());
        let (recipient, events) = Recorder::start();
        producer.do_send(SubscribeEvents(recipient));
        publish(&producer, "a").await.unwrap();
        let events = events.take();
        let reasons = events.iter().filter_map(|event| match event {
            ConnectionEvent::Disconnected { reason, .. } => Some(reason.to_string()),
            _ => None,
        });
        assert_eq!(
            reasons.collect::<Vec<_>>(),
            ["connection failed: the stream panicked"]
        );
    });
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
