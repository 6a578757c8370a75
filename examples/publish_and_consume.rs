//! A producer and a consumer in one process, with JSON messages.
//!
//! ```sh
//! cargo run --example publish_and_consume
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{
    ConsumerConfig, ConsumerHandle, Producer, ProducerConfig, Publish, Subscription,
    embedded::EmbeddedNsqd,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    id: u32,
    item: String,
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let address = nsqd.address().to_string();

    let config = ConsumerConfig::builder(&address)
        .max_in_flight(10)
        .build()?;
    let subscription = Subscription::new("orders", "billing")?;
    let (consumer, mut messages) = ConsumerHandle::start(config, subscription);
    consumer.wait_subscribed(Duration::from_secs(5)).await?;

    let producer = Producer::start(ProducerConfig::new(address)?);
    for (id, item) in (1..).zip(["apple pie", "espresso", "tea"]) {
        let item = item.to_owned();
        producer
            .send(Publish::json("orders", &Order { id, item })?)
            .await??;
    }

    for _ in 0..3 {
        let message = messages.next().await.ok_or("the consumer has ended")?;
        let order: Order = message.json()?;
        println!(
            "order {}: {}, attempt {}",
            order.id,
            order.item,
            message.attempts()
        );
        message.finish()?;
    }
    let report = consumer.drain(Duration::from_secs(5)).await?;
    println!("drained; answers since then: {report}");
    Ok(())
}
