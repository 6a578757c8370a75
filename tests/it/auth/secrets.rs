//! Providers of secrets, and what is reported about the identity.

use std::{
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix_nsq::{ConnectionError, ConnectionEvent, ProducerConfigBuilder, Secret, SubscribeEvents};

use super::requires_auth;
use crate::handshake::upgrades::{fail, responds};
use crate::harness::{
    Network, Peer, Recorder, in_virtual_time, ms, never_sent, publish, publish_within, s,
};
use crate::support::spoken::{Command, error_frame, response_frame};

const REQUIRED: &str = r#"{"auth_required":true}"#;

async fn expect_auth(nsqd: &mut Peer, secret: &str, response: Vec<u8>) {
    let auth = Command::Auth(secret.as_bytes().to_vec());
    nsqd.expect_command(auth).await;
    nsqd.send(response).await;
}

/// contract: 11
/// checklist: 100
#[test]
fn connected_event_has_the_identity_of_the_client() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.auth_secret("hunter2"));
        let (recipient, events) = Recorder::start();
        producer.do_send(SubscribeEvents(recipient));
        let answer = publish(&producer, "a");
        let mut nsqd = requires_auth(&mut network).await;
        let granted = r#"{"identity":"shop","identity_url":"http://shop","permission_count":3}"#;
        expect_auth(&mut nsqd, "hunter2", response_frame(granted)).await;
        nsqd.confirm("a").await;
        answer.await.unwrap();
        let auth = events.take().into_iter().find_map(|event| match event {
            ConnectionEvent::Connected { auth, .. } => auth,
            _ => None,
        });
        let auth = auth.expect("an identity");
        assert_eq!((auth.identity.as_str(), auth.permission_count), ("shop", 3));
        assert_eq!(auth.identity_url, "http://shop");
    });
}

/// contract: 11
/// checklist: 100
#[test]
fn provider_that_panics_fails_the_attempt() {
    in_virtual_time(async |mut network: Network| {
        let calls = Arc::new(AtomicUsize::new(0));
        let producer = network.start_with(|config| {
            config.auth_secret_provider(move || {
                // First when it is called, then in its future.
                let number = calls.fetch_add(1, Ordering::Relaxed);
                assert_ne!(number, 0, "hunter2");
                async move {
                    assert_ne!(number, 1, "hunter2");
                    Ok("secret 2".into())
                }
            })
        });
        let answer = publish_within(&producer, s(1), "a");
        for _ in 0..2 {
            let mut nsqd = requires_auth(&mut network).await;
            nsqd.wait_closed().await;
        }
        let dial = network.dial().await;
        let error = never_sent(answer).await.to_string();
        let text = "auth_secret_provider failed: it panicked";
        assert!(
            error.contains(text) && !error.contains("hunter2"),
            "{error}"
        );
        let mut nsqd = dial.accept();
        nsqd.identify().await;
        nsqd.send(response_frame(REQUIRED)).await;
        expect_auth(&mut nsqd, "secret 2", response_frame("{}")).await;
    });
}

/// contract: 11
/// checklist: 100
#[test]
fn provider_is_called_for_each_connection_that_requires_auth() {
    in_virtual_time(async |mut network: Network| {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let producer = network.start_with(|config| {
            config.auth_secret_provider(move || {
                let number = counted.fetch_add(1, Ordering::Relaxed);
                async move {
                    tokio::time::sleep(ms(10)).await;
                    Ok(format!("secret {number}").into())
                }
            })
        });
        let mut nsqd = network.connected().await;
        let answer = publish(&producer, "a");
        nsqd.confirm("a").await;
        answer.await.unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        drop(nsqd);
        for number in 0..3 {
            let mut nsqd = requires_auth(&mut network).await;
            let secret = format!("secret {number}");
            expect_auth(&mut nsqd, &secret, response_frame("{}")).await;
        }
    });
}

/// contract: 11
/// checklist: 100
#[test]
fn provider_without_a_valid_secret_fails_the_attempt() {
    let sealed = |config: ProducerConfigBuilder| {
        config.auth_secret_provider(async || Err(io::Error::other("the vault is sealed").into()))
    };
    let failed = fail(sealed, responds(REQUIRED));
    let text = failed.reason.to_string();
    let expected = matches!(failed.reason, ConnectionError::AuthSecretProvider { .. });
    assert!(
        expected && text.ends_with(": the vault is sealed"),
        "{text}"
    );
    assert_eq!(failed.sent, b"");

    let long = |config: ProducerConfigBuilder| {
        config.auth_secret_provider(async || Ok("hunter2".repeat(10_000).into()))
    };
    let failed = fail(long, responds(REQUIRED));
    let text = failed.reason.to_string();
    assert!(
        text.contains("65536 bytes") && !text.contains("hunter2"),
        "{text}"
    );
    assert_eq!(failed.sent, b"");

    let empty =
        |config: ProducerConfigBuilder| config.auth_secret_provider(async || Ok(Secret::from("")));
    let failed = fail(empty, responds(REQUIRED));
    assert!(matches!(failed.reason, ConnectionError::AuthSecretMissing));
}

/// contract: 11
/// fault: T6
#[test]
fn hanging_provider_ends_at_handshake_timeout() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.auth_secret_provider(pending));
        let answer = publish_within(&producer, s(6), "a");
        let mut nsqd = requires_auth(&mut network).await;
        let began = network.elapsed();
        assert_eq!(nsqd.wait_closed().await, b"");
        assert_eq!(network.elapsed() - began, s(5));
        let error = never_sent(answer).await;
        let reason = error.connection_error();
        let expected = matches!(reason, Some(ConnectionError::HandshakeTimeout { .. }));
        assert!(expected, "{reason:?}");
    });
}

/// contract: 11
/// checklist: 94, 102
#[test]
fn nsqd_that_requires_tls_before_auth_is_reported() {
    let options = |config: ProducerConfigBuilder| config.auth_secret("hunter2");
    let failed = fail(options, async |nsqd| {
        nsqd.send(response_frame(REQUIRED)).await;
        let text = "E_INVALID cannot AUTH in current state (TLS required)";
        expect_auth(nsqd, "hunter2", error_frame(text)).await;
    });
    let expected = matches!(failed.reason, ConnectionError::TlsRequired(_));
    assert!(expected, "{}", failed.reason);
}
