//! Publishes several messages of one topic with one command and one result.
//!
//! ```sh
//! cargo run --example multi_publish
//! ```

use std::error::Error;

use actix_nsq::{MultiPublish, Producer, ProducerConfig, PublishExt, embedded::EmbeddedNsqd};

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let producer = Producer::start(ProducerConfig::new(nsqd.address().to_string())?);

    producer
        .multi_publish("orders", ["one", "two", "three"])
        .await?;

    // nsqd checks the whole batch before it stores any of it, so an invalid message fails all of
    // them. Here it is the producer that rejects the empty body, before it sends anything.
    let invalid = MultiPublish::new("orders", ["four", ""]);
    if let Err(error) = producer.send(invalid).await? {
        println!("{error}");
    }

    // Single publishes that are queued at the same moment are batched automatically.
    let publishes = (0..1_000).map(|number| producer.publish("orders", number.to_string()));
    futures::future::try_join_all(publishes).await?;

    println!(
        "{} messages stored with {} commands",
        nsqd.message_count("orders"),
        nsqd.command_count("PUB") + nsqd.command_count("MPUB"),
    );
    Ok(())
}
