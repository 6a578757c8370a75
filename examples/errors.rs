//! Decides by an error whether to publish again, to fix the message, or to alert a person.
//!
//! ```sh
//! cargo run --example errors
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{
    Delivery, ErrorScope, Producer, ProducerConfig, PublishError, PublishExt,
    embedded::EmbeddedNsqd,
};

/// What an application may do about a failed publish.
fn advice(error: &PublishError) -> &'static str {
    match (error.delivery(), error.is_retryable(), error.scope()) {
        (Delivery::NotWritten, true, _) => "publish again: it cannot duplicate the message",
        (_, true, _) => "publish again, if consumers tolerate duplicates",
        (_, false, ErrorScope::Message) => "fix this message; others are not affected",
        (_, false, ErrorScope::Topic) => {
            "check the topic: its name, and the permission to publish to it"
        }
        (_, false, _) => "alert a person",
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let config = ProducerConfig::builder(nsqd.address().to_string())
        .publish_timeout(Duration::from_secs(1))
        .build()?;
    let producer = Producer::start(config);

    let empty = producer.publish("orders", "").await;
    let invalid = producer.publish("not a topic", "an order").await;
    // The first publish is in flight when the connection is lost; the second waits for a new one.
    nsqd.stop();
    let lost = producer.publish("orders", "an order").await;
    let timeout = producer.publish("orders", "an order").await;

    for result in [empty, invalid, lost, timeout] {
        let Err(error) = result else {
            continue;
        };
        println!("{error}");
        println!(
            "    {:?}, {:?}: {}",
            error.kind(),
            error.delivery(),
            advice(&error)
        );
    }
    Ok(())
}
