//! AUTH in the handshake: when the secret is sent and when not, what is an answer to it, and how seldom a refusal is tried again.

mod secrets;

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, ProducerConfigBuilder, Publish, Secret,
    protocol::ErrorCode,
};

use crate::harness::{Network, Peer, assert_error, in_virtual_time, ms, publish, s, send, topic};
use crate::support::spoken::{
    error_frame, frame, heartbeat_frame, identify_answer, ok_frame, response_frame,
};

const GRANTED: &str = r#"{"identity":"teller","identity_url":"","permission_count":1}"#;
const AUTH: &[u8] = b"AUTH\n\x00\x00\x00\x06sesame";

fn with_a_secret(config: ProducerConfigBuilder) -> ProducerConfigBuilder {
    config.auth_secret("sesame")
}

/// nsqd's answer to IDENTIFY where it requires AUTH.
fn auth_is_required() -> Vec<u8> {
    let answer = String::from_utf8(identify_answer()).unwrap();
    let json = answer.split_once('{').unwrap().1;
    let json = json.replace(r#""auth_required":false"#, r#""auth_required":true"#);
    response_frame(format!("{{{json}"))
}

/// A client that has been told that AUTH is required.
async fn asked(network: &mut Network) -> Peer {
    let mut nsqd = network.accept().await;
    nsqd.expect_magic().await;
    nsqd.expect_identify().await;
    nsqd.send(auth_is_required()).await;
    nsqd
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
#[test]
fn the_secret_is_sent_when_nsqd_requires_it_and_publishes_wait_for_its_answer() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(with_a_secret);
        let publish = publish(&producer, "a");
        let mut nsqd = asked(&mut network).await;
        nsqd.expect(AUTH).await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send(response_frame(GRANTED)).await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// contract: 11
/// checklist: 3, 100, 101, 102
#[test]
fn an_nsqd_that_does_not_ask_is_told_no_secret() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(with_a_secret);
        let publish = publish(&producer, "a");
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// contract: 11
/// fault: T6
/// checklist: 3, 10, 100, 101, 102
#[test]
fn heartbeats_while_the_auth_server_is_asked_are_answered_and_are_no_answer() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(with_a_secret);
        let publish = publish(&producer, "a");
        let mut nsqd = asked(&mut network).await;
        nsqd.expect(AUTH).await;
        for _ in 0..3 {
            nsqd.send(heartbeat_frame()).await;
            nsqd.expect_nop().await;
            tokio::time::sleep(s(1)).await;
        }
        nsqd.send([heartbeat_frame(), response_frame(GRANTED)].concat())
            .await;
        nsqd.expect_nop().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// contract: 11
/// checklist: 3, 100, 101, 102
#[test]
fn the_answer_to_auth_may_come_a_byte_at_a_time() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(with_a_secret);
        let publish = publish(&producer, "a");
        let mut nsqd = asked(&mut network).await;
        nsqd.expect(AUTH).await;
        nsqd.chunk(1);
        nsqd.send(response_frame(GRANTED)).await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// Why there is no connection when AUTH is answered like this.
fn answered(answer: Vec<u8>) -> ConnectionError {
    let why = RefCell::new(None);
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(with_a_secret);
        let publish = send(&producer, Publish::new(topic("t"), "a").expires_in(ms(100)));
        let mut nsqd = asked(&mut network).await;
        nsqd.expect(AUTH).await;
        nsqd.send(&answer).await;
        assert_eq!(nsqd.wait_closed().await, b"");
        let error = assert_error(publish.await, ErrorKind::Timeout, Delivery::NotWritten);
        assert!(!error.to_string().contains("sesame"), "{error}");
        why.replace(error.connection_error().cloned());
    });
    why.take().expect("why there is no connection")
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
#[test]
fn what_is_no_answer_to_auth_ends_the_handshake() {
    let refused = |text: &str, code: ErrorCode| {
        let why = answered(error_frame(text));
        let is_it = matches!(&why, ConnectionError::AuthRejected(it) if it.code() == code);
        assert!(is_it, "{why:?}");
    };
    refused(
        "E_UNAUTHORIZED AUTH no authorizations found",
        ErrorCode::Unauthorized,
    );
    refused("E_AUTH_FAILED AUTH failed", ErrorCode::AuthFailed);
    refused("E_AUTH_ERROR AUTH error oh", ErrorCode::AuthError);
    refused("E_AUTH_DISABLED AUTH disabled", ErrorCode::AuthDisabled);
    for answer in [
        ok_frame(),
        response_frame("sesame"),
        response_frame("[]"),
        response_frame(r#"{"identity":7}"#),
        frame(2, &[b'm'; 30]),
        frame(7, b"strange"),
    ] {
        let why = answered(answer);
        let is_it = matches!(
            why,
            ConnectionError::HandshakeResponse { step: "AUTH", .. } | ConnectionError::Protocol(_)
        );
        assert!(is_it, "{why:?}");
        assert!(!format!("{why} {why:?}").contains("sesame"), "{why:?}");
    }
}

/// The first wait of each of many producers whose first attempt goes like this.
fn first_waits(
    options: fn(ProducerConfigBuilder) -> ProducerConfigBuilder,
    attempt: impl AsyncFn(&mut Peer),
) -> Vec<Duration> {
    const COUNT: usize = 60;
    let waits = RefCell::new(Vec::new());
    for _ in 0..COUNT {
        in_virtual_time(async |mut network: Network| {
            let _producer = network.start_with(options);
            let mut nsqd = asked(&mut network).await;
            attempt(&mut nsqd).await;
            nsqd.wait_closed().await;
            let began = network.elapsed();
            network.peek_dial().await;
            waits.borrow_mut().push(network.elapsed() - began);
        });
    }
    waits.into_inner()
}

/// Spread over the whole of `max_reconnect_backoff`, 5 s, already before the second attempt.
#[track_caller]
fn assert_seldom(waits: &[Duration]) {
    let sum: Duration = waits.iter().sum();
    let mean = sum / u32::try_from(waits.len()).unwrap();
    // Of 60 even draws below 5 s, it is 2.5 s give or take 0.2; of those below 100 ms, as after other failures, 50 ms.
    assert!(mean > ms(1_500) && mean < ms(3_500), "{mean:?}");
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
#[test]
fn a_refused_secret_is_tried_again_only_after_long() {
    let refused = async |nsqd: &mut Peer| {
        nsqd.expect(AUTH).await;
        nsqd.send(error_frame("E_UNAUTHORIZED AUTH no authorizations found"))
            .await;
    };
    assert_seldom(&first_waits(with_a_secret, refused));
    let unreachable = async |nsqd: &mut Peer| {
        nsqd.expect(AUTH).await;
        nsqd.send(error_frame("E_AUTH_FAILED AUTH failed")).await;
    };
    assert_seldom(&first_waits(with_a_secret, unreachable));
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
#[test]
fn a_missing_secret_is_looked_for_again_only_after_long() {
    assert_seldom(&first_waits(|config| config, async |_| ()));
}

/// contract: 11
/// fault: T1
/// checklist: 3, 100, 101, 102
#[test]
fn an_nsqd_that_declines_tls_is_asked_again_only_after_long() {
    let tls = |config: ProducerConfigBuilder| {
        let config = config.tls_v1(true).tls_insecure_skip_verify(true);
        config.tls_server_name("nsqd.example.org")
    };
    assert_seldom(&first_waits(tls, async |_| ()));
}

/// contract: 11
/// fault: T1
/// checklist: 3, 100, 101, 102
#[test]
fn compression_that_is_declined_is_asked_for_again_only_after_long() {
    assert_seldom(&first_waits(|config| config.deflate(true), async |_| ()));
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
#[test]
fn a_callback_that_does_not_come_back_is_a_handshake_that_does_not() {
    in_virtual_time(async |mut network: Network| {
        let asked_for = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked_for);
        let never = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::pending()
        };
        let producer = network.start_with(|config| config.auth_secret_provider(never));
        let publish = send(&producer, Publish::new(topic("t"), "a").expires_in(s(6)));
        let mut nsqd = asked(&mut network).await;
        let began = network.elapsed();
        assert_eq!(nsqd.wait_closed().await, b"");
        assert_eq!(network.elapsed() - began, s(5), "handshake_timeout");
        let error = assert_error(publish.await, ErrorKind::Timeout, Delivery::NotWritten);
        let why = error.connection_error();
        assert!(
            matches!(why, Some(ConnectionError::HandshakeTimeout { .. })),
            "{why:?}"
        );
        assert_eq!(asked_for.load(Ordering::SeqCst), 1);
    });
}

/// contract: 11
/// checklist: 3, 100, 101, 102
#[test]
fn an_empty_secret_of_the_callback_is_none() {
    let provider = |config: ProducerConfigBuilder| {
        config.auth_secret_provider(|| async { Ok(Secret::from("")) })
    };
    in_virtual_time(async move |mut network: Network| {
        let producer = network.start_with(provider);
        let publish = send(&producer, Publish::new(topic("t"), "a").expires_in(ms(100)));
        let mut nsqd = asked(&mut network).await;
        assert_eq!(nsqd.wait_closed().await, b"");
        let error = assert_error(publish.await, ErrorKind::Timeout, Delivery::NotWritten);
        let why = error.connection_error();
        assert!(
            matches!(why, Some(ConnectionError::AuthSecretMissing)),
            "{why:?}"
        );
    });
}
