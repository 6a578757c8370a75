//! Prints the metrics of a producer and a consumer beside one of the application.
//!
//! ```sh
//! cargo run --bin prometheus
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{
    ConsumerConfig, ConsumerHandle, ProducerConfig, ProducerHandle, Subscription,
    embedded::EmbeddedNsqd,
};
use integrations::collector::SampleCollector;
use prometheus::{IntCounter, Registry, TextEncoder};

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let address = nsqd.address().to_string();
    let producer = ProducerHandle::start(ProducerConfig::new(&address)?);
    let config = ConsumerConfig::builder(address).max_in_flight(10).build()?;
    let subscription = Subscription::new("orders", "billing")?;
    let (consumer, mut messages) = ConsumerHandle::start(config, subscription);

    let registry = Registry::new();
    let orders = IntCounter::new("orders_total", "Orders of customers.")?;
    registry.register(Box::new(orders.clone()))?;
    let collector = SampleCollector::default();
    registry.register(Box::new(collector.clone()))?;

    for number in 0..100 {
        producer
            .publish("orders", format!("order {number}"))
            .await?;
        orders.inc();
        let message = messages.next().await.ok_or("the consumer has ended")?;
        message.finish()?;
    }
    println!(
        "{}",
        metrics(&registry, &collector, &producer, &consumer).await?
    );
    consumer.drain(Duration::from_secs(5)).await?;
    producer.drain(Duration::from_secs(5)).await?;
    Ok(())
}

// begin metrics
/// Returns the body of `GET /metrics`.
async fn metrics(
    registry: &Registry,
    collector: &SampleCollector,
    producer: &ProducerHandle,
    consumer: &ConsumerHandle,
) -> Result<String, Box<dyn Error>> {
    let mut samples = producer.stats().await?.samples();
    samples.extend(consumer.stats().await?.samples());
    collector.update(samples);
    Ok(TextEncoder::new().encode_to_string(&registry.gather())?)
}
// end metrics
