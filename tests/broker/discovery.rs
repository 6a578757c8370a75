//! Consumers that find their nsqds by nsqlookupd, of either kind.

use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::{
    Consumer, ConsumerConfig, LookupConfig, MessageHandler,
    lookup::{self, GetLookupState, LookupError, Refresh},
};

use crate::consume::fixture::{CHANNEL, drain, stats, subscription, until, until_subscribed};
use crate::fixture::{TOPIC, numbered, producer, publish};
use crate::harness::{Scenario, lookupd_scenarios};
use crate::lookupd::{port, registered};
use crate::support::broker::{Broker, Kind};
use crate::support::lookupd::{Lookupd, LookupdSettings};
use crate::support::wait::PATIENCE;

/// An address on which nothing listens.
const DEAD: &str = "127.0.0.1:1";

pub fn scenarios() -> Vec<Scenario> {
    let default = LookupdSettings::default;
    lookupd_scenarios![
        first_lookupd_is_dead_and_nsqds_are_found_at_once(default()),
        killed_nsqd_is_found_again_within_two_seconds(default()),
        restarted_lookupd_costs_no_connection_and_no_message(default()),
        deleted_topic_is_not_created_by_a_consumer_that_lost_it(default()),
        tombstoned_node_keeps_its_connection_and_gets_no_new_one(default()),
        wrong_ports_are_named(default()),
        functions_return_nodes_and_topics(default()),
    ]
}

fn config(lookupds: &[&str]) -> ConsumerConfig {
    let config = ConsumerConfig::discover(lookupds.iter().copied())
        .reconnect_backoff(Duration::from_millis(20))
        .max_in_flight(200);
    config.build().unwrap()
}

/// Starts a consumer that finishes everything.
fn start(lookupds: &[&str]) -> Addr<Consumer> {
    let handler = MessageHandler::from_fn(async |message| {
        drop(message);
        Ok::<_, std::convert::Infallible>(())
    });
    Consumer::start(config(lookupds), subscription(), handler)
}

/// Starts an nsqd that has the topic, and waits until nsqlookupd knows it.
async fn with_topic(lookupd: &Lookupd) -> Broker {
    let broker = registered(lookupd.kind(), lookupd).await;
    broker.create_channel(TOPIC, CHANNEL).await;
    let port = port(&broker).await;
    let end = Instant::now() + PATIENCE;
    while !lookupd
        .producers(TOPIC)
        .await
        .unwrap_or_default()
        .contains(&port)
    {
        assert!(Instant::now() < end, "the topic is not registered");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    broker
}

async fn subscribed(consumer: &Addr<Consumer>) -> usize {
    let nsqds = stats(consumer).await.nsqds;
    nsqds.iter().filter(|nsqd| nsqd.is_subscribed).count()
}

/// Publishes a message, and waits until the consumer has finished it.
async fn deliver(broker: &Broker, consumer: &Addr<Consumer>) {
    let before = stats(consumer).await.counters.finished;
    publish(&producer(broker).await, numbered(0))
        .await
        .expect("it is stored");
    until("the message is finished", async || {
        stats(consumer).await.counters.finished > before
    })
    .await;
}

/// fault: C9
/// checklist: 81, 87
async fn first_lookupd_is_dead_and_nsqds_are_found_at_once(lookupd: Lookupd) {
    let brokers = [with_topic(&lookupd).await, with_topic(&lookupd).await];
    let began = Instant::now();
    let consumer = start(&[DEAD, lookupd.http_address()]);
    until("both are subscribed", async || {
        subscribed(&consumer).await == 2
    })
    .await;
    let after = began.elapsed();
    assert!(after < Duration::from_secs(1), "after {after:?}");
    for broker in &brokers {
        deliver(broker, &consumer).await;
    }
    drain(&consumer).await;
}

/// checklist: 88
async fn killed_nsqd_is_found_again_within_two_seconds(lookupd: Lookupd) {
    let broker = with_topic(&lookupd).await;
    let consumer = start(&[lookupd.http_address()]);
    until_subscribed(&consumer).await;
    broker.kill().await;
    let killed = Instant::now();
    until("the connection is lost", async || {
        subscribed(&consumer).await == 0
    })
    .await;
    tokio::time::sleep_until((killed + Duration::from_secs(1)).into()).await;
    broker.restart().await;
    let back = Instant::now();
    publish(&producer(&broker).await, numbered(0))
        .await
        .expect("it is stored");
    until("the message is finished", async || {
        stats(&consumer).await.counters.finished > 0
    })
    .await;
    let after = back.elapsed();
    assert!(after < Duration::from_secs(2), "after {after:?}");
    drain(&consumer).await;
}

/// checklist: 87, 89
async fn restarted_lookupd_costs_no_connection_and_no_message(lookupd: Lookupd) {
    let broker = with_topic(&lookupd).await;
    let consumer = start(&[lookupd.http_address()]);
    until_subscribed(&consumer).await;
    broker.freeze(true).await;
    lookupd.restart().await;
    for _ in 0..3 {
        assert!(consumer.send(Refresh).await.unwrap());
        until("it has answered", async || {
            let state = consumer.send(GetLookupState).await.unwrap();
            state.lookupds[0].nodes == Some(0)
        })
        .await;
    }
    broker.freeze(false).await;
    deliver(&broker, &consumer).await;
    let nsqds = stats(&consumer).await.nsqds;
    assert_eq!((nsqds.len(), nsqds[0].connects), (1, 1));
    drain(&consumer).await;
}

/// checklist: 88, 89
async fn deleted_topic_is_not_created_by_a_consumer_that_lost_it(lookupd: Lookupd) {
    let broker = with_topic(&lookupd).await;
    let consumer = start(&[lookupd.http_address()]);
    until_subscribed(&consumer).await;
    // As nsqadmin does: at nsqlookupd, and then at nsqd, which ends the subscription.
    lookupd.post(&format!("/topic/delete?topic={TOPIC}")).await;
    broker.delete_topic(TOPIC).await;
    until("the nsqd is forgotten", async || {
        stats(&consumer).await.nsqds.is_empty()
    })
    .await;
    let state = consumer.send(GetLookupState).await.unwrap();
    let queries = state.lookupds[0].queries;
    // Two more rounds.
    until("it was queried again", async || {
        let state = consumer.send(GetLookupState).await.unwrap();
        state.lookupds[0].queries >= queries + 2
    })
    .await;
    assert!(
        lookupd
            .producers(TOPIC)
            .await
            .unwrap_or_default()
            .is_empty()
    );
    assert!(stats(&consumer).await.nsqds.is_empty());
    drain(&consumer).await;
}

/// checklist: 89
async fn tombstoned_node_keeps_its_connection_and_gets_no_new_one(lookupd: Lookupd) {
    let broker = with_topic(&lookupd).await;
    let consumer = start(&[lookupd.http_address()]);
    until_subscribed(&consumer).await;
    let (_, nodes) = lookupd.get("/nodes").await;
    let node = format!("127.0.0.1:{}", nodes["producers"][0]["http_port"]);
    lookupd
        .post(&format!("/topic/tombstone?topic={TOPIC}&node={node}"))
        .await;
    let all = LookupConfig::new(lookupd.http_address()).unwrap();
    let all = lookup::nodes(&all).await.unwrap();
    assert!(all[0].topics[0].is_tombstoned, "{all:?}");
    consumer.send(Refresh).await.unwrap();
    let other = start(&[lookupd.http_address()]);
    until("both have an empty answer", async || {
        let mut all = true;
        for consumer in [&consumer, &other] {
            let state = consumer.send(GetLookupState).await.unwrap();
            all &= state.lookupds[0].nodes == Some(0);
        }
        all
    })
    .await;
    assert!(stats(&other).await.nsqds.is_empty());
    deliver(&broker, &consumer).await;
    assert_eq!(stats(&consumer).await.nsqds[0].connects, 1);
    drain(&other).await;
    drain(&consumer).await;
}

/// fault: C9
async fn wrong_ports_are_named(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let (_, nodes) = lookupd.get("/nodes").await;
    let http = format!("127.0.0.1:{}", nodes["producers"][0]["http_port"]);
    let error = async |address: &str| {
        let config = LookupConfig::new(address).unwrap();
        lookup::nodes(&config).await.unwrap_err()
    };
    let nsqd = error(&broker.address().await).await;
    assert!(matches!(nsqd, LookupError::NsqdTcpPort), "{nsqd}");
    let tcp = error(lookupd.tcp_address()).await;
    assert!(matches!(tcp, LookupError::LookupdTcpPort), "{tcp}");
    let http = error(&http).await;
    assert!(matches!(http, LookupError::NotFound), "{http}");
    let redirect = error(&format!("{}//lookup", lookupd.http_address())).await;
    if lookupd.kind() == Kind::Real {
        assert!(
            matches!(redirect, LookupError::Redirect { .. }),
            "{redirect}"
        );
    }
}

/// checklist: 81, 83
async fn functions_return_nodes_and_topics(lookupd: Lookupd) {
    let config = LookupConfig::builder([DEAD, lookupd.http_address()]);
    let config = config.build().unwrap();
    let topic = crate::fixture::topic(TOPIC);
    assert_eq!(lookup::lookup(&config, &topic).await.unwrap(), []);
    let broker = with_topic(&lookupd).await;
    let nodes = lookup::nodes(&config).await.unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!(*nodes[0].address, broker.address().await);
    assert_eq!(nodes[0].version, lookupd.kind().version().to_string());
    assert_eq!(nodes[0].topics[0].topic, topic);
    assert_eq!(
        lookup::topics(&config).await.unwrap(),
        std::slice::from_ref(&topic)
    );
    let found = lookup::lookup(&config, &topic).await.unwrap();
    assert_eq!(found[0].address, nodes[0].address);
}
