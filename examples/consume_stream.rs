//! Messages as a stream, without actors, in a plain tokio program.
//!
//! ```sh
//! cargo run --example consume_stream
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{
    ConsumerConfig, ConsumerHandle, ProducerConfig, ProducerHandle, Subscription,
    embedded::EmbeddedNsqd,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let address = nsqd.address().to_string();
    let producer = ProducerHandle::start_in_thread(ProducerConfig::new(&address)?)?;
    producer
        .multi_publish("orders", ["apple pie", "espresso", "tea"])
        .await?;

    let config = ConsumerConfig::builder(address).max_in_flight(10).build()?;
    let subscription = Subscription::new("orders", "stream")?;
    let (consumer, mut messages) = ConsumerHandle::start_in_thread(config, subscription)?;
    for _ in 0..3 {
        let message = messages.next().await.ok_or("the consumer has ended")?;
        println!("received {}", String::from_utf8_lossy(message.body()));
        message.finish()?;
    }
    let report = consumer.drain(Duration::from_secs(5)).await?;
    println!("drained; answers since then: {report}");
    Ok(())
}
