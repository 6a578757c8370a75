//! TLS and compression as a handshake brings them about: what is sent before what, and what is never sent.

use std::sync::Arc;

use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, ProducerConfig, ProducerConfigBuilder, TlsFailure,
    producer::GetStats, protocol::ErrorCode,
};

use crate::harness::{Network, Peer, assert_error, in_virtual_time, ms, publish, s};
use crate::support::spoken::{
    error_frame, heartbeat_frame, identify_answer, ok_frame, response_frame,
};

/// How the first attempt fails.
pub(crate) struct Failed {
    pub(crate) why: ConnectionError,
    /// What was sent behind IDENTIFY.
    pub(crate) sent: Vec<u8>,
}

/// Fails an attempt by a peer that has read IDENTIFY, while a publish waits.
pub(crate) fn fail(
    options: impl FnOnce(ProducerConfigBuilder) -> ProducerConfigBuilder,
    peer: impl AsyncFnOnce(&mut Peer),
    check: impl FnOnce(Failed),
) {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(options);
        let _answer = publish(&producer, "a body");
        let mut client = network.accept().await;
        client.expect_magic().await;
        client.expect_identify().await;
        peer(&mut client).await;
        let sent = client.wait_closed().await;
        network.peek_dial().await;
        let stats = producer.send(GetStats).await.unwrap();
        check(Failed {
            why: stats.last_error.expect("a failure"),
            sent,
        });
    });
}

fn with_tls(config: ProducerConfigBuilder) -> ProducerConfigBuilder {
    config
        .tls_v1(true)
        .tls_server_name("nsqd")
        .tls_insecure_skip_verify(true)
        .auth_secret("hunter2")
}

/// Answers IDENTIFY.
pub(crate) fn says(answer: &str) -> impl AsyncFnOnce(&mut Peer) {
    let answer = answer.to_owned();
    async move |client: &mut Peer| client.send(response_frame(answer)).await
}

/// contract: 11
/// fault: T2
#[test]
fn when_tls_is_declined_nothing_more_is_sent() {
    for answer in [
        r#"{"tls_v1":false}"#,
        r#"{"tls_v1":false,"auth_required":true,"snappy":true}"#,
        "{}",
        "OK",
    ] {
        fail(with_tls, says(answer), |failed| {
            assert!(
                matches!(failed.why, ConnectionError::TlsDeclined),
                "{}",
                failed.why
            );
            assert_eq!(failed.sent, b"", "{answer}");
        });
    }
}

/// fault: T3
#[test]
fn what_comes_in_clear_text_before_tls_is_not_believed_after_it() {
    let peer = async |client: &mut Peer| {
        let glued = [
            response_frame(r#"{"tls_v1":true,"auth_required":true}"#),
            ok_frame(),
            response_frame("{}"),
        ];
        client.send(glued.concat()).await;
    };
    fail(with_tls, peer, |failed| {
        let failure = match failed.why {
            ConnectionError::Tls { failure, .. } => failure,
            other => panic!("{other}"),
        };
        assert_eq!(failure, TlsFailure::NotTls);
        // A handshake of TLS.
        assert_eq!(failed.sent.first(), Some(&0x16));
        for secret in ["hunter2", "a body"] {
            let shown = failed.sent.windows(secret.len());
            assert!(!shown.into_iter().any(|part| part == secret.as_bytes()));
        }
    });
}

#[test]
fn what_was_not_asked_for_and_is_granted_is_not_understood() {
    for layer in ["TLS", "snappy", "deflate"] {
        let key = layer.replace("TLS", "tls_v1");
        fail(
            |config| config,
            says(&format!(r#"{{"{key}":true}}"#)),
            |failed| {
                let expected = format!("nsqd enabled {layer}, which was not requested");
                assert!(
                    matches!(&failed.why, ConnectionError::HandshakeResponse { problem, .. } if *problem == expected),
                    "{}",
                    failed.why
                );
                assert_eq!(failed.sent, b"");
            },
        );
    }
}

#[test]
fn more_compression_than_was_asked_for_is_not_understood() {
    let both = || says(r#"{"snappy":true,"deflate":true}"#);
    type Options = fn(ProducerConfigBuilder) -> ProducerConfigBuilder;
    let asked: [Options; 2] = [|config| config.snappy(true), |config| config.deflate(true)];
    for options in asked {
        fail(options, both(), |failed| {
            assert!(
                matches!(failed.why, ConnectionError::HandshakeResponse { .. }),
                "{}",
                failed.why
            );
            assert_eq!(failed.sent, b"");
        });
    }
}

/// fault: T2
#[test]
fn declined_compression_is_an_error() {
    type Options = fn(ProducerConfigBuilder) -> ProducerConfigBuilder;
    let cases: [(&str, Options); 2] = [
        ("snappy", |config| config.snappy(true)),
        ("deflate", |config| config.deflate(true)),
    ];
    for (method, options) in cases {
        fail(options, says(r#"{"auth_required":true}"#), |failed| {
            assert!(
                matches!(failed.why, ConnectionError::CompressionDeclined { method: declined } if declined == method),
                "{}",
                failed.why
            );
            assert_eq!(failed.sent, b"");
        });
    }
}

#[test]
fn compression_can_be_given_up_if_the_user_allows_it() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.deflate(true).allow_uncompressed(true));
        let mut client = network.accept().await;
        client.expect_magic().await;
        let identify = client.expect_identify().await;
        assert_eq!(identify["deflate"], true);
        client.send(identify_answer()).await;
        let answer = publish(&producer, "a body");
        client.expect_pub("t", "a body").await;
        client.send(ok_frame()).await;
        answer.await.unwrap();
    });
}

#[test]
fn nsqd_is_asked_for_what_the_options_ask_for() {
    in_virtual_time(async |mut network: Network| {
        let _producer =
            network.start_with(|config| with_tls(config).deflate(true).deflate_level(9));
        let mut client = network.accept().await;
        client.expect_magic().await;
        let identify = client.expect_identify().await;
        assert_eq!(identify["tls_v1"], true);
        assert_eq!(identify["deflate"], true);
        assert_eq!(identify["deflate_level"], 9);
        assert!(identify.get("snappy").is_none());
        assert!(!identify.to_string().contains("hunter2"));
    });
}

const TLS_REQUIRED: &str = "in current state (TLS required)";

/// fault: T2
#[test]
fn an_nsqd_that_requires_tls_is_told_apart_also_by_an_idle_producer() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| {
            config
                .reconnect_backoff(ms(1))
                .max_reconnect_backoff(s(3_600))
        });
        let mut client = network.connected().await;
        client.send(heartbeat_frame()).await;
        client.expect_nop().await;
        let refused = network.elapsed();
        client
            .send(error_frame(&format!("E_INVALID cannot NOP {TLS_REQUIRED}")))
            .await;
        drop(client);
        network.peek_dial().await;
        assert!(network.elapsed() - refused > ms(5));
        let stats = producer.send(GetStats).await.unwrap();
        assert!(
            matches!(stats.last_error, Some(ConnectionError::TlsRequired(_))),
            "{:?}",
            stats.last_error
        );
    });
}

#[test]
fn a_publish_to_an_nsqd_that_requires_tls_is_refused_in_its_words() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut client = network.connected().await;
        let answer = publish(&producer, "a body");
        let behind = publish(&producer, "another body");
        client.expect_pub("t", "a body").await;
        client
            .send(error_frame(&format!("E_INVALID cannot PUB {TLS_REQUIRED}")))
            .await;
        let kind = ErrorKind::Rejected(ErrorCode::Invalid);
        // At once, and not one with each connection.
        let refused = network.elapsed();
        assert_error(behind.await, kind, Delivery::NotWritten);
        let error = assert_error(answer.await, kind, Delivery::NotWritten);
        assert_eq!(network.elapsed(), refused);
        assert!(
            error.to_string().ends_with("(TLS required); set tls_v1"),
            "{error}"
        );
    });
}

#[test]
fn an_end_within_a_frame_is_told_from_an_end_between_two() {
    for (last, truncated) in [(&ok_frame()[..], false), (&ok_frame()[..7], true)] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let mut client = network.connected().await;
            let answer = publish(&producer, "a body");
            client.expect_pub("t", "a body").await;
            client.send(last).await;
            drop(client);
            let answer = answer.await;
            network.peek_dial().await;
            let why = producer.send(GetStats).await.unwrap().last_error.unwrap();
            if truncated {
                assert_error(answer, ErrorKind::ConnectionLost, Delivery::MaybeWritten);
                assert!(matches!(why, ConnectionError::Truncated), "{why}");
            } else {
                answer.unwrap();
                assert!(matches!(why, ConnectionError::ClosedByPeer), "{why}");
            }
        });
    }
}

#[test]
fn options_that_would_have_no_effect_are_refused() {
    let builder = || ProducerConfig::builder("localhost:4150");
    let rustls = || {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        config
            .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
            .with_no_client_auth()
    };
    let cases = [
        (
            builder().tls_server_name("nsqd"),
            "option tls_server_name conflicts with tls_v1 = false",
        ),
        (
            builder().tls_cert("cert.pem"),
            "option tls_cert conflicts with tls_v1 = false",
        ),
        (
            builder().tls_insecure_skip_verify(true),
            "option tls_insecure_skip_verify conflicts with tls_v1 = false",
        ),
        (
            builder().tls_v1(true).tls_cert("cert.pem"),
            "option tls_cert needs tls_key, too",
        ),
        (
            builder().snappy(true).deflate(true),
            "option snappy conflicts with deflate = true",
        ),
        (
            builder()
                .auth_secret("hunter2")
                .auth_secret_provider(async || Ok("s".into())),
            "option auth_secret conflicts with auth_secret_provider",
        ),
        (
            builder().rustls_0_23_config(rustls()).tls_v1(false),
            "option rustls_0_23_config conflicts with tls_v1 = false",
        ),
        (
            builder()
                .rustls_0_23_config(rustls())
                .tls_root_ca_file("ca.pem"),
            "option tls_root_ca_file conflicts with rustls_0_23_config",
        ),
    ];
    for (builder, expected) in cases {
        let error = builder.build().unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    // What says nothing does no harm, as where a file lists all options.
    let defaults = builder()
        .tls_insecure_skip_verify(false)
        .tls_server_name("")
        .tls_cert("");
    defaults.build().unwrap();
    builder()
        .rustls_0_23_config(rustls())
        .tls_server_name("nsqd")
        .build()
        .unwrap();
}
