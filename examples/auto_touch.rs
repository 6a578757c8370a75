//! A handler that takes longer than nsqd's message timeout: the consumer touches its message.
//!
//! ```sh
//! cargo run --example auto_touch
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{
    ConsumerConfig, ConsumerHandle, ProducerConfig, ProducerHandle, Subscription,
    embedded::EmbeddedNsqd,
};
use tokio::time::sleep;

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let address = nsqd.address().to_string();
    let producer = ProducerHandle::start(ProducerConfig::new(&address)?);
    producer.publish("videos", "a long one").await?;

    let config = ConsumerConfig::builder(address)
        .msg_timeout(Duration::from_secs(1))
        .auto_touch(true)
        .build()?;
    let (consumer, mut messages) =
        ConsumerHandle::start(config, Subscription::new("videos", "encoder")?);
    let message = messages.next().await.ok_or("the consumer has ended")?;
    sleep(Duration::from_secs(3)).await;
    message.finish()?;

    let report = consumer.drain(Duration::from_secs(5)).await?;
    let counters = consumer.stats().await?.counters;
    println!(
        "touched {} times, received {} message; {report}",
        counters.touched, counters.received
    );
    Ok(())
}
