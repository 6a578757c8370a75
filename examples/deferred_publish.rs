//! Publishes a message that nsqd delivers after a delay.
//!
//! ```sh
//! cargo run --example deferred_publish
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{Producer, ProducerConfig, PublishExt, embedded::EmbeddedNsqd};

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let producer = Producer::start(ProducerConfig::new(nsqd.address().to_string())?);

    let delay = Duration::from_millis(1_500);
    producer
        .deferred_publish("reminders", delay, "call back")
        .await?;
    for message in nsqd.messages("reminders") {
        let body = String::from_utf8_lossy(&message.body);
        let delay = message.defer.unwrap_or_default();
        println!("stored: {body:?}, delivered after {delay:?}");
    }

    // The limit is nsqd's flag `--max-req-timeout`, 1 hour by default. If you change it, set the
    // producer's option `max_req_timeout` to the same value.
    let too_long = Duration::from_secs(2 * 3_600);
    let rejected = producer.deferred_publish("reminders", too_long, "too late");
    if let Err(error) = rejected.await {
        println!("{error}");
    }
    Ok(())
}
