//! TLS and compression in the handshake: what is requested, and what is sent before and after.

use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, ProducerConfigBuilder, TlsFailure, producer::GetStats,
    protocol::ErrorCode,
};

use crate::harness::{
    Network, Peer, assert_error, in_virtual_time, lost, ms, publish, publish_each, s,
};
use crate::support::spoken::{
    error_frame, heartbeat_frame, identify_answer, ok_frame, response_frame,
};

type Options = fn(ProducerConfigBuilder) -> ProducerConfigBuilder;

/// How a first attempt fails.
pub(crate) struct Failed {
    pub(crate) reason: ConnectionError,
    /// The bytes that the client sent after IDENTIFY.
    pub(crate) sent: Vec<u8>,
}

/// Answers a first attempt after IDENTIFY, while a publish waits.
pub(crate) fn fail(
    options: impl FnOnce(ProducerConfigBuilder) -> ProducerConfigBuilder,
    peer: impl AsyncFnOnce(&mut Peer),
) -> Failed {
    let mut failed = None;
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(options);
        let _answer = publish(&producer, "a body");
        let mut nsqd = network.accept().await;
        nsqd.identify().await;
        peer(&mut nsqd).await;
        let sent = nsqd.wait_closed().await;
        network.peek_dial().await;
        let stats = producer.send(GetStats).await.unwrap();
        let reason = stats.last_error.expect("a failed attempt");
        failed = Some(Failed { reason, sent });
    });
    failed.expect("a failed attempt")
}

/// Responds to IDENTIFY with this text.
pub(crate) fn responds(text: &str) -> impl AsyncFnOnce(&mut Peer) {
    let response = response_frame(text);
    async move |nsqd: &mut Peer| nsqd.send(response).await
}

fn with_tls(config: ProducerConfigBuilder) -> ProducerConfigBuilder {
    config
        .tls_v1(true)
        .tls_server_name("nsqd")
        .tls_insecure_skip_verify(true)
        .auth_secret("hunter2")
}

#[test]
fn identify_requests_the_configured_upgrades() {
    in_virtual_time(async |mut network: Network| {
        let _producer =
            network.start_with(|config| with_tls(config).deflate(true).deflate_level(9));
        let identify = network.accept().await.identify().await;
        assert_eq!(identify["tls_v1"], true);
        assert_eq!(identify["deflate"], true);
        assert_eq!(identify["deflate_level"], 9);
        assert!(identify.get("snappy").is_none());
        assert!(!identify.to_string().contains("hunter2"));
    });
}

/// contract: 11
/// fault: T2
/// checklist: 93
#[test]
fn nothing_is_sent_if_nsqd_declines_tls() {
    for response in [
        r#"{"tls_v1":false,"auth_required":true,"snappy":true}"#,
        "{}",
        "OK",
    ] {
        let failed = fail(with_tls, responds(response));
        let expected = matches!(failed.reason, ConnectionError::TlsDeclined);
        assert!(expected, "{}", failed.reason);
        assert_eq!(failed.sent, b"", "{response}");
    }
}

/// contract: 11
/// fault: T3
#[test]
fn clear_text_before_tls_is_not_trusted() {
    let failed = fail(with_tls, async |nsqd| {
        let responses = [
            response_frame(r#"{"tls_v1":true,"auth_required":true}"#),
            ok_frame(),
            response_frame("{}"),
        ];
        nsqd.send(responses.concat()).await;
    });
    let ConnectionError::Tls { failure, .. } = failed.reason else {
        panic!("{}", failed.reason);
    };
    assert_eq!(failure, TlsFailure::NotTls);
    assert_eq!(failed.sent.first(), Some(&0x16), "a TLS handshake record");
    for private in ["hunter2", "a body"] {
        let mut parts = failed.sent.windows(private.len());
        assert!(!parts.any(|part| part == private.as_bytes()));
    }
}

#[test]
fn upgrades_that_were_not_requested_are_rejected() {
    let cases: [(&str, Options); 5] = [
        (r#"{"tls_v1":true}"#, |config| config),
        (r#"{"snappy":true}"#, |config| config),
        (r#"{"deflate":true}"#, |config| config),
        (r#"{"snappy":true,"deflate":true}"#, |config| {
            config.snappy(true)
        }),
        (r#"{"snappy":true,"deflate":true}"#, |config| {
            config.deflate(true)
        }),
    ];
    for (response, options) in cases {
        let failed = fail(options, responds(response));
        let expected = matches!(failed.reason, ConnectionError::HandshakeResponse { .. });
        assert!(expected, "{}", failed.reason);
        assert_eq!(failed.sent, b"", "{response}");
    }
}

/// fault: T2
#[test]
fn declined_compression_is_an_error() {
    let cases: [(&str, Options); 2] = [
        ("snappy", |config| config.snappy(true)),
        ("deflate", |config| config.deflate(true)),
    ];
    for (expected, options) in cases {
        let failed = fail(options, responds(r#"{"auth_required":true}"#));
        let ConnectionError::CompressionDeclined { method } = failed.reason else {
            panic!("{}", failed.reason);
        };
        assert_eq!(method, expected);
        assert_eq!(failed.sent, b"");
    }
}

#[test]
fn declined_compression_is_accepted_with_allow_uncompressed() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.deflate(true).allow_uncompressed(true));
        let mut nsqd = network.accept().await;
        nsqd.identify().await;
        nsqd.send(identify_answer()).await;
        let answer = publish(&producer, "a body");
        nsqd.confirm("a body").await;
        answer.await.unwrap();
    });
}

const TLS_REQUIRED: &str = "in current state (TLS required)";

/// fault: T2
/// checklist: 94
#[test]
fn nsqd_that_requires_tls_rejects_a_heartbeat_response() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| {
                config
                    .reconnect_backoff(ms(1))
                    .max_reconnect_backoff(s(3_600))
            })
            .await;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
        let rejected = network.elapsed();
        nsqd.reject(&format!("E_INVALID cannot NOP {TLS_REQUIRED}"))
            .await;
        network.peek_dial().await;
        assert!(network.elapsed() - rejected > ms(5));
        let reason = producer.send(GetStats).await.unwrap().last_error;
        assert!(
            matches!(reason, Some(ConnectionError::TlsRequired(_))),
            "{reason:?}"
        );
    });
}

/// checklist: 94
#[test]
fn nsqd_that_requires_tls_rejects_all_queued_publishes() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let answers = publish_each(&producer, ["first", "behind"]);
        nsqd.expect_pub("t", "first").await;
        nsqd.send(error_frame(&format!("E_INVALID cannot PUB {TLS_REQUIRED}")))
            .await;
        let rejected = network.elapsed();
        for answer in answers {
            let kind = ErrorKind::Rejected(ErrorCode::Invalid);
            let error = assert_error(answer.await, kind, Delivery::NotWritten);
            assert!(error.to_string().contains("tls_v1"), "{error}");
        }
        // At once, and not with one connection each.
        assert_eq!(network.elapsed(), rejected);
    });
}

#[test]
fn eof_inside_a_frame_is_reported_as_truncated() {
    for truncated in [false, true] {
        in_virtual_time(async |mut network: Network| {
            let (producer, mut nsqd) = network.start_connected().await;
            let answer = publish(&producer, "a");
            nsqd.expect_pub("t", "a").await;
            let ok = ok_frame();
            nsqd.send(&ok[..if truncated { 7 } else { ok.len() }]).await;
            drop(nsqd);
            if truncated {
                let reason = lost(answer).await;
                assert!(matches!(reason, ConnectionError::Truncated), "{reason}");
            } else {
                answer.await.unwrap();
                network.peek_dial().await;
                let reason = producer.send(GetStats).await.unwrap().last_error;
                let expected = matches!(reason, Some(ConnectionError::ClosedByPeer));
                assert!(expected, "{reason:?}");
            }
        });
    }
}
