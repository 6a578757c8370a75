//! Samples of everything that has statistics.

use actix_nsq::embedded::{EmbeddedLookupd, EmbeddedNsqd};
use actix_nsq::metrics::Sample;
use actix_nsq::{
    ConsumerConfig, ConsumerHandle, PoolConfig, ProducerConfig, ProducerHandle, Subscription,
};

use super::wait::PATIENCE;

/// Publishes by a producer and a pool, consumes, and returns the samples of all: those of the
/// producer, the pool, the consumer and its discovery.
pub async fn of_everything() -> [Vec<Sample>; 4] {
    let lookupd = EmbeddedLookupd::start().unwrap();
    let nsqd = EmbeddedNsqd::builder().lookupd(lookupd.tcp_address());
    let nsqd = nsqd.start().unwrap();
    let config = ProducerConfig::builder(nsqd.address().to_string()).topic_stats(1);
    let producer = ProducerHandle::start(config.build().unwrap());
    for topic in ["one", "one", "two"] {
        producer.publish(topic, "message").await.unwrap();
    }
    producer.publish("one", "").await.unwrap_err();
    let lookupds = [lookupd.http_address().to_string()];
    let config = PoolConfig::discover(&lookupds).topic_stats(1);
    let pool = ProducerHandle::start_pool(config.build().unwrap());
    pool.wait_connected(PATIENCE).await.unwrap();
    pool.publish("one", "message").await.unwrap();
    let config = ConsumerConfig::discover(&lookupds).build().unwrap();
    let subscription = Subscription::new("one", "channel").unwrap();
    let (consumer, mut messages) = ConsumerHandle::start(config, subscription);
    for _ in 0..3 {
        messages.next().await.unwrap().finish().unwrap();
    }
    let samples = [
        producer.stats().await.unwrap().samples(),
        pool.stats().await.unwrap().samples(),
        consumer.stats().await.unwrap().samples(),
        consumer.lookup_state().await.unwrap().samples(),
    ];
    producer.drain(PATIENCE).await.unwrap();
    pool.drain(PATIENCE).await.unwrap();
    consumer.drain(PATIENCE).await.unwrap();
    samples
}
