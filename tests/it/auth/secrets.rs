//! Where the secret of AUTH comes from, and who is told what of it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix_nsq::{ConnectionError, ConnectionEvent, ProducerConfigBuilder, Secret, SubscribeEvents};

use crate::handshake::upgrades::{fail, says};
use crate::harness::{Network, Peer, Recorder, in_virtual_time, ms, publish};
use crate::support::spoken::{Command, error_frame, ok_frame, response_frame};

/// Takes the secret, and gives this answer.
async fn expect_auth(client: &mut Peer, secret: &str, answer: Vec<u8>) {
    let auth = Command::Auth(secret.as_bytes().to_vec());
    client.expect_command(auth).await;
    client.send(answer).await;
}

const REQUIRED: &str = r#"{"auth_required":true}"#;

/// contract: 11
/// checklist: 100, 101, 102
#[test]
fn who_is_connected_learns_whom_nsqd_takes_it_for() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.auth_secret("hunter2"));
        let (events, told) = Recorder::start();
        producer.do_send(SubscribeEvents(events));
        let answer = publish(&producer, "a body");
        let mut client = network.accept().await;
        client.expect_magic().await;
        client.expect_identify().await;
        client.send(response_frame(REQUIRED)).await;
        let granted = r#"{"identity":"shop","identity_url":"http://shop","permission_count":3}"#;
        expect_auth(&mut client, "hunter2", response_frame(granted)).await;
        client.expect_pub("t", "a body").await;
        client.send(ok_frame()).await;
        answer.await.unwrap();
        let auth = told.take().into_iter().find_map(|event| match event {
            ConnectionEvent::Connected { auth, .. } => auth,
            _ => None,
        });
        let auth = auth.expect("connected and authorized");
        assert_eq!((auth.identity.as_str(), auth.permission_count), ("shop", 3));
        assert_eq!(auth.identity_url, "http://shop");
    });
}

/// contract: 11
/// checklist: 100, 101, 102
#[test]
fn the_provider_of_secrets_is_not_asked_where_nsqd_does_not_require_one() {
    in_virtual_time(async |mut network: Network| {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let producer = network.start_with(|config| {
            config.auth_secret_provider(move || {
                counted.fetch_add(1, Ordering::Relaxed);
                async { Ok(Secret::from("hunter2")) }
            })
        });
        let mut client = network.connected().await;
        let answer = publish(&producer, "a body");
        client.expect_pub("t", "a body").await;
        client.send(ok_frame()).await;
        answer.await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    });
}

/// contract: 11
/// checklist: 100, 101, 102
#[test]
fn the_provider_of_secrets_is_asked_at_each_connect() {
    in_virtual_time(async |mut network: Network| {
        let asked = AtomicUsize::new(0);
        let _producer = network.start_with(|config| {
            config.auth_secret_provider(move || {
                let number = asked.fetch_add(1, Ordering::Relaxed);
                async move {
                    tokio::time::sleep(ms(10)).await;
                    Ok(format!("secret {number}").into())
                }
            })
        });
        for number in 0..3 {
            let mut client = network.accept().await;
            client.expect_magic().await;
            client.expect_identify().await;
            client.send(response_frame(REQUIRED)).await;
            expect_auth(
                &mut client,
                &format!("secret {number}"),
                response_frame("{}"),
            )
            .await;
        }
    });
}

/// contract: 11
/// checklist: 100, 101, 102
#[test]
fn a_provider_that_has_no_secret_fails_the_attempt_with_its_own_words() {
    let sealed = |config: ProducerConfigBuilder| {
        config.auth_secret_provider(async || Err(io::Error::other("the vault is sealed").into()))
    };
    fail(sealed, says(REQUIRED), |failed| {
        assert!(matches!(
            failed.why,
            ConnectionError::AuthSecretProvider { .. }
        ));
        assert!(
            failed.why.to_string().ends_with(": the vault is sealed"),
            "{}",
            failed.why
        );
        assert_eq!(failed.sent, b"");
    });
    let long = |config: ProducerConfigBuilder| {
        config.auth_secret_provider(async || Ok("hunter2".repeat(10_000).into()))
    };
    fail(long, says(REQUIRED), |failed| {
        let text = failed.why.to_string();
        assert!(text.ends_with("it is longer than 65536 bytes"), "{text}");
        assert_eq!(failed.sent, b"");
    });
}

/// contract: 11
/// checklist: 100, 101, 102
#[test]
fn an_nsqd_that_wants_tls_before_the_secret_says_so() {
    let options = |config: ProducerConfigBuilder| config.auth_secret("hunter2");
    let peer = async |client: &mut Peer| {
        client.send(response_frame(REQUIRED)).await;
        let refusal = "E_INVALID cannot AUTH in current state (TLS required)";
        expect_auth(client, "hunter2", error_frame(refusal)).await;
    };
    fail(options, peer, |failed| {
        assert!(
            matches!(failed.why, ConnectionError::TlsRequired(_)),
            "{}",
            failed.why
        );
    });
}
