//! Shuts a producer down gracefully: outstanding publishes are finished, new ones rejected.
//!
//! ```sh
//! cargo run --example drain
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{
    Producer, ProducerConfig, Publish, PublishExt, embedded::EmbeddedNsqd, producer::Drain,
};

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let producer = Producer::start(ProducerConfig::new(nsqd.address().to_string())?);

    // `do_send` discards the result, and returns before the message is sent.
    for number in 0..10_000 {
        producer.do_send(Publish::new("numbers", number.to_string()));
    }

    let timeout = Duration::from_secs(10);
    let report = producer.send(Drain { timeout }).await?;
    println!("drained: {report}; clean: {}", report.is_clean());
    println!("{} messages stored", nsqd.message_count("numbers"));

    if let Err(error) = producer.publish("numbers", "too late").await {
        println!("{error}");
    }
    Ok(())
}
