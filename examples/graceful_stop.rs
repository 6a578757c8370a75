//! Stops a consumer so that nsqd has executed every answer: on Ctrl-C, or after a second.
//!
//! ```sh
//! cargo run --example graceful_stop
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{
    Consumer, ConsumerConfig, IncomingMessage, MessageHandler, ProducerConfig, ProducerHandle,
    Subscription, consumer::Drain, embedded::EmbeddedNsqd,
};
use tokio::time::{sleep, timeout};

async fn handle(_: IncomingMessage) -> Result<(), &'static str> {
    sleep(Duration::from_millis(100)).await;
    Ok(())
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let address = nsqd.address().to_string();
    let producer = ProducerHandle::start(ProducerConfig::new(&address)?);
    producer
        .multi_publish("numbers", (0..1_000).map(|n| n.to_string()))
        .await?;

    let config = ConsumerConfig::builder(address)
        .max_in_flight(50)
        .concurrency(10)
        .build()?;
    let subscription = Subscription::new("numbers", "slow")?;
    let consumer = Consumer::start(config, subscription, MessageHandler::from_fn(handle));

    println!("Ctrl-C stops it");
    let _ = timeout(Duration::from_secs(1), tokio::signal::ctrl_c()).await;
    // Running handlers may end; messages that wait are returned.
    let report = consumer.send(Drain::new(Duration::from_secs(10))).await?;
    println!("drained: {report}; clean: {}", report.is_clean());
    let channel = nsqd.channel("numbers", "slow").ok_or("no channel")?;
    println!(
        "nsqd: {} in the channel, {} in flight",
        channel.depth, channel.in_flight_count
    );
    Ok(())
}
