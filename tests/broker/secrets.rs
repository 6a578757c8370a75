//! AUTH: who is let in, who is not, and who is not any more; what an auth server that is down, broken or slow does to a producer; and
//! that a secret shows nowhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::protocol::ErrorCode;
use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, Producer, ProducerConfig, ProducerConfigBuilder, Publish,
    PublishError, Reconnect, Secret, producer::GetStats,
};
use futures::future::join_all;

use super::layers::Layers;
use super::load::{TOPIC, config, numbered, numbers, publish, publish_all, start, topic};
use super::tls::{recorder, refused};
use super::told::Told;
use crate::harness::{Scenario, scenarios};
use crate::support::auth_server::{Grant, Mood};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::logs;
use crate::support::settings::Tls;
use crate::support::wait;

pub fn scenarios() -> Vec<Scenario> {
    let guarded = || Settings {
        auth: true,
        ..Settings::default()
    };
    scenarios![
        a_granted_secret_lets_in_through_every_layer.with(Settings {
            tls: Some(Tls::default()),
            ..guarded()
        }),
        a_secret_that_nobody_asks_for_is_not_sent,
        without_a_secret_the_producer_says_so_and_the_auth_server_hears_nothing.with(guarded()),
        a_wrong_secret_is_told_with_nsqds_reason_and_let_in_once_it_is_granted.with(guarded()),
        what_waits_for_an_auth_server_that_is_down_is_stored_once_it_is_up.with(guarded()),
        a_secret_that_is_revoked_serves_until_its_time_is_over_and_again_once_it_is_granted
            .with(guarded()),
        an_auth_server_that_is_down_when_it_is_asked_again_costs_what_was_refused_and_no_more
            .with(guarded()),
        a_forbidden_topic_fails_alone_while_others_are_published.with(guarded()),
        the_callback_is_asked_for_the_secret_at_each_connection.with(guarded()),
        a_callback_that_fails_is_told_and_asked_again.with(guarded()),
        heartbeats_while_the_auth_server_is_slow_are_no_answer
            .with(guarded())
            .only(Kind::Real, "the embedded nsqd asks a closure, at once"),
        a_secret_shows_nowhere.with(guarded()),
    ]
}

const LONG: Duration = Duration::from_secs(5);

const SECRET: &str = "open sesame & \"salt\"";

/// Tries again soon: how seldom it does by default is tested in virtual time.
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

/// Publishes until it fails, and how; what was published by then.
async fn until_refused(producer: &Addr<Producer>) -> (PublishError, usize) {
    let end = Instant::now() + wait::PATIENCE;
    for number in 0.. {
        assert!(Instant::now() < end, "nothing is ever refused");
        match publish(producer, numbered(number)).await {
            Ok(()) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => return (error, number),
        }
    }
    unreachable!()
}

fn assert_refused(error: &PublishError, code: &ErrorCode) {
    assert_eq!(error.kind(), ErrorKind::Rejected(*code), "{error}");
    assert_eq!(error.delivery(), Delivery::NotWritten, "{error}");
}

fn assert_auth_refused(why: &ConnectionError, code: &ErrorCode) {
    match why {
        ConnectionError::AuthRejected(refusal) => assert_eq!(refusal.code(), *code),
        other => panic!("{other:?}"),
    }
}

/// contract: 11
/// checklist: 3, 100, 101, 102
async fn a_granted_secret_lets_in_through_every_layer(broker: Broker) {
    grant(&broker, Grant::topics("teller", &["scenario", "other"]));
    for layers in Layers::ALL {
        let config = layers.asked(&broker, config(&broker).await);
        let producer = start(config.auth_secret(SECRET));
        let told = Told::by(&producer);
        publish(&producer, "hello").await.unwrap();
        told.until_connected(1).await;
        let (negotiated, auth) = told.connected().remove(0);
        assert!(negotiated.auth_required);
        let auth = auth.expect("whom nsqd takes it for");
        assert_eq!((&auth.identity[..], auth.permission_count), ("teller", 2));
        let agreed = broker.agreed().await.remove(0);
        assert_eq!(agreed.identity.as_deref(), Some("teller"));
        assert_eq!(agreed.tls, layers.tls);
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
async fn a_secret_that_nobody_asks_for_is_not_sent(broker: Broker) {
    let proxy = recorder(&broker).await;
    let config = ProducerConfig::builder(proxy.address().to_string()).auth_secret(SECRET);
    publish(&start(config), "hello").await.unwrap();
    let recorded = &proxy.record()[0];
    assert!(recorded.has(b"hello") && !recorded.has(SECRET.as_bytes()) && !recorded.has(b"AUTH"));
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn without_a_secret_the_producer_says_so_and_the_auth_server_hears_nothing(broker: Broker) {
    let why = refused(config(&broker).await).await;
    assert!(matches!(why, ConnectionError::AuthSecretMissing), "{why:?}");
    assert!(why.to_string().contains("auth_secret"), "{why}");
    assert_eq!(asked(&broker), 0);
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn a_wrong_secret_is_told_with_nsqds_reason_and_let_in_once_it_is_granted(broker: Broker) {
    let why = refused(config(&broker).await.auth_secret("wrong")).await;
    assert_auth_refused(&why, &ErrorCode::Unauthorized);
    assert!(why.to_string().contains("E_UNAUTHORIZED"), "{why}");

    let before = asked(&broker);
    let producer = start(eager(&broker).await);
    let told = Told::by(&producer);
    wait::until("it is refused", || told.backing_off() >= 3).await;
    let waiting = publish_all(&producer, 0..10);
    grant(&broker, Grant::everything("teller"));
    waiting.await.assert_all_ok();
    // Each attempt asks once; the first one may go unheard.
    let asked = asked(&broker) - before;
    assert!(asked <= 1 + told.attempts(), "{asked}: {:?}", told.all());
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 10).await),
        Vec::from_iter(0..10)
    );
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn what_waits_for_an_auth_server_that_is_down_is_stored_once_it_is_up(broker: Broker) {
    grant(&broker, Grant::everything("teller"));
    for (round, mood) in [Mood::Down, Mood::Broken(500)].into_iter().enumerate() {
        broker.auth().set(mood);
        let why = refused(eager(&broker).await).await;
        assert_auth_refused(&why, &ErrorCode::AuthFailed);

        let producer = start(eager(&broker).await);
        let told = Told::by(&producer);
        wait::until("it is refused", || told.backing_off() >= 3).await;
        let waiting = publish_all(&producer, 10 * round..10 * (round + 1));
        broker.auth().set(Mood::Well);
        waiting.await.assert_all_ok();
    }
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 20).await),
        Vec::from_iter(0..20)
    );
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn a_secret_that_is_revoked_serves_until_its_time_is_over_and_again_once_it_is_granted(
    broker: Broker,
) {
    grant(&broker, Grant::everything("teller").for_seconds(1));
    let producer = start(eager(&broker).await);
    let told = Told::by(&producer);
    publish(&producer, "before").await.unwrap();
    broker.auth().authority().revoke(SECRET);
    let (error, published) = until_refused(&producer).await;
    assert_refused(&error, &ErrorCode::Unauthorized);
    // Then it is not let in any more.
    let failed = told.backing_off();
    wait::until("it is refused", || told.backing_off() >= failed + 2).await;
    let hello = Publish::new(topic("another"), "hello").expires_in(Duration::from_millis(20));
    let error = producer.send(hello).await.unwrap().unwrap_err();
    let why = error.connection_error().expect("why it is not connected");
    assert_auth_refused(why, &ErrorCode::Unauthorized);

    grant(&broker, Grant::everything("teller"));
    // The refusal is remembered for a second.
    while let Err(error) = publish(&producer, "after").await {
        assert_refused(&error, &ErrorCode::Unauthorized);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        broker.bodies(TOPIC, published + 2).await.len(),
        published + 2
    );
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn an_auth_server_that_is_down_when_it_is_asked_again_costs_what_was_refused_and_no_more(
    broker: Broker,
) {
    grant(&broker, Grant::everything("teller").for_seconds(1));
    let producer = start(eager(&broker).await);
    publish(&producer, "before").await.unwrap();
    broker.auth().set(Mood::Down);
    let (error, published) = until_refused(&producer).await;
    assert_refused(&error, &ErrorCode::AuthFailed);
    assert!(error.is_retryable(), "{error}");
    let waiting = publish(&producer, "while it is down");
    broker.auth().set(Mood::Well);
    waiting.await.unwrap();
    assert_eq!(
        broker.bodies(TOPIC, published + 2).await.len(),
        published + 2
    );
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn a_forbidden_topic_fails_alone_while_others_are_published(broker: Broker) {
    grant(&broker, Grant::topics("teller", &["scenario"]));
    for batching in [true, false] {
        let producer = start(eager(&broker).await.auto_batch(batching));
        let forbidden = |number| {
            let publish = Publish::new(topic("forbidden"), numbered(number));
            producer.send(publish)
        };
        let (before, first, among, second) = tokio::join!(
            publish_all(&producer, 0..50),
            join_all((0..5).map(forbidden)),
            publish_all(&producer, 50..100),
            join_all((5..10).map(forbidden)),
        );
        for answer in first.into_iter().chain(second) {
            assert_refused(&answer.unwrap().unwrap_err(), &ErrorCode::Unauthorized);
        }
        before.assert_all_ok();
        among.assert_all_ok();
        drop(producer);
    }
    let mut stored = numbers(&broker.bodies(TOPIC, 200).await);
    stored.sort_unstable();
    let each_twice: Vec<_> = (0..100).flat_map(|number| [number; 2]).collect();
    assert_eq!(stored, each_twice);
    assert_eq!(broker.message_count("forbidden").await, 0);
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn the_callback_is_asked_for_the_secret_at_each_connection(broker: Broker) {
    for number in 0..4 {
        let (secret, who) = (format!("secret {number}"), format!("teller {number}"));
        let authority = broker.auth().authority().clone();
        authority.grant(&secret, Grant::everything(&who));
    }
    let times = Arc::new(AtomicUsize::new(0));
    let provider = move || {
        let number = times.fetch_add(1, Ordering::SeqCst);
        async move {
            // As if it were fetched from somewhere.
            tokio::task::yield_now().await;
            Ok(Secret::from(format!("secret {number}")))
        }
    };
    let producer = start(config(&broker).await.auth_secret_provider(provider));
    let told = Told::by(&producer);
    for times in 1..=4 {
        publish(&producer, "hello").await.unwrap();
        told.until_connected(times).await;
        if times < 4 {
            producer.send(Reconnect).await.unwrap();
        }
    }
    let secrets = broker.auth().authority().asked();
    let secrets: Vec<_> = secrets.into_iter().map(|asked| asked.secret).collect();
    assert_eq!(secrets, ["secret 0", "secret 1", "secret 2", "secret 3"]);
    let identities = told.connected().into_iter().filter_map(|(_, auth)| auth);
    let identities: Vec<_> = identities.map(|auth| auth.identity).collect();
    assert_eq!(identities, ["teller 0", "teller 1", "teller 2", "teller 3"]);
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn a_callback_that_fails_is_told_and_asked_again(broker: Broker) {
    grant(&broker, Grant::everything("teller"));
    let times = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&times);
    let provider = move || {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            match number {
                0..2 => Err("the vault is shut".into()),
                _ => Ok(Secret::from(SECRET)),
            }
        }
    };
    let config = config(&broker).await.auth_secret_provider(provider);
    let seldom = config.clone().max_reconnect_backoff(LONG);
    let why = refused(seldom.reconnect_backoff(LONG)).await;
    let is_it = matches!(why, ConnectionError::AuthSecretProvider { .. });
    assert!(
        is_it && why.to_string().contains("the vault is shut"),
        "{why:?}"
    );
    publish(&start(config), "hello").await.unwrap();
    assert!(times.load(Ordering::SeqCst) >= 3);
    assert_eq!(asked(&broker), 1);
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn heartbeats_while_the_auth_server_is_slow_are_no_answer(broker: Broker) {
    grant(&broker, Grant::everything("teller"));
    broker.auth().set(Mood::Slow(Duration::from_millis(3_300)));
    let config = config(&broker).await.auth_secret(SECRET);
    let producer = start(config.heartbeat_interval(Duration::from_secs(1)));
    let told = Told::by(&producer);
    publish(&producer, "hello").await.unwrap();
    assert_eq!(told.backing_off(), 0, "{:?}", told.all());
    assert_eq!(told.connected()[0].1.as_ref().unwrap().identity, "teller");
}

/// contract: 11
/// fault: T6
/// checklist: 3, 100, 101, 102
async fn a_secret_shows_nowhere(broker: Broker) {
    logs::capture();
    let mut seen = Vec::new();
    let mut look = |what: &dyn std::fmt::Debug| seen.push(format!("{what:?} {what:#?}"));
    // Granted, refused, and granted to nobody: each with all that a program can look at.
    for granted in [true, false] {
        if granted {
            grant(&broker, Grant::everything("teller").for_seconds(1));
        }
        let config = eager(&broker).await.build().unwrap();
        look(&config);
        look(&Secret::from(SECRET));
        let producer = Producer::start(config);
        let told = Told::by(&producer);
        if granted {
            publish(&producer, "hello").await.unwrap();
            broker.auth().authority().revoke(SECRET);
            let (error, _) = until_refused(&producer).await;
            seen_of(&error, &mut look);
        }
        wait::until("it is refused", || told.backing_off() >= 2).await;
        let hello = Publish::new(topic("another"), "hello").expires_in(Duration::from_millis(20));
        let error = producer.send(hello).await.unwrap().unwrap_err();
        seen_of(&error, &mut look);
        look(&producer.send(GetStats).await.unwrap());
        look(&told.all());
    }
    let too_long = "sesame".repeat(1_000_000);
    let refused_config = config(&broker).await.auth_secret(too_long).build();
    seen_of(&refused_config.unwrap_err(), &mut look);
    let logged = logs::take();
    assert!(
        logged
            .iter()
            .any(|(_, line)| line.contains("E_UNAUTHORIZED"))
    );
    seen.extend(logged.into_iter().map(|(_, line)| line));
    for text in seen {
        let shows = [
            "sesame",
            "salt",
            "736573616d65",
            "115, 101, 115, 97, 109, 101",
        ];
        for part in shows {
            assert!(!text.contains(part), "{text}");
        }
    }
}

fn seen_of(error: &(dyn std::error::Error + 'static), look: &mut impl FnMut(&dyn std::fmt::Debug)) {
    look(&error);
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        look(&error.to_string());
        look(&error);
        source = error.source();
    }
}
