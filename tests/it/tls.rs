//! TLS by a peer that does it wrong: clear text where none belongs, a handshake that does not go on, an end in the midst of a frame.

use std::{sync::Arc, time::Duration};

use actix::Addr;
use actix_nsq::{
    ConnectionError, ConnectionEvent, Delivery, ErrorKind, Producer, ProducerConfigBuilder,
    Publish, SubscribeEvents, TlsFailure,
};
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::harness::{
    Network, Peer, Recorder, assert_error, in_virtual_time, ms, publish, s, send, timed, topic,
};
use crate::support::{
    certificates::{Certificates, Flaw},
    conversation::Conversation,
    spoken::{error_frame, heartbeat_frame, identify_answer, ok_frame, response_frame},
};

/// nsqd's answer to IDENTIFY where it grants TLS.
fn tls_is_granted() -> Vec<u8> {
    let answer = String::from_utf8(identify_answer()).unwrap();
    let json = answer.split_once('{').unwrap().1;
    let json = json.replace(r#""tls_v1":false"#, r#""tls_v1":true"#);
    response_frame(format!("{{{json}"))
}

type Nsqd = Conversation<TlsStream<DuplexStream>>;

/// A server and those who trust it.
struct Pair {
    certificates: Certificates,
    acceptor: TlsAcceptor,
}

impl Pair {
    fn new(flaw: Flaw) -> Self {
        let certificates = Certificates::new();
        let acceptor = TlsAcceptor::from(Arc::new(certificates.server_config(flaw)));
        Self {
            certificates,
            acceptor,
        }
    }

    fn asked(&self, config: ProducerConfigBuilder) -> ProducerConfigBuilder {
        let authority = self.certificates.authority();
        let config = config.tls_v1(true).tls_root_ca_file(authority);
        config.tls_server_name("localhost")
    }

    /// Up to the `OK` inside of TLS.
    async fn connected(&self, mut nsqd: Peer) -> Nsqd {
        granted(&mut nsqd).await;
        let accept = async |stream| self.acceptor.accept(stream).await;
        let mut nsqd = nsqd.inside(accept).await;
        nsqd.send(ok_frame()).await;
        nsqd
    }
}

/// Up to the answer to IDENTIFY.
async fn granted(nsqd: &mut Peer) {
    nsqd.expect_magic().await;
    let identify = nsqd.expect_identify().await;
    assert_eq!(identify["tls_v1"], true);
    nsqd.send(tls_is_granted()).await;
}

/// checklist: 92, 93, 94, 95
#[test]
fn a_session_in_tls_is_the_same_over_a_line_that_carries_a_few_bytes_at_a_time() {
    // Below 6 bytes, rustls on both sides would each wait for the other to read a record that does not fit.
    for capacity in [7, 64, 64 << 10] {
        let pair = Pair::new(Flaw::None);
        in_virtual_time(async move |mut network: Network| {
            let producer = network.start_with(|config| pair.asked(config));
            let publish = publish(&producer, "a");
            let (nsqd, _line) = network.dial().await.accept_over(capacity);
            let mut nsqd = pair.connected(nsqd).await;
            nsqd.expect_pub("t", "a").await;
            nsqd.send([heartbeat_frame(), ok_frame()].concat()).await;
            nsqd.expect_nop().await;
            publish.await.unwrap();
        });
    }
}

/// Why there is no connection when nsqd says this where TLS should begin; it has been told nothing but the beginning of TLS.
fn begun_with(said: Vec<u8>) -> ConnectionError {
    let why = std::cell::RefCell::new(None);
    let pair = Pair::new(Flaw::None);
    in_virtual_time(async |mut network: Network| {
        let options = |config| pair.asked(config).auth_secret("sesame");
        let producer = network.start_with(options);
        let publish = send(&producer, Publish::new(topic("t"), "a").expires_in(ms(100)));
        let mut nsqd = network.accept().await;
        nsqd.expect_magic().await;
        nsqd.expect_identify().await;
        // In one piece: what comes with the answer is no part of what comes after it.
        nsqd.send([tls_is_granted(), said].concat()).await;
        let more = nsqd.wait_closed().await;
        assert!(more.is_empty() || more.starts_with(b"\x16\x03"), "{more:?}");
        let error = assert_error(publish.await, ErrorKind::Timeout, Delivery::NotWritten);
        why.replace(error.connection_error().cloned());
    });
    why.take().expect("why there is no connection")
}

/// contract: 11
/// fault: T3
/// checklist: 92, 93, 94, 95
#[test]
fn clear_text_behind_the_answer_to_identify_is_believed_by_nobody() {
    for said in [
        ok_frame(),
        heartbeat_frame(),
        response_frame(r#"{"identity":"mallory"}"#),
        error_frame(
            "E_IDENTIFY_FAILED IDENTIFY failed tls: first record does not look like a TLS handshake",
        ),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        vec![0x16, 0x03, 0x03, 0xff, 0xff],
    ] {
        let why = begun_with(said.clone());
        let is_it = matches!(
            why,
            ConnectionError::Tls {
                failure: TlsFailure::NotTls,
                ..
            }
        );
        assert!(is_it, "{said:?}: {why:?}");
    }
}

/// fault: T4
/// checklist: 92, 93, 94, 95
#[test]
fn a_tls_handshake_that_does_not_begin_is_given_up_after_handshake_timeout() {
    let pair = Pair::new(Flaw::None);
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| pair.asked(config));
        let publish = send(&producer, Publish::new(topic("t"), "a").expires_in(s(6)));
        let mut nsqd = network.accept().await;
        granted(&mut nsqd).await;
        let (after, _client_hello) = timed(nsqd.wait_closed()).await;
        assert_eq!(after, s(5), "handshake_timeout");
        let error = assert_error(publish.await, ErrorKind::Timeout, Delivery::NotWritten);
        let why = error.connection_error();
        assert!(
            matches!(why, Some(ConnectionError::HandshakeTimeout { .. })),
            "{why:?}"
        );
    });
}

/// fault: T1
/// checklist: 92, 93, 94, 95
#[test]
fn a_certificate_that_is_not_trusted_is_looked_at_again_only_after_long() {
    const COUNT: u32 = 60;
    let pair = Pair::new(Flaw::OtherAuthority);
    let sum = std::cell::Cell::new(Duration::ZERO);
    for _ in 0..COUNT {
        in_virtual_time(async |mut network: Network| {
            let _producer = network.start_with(|config| pair.asked(config));
            let mut nsqd = network.accept().await;
            granted(&mut nsqd).await;
            let refused = pair.acceptor.accept(nsqd.stream()).await;
            refused.expect_err("the client takes no such certificate");
            drop(nsqd);
            let began = network.elapsed();
            network.peek_dial().await;
            sum.set(sum.get() + network.elapsed() - began);
        });
    }
    // Even draws below `max_reconnect_backoff`, 5 s, already before the second attempt.
    let mean = sum.get() / COUNT;
    assert!(mean > ms(1_500) && mean < ms(3_500), "{mean:?}");
}

fn subscribe(producer: &Addr<Producer>) -> Recorder<ConnectionEvent> {
    let (recipient, seen) = Recorder::start();
    producer.do_send(SubscribeEvents(recipient));
    seen
}

/// Why the connection was lost, and what a publish in flight is told, when nsqd ends it like this.
fn ended_by(end: impl AsyncFn(&mut Nsqd)) -> (ConnectionError, Result<(), Delivery>) {
    let outcome = std::cell::RefCell::new(None);
    let pair = Pair::new(Flaw::None);
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| pair.asked(config));
        let seen = subscribe(&producer);
        let publish = publish(&producer, "a");
        let nsqd = network.accept().await;
        let mut nsqd = pair.connected(nsqd).await;
        nsqd.expect_pub("t", "a").await;
        end(&mut nsqd).await;
        drop(nsqd);
        let answer = publish.await.map_err(|error| error.delivery());
        sleep(ms(1)).await;
        let lost = seen.take().into_iter().find_map(|event| match event {
            ConnectionEvent::Disconnected { reason, .. } => Some(reason),
            _ => None,
        });
        outcome.replace(lost.map(|why| (why, answer)));
    });
    outcome.take().expect("a lost connection")
}

/// Past TLS.
async fn on_the_wire(nsqd: &mut Nsqd, bytes: &[u8]) {
    let (wire, _) = nsqd.stream().get_mut();
    wire.write_all(bytes).await.unwrap();
    wire.flush().await.unwrap();
}

/// fault: T4
/// checklist: 92, 93, 94, 95
#[test]
fn an_end_in_the_midst_of_a_frame_is_no_end_of_the_answers() {
    // Without a goodbye, as nsqd ends; and with one.
    let (why, answer) = ended_by(async |nsqd: &mut Nsqd| nsqd.send(&ok_frame()[..7]).await);
    assert!(matches!(why, ConnectionError::Truncated), "{why:?}");
    assert_eq!(answer, Err(Delivery::MaybeWritten));
    let (why, answer) = ended_by(async |nsqd: &mut Nsqd| {
        nsqd.send(&ok_frame()[..7]).await;
        nsqd.fin().await;
    });
    assert!(matches!(why, ConnectionError::Truncated), "{why:?}");
    assert_eq!(answer, Err(Delivery::MaybeWritten));
    // In the midst of a record.
    let (_, answer) = ended_by(async |nsqd: &mut Nsqd| {
        on_the_wire(nsqd, b"\x17\x03\x03\x00\x1bhalf a record").await;
    });
    assert_eq!(answer, Err(Delivery::MaybeWritten));
}

/// fault: T4
/// checklist: 92, 93, 94, 95
#[test]
fn an_answer_before_the_end_counts_with_a_goodbye_and_without() {
    let (why, answer) = ended_by(async |nsqd: &mut Nsqd| nsqd.send(ok_frame()).await);
    assert!(matches!(why, ConnectionError::ClosedByPeer), "{why:?}");
    assert_eq!(answer, Ok(()));
    let (why, answer) = ended_by(async |nsqd: &mut Nsqd| {
        nsqd.send(ok_frame()).await;
        nsqd.fin().await;
    });
    assert!(matches!(why, ConnectionError::ClosedByPeer), "{why:?}");
    assert_eq!(answer, Ok(()));
}

/// fault: T4
/// checklist: 92, 93, 94, 95
#[test]
fn what_is_no_tls_on_a_connection_inside_tls_breaks_it_off() {
    for said in [
        // Clear text, a record that nobody of the two has encrypted, and one that is too long.
        ok_frame(),
        b"\x17\x03\x03\x00\x1bno record of this session ..".to_vec(),
        b"\x17\x03\x03\xff\xff".to_vec(),
    ] {
        let (why, answer) = ended_by(async |nsqd: &mut Nsqd| on_the_wire(nsqd, &said).await);
        assert!(matches!(why, ConnectionError::Tls { .. }), "{why:?}");
        assert_eq!(answer, Err(Delivery::MaybeWritten));
    }
}

/// checklist: 92, 93, 94, 95
#[test]
fn a_certificate_by_an_authority_of_the_same_name_with_another_key_is_by_an_unknown_issuer() {
    let (pair, namesake) = (Pair::new(Flaw::None), Certificates::new());
    in_virtual_time(async |mut network: Network| {
        let options = |config| pair.asked(config).tls_root_ca_file(namesake.authority());
        let producer = network.start_with(options);
        let publish = send(&producer, Publish::new(topic("t"), "a").expires_in(ms(100)));
        let mut nsqd = network.accept().await;
        granted(&mut nsqd).await;
        let refused = pair.acceptor.accept(nsqd.stream()).await;
        refused.expect_err("the client takes no such certificate");
        drop(nsqd);
        let error = assert_error(publish.await, ErrorKind::Timeout, Delivery::NotWritten);
        let text = error.to_string();
        assert!(
            text.ends_with(
                "issued by an untrusted CA (set tls_root_ca_file): invalid peer certificate: BadSignature"
            ),
            "{text}"
        );
        let why = error.connection_error();
        let is_it = matches!(
            why,
            Some(ConnectionError::Tls {
                failure: TlsFailure::UnknownIssuer,
                ..
            })
        );
        assert!(is_it, "{why:?}");
    });
}

/// checklist: 92, 93, 94, 95
#[test]
fn what_has_left_before_a_write_fails_is_not_sent_again() {
    let pair = Pair::new(Flaw::None);
    in_virtual_time(async move |mut network: Network| {
        let producer = network.start_with(|config| pair.asked(config));
        let (nsqd, line) = network.dial().await.accept_over(64 << 10);
        let mut nsqd = pair.connected(nsqd).await;
        sleep(ms(1)).await;
        // More than one record, and less than what is written at once.
        line.break_after(20_000);
        let body = "x".repeat(1000);
        let publishes: Vec<_> = (0..40).map(|_| publish(&producer, body.clone())).collect();
        let whole = 16;
        for _ in 0..whole {
            nsqd.expect_pub("t", &*body).await;
        }
        drop(nsqd);
        for publish in publishes.into_iter().take(whole) {
            assert_error(
                publish.await,
                ErrorKind::ConnectionLost,
                Delivery::MaybeWritten,
            );
        }
    });
}
