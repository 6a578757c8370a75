//! A client that handles the messages of one topic.

use std::time::Duration;

use actix_nsq::actix::{Actor, spawn};
use actix_nsq::{ConsumerConfig, ConsumerHandle, IncomingMessage, MessageStream, Subscription};
use tokio::time::{interval, sleep};

use crate::client::{self, CHANNEL, DRAIN_TIMEOUT, HANDLED, MSG_TIMEOUT, Observer, max_in_flight};

/// Maximum time of a handler in milliseconds.
const MAX_HANDLING_MS: u64 = 20;

/// Handles messages until it is stopped.
pub async fn run(nsqds: usize, lookupds: Vec<String>) {
    let config = ConsumerConfig::discover(lookupds)
        .connection(client::connection())
        .lookupd_poll_interval(client::LOOKUPD_POLL_INTERVAL)
        .lookupd_poll_timeout(client::LOOKUPD_POLL_TIMEOUT)
        .msg_timeout(MSG_TIMEOUT)
        .max_in_flight(max_in_flight(nsqds));
    let subscription = Subscription::new(HANDLED, CHANNEL).expect("valid names");
    let config = config.build().expect("a valid configuration");
    let (consumer, messages) = ConsumerHandle::start(config, subscription);
    let observer = Observer {
        then: Box::new(|| ()),
    };
    consumer.subscribe_connections(observer.start().recipient());
    spawn(report_subscribed(consumer.clone()));
    spawn(handle_all(messages));
    client::stopped().await;
    let report = consumer.drain(DRAIN_TIMEOUT).await;
    let report = report.expect("the consumer can be drained");
    if !report.is_clean() {
        println!("problem a consumer is not drained: {report}");
    }
}

async fn report_subscribed(consumer: ConsumerHandle) {
    let mut ticks = interval(client::REPORT_INTERVAL);
    while let Ok(stats) = consumer.stats().await {
        let up = stats.nsqds.iter().filter(|nsqd| nsqd.is_subscribed);
        client::report_up(up.map(|nsqd| &*nsqd.address));
        ticks.tick().await;
    }
}

async fn handle_all(mut messages: MessageStream) {
    while let Some(message) = messages.next().await {
        spawn(handle(message));
    }
}

async fn handle(message: IncomingMessage) {
    sleep(Duration::from_millis(fastrand::u64(..MAX_HANDLING_MS))).await;
    let id = message.id();
    let id = String::from_utf8_lossy(id.as_bytes());
    let body = String::from_utf8_lossy(message.body());
    println!("handled {} {id} {body}", message.address());
    // Fails if the connection is lost: the message is redelivered.
    let _ = message.finish();
}
