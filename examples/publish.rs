//! Publishes a message and reads its result.
//!
//! ```sh
//! cargo run --example publish
//! ```

use std::error::Error;

use actix_nsq::{
    Delivery, Producer, ProducerConfig, Publish, PublishExt, Topic, embedded::EmbeddedNsqd,
};

/// Checked when the program is compiled: an invalid name is an error here.
const ORDERS: Topic = Topic::from_static("orders");

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // With a real nsqd: `ProducerConfig::new("127.0.0.1:4150")`.
    let nsqd = EmbeddedNsqd::start()?;
    let producer = Producer::start(ProducerConfig::new(nsqd.address().to_string())?);

    match producer.publish(&ORDERS, r#"{"id":1}"#).await {
        Ok(()) => println!("stored by nsqd"),
        Err(error) if error.delivery() != Delivery::NotWritten => {
            println!("may be stored, a retry may duplicate it: {error}");
        }
        Err(error) if error.is_retryable() => println!("not stored, safe to retry: {error}"),
        Err(error) => println!("not stored, and a retry would fail again: {error}"),
    }

    // The same as an actix message.
    producer
        .send(Publish::new(&ORDERS, r#"{"id":2}"#))
        .await??;

    for message in nsqd.messages("orders") {
        println!("{}", String::from_utf8_lossy(&message.body));
    }
    Ok(())
}
