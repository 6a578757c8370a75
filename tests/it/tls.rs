//! TLS with a peer that misbehaves: clear text, handshakes that stall, and connections that end
//! inside a frame.

use std::{cell::RefCell, sync::Arc, time::Duration};

use actix_nsq::{ConnectionError, Delivery, ProducerConfigBuilder, TlsFailure, producer::GetStats};
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::harness::{
    Network, Peer, in_virtual_time, lost, ms, never_sent, publish, publish_within, s, timed,
};
use crate::support::{
    certificates::{Certificates, Flaw},
    conversation::Conversation,
    spoken::{error_frame, heartbeat_frame, identify_answer, ok_frame, response_frame},
};

/// nsqd's side of a connection inside TLS.
type Nsqd = Conversation<TlsStream<DuplexStream>>;

/// The response to IDENTIFY of an nsqd that grants TLS.
fn tls_granted() -> Vec<u8> {
    let response = String::from_utf8(identify_answer().split_off(8)).unwrap();
    response_frame(response.replace(r#""tls_v1":false"#, r#""tls_v1":true"#))
}

async fn grant_tls(nsqd: &mut Peer) {
    let identify = nsqd.identify().await;
    assert_eq!(identify["tls_v1"], true);
    nsqd.send(tls_granted()).await;
}

/// A server with a certificate, and its authority.
struct Server {
    certificates: Certificates,
    acceptor: TlsAcceptor,
}

impl Server {
    fn new(flaw: Flaw) -> Self {
        let certificates = Certificates::new();
        let acceptor = TlsAcceptor::from(Arc::new(certificates.server_config(flaw)));
        Self {
            certificates,
            acceptor,
        }
    }

    /// The options of a client that trusts the authority.
    fn trusted(&self, config: ProducerConfigBuilder) -> ProducerConfigBuilder {
        let authority = self.certificates.authority();
        let config = config.tls_v1(true).tls_root_ca_file(authority);
        config.tls_server_name("localhost")
    }

    /// Completes the handshakes of nsqd and TLS.
    async fn connected(&self, mut nsqd: Peer) -> Nsqd {
        grant_tls(&mut nsqd).await;
        let accept = async |stream| self.acceptor.accept(stream).await;
        let mut nsqd = nsqd.inside(accept).await;
        nsqd.send_ok().await;
        nsqd
    }

    /// Accepts a client that rejects the certificate.
    async fn is_rejected(&self, network: &mut Network) {
        let mut nsqd = network.accept().await;
        grant_tls(&mut nsqd).await;
        let accepted = self.acceptor.accept(nsqd.stream()).await;
        accepted.expect_err("a rejected certificate");
    }
}

/// checklist: 92
#[test]
fn tls_session_works_over_a_stream_with_a_small_buffer() {
    // Below 6 bytes, both sides would wait for the other to read a record.
    for capacity in [7, 64, 64 << 10] {
        let server = Server::new(Flaw::None);
        in_virtual_time(async move |mut network: Network| {
            let producer = network.start_with(|config| server.trusted(config));
            let answer = publish(&producer, "a");
            let (nsqd, _stream) = network.dial().await.accept_over(capacity);
            let mut nsqd = server.connected(nsqd).await;
            nsqd.expect_pub("t", "a").await;
            nsqd.send([heartbeat_frame(), ok_frame()].concat()).await;
            nsqd.expect_nop().await;
            answer.await.unwrap();
        });
    }
}

/// contract: 11
/// fault: T3
/// checklist: 93
#[test]
fn clear_text_in_place_of_tls_is_rejected() {
    for bytes in [
        ok_frame(),
        response_frame(r#"{"identity":"mallory"}"#),
        error_frame("E_IDENTIFY_FAILED IDENTIFY failed tls: no TLS handshake"),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        vec![0x16, 0x03, 0x03, 0xff, 0xff],
    ] {
        let server = Server::new(Flaw::None);
        in_virtual_time(async |mut network: Network| {
            let producer =
                network.start_with(|config| server.trusted(config).auth_secret("sesame"));
            let answer = publish_within(&producer, ms(100), "a");
            let mut nsqd = network.accept().await;
            nsqd.identify().await;
            nsqd.send([tls_granted(), bytes].concat()).await;
            let sent = nsqd.wait_closed().await;
            assert!(sent.is_empty() || sent.starts_with(b"\x16\x03"), "{sent:?}");
            let error = never_sent(answer).await;
            let reason = error.connection_error();
            let Some(ConnectionError::Tls { failure, .. }) = reason else {
                panic!("{error}");
            };
            assert_eq!(*failure, TlsFailure::NotTls, "{error}");
        });
    }
}

/// fault: T4
#[test]
fn tls_handshake_that_stalls_ends_at_handshake_timeout() {
    let server = Server::new(Flaw::None);
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| server.trusted(config));
        let answer = publish_within(&producer, s(6), "a");
        let mut nsqd = network.accept().await;
        grant_tls(&mut nsqd).await;
        let (after, _client_hello) = timed(nsqd.wait_closed()).await;
        assert_eq!(after, s(5));
        let error = never_sent(answer).await;
        let reason = error.connection_error();
        let expected = matches!(reason, Some(ConnectionError::HandshakeTimeout { .. }));
        assert!(expected, "{reason:?}");
    });
}

/// fault: T1
/// checklist: 92
#[test]
fn untrusted_certificate_is_retried_after_a_long_delay() {
    let server = Server::new(Flaw::OtherAuthority);
    let mut longest = Duration::ZERO;
    for _ in 0..8 {
        in_virtual_time(async |mut network: Network| {
            let _producer = network.start_with(|config| server.trusted(config));
            server.is_rejected(&mut network).await;
            let began = network.elapsed();
            network.peek_dial().await;
            longest = longest.max(network.elapsed() - began);
        });
    }
    // Up to `max_reconnect_backoff`, 5 s, in place of `reconnect_backoff`, 100 ms.
    assert!(longest > ms(101), "{longest:?}");
    // An authority of the same name with another key.
    let (server, other) = (Server::new(Flaw::None), Certificates::new());
    in_virtual_time(async |mut network: Network| {
        let producer =
            network.start_with(|config| server.trusted(config).tls_root_ca_file(other.authority()));
        let answer = publish_within(&producer, ms(100), "a");
        server.is_rejected(&mut network).await;
        let error = never_sent(answer).await;
        let reason = error.connection_error();
        let Some(ConnectionError::Tls { failure, .. }) = reason else {
            panic!("{error}");
        };
        assert_eq!(*failure, TlsFailure::UnknownIssuer, "{error}");
    });
}

/// The result of a publish in flight, and the reason, when nsqd ends the connection like this.
fn outcome_of(end: impl AsyncFnOnce(&mut Nsqd)) -> (Result<(), Delivery>, ConnectionError) {
    let outcome = RefCell::new(None);
    let server = Server::new(Flaw::None);
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| server.trusted(config));
        let answer = publish(&producer, "a");
        let nsqd = network.accept().await;
        let mut nsqd = server.connected(nsqd).await;
        nsqd.expect_pub("t", "a").await;
        end(&mut nsqd).await;
        drop(nsqd);
        let answer = answer.await.map_err(|error| error.delivery());
        network.peek_dial().await;
        let reason = producer.send(GetStats).await.unwrap().last_error;
        outcome.replace(Some((answer, reason.expect("a lost connection"))));
    });
    outcome.take().expect("an outcome")
}

/// Sends bytes beneath TLS.
async fn send_raw(nsqd: &mut Nsqd, bytes: &[u8]) {
    let (stream, _) = nsqd.stream().get_mut();
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

/// fault: T4
#[test]
fn eof_in_a_frame_is_truncated_whatever_close_notify() {
    for close_notify in [false, true] {
        for (length, truncated) in [(7, true), (ok_frame().len(), false)] {
            let (answer, reason) = outcome_of(async |nsqd| {
                nsqd.send(&ok_frame()[..length]).await;
                if close_notify {
                    nsqd.fin().await;
                }
            });
            if truncated {
                assert!(matches!(reason, ConnectionError::Truncated), "{reason:?}");
                assert_eq!(answer, Err(Delivery::MaybeWritten));
            } else {
                assert!(
                    matches!(reason, ConnectionError::ClosedByPeer),
                    "{reason:?}"
                );
                assert_eq!(answer, Ok(()));
            }
        }
    }
    let half_a_record = b"\x17\x03\x03\x00\x1bhalf a record";
    let (answer, _) = outcome_of(async |nsqd| send_raw(nsqd, half_a_record).await);
    assert_eq!(answer, Err(Delivery::MaybeWritten));
}

/// fault: T4
#[test]
fn bytes_that_are_not_tls_close_the_connection() {
    for bytes in [
        ok_frame(),
        // A record that neither side has encrypted, and one that is too long.
        b"\x17\x03\x03\x00\x1bno record of this session ..".to_vec(),
        b"\x17\x03\x03\xff\xff".to_vec(),
    ] {
        let (answer, reason) = outcome_of(async |nsqd| send_raw(nsqd, &bytes).await);
        assert!(matches!(reason, ConnectionError::Tls { .. }), "{reason:?}");
        assert_eq!(answer, Err(Delivery::MaybeWritten));
    }
}

/// contract: 3
#[test]
fn publishes_in_sent_records_are_ambiguous_after_an_error() {
    let server = Server::new(Flaw::None);
    in_virtual_time(async move |mut network: Network| {
        let producer = network.start_with(|config| server.trusted(config));
        let (nsqd, stream) = network.dial().await.accept_over(64 << 10);
        let mut nsqd = server.connected(nsqd).await;
        sleep(ms(1)).await;
        // More than one record, and less than is written at once.
        stream.break_after(20_000);
        let body = "x".repeat(1000);
        let answers: Vec<_> = (0..40).map(|_| publish(&producer, body.clone())).collect();
        let received = 16;
        for _ in 0..received {
            nsqd.expect_pub("t", &*body).await;
        }
        drop(nsqd);
        for answer in answers.into_iter().take(received) {
            lost(answer).await;
        }
    });
}
