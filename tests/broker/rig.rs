//! The rig itself: what a client typed by hand publishes is found in the broker, whatever happens to it in between.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::raw_client::{self, Access};
use crate::support::real_nsqd::RealNsqd;
use crate::support::settings::{ClientPolicy, Tls};

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        what_is_published_is_found_in_its_order,
        an_unknown_topic_is_empty,
        what_was_answered_ok_is_found_after_a_kill,
        a_killed_broker_leaves_no_connection_and_takes_none,
        a_frozen_broker_keeps_its_connections_and_answers_nothing,
        a_broker_obeys_the_limits_it_was_given.with(Settings {
            max_msg_size: 5,
            ..Settings::default()
        }),
        a_broker_that_lets_in_few_is_looked_into_all_the_same.with(Settings {
            tls: Some(Tls {
                clients: ClientPolicy::RequireVerify,
                ..Tls::required()
            }),
            auth: true,
            ..Settings::default()
        }),
        a_real_nsqd_asked_to_end_keeps_what_it_has
            .only(Kind::Real, "it is about a program and its HTTP API"),
        a_real_nsqd_does_to_a_topic_what_it_is_told
            .only(Kind::Real, "it is about a program and its HTTP API"),
    ]
}

async fn publish(broker: &Broker, topic: &'static str, bodies: &'static [&[u8]]) {
    let address = broker.address().await;
    let published =
        tokio::task::spawn_blocking(move || raw_client::publish(&address, topic, bodies)).await;
    published.unwrap().expect("every PUB is answered OK");
}

async fn what_is_published_is_found_in_its_order(broker: Broker) {
    publish(&broker, "rig", &[b"one", b"two", b"\x00three\n"]).await;
    assert_eq!(broker.message_count("rig").await, 3);
    assert_eq!(
        broker.bodies("rig", 3).await,
        [&b"one"[..], b"two", b"\x00three\n"]
    );

    publish(&broker, "rig", &[b"four"]).await;
    assert_eq!(broker.message_count("rig").await, 4);
    assert_eq!(
        broker.bodies("rig", 4).await,
        [&b"one"[..], b"two", b"\x00three\n", b"four"]
    );
    // One more than expected is seen as well.
    publish(&broker, "rig", &[b"five"]).await;
    assert_eq!(broker.bodies("rig", 4).await.len(), 5);
}

async fn an_unknown_topic_is_empty(broker: Broker) {
    assert_eq!(broker.message_count("nobody_published_here").await, 0);
    assert!(broker.bodies("nobody_published_here", 0).await.is_empty());
}

async fn what_was_answered_ok_is_found_after_a_kill(broker: Broker) {
    let address = broker.address().await;
    publish(&broker, "rig", &[b"before"]).await;
    broker.kill().await;
    broker.restart().await;
    assert_eq!(broker.address().await, address);
    publish(&broker, "rig", &[b"between"]).await;
    broker.kill().await;
    broker.restart().await;
    publish(&broker, "rig", &[b"after"]).await;
    assert_eq!(
        broker.bodies("rig", 3).await,
        [&b"before"[..], b"between", b"after"]
    );
}

async fn a_killed_broker_leaves_no_connection_and_takes_none(broker: Broker) {
    let address = broker.address().await;
    let mut connection = TcpStream::connect(&address).unwrap();
    broker.kill().await;
    connection
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let ended = connection.read(&mut [0]);
    assert!(
        ended.as_ref().map_or_else(is_reset, |length| *length == 0),
        "{ended:?}"
    );
    assert!(TcpStream::connect(&address).is_err());
    broker.restart().await;
    TcpStream::connect(&address).unwrap();
}

fn is_reset(e: &std::io::Error) -> bool {
    e.kind() == std::io::ErrorKind::ConnectionReset
}

async fn a_frozen_broker_keeps_its_connections_and_answers_nothing(broker: Broker) {
    use std::io::Write;
    let mut connection = TcpStream::connect(broker.address().await).unwrap();
    connection.write_all(b"  V2").unwrap();
    broker.freeze(true).await;
    connection.write_all(b"PUB rig\n\x00\x00\x00\x01a").unwrap();
    connection
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert_eq!(
        connection.read(&mut [0]).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
    broker.freeze(false).await;
    connection
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut answer = [0; 10];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\x00\x00\x00\x06\x00\x00\x00\x00OK");
    assert_eq!(broker.bodies("rig", 1).await, [b"a"]);
}

async fn a_broker_obeys_the_limits_it_was_given(broker: Broker) {
    publish(&broker, "rig", &[b"12345"]).await;
    let address = broker.address().await;
    let published =
        tokio::task::spawn_blocking(move || raw_client::publish(&address, "rig", &[b"123456"]))
            .await;
    let refusal = published.unwrap().expect_err("too big").to_string();
    assert_eq!(refusal, "E_BAD_MESSAGE PUB message too big 6 > 5");
    assert_eq!(broker.bodies("rig", 1).await, [b"12345"]);
}

async fn a_broker_that_lets_in_few_is_looked_into_all_the_same(broker: Broker) {
    let (address, access) = (broker.address().await, broker.access());
    let publish = move |access: Access| {
        let address = address.clone();
        let publish = move || raw_client::publish_with(&access, &address, "rig", &[b"one", b"two"]);
        tokio::task::spawn_blocking(publish)
    };
    let without_tls = Access {
        tls: None,
        ..broker.access()
    };
    let refusal = publish(without_tls).await.unwrap().unwrap_err();
    assert!(refusal.to_string().starts_with("E_INVALID"), "{refusal}");
    let without_secret = Access {
        secret: None,
        ..broker.access()
    };
    let refusal = publish(without_secret).await.unwrap().unwrap_err();
    assert!(refusal.to_string().starts_with("E_AUTH_FIRST"), "{refusal}");
    publish(access)
        .await
        .unwrap()
        .expect("every PUB is answered OK");
    assert_eq!(broker.message_count("rig").await, 2);
    assert_eq!(broker.bodies("rig", 2).await, [b"one", b"two"]);
    // Who looks is in no count.
    assert_eq!(broker.auth().authority().asked(), []);
}

async fn a_real_nsqd_asked_to_end_keeps_what_it_has(broker: Broker) {
    publish(&broker, "rig", &[b"kept"]).await;
    let nsqd = broker.real();
    nsqd.with_nsqd(|nsqd| {
        nsqd.sigterm().unwrap();
        assert!(nsqd.wait_exited().unwrap().success());
        nsqd.restart().unwrap();
    })
    .await;
    assert_eq!(broker.bodies("rig", 1).await, [b"kept"]);
}

async fn a_real_nsqd_does_to_a_topic_what_it_is_told(broker: Broker) {
    publish(&broker, "rig#ephemeral", &[b"gone"]).await;
    let nsqd = broker.real();
    nsqd.with_nsqd(|nsqd| {
        let is_paused = |nsqd: &RealNsqd| {
            nsqd.stats("rig#ephemeral").unwrap().expect("the topic")["paused"] == true
        };
        nsqd.pause_topic("rig#ephemeral", true).unwrap();
        assert!(is_paused(nsqd));
        nsqd.pause_topic("rig#ephemeral", false).unwrap();
        assert!(!is_paused(nsqd));
        nsqd.delete_topic("rig#ephemeral").unwrap();
        assert_eq!(nsqd.stats("rig#ephemeral").unwrap(), None);
    })
    .await;
    assert_eq!(broker.message_count("rig#ephemeral").await, 0);
}
