//! Publishers and consumers of several kinds.

use std::time::Duration;

use actix_nsq::actix::{Actor, Context, Handler};
use actix_nsq::{
    AnyPublish, ConsumerConfig, ConsumerHandle, IncomingMessage, IncomingMessages, MessageHandler,
    PoolConfig, ProducerConfig, ProducerConfigBuilder, ProducerHandle, ProducerPool, PublishError,
    Subscription, Topic,
};
use futures::future::LocalBoxFuture;

use super::ledger::{Ledger, PUBLISH_TIMEOUT};
use crate::measure::LONG;

/// The topics, each with a consumer of another kind.
pub const TOPICS: usize = 3;

/// With this interval a frozen nsqd is detected after twice as long.
const HEARTBEATS: Duration = Duration::from_secs(1);

const CHANNEL: &str = "soak";

pub fn topic(number: usize) -> Topic {
    Topic::new(format!("soak_{number}")).unwrap()
}

/// Publishes something, and returns the future of its result.
pub type Publisher = Box<dyn Fn(AnyPublish) -> LocalBoxFuture<'static, Result<(), PublishError>>>;

pub struct Clients {
    producers: Vec<ProducerHandle>,
    pool: ProducerHandle<ProducerPool>,
    consumers: Vec<ConsumerHandle>,
    publishers: Vec<Publisher>,
}

impl Clients {
    /// Starts them, and waits until all are connected to the nsqds at these addresses.
    pub async fn start(addresses: &[String], ledger: &Ledger) -> Self {
        let config = |address: &String| {
            let config = ProducerConfig::builder(address).heartbeat_interval(HEARTBEATS);
            config.publish_timeout(PUBLISH_TIMEOUT)
        };
        let start = |config: ProducerConfigBuilder| ProducerHandle::start(config.build().unwrap());
        let single = addresses.iter().map(|address| start(config(address)));
        let unbatched = addresses
            .iter()
            .map(|it| start(config(it).auto_batch(false)));
        let producers: Vec<_> = single.chain(unbatched).collect();
        let pool = PoolConfig::builder(addresses).heartbeat_interval(HEARTBEATS);
        let pool = pool.publish_timeout(PUBLISH_TIMEOUT).build().unwrap();
        let pool = ProducerHandle::start_pool(pool);
        let mut publishers: Vec<Publisher> = Vec::new();
        for producer in &producers {
            let producer = producer.clone();
            publishers.push(Box::new(move |publish| {
                let producer = producer.clone();
                Box::pin(async move { producer.publish_message(publish).await })
            }));
        }
        let members = pool.clone();
        publishers.push(Box::new(move |publish| {
            let pool = members.clone();
            Box::pin(async move { pool.publish_message(publish).await })
        }));
        let consumers = consumers(addresses, ledger);
        for consumer in &consumers {
            consumer.wait_subscribed(LONG).await.unwrap();
        }
        Self {
            producers,
            pool,
            consumers,
            publishers,
        }
    }

    pub fn publisher(&self, turn: u64) -> &Publisher {
        &self.publishers[turn as usize % self.publishers.len()]
    }

    /// Drains all of them. Returns how many connections were lost.
    pub async fn end(self) -> u64 {
        let mut lost = 0;
        for producer in &self.producers {
            lost += producer.stats().await.unwrap().disconnects;
            producer.drain(LONG).await.unwrap();
        }
        self.pool.drain(LONG).await.unwrap();
        for consumer in &self.consumers {
            let stats = consumer.stats().await.unwrap();
            lost += stats.nsqds.iter().map(|it| it.disconnects).sum::<u64>();
            consumer.drain(LONG).await.unwrap();
        }
        lost
    }
}

/// One with a closure, one with a stream, and one with an actor that takes batches.
fn consumers(addresses: &[String], ledger: &Ledger) -> Vec<ConsumerHandle> {
    let config = ConsumerConfig::nsqds(addresses).heartbeat_interval(HEARTBEATS);
    let config = config
        .msg_timeout(Duration::from_secs(2))
        .max_in_flight(200);
    let config = config.build().unwrap();
    let subscription = |number| Subscription::new(topic(number), CHANNEL).unwrap();

    let handles = ledger.clone();
    let closure = MessageHandler::from_fn(move |message: IncomingMessage| {
        handles.handle(message);
        async { Ok::<_, PublishError>(()) }
    });
    let closure = ConsumerHandle::start_with(config.clone(), subscription(0), closure);

    let (stream, mut messages) = ConsumerHandle::start(config.clone(), subscription(1));
    let handles = ledger.clone();
    actix_rt::spawn(async move {
        while let Some(message) = messages.next().await {
            handles.handle(message);
        }
    });

    let worker = Worker(ledger.clone())
        .start()
        .recipient::<IncomingMessages>();
    let batches = ConsumerHandle::start_with(config, subscription(2), worker.into());
    vec![closure, stream, batches]
}

struct Worker(Ledger);

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<IncomingMessages> for Worker {
    type Result = ();

    fn handle(&mut self, messages: IncomingMessages, _: &mut Context<Self>) {
        messages
            .into_iter()
            .for_each(|message| self.0.handle(message));
    }
}
