//! Registration of nsqds with nsqlookupds, and what lookups answer when either fails.
//!
//! "As one kind" means: an embedded nsqd with an embedded nsqlookupd, a real one with a real one.

use std::time::{Duration, Instant};

use crate::fixture::{TOPIC, numbered, producer, publish};
use crate::harness::{Scenario, lookupd_scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::lookupd::{Lookupd, LookupdSettings};
use crate::support::wait::{self, PATIENCE};

/// A real nsqd needs up to 15 s to notice that a connection to nsqlookupd is lost, and as long to
/// connect again.
const RECONNECT: Duration = Duration::from_secs(45);

/// Time that an embedded nsqd needs instead.
const PING_INTERVAL: Duration = Duration::from_millis(50);

pub fn scenarios() -> Vec<Scenario> {
    let default = LookupdSettings::default;
    // Longer than a step on a busy machine.
    let short = Duration::from_secs(2);
    lookupd_scenarios![
        embedded_nsqd_registers_what_is_created_and_deleted(default()),
        real_nsqd_registers_what_is_created_and_deleted(default()).starting_a_real_nsqd(),
        killed_nsqd_is_removed_and_its_topics_stay(default()),
        suspended_nsqd_is_listed_for_the_inactive_timeout(LookupdSettings {
            inactive_producer_timeout: short,
            ..default()
        })
        .taking_long(),
        restarted_lookupd_knows_no_topic_until_nsqd_reconnects(default()).taking_long(),
        deleted_topic_returns_only_with_the_next_connection(default()).taking_long(),
        tombstone_hides_a_topic_of_a_node_for_its_lifetime(LookupdSettings {
            tombstone_lifetime: short,
            ..default()
        }),
        first_message_reaches_the_channels_that_lookupd_knows(default()),
        first_message_without_lookupd_reaches_no_other_channel(default()),
        suspended_lookupd_delays_the_first_message_of_a_topic(default()),
        nsqds_of_both_kinds_send_the_same_commands(default())
            .only(Kind::Embedded, "it records what nsqds send")
            .starting_a_real_nsqd(),
    ]
}

/// Starts an nsqd that registers with this nsqlookupd, and waits until it has.
pub async fn registered(kind: Kind, lookupd: &Lookupd) -> Broker {
    let known = lookupd.nodes().await;
    let broker = Broker::start(
        kind,
        Settings {
            lookupds: vec![lookupd.tcp_address().to_owned()],
            lookupd_ping_interval: PING_INTERVAL,
            in_memory: true,
            ..Settings::default()
        },
    )
    .await;
    let end = Instant::now() + PATIENCE;
    while lookupd.nodes().await == known {
        assert!(Instant::now() < end, "nsqd does not register");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    broker
}

pub async fn port(broker: &Broker) -> u16 {
    let address = broker.address().await;
    let port = address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    port.expect("an address has a port")
}

/// Waits until exactly these channels are registered, in any order.
async fn until_channels(lookupd: &Lookupd, topic: &str, expected: &[&str]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let (_, answer) = lookupd.get(&format!("/channels?topic={topic}")).await;
        let channels = answer["channels"].as_array().cloned().unwrap_or_default();
        let mut channels: Vec<_> = channels.iter().filter_map(|name| name.as_str()).collect();
        channels.sort_unstable();
        if channels == expected {
            return;
        }
        assert!(Instant::now() < end, "{channels:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn publish_one(broker: &Broker) {
    let producer = producer(broker).await;
    publish(&producer, numbered(0)).await.expect("it is stored");
}

async fn embedded_nsqd_registers_what_is_created_and_deleted(lookupd: Lookupd) {
    nsqd_registers_what_is_created_and_deleted(Kind::Embedded, lookupd).await;
}

async fn real_nsqd_registers_what_is_created_and_deleted(lookupd: Lookupd) {
    nsqd_registers_what_is_created_and_deleted(Kind::Real, lookupd).await;
}

async fn nsqd_registers_what_is_created_and_deleted(kind: Kind, lookupd: Lookupd) {
    let broker = registered(kind, &lookupd).await;
    let port = port(&broker).await;
    publish_one(&broker).await;
    lookupd
        .until_producers(TOPIC, Some(&[port]), PATIENCE)
        .await;
    until_channels(&lookupd, TOPIC, &[]).await;
    broker.create_channel(TOPIC, "a").await;
    broker.create_channel(TOPIC, "b#ephemeral").await;
    until_channels(&lookupd, TOPIC, &["a", "b#ephemeral"]).await;

    // The names of channels and topics stay, except ephemeral ones.
    broker.delete_channel(TOPIC, "a").await;
    broker.delete_channel(TOPIC, "b#ephemeral").await;
    until_channels(&lookupd, TOPIC, &["a"]).await;
    broker.delete_topic(TOPIC).await;
    lookupd.until_producers(TOPIC, Some(&[]), PATIENCE).await;
    let (_, nodes) = lookupd.get("/nodes").await;
    let node = &nodes["producers"][0];
    assert_eq!(node["broadcast_address"], "127.0.0.1");
    assert_eq!(node["version"], kind.version().to_string());
    assert_eq!(node["topics"].as_array().map(Vec::len), Some(0));
}

async fn killed_nsqd_is_removed_and_its_topics_stay(lookupd: Lookupd) {
    let [first, second] = [
        registered(lookupd.kind(), &lookupd).await,
        registered(lookupd.kind(), &lookupd).await,
    ];
    for broker in [&first, &second] {
        publish_one(broker).await;
    }
    let mut ports = [port(&first).await, port(&second).await];
    ports.sort_unstable();
    lookupd.until_producers(TOPIC, Some(&ports), PATIENCE).await;
    let left = port(&second).await;
    first.kill().await;
    lookupd
        .until_producers(TOPIC, Some(&[left]), PATIENCE)
        .await;
    assert_eq!(lookupd.nodes().await, [left]);
    second.kill().await;
    lookupd.until_producers(TOPIC, Some(&[]), PATIENCE).await;
    assert!(lookupd.nodes().await.is_empty());
}

async fn suspended_nsqd_is_listed_for_the_inactive_timeout(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let port = port(&broker).await;
    let start = Instant::now();
    broker.create_channel(TOPIC, "a").await;
    lookupd
        .until_producers(TOPIC, Some(&[port]), PATIENCE)
        .await;
    broker.freeze(true).await;
    lookupd.until_producers(TOPIC, Some(&[]), PATIENCE).await;
    let listed = start.elapsed();
    assert!(listed < Duration::from_secs(10), "listed for {listed:?}");
    assert!(lookupd.nodes().await.is_empty());
    // Its next PING makes it active again.
    broker.freeze(false).await;
    lookupd
        .until_producers(TOPIC, Some(&[port]), RECONNECT)
        .await;
}

async fn restarted_lookupd_knows_no_topic_until_nsqd_reconnects(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let port = port(&broker).await;
    broker.create_channel(TOPIC, "a").await;
    lookupd
        .until_producers(TOPIC, Some(&[port]), PATIENCE)
        .await;
    // The embedded nsqd reconnects too fast to see the time in between.
    broker.freeze(true).await;
    lookupd.restart().await;
    assert_eq!(lookupd.producers(TOPIC).await, None);
    assert!(lookupd.nodes().await.is_empty());
    broker.freeze(false).await;
    lookupd
        .until_producers(TOPIC, Some(&[port]), RECONNECT)
        .await;
    until_channels(&lookupd, TOPIC, &["a"]).await;
}

async fn deleted_topic_returns_only_with_the_next_connection(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let port = port(&broker).await;
    publish_one(&broker).await;
    lookupd
        .until_producers(TOPIC, Some(&[port]), PATIENCE)
        .await;
    lookupd.post(&format!("/topic/delete?topic={TOPIC}")).await;
    publish_one(&broker).await;
    // Another registration is executed, that of this topic is not repeated.
    broker.create_channel("other", "a").await;
    lookupd
        .until_producers("other", Some(&[port]), PATIENCE)
        .await;
    assert_eq!(lookupd.producers(TOPIC).await, None);
    lookupd.restart().await;
    lookupd
        .until_producers(TOPIC, Some(&[port]), RECONNECT)
        .await;
}

async fn tombstone_hides_a_topic_of_a_node_for_its_lifetime(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let port = port(&broker).await;
    for topic in [TOPIC, "other"] {
        broker.create_channel(topic, "a").await;
        lookupd
            .until_producers(topic, Some(&[port]), PATIENCE)
            .await;
    }
    let (_, nodes) = lookupd.get("/nodes").await;
    let http_port = &nodes["producers"][0]["http_port"];
    let tombstone = |node: String| format!("/topic/tombstone?topic={TOPIC}&node={node}");
    // Nothing matches, and the answer is 200.
    lookupd
        .post(&tombstone(format!("[127.0.0.1]:{http_port}")))
        .await;
    assert_eq!(lookupd.producers(TOPIC).await, Some(vec![port]));
    let start = Instant::now();
    lookupd
        .post(&tombstone(format!("127.0.0.1:{http_port}")))
        .await;
    assert_eq!(lookupd.producers(TOPIC).await, Some(vec![]));
    publish_one(&broker).await;
    lookupd
        .until_producers("other", Some(&[port]), PATIENCE)
        .await;
    lookupd
        .until_producers(TOPIC, Some(&[port]), PATIENCE)
        .await;
    assert!(start.elapsed() >= Duration::from_secs(2));
}

async fn first_message_reaches_the_channels_that_lookupd_knows(lookupd: Lookupd) {
    for channel in ["a", "b", "c%23ephemeral"] {
        let target = format!("/channel/create?topic={TOPIC}&channel={channel}");
        lookupd.post(&target).await;
    }
    let broker = registered(lookupd.kind(), &lookupd).await;
    publish_one(&broker).await;
    for (channel, depth) in [("a", 1), ("b", 1), ("c#ephemeral", 0)] {
        let end = Instant::now() + PATIENCE;
        while broker.channel(TOPIC, channel).await.depth != depth {
            assert!(Instant::now() < end, "depth of {channel}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn first_message_without_lookupd_reaches_no_other_channel(lookupd: Lookupd) {
    let target = format!("/channel/create?topic={TOPIC}&channel=a");
    lookupd.post(&target).await;
    let broker = registered(lookupd.kind(), &lookupd).await;
    lookupd.kill().await;
    publish_one(&broker).await;
    // The first channel gets what the topic holds, the next one nothing.
    for (channel, depth) in [("b", 1), ("a", 0)] {
        broker.create_channel(TOPIC, channel).await;
        let end = Instant::now() + PATIENCE;
        while broker.channel(TOPIC, channel).await.depth != depth {
            assert!(Instant::now() < end, "depth of {channel}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn suspended_lookupd_delays_the_first_message_of_a_topic(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    lookupd.freeze(true).await;
    let producer = producer(&broker).await;
    let start = Instant::now();
    publish(&producer, numbered(0)).await.expect("it is stored");
    let first = start.elapsed();
    publish(&producer, numbered(1)).await.expect("it is stored");
    lookupd.freeze(false).await;
    assert!(first >= Duration::from_millis(4_900), "after {first:?}");
    assert!(start.elapsed() < Duration::from_secs(9));
}

/// The commands of both kinds of nsqd, sorted: a real one may send them in another order.
async fn nsqds_of_both_kinds_send_the_same_commands(lookupd: Lookupd) {
    let mut sent = Vec::new();
    for kind in [Kind::Embedded, Kind::Real] {
        let before = lookupd.embedded().commands().len();
        let broker = registered(kind, &lookupd).await;
        publish_one(&broker).await;
        broker.create_channel(TOPIC, "a").await;
        broker.create_channel(TOPIC, "b").await;
        until_channels(&lookupd, TOPIC, &["a", "b"]).await;
        broker.delete_channel(TOPIC, "a").await;
        broker.delete_topic(TOPIC).await;
        let commands = || {
            let commands = lookupd.embedded().commands().split_off(before);
            let others = commands.into_iter().filter(|it| it.name != "PING");
            let mut texts: Vec<_> = others
                .map(|it| format!("{} {} {:?}", it.name, it.parameters.join(" "), it.error))
                .collect();
            texts.sort_unstable();
            texts
        };
        // IDENTIFY, and a creation and a deletion of a topic and two channels.
        wait::until("all commands", || commands().len() >= 7).await;
        broker.kill().await;
        sent.push(commands());
        // The names would be known to the next nsqd.
        lookupd.restart().await;
    }
    assert_eq!(sent[0], sent[1]);
    let queries = lookupd.embedded().queries().into_iter();
    let queries = queries.filter(|query| query.target == format!("/channels?topic={TOPIC}"));
    let accepts: Vec<_> = queries
        .filter_map(|it| it.header("accept").map(str::to_owned))
        .collect();
    assert_eq!(accepts, ["application/vnd.nsq; version=1.0"; 2]);
}
