//! The HTTP calls to nsqds and nsqlookupds of either kind.

use std::time::Duration;

use actix_nsq::admin::{self, AdminError, ChannelStats, Nsqd};
use actix_nsq::lookup::{self, Node};
use actix_nsq::{Channel, LookupConfig, Topic};

use crate::consume::fixture::{self as consume, start_stream, until};
use crate::fixture::{TOPIC, numbered, producer, publish, topic};
use crate::harness::{Scenario, lookupd_scenarios};
use crate::lookupd::registered;
use crate::support::broker::Broker;
use crate::support::lookupd::{Lookupd, LookupdSettings};

pub fn scenarios() -> Vec<Scenario> {
    let default = LookupdSettings::default;
    lookupd_scenarios![
        channels_created_beforehand_get_the_first_message(default()),
        stats_show_depth_and_what_is_in_flight(default()),
        paused_topic_and_channel_deliver_later(default()),
        emptied_and_deleted_ones_hold_nothing(default()),
        rejected_request_names_status_and_code(default()),
        wrong_ports_and_silent_servers_are_named(default()),
        names_at_lookupd_are_created_and_deleted(default()),
        node_is_tombstoned_for_one_topic(default()),
    ]
}

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

/// Starts an nsqd, and returns its HTTP API as nsqlookupd names it.
async fn nsqd(lookupd: &Lookupd) -> (Broker, Nsqd) {
    let broker = registered(lookupd.kind(), lookupd).await;
    let node = node(lookupd).await;
    (broker, Nsqd::of_node(&node).unwrap())
}

/// The first node that nsqlookupd names.
async fn node(lookupd: &Lookupd) -> Node {
    let nodes = lookup::nodes(&config(lookupd)).await.unwrap();
    nodes.into_iter().next().expect("a node")
}

fn config(lookupd: &Lookupd) -> LookupConfig {
    LookupConfig::new(lookupd.http_address()).unwrap()
}

fn admin(lookupd: &Lookupd) -> admin::Lookupd {
    admin::Lookupd::new(lookupd.http_address()).unwrap()
}

async fn channels(nsqd: &Nsqd, topic: &Topic) -> Vec<ChannelStats> {
    let stats = nsqd.topic_stats(topic).await.unwrap();
    let mut channels = stats.map(|it| it.channels).unwrap_or_default();
    channels.sort_by(|one, other| one.channel_name.cmp(&other.channel_name));
    channels
}

async fn publish_one(broker: &Broker) {
    let producer = producer(broker).await;
    publish(&producer, numbered(0)).await.expect("it is stored");
}

#[track_caller]
fn assert_rejected(result: Result<(), AdminError>, status: u16, code: &str) {
    match result {
        Err(AdminError::Rejected {
            status: its,
            message,
        }) => assert_eq!((its, message.as_str()), (status, code)),
        other => panic!("{other:?}"),
    }
}

async fn channels_created_beforehand_get_the_first_message(lookupd: Lookupd) {
    let (broker, nsqd) = nsqd(&lookupd).await;
    let topic = topic(TOPIC);
    nsqd.ping().await.unwrap();
    // A second time changes nothing.
    for _ in 0..2 {
        nsqd.create_topic(&topic).await.unwrap();
        for name in ["a", "b#ephemeral"] {
            nsqd.create_channel(&topic, &channel(name)).await.unwrap();
        }
    }
    publish_one(&broker).await;
    until("both have the message", async || {
        let channels = channels(&nsqd, &topic).await;
        let shown = channels
            .iter()
            .map(|it| (it.channel_name.as_str(), it.depth));
        shown.collect::<Vec<_>>() == [("a", 1), ("b#ephemeral", 1)]
    })
    .await;
    let ephemeral = Topic::new("t#ephemeral").unwrap();
    nsqd.create_topic(&ephemeral).await.unwrap();
    assert!(nsqd.topic_stats(&ephemeral).await.unwrap().is_some());
}

async fn stats_show_depth_and_what_is_in_flight(lookupd: Lookupd) {
    let (broker, nsqd) = nsqd(&lookupd).await;
    assert_eq!(nsqd.topic_stats(&topic(TOPIC)).await.unwrap(), None);
    let (consumer, mut messages) = start_stream(consume::config(&broker).await).await;
    publish_one(&broker).await;
    let held = messages.next().await.expect("a message");
    let stats = nsqd.stats().await.unwrap();
    assert_eq!(stats.version, lookupd.kind().version().to_string());
    assert_eq!((stats.health.as_str(), stats.topics.len()), ("OK", 1));
    assert!(stats.start_time > 1_600_000_000, "{stats:?}");
    let topic = &stats.topics[0];
    let shown = (topic.topic_name.as_str(), topic.depth, topic.message_count);
    assert_eq!(shown, (TOPIC, 0, 1));
    assert_eq!(topic.message_bytes, numbered(0).len() as u64);
    let channel = &topic.channels[0];
    let shown = (channel.depth, channel.in_flight_count, channel.client_count);
    assert_eq!(shown, (0, 1, 1), "{channel:?}");
    held.finish().unwrap();
    consume::drain(&consumer).await;
    until("nothing is in flight", async || {
        let stats = nsqd.stats().await.unwrap();
        let channel = &stats.topics[0].channels[0];
        (channel.in_flight_count, channel.client_count) == (0, 0)
    })
    .await;
}

async fn paused_topic_and_channel_deliver_later(lookupd: Lookupd) {
    let (broker, nsqd) = nsqd(&lookupd).await;
    let (topic, channel) = (topic(TOPIC), channel("a"));
    nsqd.create_topic(&topic).await.unwrap();
    nsqd.create_channel(&topic, &channel).await.unwrap();
    nsqd.pause_topic(&topic).await.unwrap();
    nsqd.pause_channel(&topic, &channel).await.unwrap();
    publish_one(&broker).await;
    let stats = nsqd.topic_stats(&topic).await.unwrap().unwrap();
    assert_eq!((stats.paused, stats.depth), (true, 1));
    assert_eq!(
        (stats.channels[0].paused, stats.channels[0].depth),
        (true, 0)
    );
    nsqd.unpause_topic(&topic).await.unwrap();
    until("the channel has it", async || {
        channels(&nsqd, &topic).await[0].depth == 1
    })
    .await;
    nsqd.unpause_channel(&topic, &channel).await.unwrap();
    let stats = nsqd.topic_stats(&topic).await.unwrap().unwrap();
    assert!(!stats.paused && !stats.channels[0].paused, "{stats:?}");
}

async fn emptied_and_deleted_ones_hold_nothing(lookupd: Lookupd) {
    let (broker, nsqd) = nsqd(&lookupd).await;
    let (topic, channel) = (topic(TOPIC), channel(consume::CHANNEL));
    publish_one(&broker).await;
    assert_eq!(nsqd.topic_stats(&topic).await.unwrap().unwrap().depth, 1);
    nsqd.empty_topic(&topic).await.unwrap();
    assert_eq!(nsqd.topic_stats(&topic).await.unwrap().unwrap().depth, 0);
    nsqd.create_channel(&topic, &channel).await.unwrap();
    publish_one(&broker).await;
    until("the channel has it", async || {
        channels(&nsqd, &topic).await[0].depth == 1
    })
    .await;
    nsqd.empty_channel(&topic, &channel).await.unwrap();
    assert_eq!(channels(&nsqd, &topic).await[0].depth, 0);
    // A deletion disconnects the consumer.
    let consumer = consume::start(
        consume::config(&broker).await,
        actix_nsq::MessageHandler::from_fn(async |message| {
            drop(message);
            Ok::<_, std::convert::Infallible>(())
        }),
    )
    .await;
    let is_subscribed_again = async |connects| {
        let nsqd = consume::stats(&consumer).await.nsqds.remove(0);
        (nsqd.connects, nsqd.is_subscribed) == (connects, true)
    };
    nsqd.delete_channel(&topic, &channel).await.unwrap();
    until("it is subscribed again", async || {
        is_subscribed_again(2).await
    })
    .await;
    nsqd.delete_topic(&topic).await.unwrap();
    until("it is subscribed again", async || {
        is_subscribed_again(3).await
    })
    .await;
    consume::drain(&consumer).await;
    nsqd.delete_topic(&topic).await.unwrap();
    assert_eq!(nsqd.stats().await.unwrap().topics, []);
}

async fn rejected_request_names_status_and_code(lookupd: Lookupd) {
    let (_broker, nsqd) = nsqd(&lookupd).await;
    let (topic, channel) = (topic(TOPIC), channel("a"));
    let no_topic = "TOPIC_NOT_FOUND";
    assert_rejected(nsqd.delete_topic(&topic).await, 404, no_topic);
    assert_rejected(nsqd.empty_topic(&topic).await, 404, no_topic);
    assert_rejected(nsqd.pause_topic(&topic).await, 404, no_topic);
    assert_rejected(nsqd.unpause_topic(&topic).await, 404, no_topic);
    assert_rejected(nsqd.create_channel(&topic, &channel).await, 404, no_topic);
    nsqd.create_topic(&topic).await.unwrap();
    let no_channel = "CHANNEL_NOT_FOUND";
    assert_rejected(nsqd.delete_channel(&topic, &channel).await, 404, no_channel);
    assert_rejected(nsqd.empty_channel(&topic, &channel).await, 404, no_channel);
    assert_rejected(nsqd.pause_channel(&topic, &channel).await, 404, no_channel);
    let error = nsqd.unpause_channel(&topic, &channel).await.unwrap_err();
    assert!(error.is_not_found());
    let text = "rejected with HTTP status 404 (CHANNEL_NOT_FOUND)";
    assert_eq!(error.to_string(), text);
}

async fn wrong_ports_and_silent_servers_are_named(lookupd: Lookupd) {
    let (broker, nsqd) = nsqd(&lookupd).await;
    for tcp in [broker.address().await, lookupd.tcp_address().to_owned()] {
        let error = Nsqd::new(tcp).unwrap().ping().await.unwrap_err();
        assert!(matches!(error, AdminError::TcpPort), "{error}");
    }
    let error = Nsqd::new("127.0.0.1:1").unwrap().stats().await.unwrap_err();
    assert!(matches!(error, AdminError::Connection(_)), "{error}");
    let other = Nsqd::new(lookupd.http_address()).unwrap();
    let error = other.stats().await.unwrap_err();
    assert!(matches!(error, AdminError::Rejected { status: 404, .. }));
    broker.freeze(true).await;
    let quick = nsqd.timeout(Duration::from_millis(100));
    let error = quick.create_topic(&topic(TOPIC)).await.unwrap_err();
    assert!(matches!(error, AdminError::Timeout { .. }), "{error}");
    broker.freeze(false).await;
    let invalid = Nsqd::new("localhost").unwrap_err().to_string();
    let text = "address \"localhost\" of nsqd's HTTP port: no port; expected host:port, such as \
                127.0.0.1:4151, or a URL";
    assert_eq!(invalid, text);
}

async fn names_at_lookupd_are_created_and_deleted(lookupd: Lookupd) {
    let admin = admin(&lookupd);
    let (topic, channel) = (topic(TOPIC), channel("a"));
    admin.ping().await.unwrap();
    for _ in 0..2 {
        admin.create_channel(&topic, &channel).await.unwrap();
        admin
            .create_topic(&Topic::new("other").unwrap())
            .await
            .unwrap();
    }
    let topics = lookup::topics(&config(&lookupd)).await.unwrap();
    assert_eq!(topics, ["other", TOPIC].map(|it| Topic::new(it).unwrap()));
    // A new nsqd creates the known channel with the topic.
    let (broker, nsqd) = nsqd(&lookupd).await;
    publish_one(&broker).await;
    until("the channel has it", async || {
        let channels = channels(&nsqd, &topic).await;
        channels.len() == 1 && channels[0].depth == 1
    })
    .await;
    admin.delete_channel(&topic, &channel).await.unwrap();
    let again = admin.delete_channel(&topic, &channel).await.unwrap_err();
    assert!(again.is_not_found(), "{again}");
    for _ in 0..2 {
        admin.delete_topic(&topic).await.unwrap();
    }
    let topics = lookup::topics(&config(&lookupd)).await.unwrap();
    assert_eq!(topics, [Topic::new("other").unwrap()]);
}

async fn node_is_tombstoned_for_one_topic(lookupd: Lookupd) {
    let (_broker, nsqd) = nsqd(&lookupd).await;
    let (topic, other) = (topic(TOPIC), Topic::new("other").unwrap());
    for topic in [&topic, &other] {
        nsqd.create_topic(topic).await.unwrap();
    }
    let found = async |topic: &Topic| {
        lookup::lookup(&config(&lookupd), topic)
            .await
            .unwrap()
            .len()
    };
    until("both are registered", async || {
        found(&topic).await + found(&other).await == 2
    })
    .await;
    let admin = admin(&lookupd);
    admin
        .tombstone(&topic, &node(&lookupd).await)
        .await
        .unwrap();
    assert_eq!((found(&topic).await, found(&other).await), (0, 1));
}
