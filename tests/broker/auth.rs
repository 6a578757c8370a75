//! AUTH: granted, missing, wrong, revoked and denied secrets, an auth server that fails, and no
//! secret in any text.

use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::protocol::ErrorCode;
use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, Producer, ProducerConfigBuilder, ProducerHandle, Publish,
    PublishError, Secret,
};
use futures::future::join_all;

use super::compression::Layers;
use super::event_log::EventLog;
use super::fixture::{
    TOPIC, assert_error, assert_stored, config, numbered, numbers, publish, publish_all, start,
    stats, topic,
};
use super::tls::connection_error;
use crate::harness::{Scenario, scenarios};
use crate::support::auth_server::{Grant, Mode};
use crate::support::broker::{Broker, Settings};
use crate::support::logs;
use crate::support::settings::Tls;
use crate::support::wait;

pub fn scenarios() -> Vec<Scenario> {
    let guarded = || Settings::default().and_auth();
    scenarios![
        granted_secret_is_accepted_in_every_layer.with(Settings::tls(Tls::default()).and_auth()),
        missing_secret_is_reported.with(guarded()),
        wrong_secret_is_reported_and_accepted_once_granted.with(guarded()),
        publishes_wait_while_the_auth_server_is_down.with(guarded()),
        revoked_secret_is_rejected_and_accepted_once_granted.with(guarded()),
        denied_topic_affects_no_other_topic.with(guarded()),
        publishes_that_wait_fail_with_their_denied_topic.with(guarded()),
        secret_appears_in_no_text.with(guarded()),
    ]
}

const SECRET: &str = "open sesame & \"salt\"";

/// Retries soon. The default delays are tested in virtual time.
async fn eager(broker: &Broker) -> ProducerConfigBuilder {
    let config = config(broker).await.auth_secret(SECRET);
    config.max_reconnect_backoff(Duration::from_millis(200))
}

fn grant(broker: &Broker, grant: Grant) {
    broker.auth().authority().grant(SECRET, grant);
}

fn asked(broker: &Broker) -> usize {
    broker.auth().authority().asked().len()
}

fn assert_rejected(error: &PublishError, code: ErrorCode) {
    assert_error(error, ErrorKind::Rejected(code), Delivery::NotWritten);
}

fn assert_auth_rejected(reason: &ConnectionError, code: ErrorCode) {
    match reason {
        ConnectionError::AuthRejected(response) => assert_eq!(response.code(), code),
        other => panic!("{other:?}"),
    }
}

/// contract: 11
/// checklist: 3, 100, 101, 102
async fn granted_secret_is_accepted_in_every_layer(broker: Broker) {
    grant(&broker, Grant::topics("client", &["scenario", "other"]));
    for layers in Layers::ALL {
        let config = layers.configure(&broker, config(&broker).await);
        let producer = start(config.auth_secret(SECRET));
        let events = EventLog::of(&producer);
        publish(&producer, "hello").await.unwrap();
        events.until_connected(1).await;
        let (negotiated, auth) = events.connected().remove(0);
        assert!(negotiated.auth_required);
        let auth = auth.expect("the response to AUTH");
        assert_eq!((&auth.identity[..], auth.permission_count), ("client", 2));
        let agreed = broker.agreed().await.remove(0);
        assert_eq!(
            (agreed.identity.as_deref(), agreed.tls),
            (Some("client"), layers.tls)
        );
        let asked = broker.auth().authority().asked().pop().unwrap();
        assert_eq!((&asked.secret[..], asked.tls), (SECRET, layers.tls));
        drop(producer);
        broker.until_no_client_is_left().await;
    }
    assert_eq!(asked(&broker), Layers::ALL.len());
    assert_eq!(broker.bodies(TOPIC, 6).await.len(), 6);
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn missing_secret_is_reported(broker: Broker) {
    let reason = connection_error(config(&broker).await).await;
    assert!(
        matches!(reason, ConnectionError::AuthSecretMissing),
        "{reason:?}"
    );
    assert!(reason.to_string().contains("auth_secret"), "{reason}");
    assert_eq!(asked(&broker), 0);
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn wrong_secret_is_reported_and_accepted_once_granted(broker: Broker) {
    let reason = connection_error(config(&broker).await.auth_secret("wrong")).await;
    assert_auth_rejected(&reason, ErrorCode::Unauthorized);
    assert!(reason.to_string().contains("E_UNAUTHORIZED"), "{reason}");

    let before = asked(&broker);
    let producer = start(eager(&broker).await);
    let events = EventLog::of(&producer);
    events.until_backing_off(3).await;
    let waiting = publish_all(&producer, 0..10);
    grant(&broker, Grant::everything("client"));
    waiting.await.assert_all_ok();
    // Each attempt asks once. The first may precede the subscription.
    let asked = asked(&broker) - before;
    assert!(
        asked <= 1 + events.attempts(),
        "{asked}: {:?}",
        events.all()
    );
    assert_stored(&broker, 0..10).await;
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn publishes_wait_while_the_auth_server_is_down(broker: Broker) {
    grant(&broker, Grant::everything("client"));
    for (round, mood) in [Mode::Down, Mode::Error(500)].into_iter().enumerate() {
        broker.auth().set(mood);
        let reason = connection_error(eager(&broker).await).await;
        assert_auth_rejected(&reason, ErrorCode::AuthFailed);

        let producer = start(eager(&broker).await);
        EventLog::of(&producer).until_backing_off(3).await;
        let waiting = publish_all(&producer, 10 * round..10 * (round + 1));
        broker.auth().set(Mode::Normal);
        waiting.await.assert_all_ok();
    }
    assert_stored(&broker, 0..20).await;
}

/// Publishes until one is rejected. Returns its error, and the number of stored ones.
async fn until_rejected(producer: &Addr<Producer>) -> (PublishError, usize) {
    let end = Instant::now() + wait::PATIENCE;
    for number in 0.. {
        assert!(Instant::now() < end, "nothing is rejected");
        match publish(producer, numbered(number)).await {
            Ok(()) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => return (error, number),
        }
    }
    unreachable!()
}

/// nsqd asks the auth server again when the second is over, and remembers the rejection for one.
/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn revoked_secret_is_rejected_and_accepted_once_granted(broker: Broker) {
    grant(&broker, Grant::everything("client").for_seconds(1));
    let producer = start(eager(&broker).await);
    let events = EventLog::of(&producer);
    publish(&producer, "before").await.unwrap();
    broker.auth().authority().revoke(SECRET);
    let (error, published) = until_rejected(&producer).await;
    assert_rejected(&error, ErrorCode::Unauthorized);
    // It cannot connect again either.
    events.until_backing_off(events.backoffs().len() + 2).await;
    let message = Publish::new(topic("another"), "hello").expires_in(Duration::from_millis(20));
    let error = producer.send(message).await.unwrap().unwrap_err();
    let reason = error.connection_error().expect("why it is not connected");
    assert_auth_rejected(reason, ErrorCode::Unauthorized);

    grant(&broker, Grant::everything("client"));
    while let Err(error) = publish(&producer, "after").await {
        assert_rejected(&error, ErrorCode::Unauthorized);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stored = broker.bodies(TOPIC, published + 2).await.len();
    assert_eq!(stored, published + 2);
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn denied_topic_affects_no_other_topic(broker: Broker) {
    grant(&broker, Grant::topics("client", &["scenario"]));
    for batching in [true, false] {
        let producer = start(eager(&broker).await.auto_batch(batching));
        let denied = |number| producer.send(Publish::new(topic("denied"), numbered(number)));
        let (before, first, between, second) = tokio::join!(
            publish_all(&producer, 0..50),
            join_all((0..5).map(denied)),
            publish_all(&producer, 50..100),
            join_all((5..10).map(denied)),
        );
        for answer in first.into_iter().chain(second) {
            assert_rejected(&answer.unwrap().unwrap_err(), ErrorCode::Unauthorized);
        }
        before.assert_all_ok();
        between.assert_all_ok();
    }
    let mut stored = numbers(&broker.bodies(TOPIC, 200).await);
    stored.sort_unstable();
    let each_twice = (0..100).flat_map(|number| [number; 2]);
    assert_eq!(stored, Vec::from_iter(each_twice));
    assert_eq!(broker.message_count("denied").await, 0);
}

/// contract: 4
/// checklist: 33
async fn publishes_that_wait_fail_with_their_denied_topic(broker: Broker) {
    grant(&broker, Grant::topics("client", &["scenario"]));
    let config = eager(&broker).await.max_pending(100);
    let handle = ProducerHandle::start(config.build().unwrap());
    let denied = join_all((0..2_000).map(|number| handle.publish("denied", numbered(number))));
    let start = Instant::now();
    let (denied, granted) = tokio::join!(denied, handle.publish(TOPIC, numbered(1)));
    granted.unwrap();
    for answer in denied {
        assert_rejected(&answer.unwrap_err(), ErrorCode::Unauthorized);
    }
    // Waiting for one connection after the other would take the whole timeout of 30 s.
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

/// Neither as text, nor as bytes in decimal or hexadecimal.
/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn secret_appears_in_no_text(broker: Broker) {
    const FORBIDDEN: [&str; 4] = [
        "sesame",
        "salt",
        "736573616d65",
        "115, 101, 115, 97, 109, 101",
    ];
    logs::capture();
    let mut texts = Vec::new();
    let mut look = |what: &dyn std::fmt::Debug| texts.push(format!("{what:?} {what:#?}"));
    for granted in [true, false] {
        if granted {
            grant(&broker, Grant::everything("client").for_seconds(1));
        }
        let config = eager(&broker).await.build().unwrap();
        look(&config);
        look(&Secret::from(SECRET));
        let producer = Producer::start(config);
        let events = EventLog::of(&producer);
        if granted {
            publish(&producer, "hello").await.unwrap();
            broker.auth().authority().revoke(SECRET);
            look_at_error(&until_rejected(&producer).await.0, &mut look);
        }
        events.until_backing_off(2).await;
        let message = Publish::new(topic("another"), "hello").expires_in(Duration::from_millis(20));
        let error = producer.send(message).await.unwrap().unwrap_err();
        look_at_error(&error, &mut look);
        look(&stats(&producer).await);
        look(&events.all());
    }
    let too_long = "sesame".repeat(1_000_000);
    let invalid = config(&broker).await.auth_secret(too_long).build();
    look_at_error(&invalid.unwrap_err(), &mut look);
    let logged = logs::take();
    assert!(
        logged
            .iter()
            .any(|(_, line)| line.contains("E_UNAUTHORIZED"))
    );
    texts.extend(logged.into_iter().map(|(_, line)| line));
    for text in texts {
        assert!(!FORBIDDEN.iter().any(|part| text.contains(part)), "{text}");
    }
}

fn look_at_error(error: &dyn std::error::Error, look: &mut impl FnMut(&dyn std::fmt::Debug)) {
    let mut source = Some(error);
    while let Some(error) = source {
        look(&error.to_string());
        look(&error);
        source = error.source();
    }
}
