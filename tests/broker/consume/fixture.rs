//! Consumers for scenarios.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::{
    Consumer, ConsumerConfig, ConsumerConfigBuilder, IncomingMessage, MessageHandler,
    MessageStream, Subscription,
    consumer::{Counters, Drain, DrainReport, GetStats, Stats, WaitSubscribed},
};
use tokio::time::sleep;

use crate::fixture::{LONG, TOPIC, number_of};
use crate::support::broker::Broker;
use crate::support::scaled;
use crate::support::wait::PATIENCE;

pub const CHANNEL: &str = "consumer";

pub fn subscription() -> Subscription {
    Subscription::new(TOPIC, CHANNEL).unwrap()
}

/// Configuration of a scenario's consumer: the broker's address and a short first backoff.
pub async fn config(broker: &Broker) -> ConsumerConfigBuilder {
    ConsumerConfig::builder(broker.address().await)
        .reconnect_backoff(Duration::from_millis(20))
        .max_in_flight(200)
}

/// Starts a consumer and waits until it is subscribed.
pub async fn start(
    config: ConsumerConfigBuilder,
    handler: impl Into<MessageHandler>,
) -> Addr<Consumer> {
    let consumer = Consumer::start(config.build().unwrap(), subscription(), handler);
    until_subscribed(&consumer).await;
    consumer
}

pub async fn until_subscribed(consumer: &Addr<Consumer>) {
    let subscribed = consumer.send(WaitSubscribed::new(LONG)).await;
    subscribed.unwrap().unwrap();
}

pub async fn start_stream(config: ConsumerConfigBuilder) -> (Addr<Consumer>, MessageStream) {
    let (handler, messages) = MessageHandler::stream();
    (start(config, handler).await, messages)
}

pub async fn drain(consumer: &Addr<Consumer>) -> DrainReport {
    consumer.send(Drain::new(LONG)).await.unwrap()
}

pub async fn stats(consumer: &Addr<Consumer>) -> Stats {
    consumer.send(GetStats).await.unwrap()
}

pub async fn counters(consumer: &Addr<Consumer>) -> Counters {
    stats(consumer).await.counters
}

/// How often each number was handled.
pub type Handled = Rc<RefCell<BTreeMap<usize, usize>>>;

pub fn note(handled: &Handled, message: &IncomingMessage) {
    let number = number_of(message.body());
    *handled.borrow_mut().entry(number).or_default() += 1;
}

/// Polls until `holds`. A full run is given more time.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let patience = PATIENCE * scaled(2, 10);
    let end = Instant::now() + patience;
    while !holds().await {
        assert!(Instant::now() < end, "{what} within {patience:?}");
        sleep(Duration::from_millis(2)).await;
    }
}
