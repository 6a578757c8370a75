//! TLS: flaws of certificates on both sides are reported, and neither secret nor message is sent in
//! clear text.

use std::sync::Arc;
use std::time::Duration;

use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, ProducerConfig, ProducerConfigBuilder, Publish,
    TlsFailure, TlsVersion,
};

use super::compression::{Layers, trusting};
use super::event_log::EventLog;
use super::fixture::{TOPIC, assert_error, config, publish, start, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::auth_server::Grant;
use crate::support::broker::{Broker, Settings};
use crate::support::certificates::{Flaw, Identity};
use crate::support::chaos::{self, ChaosProxy, Faults, Recorded};
use crate::support::nsqd_version::Version;
use crate::support::settings::{ClientPolicy, Tls};
use crate::support::wait;

pub fn scenarios() -> Vec<Scenario> {
    let clients = |policy| Settings::tls(Tls::clients(policy));
    let only_tls13 = Tls {
        only_tls13: true,
        ..Tls::default()
    };
    scenarios![
        every_flaw_of_the_server_certificate_is_reported,
        certificate_is_valid_for_its_names_and_addresses,
        trusted_self_signed_certificate_needs_no_authority,
        missing_client_certificate_is_reported.with(clients(ClientPolicy::RequireVerify)),
        rejected_client_certificate_is_reported.with(clients(ClientPolicy::RequireVerify)),
        valid_client_certificate_is_accepted.with(clients(ClientPolicy::RequireVerify)),
        any_client_certificate_is_accepted_if_none_is_verified.with(clients(ClientPolicy::Require)),
        minimum_tls_version_holds_on_both_sides
            .with(Settings::tls(only_tls13))
            .with_versions(Version::has_tls13_as_minimum),
        nsqd_that_requires_tls_is_reported.with(Settings::tls(Tls::required())),
        tls_hides_secret_and_body.with(Settings::tls(Tls::default()).and_auth()),
        failed_tls_reveals_neither_secret_nor_body,
    ]
}

/// Why a producer with this configuration cannot connect, as reported with a publish.
pub async fn connection_error(config: ProducerConfigBuilder) -> ConnectionError {
    let producer = start(config);
    let events = EventLog::of(&producer);
    events.until_backing_off(1).await;
    let message = Publish::new(topic(TOPIC), "hello").expires_in(Duration::from_millis(20));
    let error = producer.send(message).await.unwrap().unwrap_err();
    assert_error(&error, ErrorKind::Timeout, Delivery::NotWritten);
    let reason = error.connection_error().expect("a reason");
    assert!(error.to_string().contains(&reason.to_string()), "{error}");
    reason.clone()
}

async fn tls_failure(config: ProducerConfigBuilder) -> TlsFailure {
    match connection_error(config).await {
        ConnectionError::Tls { failure, .. } => failure,
        other => panic!("{other:?}"),
    }
}

/// A proxy that records all bytes.
async fn recorder(broker: &Broker) -> ChaosProxy {
    let proxy = ChaosProxy::start(broker.address().await, Faults::default(), chaos::seed());
    let proxy = proxy.unwrap();
    proxy.start_recording();
    proxy
}

/// Asserts that after magic and IDENTIFY, the client has sent TLS records only.
fn assert_only_tls_after_identify(recorded: &Recorded) {
    let sent = &recorded.up.sent;
    assert!(sent.starts_with(b"  V2IDENTIFY\n"), "{sent:?}");
    let length = u32::from_be_bytes(sent[13..17].try_into().unwrap());
    let mut rest = &sent[17 + length as usize..];
    assert!(!rest.is_empty(), "no TLS");
    while !rest.is_empty() {
        let [20..=23, 3, _, high, low, ..] = *rest else {
            panic!("not a TLS record: {rest:?}");
        };
        rest = &rest[5 + usize::from(u16::from_be_bytes([high, low]))..];
    }
}

/// A broker of the same kind with another certificate.
async fn with_certificate(broker: &Broker, flaw: Flaw) -> Broker {
    Broker::start(broker.kind(), Settings::tls(Tls::flaw(flaw))).await
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn every_flaw_of_the_server_certificate_is_reported(broker: Broker) {
    for (flaw, failure) in [
        (Flaw::SelfSigned, TlsFailure::UnknownIssuer),
        (Flaw::OtherAuthority, TlsFailure::UnknownIssuer),
        (Flaw::Expired, TlsFailure::Expired),
        (Flaw::NotYetValid, TlsFailure::NotYetValid),
        (Flaw::OtherName, TlsFailure::WrongName),
        (Flaw::NameOnly, TlsFailure::WrongName),
    ] {
        let broker = with_certificate(&broker, flaw).await;
        let proxy = recorder(&broker).await;
        let config = ProducerConfig::builder(proxy.address().to_string());
        let config = trusting(&broker, config);
        let with_secret = config.clone().auth_secret(SECRET);
        assert_eq!(tls_failure(with_secret).await, failure, "{flaw:?}");
        proxy
            .record()
            .iter()
            .for_each(assert_only_tls_after_identify);
        // Control: nothing else prevents the connection.
        let producer = start(config.tls_insecure_skip_verify(true));
        publish(&producer, "hello").await.unwrap();
        assert!(broker.agreed().await[0].tls);
        assert_eq!(broker.bodies(TOPIC, 1).await, [b"hello"]);
    }
}

/// fault: T1, T5
/// checklist: 24, 92, 93, 94, 95
async fn certificate_is_valid_for_its_names_and_addresses(broker: Broker) {
    // The certificate, whether nsqd is addressed by name, `tls_server_name`, whether it is valid.
    for (flaw, by_name, server_name, valid) in [
        (Flaw::None, true, "", true),
        (Flaw::None, false, "", true),
        (Flaw::AddressOnly, false, "", true),
        (Flaw::AddressOnly, true, "", false),
        (Flaw::AddressOnly, true, "127.0.0.1", true),
        (Flaw::NameOnly, true, "", true),
        (Flaw::NameOnly, false, "localhost", true),
        (Flaw::OtherName, false, "other.example.org", true),
        (Flaw::OtherName, false, "another.example.org", false),
        (Flaw::None, true, "other.example.org", false),
    ] {
        let broker = with_certificate(&broker, flaw).await;
        let mut address = broker.address().await;
        if by_name {
            address = address.replace("127.0.0.1", "localhost");
        }
        let config = trusting(&broker, ProducerConfig::builder(address));
        let config = config.tls_server_name(server_name);
        let case = format!("{flaw:?}, by name: {by_name}, {server_name:?}");
        if valid {
            let published = publish(&start(config), "hello").await;
            published.unwrap_or_else(|e| panic!("{case}: {e}"));
        } else {
            assert_eq!(tls_failure(config).await, TlsFailure::WrongName, "{case}");
        }
    }
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn trusted_self_signed_certificate_needs_no_authority(broker: Broker) {
    let broker = with_certificate(&broker, Flaw::SelfSigned).await;
    let certificate = &broker.server_identity().cert;
    let config = config(&broker)
        .await
        .tls_v1(true)
        .tls_root_ca_file(certificate);
    publish(&start(config), "hello").await.unwrap();
}

/// With TLS 1.2, and with TLS 1.3, where nsqd rejects a certificate after the client's handshake.
async fn with_both_versions(
    broker: &Broker,
    identity: Option<&Identity>,
) -> [ProducerConfigBuilder; 2] {
    let config = config(broker).await.tls_v1(true);
    [true, false].map(|only_tls12| {
        let rustls = broker.certificates().client_config(identity, only_tls12);
        config.clone().rustls_0_23_config(Arc::new(rustls))
    })
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn missing_client_certificate_is_reported(broker: Broker) {
    let mut failures = vec![tls_failure(trusting(&broker, config(&broker).await)).await];
    for config in with_both_versions(&broker, None).await {
        failures.push(tls_failure(config).await);
    }
    assert_eq!(failures, [TlsFailure::CertificateRequired; 3]);
    assert_eq!(broker.message_count(TOPIC).await, 0);
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn rejected_client_certificate_is_reported(broker: Broker) {
    for flaw in [Flaw::OtherAuthority, Flaw::SelfSigned, Flaw::Expired] {
        let identity = broker.certificates().client(flaw);
        for config in with_both_versions(&broker, Some(&identity)).await {
            let failure = tls_failure(config).await;
            assert_eq!(failure, TlsFailure::CertificateRejected, "{flaw:?}");
        }
    }
    assert_eq!(broker.message_count(TOPIC).await, 0);
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn valid_client_certificate_is_accepted(broker: Broker) {
    let identity = broker.certificates().client(Flaw::None);
    let config = trusting(&broker, config(&broker).await);
    let config = config.tls_cert(&identity.cert).tls_key(&identity.key);
    publish(&start(config), "one").await.unwrap();
    for config in with_both_versions(&broker, Some(&identity)).await {
        publish(&start(config), "two").await.unwrap();
    }
    let stored = broker.bodies(TOPIC, 3).await;
    assert_eq!(stored, [b"one", b"two", b"two"]);
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn any_client_certificate_is_accepted_if_none_is_verified(broker: Broker) {
    for config in with_both_versions(&broker, None).await {
        assert_eq!(tls_failure(config).await, TlsFailure::CertificateRequired);
    }
    for flaw in [Flaw::None, Flaw::OtherAuthority, Flaw::SelfSigned] {
        let identity = broker.certificates().client(flaw);
        for config in with_both_versions(&broker, Some(&identity)).await {
            let published = publish(&start(config), "hello").await;
            published.unwrap_or_else(|e| panic!("{flaw:?}: {e}"));
        }
    }
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn minimum_tls_version_holds_on_both_sides(broker: Broker) {
    let [only_tls12, _] = with_both_versions(&broker, None).await;
    assert_eq!(tls_failure(only_tls12).await, TlsFailure::Version);
    for minimum in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let config = trusting(&broker, config(&broker).await).tls_min_version(minimum);
        publish(&start(config), "hello").await.unwrap();
    }
}

/// nsqd accepts the handshake and reports it to the first command.
/// fault: T2
/// checklist: 24, 92, 93, 94, 95
async fn nsqd_that_requires_tls_is_reported(broker: Broker) {
    let producer = start(config(&broker).await);
    let events = EventLog::of(&producer);
    let error = publish(&producer, "rejected").await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::NotWritten);
    assert!(error.to_string().contains("TLS required"), "{error}");
    wait::until("the connection is lost", || {
        !events.disconnects().is_empty()
    })
    .await;
    let reason = events.disconnects().remove(0);
    assert!(
        matches!(reason, ConnectionError::TlsRequired(_)),
        "{reason:?}"
    );
    assert!(reason.to_string().contains("tls_v1"), "{reason}");

    let config = trusting(&broker, config(&broker).await);
    publish(&start(config), "hello").await.unwrap();
    assert_eq!(broker.bodies(TOPIC, 1).await, [b"hello"]);
}

const SECRET: &str = "sesame of the vault 0123456789";
const BODY: &str = "confidential body 9876543210";

/// Whether the beginnings of the secret and of the body were recorded.
fn readable(proxy: &ChaosProxy) -> (bool, bool) {
    let records = proxy.record();
    assert!(!records.is_empty(), "no connection was recorded");
    let has = |text: &str| records.iter().any(|it| it.has(&text.as_bytes()[..12]));
    (has(SECRET), has(BODY))
}

fn config_with_secret(proxy: &ChaosProxy) -> ProducerConfigBuilder {
    ProducerConfig::builder(proxy.address().to_string())
        .reconnect_backoff(Duration::from_millis(5))
        .max_reconnect_backoff(Duration::from_millis(20))
        .auth_secret(SECRET)
}

fn grant(broker: &Broker) {
    broker
        .auth()
        .authority()
        .grant(SECRET, Grant::everything("client"));
}

/// contract: 11
/// fault: T2
/// checklist: 100, 101, 102
async fn tls_hides_secret_and_body(broker: Broker) {
    grant(&broker);
    for (number, layers) in Layers::ALL.into_iter().enumerate() {
        let proxy = recorder(&broker).await;
        let producer = start(layers.configure(&broker, config_with_secret(&proxy)));
        for _ in 0..10 {
            publish(&producer, BODY).await.unwrap();
        }
        // Control: without TLS they are found. AUTH precedes compression.
        if number == 0 {
            assert_eq!(readable(&proxy), (true, true));
        } else if layers.tls {
            assert_eq!(readable(&proxy), (false, false), "{layers:?}");
        }
        let asked = broker.auth().authority().asked();
        let last = asked.last().unwrap();
        assert_eq!(
            (asked.len(), &last.secret[..], last.tls),
            (number + 1, SECRET, layers.tls)
        );
        assert_eq!(broker.message_count(TOPIC).await, 10 * (number + 1));
    }
}

/// contract: 11
/// fault: T2
/// checklist: 93, 100, 101, 102
async fn failed_tls_reveals_neither_secret_nor_body(broker: Broker) {
    let with = |tls| Settings::tls(tls).and_auth();
    let without_compression = Settings {
        snappy: false,
        ..with(Tls::default())
    };
    for (settings, reason) in [
        (Settings::default().and_auth(), "TlsDeclined"),
        (with(Tls::flaw(Flaw::OtherAuthority)), "UnknownIssuer"),
        (with(Tls::flaw(Flaw::Expired)), "Expired"),
        (with(Tls::flaw(Flaw::OtherName)), "WrongName"),
        (
            with(Tls::clients(ClientPolicy::RequireVerify)),
            "CertificateRequired",
        ),
        (without_compression, "CompressionDeclined"),
    ] {
        let broker = Broker::start(broker.kind(), settings.clone()).await;
        grant(&broker);
        let proxy = recorder(&broker).await;
        let config = match settings.tls {
            Some(_) => trusting(&broker, config_with_secret(&proxy)),
            None => config_with_secret(&proxy).tls_v1(true),
        };
        let producer = start(config.snappy(true));
        let events = EventLog::of(&producer);
        let message = Publish::new(topic(TOPIC), BODY).expires_in(Duration::from_millis(100));
        let error = producer.send(message).await.unwrap().unwrap_err();
        events.until_backing_off(2).await;
        let told = error.connection_error();
        assert!(format!("{told:?}").contains(reason), "{reason}: {told:?}");
        assert_eq!(readable(&proxy), (false, false), "{reason}");
        // Not even inside TLS.
        assert_eq!(broker.auth().authority().asked(), [], "{reason}");
        assert_eq!(broker.message_count(TOPIC).await, 0, "{reason}");
    }
}
