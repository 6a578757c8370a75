//! The connection: whom nsqd sees, how long it lives, and what is said of a peer that is no nsqd.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use actix_nsq::{ConnectionError, Delivery, ErrorKind, ProducerConfig, Publish};

use super::load::{TOPIC, config, numbered, numbers, publish, publish_all, start, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        nsqd_is_told_who_publishes,
        nsqd_is_told_where_the_publisher_is.only(
            Kind::Embedded,
            "nsqd 1.3.0 does not show where its clients are"
        ),
        an_idle_producer_keeps_its_connection,
        large_messages_do_not_hold_up_heartbeats,
        a_busy_handler_elsewhere_holds_up_no_heartbeat,
        a_producer_without_heartbeats_publishes,
        the_http_port_of_nsqd_is_recognised.only(Kind::Real, "the embedded nsqd has no HTTP port"),
        a_producer_connects_from_the_address_it_was_given,
        a_producer_may_connect_at_its_first_publish_only,
        several_addresses_of_a_name_are_tried,
    ]
}

const SECOND: Duration = Duration::from_secs(1);

/// checklist: 23
async fn nsqd_is_told_who_publishes(broker: Broker) {
    let config = config(&broker)
        .await
        .client_id("teller")
        .hostname("desk.example.org");
    let producer = start(config.user_agent("bank/7"));
    publish(&producer, "hello").await.unwrap();
    let clients = broker.clients().await;
    assert_eq!(clients.len(), 1);
    assert_eq!(clients[0]["client_id"], "teller");
    assert_eq!(clients[0]["hostname"], "desk.example.org");
    assert_eq!(clients[0]["user_agent"], "bank/7");
}

/// checklist: 23
async fn nsqd_is_told_where_the_publisher_is(broker: Broker) {
    let config = config(&broker)
        .await
        .topology_region("north")
        .topology_zone("n2");
    let producer = start(config.heartbeat_interval(Duration::from_millis(2_500)));
    publish(&producer, "hello").await.unwrap();
    let clients = broker.clients().await;
    assert_eq!(clients[0]["topology_region"], "north");
    assert_eq!(clients[0]["topology_zone"], "n2");
    assert_eq!(clients[0]["heartbeat_interval"], 2_500);
}

/// nsqd cuts a client that was silent for two intervals.
/// checklist: 9
async fn an_idle_producer_keeps_its_connection(broker: Broker) {
    let producer = start(config(&broker).await.heartbeat_interval(SECOND));
    publish(&producer, numbered(0)).await.unwrap();
    // Nothing tells the passing of idle time but time.
    tokio::time::sleep(5 * SECOND).await;
    publish(&producer, numbered(1)).await.unwrap();
    assert_eq!(numbers(&broker.bodies(TOPIC, 2).await), [0, 1]);
    assert_eq!(broker.handshakes().await, 1);
}

/// checklist: 9
async fn large_messages_do_not_hold_up_heartbeats(broker: Broker) {
    let producer = start(config(&broker).await.heartbeat_interval(SECOND));
    let body = actix_nsq::bytes::Bytes::from(vec![b'x'; 1 << 20]);
    let begun = Instant::now();
    let mut published = 0;
    while begun.elapsed() < 4 * SECOND {
        let sent = [(); 8].map(|()| producer.send(Publish::new(topic("large"), body.clone())));
        for answer in sent {
            answer.await.unwrap().unwrap();
            published += 1;
        }
        if published % 64 == 0 {
            broker.delete_topic("large").await;
        }
    }
    assert_eq!(broker.handshakes().await, 1, "after {published} MiB");
}

/// Heartbeats are answered on the arbiter of the connection: a blocked one elsewhere does not matter.
/// checklist: 9
async fn a_busy_handler_elsewhere_holds_up_no_heartbeat(broker: Broker) {
    let config = config(&broker).await.heartbeat_interval(SECOND);
    let arbiter = actix_nsq::actix::Arbiter::new();
    let producer =
        actix_nsq::Producer::start_in_arbiter(&arbiter.handle(), config.build().unwrap());
    publish(&producer, numbered(0)).await.unwrap();
    // This arbiter does nothing else meanwhile, not even look.
    std::thread::sleep(3 * SECOND);
    publish(&producer, numbered(1)).await.unwrap();
    assert_eq!(broker.handshakes().await, 1);
    arbiter.stop();
    arbiter.join().unwrap();
}

/// checklist: 11
async fn a_producer_without_heartbeats_publishes(broker: Broker) {
    let producer = start(config(&broker).await.heartbeat_interval(None));
    publish_all(&producer, 0..100).await.assert_all_ok();
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 100).await),
        Vec::from_iter(0..100)
    );
    if broker.kind() == Kind::Embedded {
        assert_eq!(broker.clients().await[0]["heartbeat_interval"], -1);
    }
}

/// fault: P6
/// checklist: 13, 14, 15
async fn the_http_port_of_nsqd_is_recognised(broker: Broker) {
    let http = broker.real().with_nsqd(|nsqd| nsqd.http_address()).await;
    let producer = start(ProducerConfig::builder(http));
    let hello = Publish::new(topic(TOPIC), "hello").expires_in(Duration::from_millis(500));
    let error = producer.send(hello).await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::NotWritten)
    );
    let why = error.connection_error();
    assert!(matches!(why, Some(ConnectionError::HttpServer)), "{error}");
    assert!(error.to_string().contains("HTTP"), "{error}");
}

/// checklist: 20, 21
async fn a_producer_connects_from_the_address_it_was_given(broker: Broker) {
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 9), 0));
    let producer = start(config(&broker).await.local_addr(from));
    publish(&producer, "hello").await.unwrap();
    let peer: SocketAddr = match broker.kind() {
        Kind::Embedded => broker.embedded().connections()[0].peer,
        Kind::Real => broker.clients().await[0]["remote_address"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap(),
    };
    assert_eq!(peer.ip(), from.ip());
}

async fn a_producer_may_connect_at_its_first_publish_only(broker: Broker) {
    let producer = start(config(&broker).await.connect_at_start(false));
    // Refused without a connection, and so the producer is alive by now.
    publish(&producer, "").await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(broker.handshakes().await, 0);
    publish(&producer, "hello").await.unwrap();
    assert_eq!(broker.handshakes().await, 1);
}

/// `localhost` has often an IPv6 address, on which nothing listens here.
/// fault: P3
/// checklist: 20, 21
async fn several_addresses_of_a_name_are_tried(broker: Broker) {
    let address: SocketAddr = broker.address().await.parse().unwrap();
    assert_eq!(address.ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
    let producer = start(ProducerConfig::builder(format!(
        "localhost:{}",
        address.port()
    )));
    publish(&producer, "hello").await.unwrap();
    assert_eq!(broker.bodies(TOPIC, 1).await, [b"hello"]);
}
