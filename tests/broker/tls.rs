//! TLS with every certificate that can be wrong on either side, and with an nsqd that declines it: each is told apart, is tried again
//! only after long, and nothing but IDENTIFY goes in clear text.

use std::sync::Arc;
use std::time::Duration;

use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, ProducerConfigBuilder, Publish, TlsFailure, TlsVersion,
};

use super::layers::trusting;
use super::load::{TOPIC, config, publish, start, topic};
use super::told::Told;
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Settings};
use crate::support::certificates::{Flaw, Identity};
use crate::support::chaos::{self, ChaosProxy, Faults, Recorded};
use crate::support::settings::{ClientPolicy, Tls};
use crate::support::wait;

pub fn scenarios() -> Vec<Scenario> {
    let with = |tls| Settings {
        tls: Some(tls),
        ..Settings::default()
    };
    let clients = |clients| {
        with(Tls {
            clients,
            ..Tls::default()
        })
    };
    scenarios![
        each_fault_of_nsqds_certificate_is_told_apart,
        a_certificate_is_good_for_the_names_and_addresses_in_it,
        a_certificate_that_is_trusted_itself_needs_no_authority,
        a_client_without_a_certificate_is_told_that_one_is_required
            .with(clients(ClientPolicy::RequireVerify)),
        a_client_whose_certificate_is_not_taken_is_told_so
            .with(clients(ClientPolicy::RequireVerify)),
        a_client_with_a_certificate_is_let_in.with(clients(ClientPolicy::RequireVerify)),
        any_certificate_will_do_where_nsqd_verifies_none.with(clients(ClientPolicy::Require)),
        versions_of_tls_are_kept_on_both_sides.with(with(Tls {
            only_tls13: true,
            ..Tls::default()
        })),
        an_nsqd_that_requires_tls_is_told_apart.with(with(Tls::required())),
        an_nsqd_that_declines_tls_is_left_before_anything_else_is_said.with(Settings {
            auth: true,
            ..Settings::default()
        }),
        compression_that_is_declined_is_an_error_unless_plain_is_allowed.with(Settings {
            snappy: false,
            deflate: false,
            ..with(Tls::default())
        }),
        a_tls_handshake_that_stalls_is_given_up_after_handshake_timeout.with(with(Tls::default())),
    ]
}

/// Why this producer cannot connect: as a publish is told, which was not written.
pub async fn refused(config: ProducerConfigBuilder) -> ConnectionError {
    let producer = start(config);
    let told = Told::by(&producer);
    wait::until("the first attempt fails", || told.backing_off() >= 1).await;
    let hello = Publish::new(topic(TOPIC), "hello").expires_in(Duration::from_millis(20));
    let error = producer.send(hello).await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::NotWritten)
    );
    let why = error
        .connection_error()
        .expect("why there is no connection");
    assert!(error.to_string().contains(&why.to_string()), "{error}");
    why.clone()
}

/// The same, where it is TLS that fails.
async fn tls_failure(config: ProducerConfigBuilder) -> TlsFailure {
    match refused(config).await {
        ConnectionError::Tls { failure, .. } => failure,
        other => panic!("{other:?}"),
    }
}

/// A proxy before the broker that records all, by which nothing else befalls it.
pub async fn recorder(broker: &Broker) -> ChaosProxy {
    let proxy = ChaosProxy::start(broker.address().await, Faults::default(), chaos::seed());
    let proxy = proxy.unwrap();
    proxy.start_recording();
    proxy
}

/// In clear text, the client has said the magic and IDENTIFY; how many bytes that is.
fn introduction(recorded: &Recorded) -> usize {
    let up = &recorded.up.said;
    assert!(up.starts_with(b"  V2IDENTIFY\n"), "{up:?}");
    let length = u32::from_be_bytes(up[13..17].try_into().unwrap());
    17 + length as usize
}

/// Behind IDENTIFY, the client has spoken TLS only, and at least begun to.
fn assert_only_tls_behind_identify(recorded: &Recorded) {
    let mut rest = &recorded.up.said[introduction(recorded)..];
    assert!(!rest.is_empty(), "nothing of TLS");
    while !rest.is_empty() {
        let [kind, 3, _, high, low, ..] = *rest else {
            panic!("no record of TLS: {rest:?}");
        };
        assert!((20..=23).contains(&kind), "no record of TLS: {rest:?}");
        rest = &rest[5 + usize::from(u16::from_be_bytes([high, low]))..];
    }
}

fn by_name(broker_address: &str) -> String {
    broker_address.replace("127.0.0.1", "localhost")
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn each_fault_of_nsqds_certificate_is_told_apart(broker: Broker) {
    for (flaw, failure) in [
        (Flaw::SelfSigned, TlsFailure::UnknownIssuer),
        (Flaw::OtherAuthority, TlsFailure::UnknownIssuer),
        (Flaw::Expired, TlsFailure::Expired),
        (Flaw::NotYetValid, TlsFailure::NotYetValid),
        (Flaw::OtherName, TlsFailure::WrongName),
        (Flaw::NameOnly, TlsFailure::WrongName),
    ] {
        let broker = other(&broker, flaw).await;
        let proxy = recorder(&broker).await;
        let asked = |config| trusting(&broker, config);
        let address = || proxy.address().to_string();
        let config = asked(actix_nsq::ProducerConfig::builder(address()));
        let auth = config.clone().auth_secret("sesame");
        assert_eq!(tls_failure(auth).await, failure, "{flaw:?}");
        for recorded in proxy.record() {
            assert_only_tls_behind_identify(&recorded);
        }
        // The control: nothing else is wrong, and whoever says so takes any.
        let producer = start(config.tls_insecure_skip_verify(true));
        publish(&producer, "hello").await.unwrap();
        assert!(broker.agreed().await[0].tls);
        assert_eq!(broker.bodies(TOPIC, 1).await, [b"hello"]);
    }
}

/// One of the same kind with another certificate.
async fn other(broker: &Broker, flaw: Flaw) -> Broker {
    let tls = Tls {
        flaw,
        ..Tls::default()
    };
    let settings = Settings {
        tls: Some(tls),
        ..Settings::default()
    };
    Broker::start(broker.kind(), settings).await
}

/// fault: T1, T5
/// checklist: 24, 92, 93, 94, 95
async fn a_certificate_is_good_for_the_names_and_addresses_in_it(broker: Broker) {
    // The certificate, whether nsqd is called by its name, which name is asked for, and whether that will do.
    for (flaw, named, server_name, good) in [
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
        let broker = other(&broker, flaw).await;
        let address = broker.address().await;
        let address = if named { by_name(&address) } else { address };
        let config = trusting(&broker, actix_nsq::ProducerConfig::builder(address));
        let config = config.tls_server_name(server_name);
        let told = format!("{flaw:?}, by its name: {named}, as {server_name:?}");
        if good {
            let published = publish(&start(config), "hello").await;
            published.unwrap_or_else(|e| panic!("{told}: {e}"));
        } else {
            let failure = tls_failure(config).await;
            assert_eq!(failure, TlsFailure::WrongName, "{told}");
        }
    }
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn a_certificate_that_is_trusted_itself_needs_no_authority(broker: Broker) {
    let broker = other(&broker, Flaw::SelfSigned).await;
    let itself = &broker.server_identity().cert;
    let config = config(&broker).await.tls_v1(true).tls_root_ca_file(itself);
    publish(&start(config), "hello").await.unwrap();
}

/// With TLS 1.2, and with 1.3, where nsqd refuses a client that takes the handshake to be over.
async fn by_both_versions(
    broker: &Broker,
    identity: Option<&Identity>,
) -> [ProducerConfigBuilder; 2] {
    let certificates = broker.certificates();
    let config = config(broker).await.tls_v1(true);
    [true, false].map(|only_tls12| {
        let rustls = certificates.client_config(identity, only_tls12);
        config.clone().rustls_0_23_config(Arc::new(rustls))
    })
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn a_client_without_a_certificate_is_told_that_one_is_required(broker: Broker) {
    let mut failures = vec![tls_failure(trusting(&broker, config(&broker).await)).await];
    for config in by_both_versions(&broker, None).await {
        failures.push(tls_failure(config).await);
    }
    assert_eq!(failures, [TlsFailure::CertificateRequired; 3]);
    assert_eq!(broker.message_count(TOPIC).await, 0);
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn a_client_whose_certificate_is_not_taken_is_told_so(broker: Broker) {
    for flaw in [Flaw::OtherAuthority, Flaw::SelfSigned, Flaw::Expired] {
        let identity = broker.certificates().client(flaw);
        for config in by_both_versions(&broker, Some(&identity)).await {
            let failure = tls_failure(config).await;
            assert_eq!(failure, TlsFailure::CertificateRejected, "{flaw:?}");
        }
    }
    assert_eq!(broker.message_count(TOPIC).await, 0);
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn a_client_with_a_certificate_is_let_in(broker: Broker) {
    let identity = broker.certificates().client(Flaw::None);
    let config = trusting(&broker, config(&broker).await);
    let config = config.tls_cert(&identity.cert).tls_key(&identity.key);
    publish(&start(config), "one").await.unwrap();
    for config in by_both_versions(&broker, Some(&identity)).await {
        publish(&start(config), "two").await.unwrap();
    }
    let stored = broker.bodies(TOPIC, 3).await;
    assert_eq!(stored, [b"one", b"two", b"two"]);
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn any_certificate_will_do_where_nsqd_verifies_none(broker: Broker) {
    for config in by_both_versions(&broker, None).await {
        assert_eq!(tls_failure(config).await, TlsFailure::CertificateRequired);
    }
    for flaw in [Flaw::None, Flaw::OtherAuthority, Flaw::SelfSigned] {
        let identity = broker.certificates().client(flaw);
        for config in by_both_versions(&broker, Some(&identity)).await {
            let published = publish(&start(config), "hello").await;
            published.unwrap_or_else(|e| panic!("{flaw:?}: {e}"));
        }
    }
}

/// fault: T1
/// checklist: 24, 92, 93, 94, 95
async fn versions_of_tls_are_kept_on_both_sides(broker: Broker) {
    let rustls = broker.certificates().client_config(None, true);
    let only_tls12 = config(&broker)
        .await
        .tls_v1(true)
        .rustls_0_23_config(Arc::new(rustls));
    assert_eq!(tls_failure(only_tls12).await, TlsFailure::Version);
    for least in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let config = trusting(&broker, config(&broker).await).tls_min_version(least);
        publish(&start(config), "hello").await.unwrap();
    }
}

/// nsqd takes the handshake of everybody, and says so to the first command only.
/// fault: T2
/// checklist: 24, 92, 93, 94, 95
async fn an_nsqd_that_requires_tls_is_told_apart(broker: Broker) {
    let producer = start(config(&broker).await);
    let told = Told::by(&producer);
    let error = publish(&producer, "refused").await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::NotWritten);
    assert!(error.to_string().contains("TLS required"), "{error}");
    wait::until("the connection is lost", || !told.lost().is_empty()).await;
    let why = told.lost().remove(0);
    assert!(matches!(why, ConnectionError::TlsRequired(_)), "{why:?}");
    assert!(why.to_string().contains("tls_v1"), "{why}");

    let config = trusting(&broker, config(&broker).await);
    publish(&start(config), "hello").await.unwrap();
    assert_eq!(broker.bodies(TOPIC, 1).await, [b"hello"]);
}

/// contract: 11
/// fault: T2
/// checklist: 24, 92, 93, 94, 95
async fn an_nsqd_that_declines_tls_is_left_before_anything_else_is_said(broker: Broker) {
    let proxy = recorder(&broker).await;
    let config = actix_nsq::ProducerConfig::builder(proxy.address().to_string())
        .tls_v1(true)
        .auth_secret("sesame");
    let why = refused(config).await;
    assert!(matches!(why, ConnectionError::TlsDeclined), "{why:?}");
    let recorded = proxy.record();
    assert!(!recorded.is_empty());
    for recorded in &recorded {
        assert_eq!(introduction(recorded), recorded.up.said.len());
        assert!(!recorded.has(b"sesame") && !recorded.has(b"hello"));
    }
    assert_eq!(broker.auth().authority().asked(), []);
    assert_eq!(broker.message_count(TOPIC).await, 0);
}

/// fault: T2
/// checklist: 24, 92, 93, 94, 95
async fn compression_that_is_declined_is_an_error_unless_plain_is_allowed(broker: Broker) {
    type Wish = fn(ProducerConfigBuilder) -> ProducerConfigBuilder;
    let wishes: [(Wish, &str); 2] = [
        (|config| config.snappy(true), "snappy"),
        (|config| config.deflate(true), "deflate"),
    ];
    for (wish, name) in wishes {
        let plain = wish(config(&broker).await);
        let inside_tls = trusting(&broker, plain.clone());
        for config in [plain, inside_tls] {
            let why = refused(config.clone()).await;
            let is_declined =
                matches!(why, ConnectionError::CompressionDeclined { method } if method == name);
            assert!(is_declined, "{why:?}");
            let producer = start(config.allow_uncompressed(true));
            let told = Told::by(&producer);
            publish(&producer, "hello").await.unwrap();
            told.until_connected(1).await;
            let (negotiated, _) = told.connected().remove(0);
            assert!(!negotiated.snappy && !negotiated.deflate);
        }
    }
    assert_eq!(broker.bodies(TOPIC, 4).await, [b"hello"; 4]);
}

/// fault: T4
/// checklist: 24, 92, 93, 94, 95
async fn a_tls_handshake_that_stalls_is_given_up_after_handshake_timeout(broker: Broker) {
    let whole = recorder(&broker).await;
    let config = |proxy: &ChaosProxy| {
        let config = actix_nsq::ProducerConfig::builder(proxy.address().to_string());
        trusting(&broker, config)
    };
    publish(&start(config(&whole)), "hello").await.unwrap();
    let answer = {
        let down = &whole.record()[0].down.said;
        4 + u32::from_be_bytes(down[..4].try_into().unwrap()) as usize
    };
    let after = Duration::from_millis(100);
    // In the first record, and among the last ones.
    for stall in [answer, answer + 3, answer + 100, answer + 700] {
        let faults: Faults = format!("stall-down={stall}").parse().unwrap();
        let proxy = ChaosProxy::start(broker.address().await, faults, chaos::seed()).unwrap();
        let why = refused(config(&proxy).handshake_timeout(after)).await;
        let is_timeout =
            matches!(why, ConnectionError::HandshakeTimeout { after: it } if it == after);
        assert!(is_timeout, "{why:?} after {stall} bytes");
    }
}
