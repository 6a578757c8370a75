//! Channels that are sampled, paused, emptied, deleted and denied.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use actix_nsq::actix::Addr;
use actix_nsq::{
    AnswerError, Consumer, ConsumerConfigBuilder, MessageHandler, MessageStream, Publish,
    Subscription, WaitError, consumer::WaitSubscribed,
};
use futures::FutureExt;
use tokio::time::{sleep, timeout};

use super::fixture::{
    CHANNEL, config, counters, drain, start_stream, stats, until, until_subscribed,
};
use crate::fixture::{TOPIC, number_of, numbered, producer, publish, publish_all, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::auth_server::Grant;
use crate::support::broker::{Broker, ChannelState, Kind, Settings};
use crate::support::scaled;

pub fn scenarios() -> Vec<Scenario> {
    let in_memory = Settings::in_memory;
    scenarios![
        sampled_subscription_receives_its_share.with(in_memory()),
        ephemeral_channel_can_be_subscribed_again_at_once.with(in_memory()),
        paused_channel_delivers_nothing_until_it_is_unpaused,
        finish_for_an_emptied_channel_is_rejected_and_reported,
        deleted_topic_or_channel_is_subscribed_again,
        denied_topic_is_named_by_the_error.with(Settings::default().and_auth()),
        sparse_messages_do_not_wait_for_a_full_buffer.with(in_memory()),
        answer_after_a_lost_connection_says_so,
    ]
}

/// The next message comes within a moment.
async fn next(messages: &mut MessageStream) -> actix_nsq::IncomingMessage {
    let next = timeout(crate::support::wait::PATIENCE, messages.next()).await;
    next.expect("a message is delivered").unwrap()
}

/// checklist: 73
async fn sampled_subscription_receives_its_share(broker: Broker) {
    const COUNT: usize = 2_000;
    let producer = producer(&broker).await;
    let (consumer, mut messages) = start_stream(config(&broker).await.sample_rate(25)).await;
    let handled = actix_rt::spawn(async move {
        let mut handled = 0;
        while let Some(message) = messages.next().await {
            message.finish().unwrap();
            handled += 1;
        }
        handled
    });
    publish_all(&producer, 0..COUNT).await.assert_all_ok();
    until("nsqd has no message left", async || {
        let is_left = broker.channel(TOPIC, CHANNEL).await != ChannelState::default();
        !is_left && counters(&consumer).await.finished > 0
    })
    .await;
    sleep(Duration::from_millis(100)).await;
    assert!(drain(&consumer).await.is_clean());
    let handled: usize = handled.await.unwrap();
    // Five standard deviations are 97.
    assert!((400..=600).contains(&handled), "{handled} of {COUNT}");
}

/// nsqd deletes the channel with its last consumer, and the topic with its last channel, and may
/// reject a subscription meanwhile.
/// checklist: 74
async fn ephemeral_channel_can_be_subscribed_again_at_once(broker: Broker) {
    const EPHEMERAL: &str = "scenario#ephemeral";
    let producer = producer(&broker).await;
    for round in 0..scaled(10, 200) {
        let subscription = Subscription::new(EPHEMERAL, "consumer#ephemeral").unwrap();
        let (handler, mut messages) = MessageHandler::stream();
        let config = config(&broker).await.build().unwrap();
        let consumer = Consumer::start(config, subscription, handler);
        until_subscribed(&consumer).await;
        let message = Publish::new(topic(EPHEMERAL), numbered(round));
        producer.send(message).await.unwrap().unwrap();
        let message = next(&mut messages).await;
        assert_eq!(number_of(message.body()), round);
        message.finish().unwrap();
        assert!(drain(&consumer).await.is_clean(), "round {round}");
    }
}

/// checklist: 75
async fn paused_channel_delivers_nothing_until_it_is_unpaused(broker: Broker) {
    let producer = producer(&broker).await;
    let (consumer, mut messages) = start_stream(config(&broker).await).await;
    publish(&producer, "before").await.unwrap();
    next(&mut messages).await.finish().unwrap();
    broker.pause_channel(TOPIC, CHANNEL).await;
    publish(&producer, "paused").await.unwrap();
    let paused = timeout(Duration::from_millis(500), messages.next()).await;
    assert!(paused.is_err(), "{paused:?}");
    broker.unpause_channel(TOPIC, CHANNEL).await;
    let message = next(&mut messages).await;
    assert_eq!(message.body(), "paused");
    message.finish().unwrap();
    assert!(drain(&consumer).await.is_clean());
    assert_eq!(stats(&consumer).await.nsqds[0].disconnects, 0);
}

/// The connection lives.
/// consumer contract: 12
/// checklist: 63, 75
async fn finish_for_an_emptied_channel_is_rejected_and_reported(broker: Broker) {
    let producer = producer(&broker).await;
    let (consumer, mut messages) = start_stream(config(&broker).await).await;
    publish_all(&producer, 0..5).await.assert_all_ok();
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&mut messages).await);
    }
    broker.empty_channel(TOPIC, CHANNEL).await;
    for message in held {
        message.finish().unwrap();
    }
    until("the answers are rejected", async || {
        counters(&consumer).await.answers_failed == 5
    })
    .await;
    publish(&producer, "after").await.unwrap();
    let after = next(&mut messages).await;
    assert_eq!(after.body(), "after");
    after.finish().unwrap();
    assert!(drain(&consumer).await.is_clean());
    assert_eq!(stats(&consumer).await.nsqds[0].disconnects, 0);
    let state = broker.channel(TOPIC, CHANNEL).await;
    assert_eq!(state, ChannelState::default());
}

/// checklist: 76
/// fault: C6
async fn deleted_topic_or_channel_is_subscribed_again(broker: Broker) {
    let producer = producer(&broker).await;
    let (consumer, mut messages) = start_stream(config(&broker).await).await;
    publish(&producer, "first").await.unwrap();
    let held = next(&mut messages).await;
    for (round, is_topic) in [true, false, true, false].into_iter().enumerate() {
        if is_topic {
            broker.delete_topic(TOPIC).await;
        } else {
            broker.delete_channel(TOPIC, CHANNEL).await;
        }
        until_subscribed_again(&consumer, round as u64 + 1).await;
        publish(&producer, format!("{round}")).await.unwrap();
        let message = next(&mut messages).await;
        assert_eq!(*message.body(), format!("{round}"));
        message.finish().unwrap();
    }
    assert_eq!(held.finish(), Err(AnswerError::ConnectionLost));
    until("the answer is counted", async || {
        counters(&consumer).await.unwritten == 1
    })
    .await;
    assert!(drain(&consumer).await.is_clean());
}

async fn until_subscribed_again(consumer: &Addr<Consumer>, times: u64) {
    until("it is subscribed again", async || {
        let nsqd = stats(consumer).await.nsqds.remove(0);
        nsqd.is_subscribed && nsqd.disconnects == times
    })
    .await;
}

/// The other topic is not affected.
/// consumer contract: 12
/// checklist: 51, 101
async fn denied_topic_is_named_by_the_error(broker: Broker) {
    let grant = Grant::topics("client", &[TOPIC]).and_channels();
    broker.auth().authority().grant("secret", grant);
    let configure = async |config: ConsumerConfigBuilder| config.auth_secret("secret");
    let (consumer, mut messages) = start_stream(configure(config(&broker).await).await).await;
    let denied = Subscription::new("denied", CHANNEL).unwrap();
    let (handler, _messages) = MessageHandler::stream();
    let config = configure(config(&broker).await).await;
    let other = Consumer::start(config.build().unwrap(), denied, handler);
    let waited = other.send(WaitSubscribed::new(Duration::from_millis(500)));
    match waited.await.unwrap() {
        Err(error @ WaitError::Timeout { .. }) => {
            let error = error.to_string();
            assert!(error.contains("E_UNAUTHORIZED"), "{error}");
            assert!(error.contains("denied"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let producer = crate::fixture::config(&broker).await.auth_secret("secret");
    publish(&crate::fixture::start(producer), "granted")
        .await
        .unwrap();
    next(&mut messages).await.finish().unwrap();
    assert!(drain(&consumer).await.is_clean());
    assert!(drain(&other).await.is_clean());
}

/// nsqd flushes after `output_buffer_timeout` at the latest.
/// checklist: 80
async fn sparse_messages_do_not_wait_for_a_full_buffer(broker: Broker) {
    let producer = producer(&broker).await;
    let (consumer, mut messages) = start_stream(config(&broker).await).await;
    let mut latencies = Vec::new();
    for number in 0..scaled(20, 200) {
        sleep(Duration::from_millis(fastrand::u64(13..133))).await;
        let published = Instant::now();
        publish(&producer, numbered(number)).await.unwrap();
        next(&mut messages).await.finish().unwrap();
        latencies.push(published.elapsed());
    }
    latencies.sort_unstable();
    let (median, p90) = (
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 9 / 10],
    );
    eprintln!("{}: median {median:?}, p90 {p90:?}", broker.kind());
    assert!(median < Duration::from_millis(25), "{latencies:?}");
    assert!(drain(&consumer).await.is_clean());
}

/// nsqd delivers what it has not executed again.
/// consumer contract: 1, 2
/// checklist: 62
async fn answer_after_a_lost_connection_says_so(broker: Broker) {
    let producer = producer(&broker).await;
    let (consumer, mut messages) = start_stream(config(&broker).await).await;
    publish_all(&producer, 0..3).await.assert_all_ok();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut messages).await);
    }
    broker.terminate().await;
    broker.restart().await;
    until_subscribed_again(&consumer, 1).await;
    for message in held {
        assert_eq!(message.finish(), Err(AnswerError::ConnectionLost));
    }
    until("the answers are counted", async || {
        counters(&consumer).await.unwritten == 3
    })
    .await;
    // A real nsqd that stops may lose the first message that it writes to its disk: it is then
    // about to send it.
    let mut numbers = BTreeSet::new();
    let may_lose = broker.kind() == Kind::Real;
    until("nsqd has nothing left", async || {
        while let Some(Some(message)) = messages.next().now_or_never() {
            assert!(numbers.insert(number_of(message.body())));
            message.finish().unwrap();
        }
        let state = broker.channel(TOPIC, CHANNEL).await;
        numbers.len() == 3 || may_lose && numbers.len() == 2 && state == ChannelState::default()
    })
    .await;
    assert!(numbers.is_subset(&BTreeSet::from([0, 1, 2])), "{numbers:?}");
    assert!(drain(&consumer).await.is_clean());
    let state = broker.channel(TOPIC, CHANNEL).await;
    assert_eq!(state, ChannelState::default());
}
