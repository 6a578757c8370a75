//! AUTH in the handshake: when the secret is sent, which responses are accepted, and when a failure
//! is retried.

mod secrets;

use std::time::Duration;

use actix_nsq::{ConnectionError, ProducerConfigBuilder, protocol::ErrorCode};

use crate::harness::{Network, Peer, in_virtual_time, ms, never_sent, publish, publish_within, s};
use crate::support::spoken::{
    error_frame, frame, heartbeat_frame, identify_answer, ok_frame, response_frame,
};

const GRANTED: &str = r#"{"identity":"teller","identity_url":"","permission_count":1}"#;
const AUTH: &[u8] = b"AUTH\n\x00\x00\x00\x06sesame";

fn with_secret(config: ProducerConfigBuilder) -> ProducerConfigBuilder {
    config.auth_secret("sesame")
}

/// Accepts a connection as an nsqd that requires AUTH.
pub(super) async fn requires_auth(network: &mut Network) -> Peer {
    let mut nsqd = network.accept().await;
    nsqd.identify().await;
    let response = String::from_utf8(identify_answer().split_off(8)).unwrap();
    let response = response.replace(r#""auth_required":false"#, r#""auth_required":true"#);
    nsqd.send(response_frame(response)).await;
    nsqd
}

/// contract: 11
/// fault: T6
/// checklist: 3, 10, 100
#[test]
fn publishes_wait_until_the_secret_is_accepted() {
    // At once, or one byte at a time.
    for piece in [usize::MAX, 1] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start_with(with_secret);
            let answer = publish(&producer, "a");
            let mut nsqd = requires_auth(&mut network).await;
            nsqd.expect(AUTH).await;
            // nsqd sends heartbeats while it asks the auth server.
            for _ in 0..3 {
                nsqd.send(heartbeat_frame()).await;
                nsqd.expect_nop().await;
                nsqd.expect_silence(s(1)).await;
            }
            nsqd.chunk(piece);
            nsqd.send([heartbeat_frame(), response_frame(GRANTED)].concat())
                .await;
            nsqd.expect_nop().await;
            nsqd.confirm("a").await;
            answer.await.unwrap();
        });
    }
}

/// contract: 11
/// checklist: 100, 102
#[test]
fn secret_is_not_sent_to_an_nsqd_that_does_not_require_it() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected_with(with_secret).await;
        let answer = publish(&producer, "a");
        nsqd.confirm("a").await;
        answer.await.unwrap();
    });
}

/// The reason of a failed attempt whose AUTH is answered like this.
fn error_after(response: Vec<u8>) -> ConnectionError {
    let mut reason = None;
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(with_secret);
        let answer = publish_within(&producer, ms(100), "a");
        let mut nsqd = requires_auth(&mut network).await;
        nsqd.expect(AUTH).await;
        nsqd.send(&response).await;
        assert_eq!(nsqd.wait_closed().await, b"");
        let error = never_sent(answer).await;
        assert!(!error.to_string().contains("sesame"), "{error}");
        reason = error.connection_error().cloned();
    });
    reason.expect("a connection error")
}

/// contract: 11
/// fault: T6
/// checklist: 3
#[test]
fn error_response_to_auth_is_reported_with_its_code() {
    for (text, code) in [
        (
            "E_UNAUTHORIZED AUTH no authorizations found",
            ErrorCode::Unauthorized,
        ),
        ("E_AUTH_FAILED AUTH failed", ErrorCode::AuthFailed),
        ("E_AUTH_ERROR AUTH error oh", ErrorCode::AuthError),
        ("E_AUTH_DISABLED AUTH disabled", ErrorCode::AuthDisabled),
    ] {
        let error = error_after(error_frame(text));
        let expected = matches!(&error, ConnectionError::AuthRejected(it) if it.code() == code);
        assert!(expected, "{error:?}");
    }
}

/// contract: 11
/// fault: T6
/// checklist: 102
#[test]
fn invalid_response_to_auth_is_reported_without_its_text() {
    for response in [
        ok_frame(),
        response_frame("sesame"),
        response_frame("[]"),
        response_frame(r#"{"identity":7}"#),
        frame(2, &[b'm'; 30]),
        frame(7, b"strange"),
    ] {
        let error = error_after(response);
        let expected = matches!(
            error,
            ConnectionError::HandshakeResponse { step: "AUTH", .. } | ConnectionError::Protocol(_)
        );
        assert!(expected, "{error:?}");
        assert!(
            !format!("{error} {error:?}").contains("sesame"),
            "{error:?}"
        );
    }
}

/// Attempts that are likely to fail again are delayed by up to `max_reconnect_backoff`, 5 s, in
/// place of `reconnect_backoff`, 100 ms.
#[track_caller]
fn assert_long_delay(
    options: fn(ProducerConfigBuilder) -> ProducerConfigBuilder,
    attempt: impl AsyncFn(&mut Peer),
) {
    let mut longest = Duration::ZERO;
    for _ in 0..8 {
        in_virtual_time(async |mut network: Network| {
            let _producer = network.start_with(options);
            let mut nsqd = requires_auth(&mut network).await;
            attempt(&mut nsqd).await;
            nsqd.wait_closed().await;
            let began = network.elapsed();
            network.peek_dial().await;
            longest = longest.max(network.elapsed() - began);
        });
    }
    assert!(longest > ms(101), "{longest:?}");
}

/// contract: 11
/// fault: T6
#[test]
fn rejected_or_missing_secret_is_retried_after_a_long_delay() {
    for text in [
        "E_UNAUTHORIZED AUTH no authorizations found",
        "E_AUTH_FAILED AUTH failed",
    ] {
        assert_long_delay(with_secret, async |nsqd| {
            nsqd.expect(AUTH).await;
            nsqd.send(error_frame(text)).await;
        });
    }
    assert_long_delay(|config| config, async |_| ());
}

/// contract: 11
/// fault: T1, T2
#[test]
fn declined_tls_or_compression_is_retried_after_a_long_delay() {
    let tls = |config: ProducerConfigBuilder| {
        let config = config.tls_v1(true).tls_insecure_skip_verify(true);
        config.tls_server_name("nsqd.example.org")
    };
    assert_long_delay(tls, async |_| ());
    assert_long_delay(|config| config.deflate(true), async |_| ());
}
