//! Whoever listens on the line learns neither a secret nor a message when TLS was asked for, whatever happens.

use std::time::Duration;

use actix_nsq::{ConnectionError, ProducerConfig, ProducerConfigBuilder, Publish, PublishError};
use futures::StreamExt;

use super::layers::{Layers, trusting};
use super::load::{TOPIC, publish, start, topic};
use super::tls::recorder;
use super::told::Told;
use crate::harness::{Scenario, scenarios};
use crate::support::auth_server::Grant;
use crate::support::broker::{Broker, Settings};
use crate::support::certificates::Flaw;
use crate::support::chaos::{self, ChaosProxy, Direction, Faults};
use crate::support::settings::{ClientPolicy, Tls};
use crate::support::wait;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        without_tls_secret_and_body_are_there_for_everybody_to_read.with(guarded(Tls::default())),
        with_tls_nobody_reads_a_secret_or_a_body.with(guarded(Tls::default())),
        when_tls_fails_nobody_reads_a_secret_or_a_body,
        wherever_a_tls_session_is_cut_nobody_reads_a_secret_or_a_body.with(guarded(Tls::default())),
    ]
}

/// contract: 11
/// checklist: 100, 101, 102
fn guarded(tls: Tls) -> Settings {
    Settings {
        tls: Some(tls),
        auth: true,
        ..Settings::default()
    }
}

const SECRET: &str = "sesame of the vault 0123456789";
const BODY: &str = "body for nobody else 9876543210";

/// Of whatever a proxy has recorded: whether the secret was to be read, and the body. A beginning is enough.
fn readable(proxy: &ChaosProxy) -> (bool, bool) {
    let records = proxy.record();
    assert!(!records.is_empty(), "nothing was recorded");
    let has = |text: &str| {
        let beginning = &text.as_bytes()[..12];
        records.iter().any(|recorded| recorded.has(beginning))
    };
    (has(SECRET), has(BODY))
}

/// With a secret, through this proxy.
fn config(proxy: &ChaosProxy) -> ProducerConfigBuilder {
    ProducerConfig::builder(proxy.address().to_string())
        .reconnect_backoff(Duration::from_millis(5))
        .max_reconnect_backoff(Duration::from_millis(20))
        .auth_secret(SECRET)
}

fn let_in(broker: &Broker) {
    let authority = broker.auth().authority().clone();
    authority.grant(SECRET, Grant::everything("teller"));
}

/// The control of all others: so it would be found.
/// contract: 11
/// fault: T2
/// checklist: 100, 101, 102
async fn without_tls_secret_and_body_are_there_for_everybody_to_read(broker: Broker) {
    let_in(&broker);
    let proxy = recorder(&broker).await;
    publish(&start(config(&proxy)), BODY).await.unwrap();
    assert_eq!(readable(&proxy), (true, true));
}

/// contract: 11
/// fault: T2
/// checklist: 100, 101, 102
async fn with_tls_nobody_reads_a_secret_or_a_body(broker: Broker) {
    let_in(&broker);
    let in_tls = Layers::ALL.into_iter().filter(|layers| layers.tls);
    for (sessions, layers) in (1..).zip(in_tls) {
        let proxy = recorder(&broker).await;
        let producer = start(layers.asked(&broker, config(&proxy)));
        for _ in 0..10 {
            publish(&producer, BODY).await.unwrap();
        }
        assert_eq!(readable(&proxy), (false, false), "{layers:?}");
        // They did come through.
        let asked = broker.auth().authority().asked();
        assert_eq!(asked.len(), sessions);
        assert!(
            asked
                .iter()
                .all(|asked| asked.secret == SECRET && asked.tls)
        );
        let expected = 10 * sessions;
        assert_eq!(broker.message_count(TOPIC).await, expected);
    }
}

/// Tries for a while, with a message at hand; how it failed.
async fn fails(config: ProducerConfigBuilder) -> PublishError {
    let producer = start(config);
    let told = Told::by(&producer);
    let body = Publish::new(topic(TOPIC), BODY).expires_in(Duration::from_millis(400));
    let error = producer.send(body).await.unwrap().unwrap_err();
    wait::until("it tries again", || told.backing_off() >= 2).await;
    error
}

/// contract: 11
/// fault: T2
/// checklist: 100, 101, 102
async fn when_tls_fails_nobody_reads_a_secret_or_a_body(broker: Broker) {
    let declining = Settings {
        auth: true,
        ..Settings::default()
    };
    let without_compression = Settings {
        snappy: false,
        ..guarded(Tls::default())
    };
    let flawed = |flaw| {
        guarded(Tls {
            flaw,
            ..Tls::default()
        })
    };
    let demanding = guarded(Tls {
        clients: ClientPolicy::RequireVerify,
        ..Tls::default()
    });
    for (settings, why) in [
        (declining, "TlsDeclined"),
        (flawed(Flaw::OtherAuthority), "UnknownIssuer"),
        (flawed(Flaw::Expired), "Expired"),
        (flawed(Flaw::OtherName), "WrongName"),
        (demanding, "CertificateRequired"),
        (without_compression, "CompressionDeclined"),
    ] {
        let other = Broker::start(broker.kind(), settings.clone()).await;
        let_in(&other);
        let proxy = recorder(&other).await;
        let config = match settings.tls {
            Some(_) => trusting(&other, config(&proxy)),
            None => config(&proxy).tls_v1(true),
        };
        let error = fails(config.snappy(true)).await;
        let told: Option<&ConnectionError> = error.connection_error();
        assert!(format!("{told:?}").contains(why), "{why}: {told:?}");
        assert_eq!(readable(&proxy), (false, false), "{why}");
        // It was not told to the wrong one inside of TLS, either.
        assert_eq!(other.auth().authority().asked(), [], "{why}");
        assert_eq!(other.message_count(TOPIC).await, 0, "{why}");
    }
}

/// contract: 11
/// fault: T2
/// checklist: 100, 101, 102
async fn wherever_a_tls_session_is_cut_nobody_reads_a_secret_or_a_body(broker: Broker) {
    let_in(&broker);
    let layers = Layers::ALL.into_iter().find(|layers| layers.tls).unwrap();
    let whole = recorder(&broker).await;
    let session = async |proxy: &ChaosProxy| {
        let config = layers.asked(&broker, config(proxy));
        publish(&start(config.retry_maybe_written(true)), BODY).await
    };
    session(&whole).await.unwrap();
    let recorded = whole.record().remove(0);
    let (up, down) = (recorded.up.said.len(), recorded.down.said.len());
    let places = |direction, length| (0..length).step_by(19).map(move |at| (direction, at));
    let cases = places(Direction::Up, up).chain(places(Direction::Down, down));
    let cut = async |(direction, at)| {
        let way = if direction == Direction::Up {
            "up"
        } else {
            "down"
        };
        let faults: Faults = format!("cut-{way}={at},times=1").parse().unwrap();
        let proxy = ChaosProxy::start(broker.address().await, faults, chaos::seed()).unwrap();
        proxy.start_recording();
        // By the next connection, if not by this one.
        let published = session(&proxy).await;
        published.unwrap_or_else(|e| panic!("{proxy}: {e}"));
        assert_eq!(readable(&proxy), (false, false), "{proxy}");
    };
    futures::stream::iter(cases)
        .for_each_concurrent(4, cut)
        .await;
}
