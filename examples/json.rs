//! Publishes a value as JSON.
//!
//! ```sh
//! cargo run --example json
//! ```

use std::error::Error;

use actix_nsq::{Producer, ProducerConfig, Publish, embedded::EmbeddedNsqd};
use serde::Serialize;

#[derive(Serialize)]
struct Order {
    id: u64,
    items: Vec<&'static str>,
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let producer = Producer::start(ProducerConfig::new(nsqd.address().to_string())?);

    let order = Order {
        id: 1,
        items: vec!["tea", "milk"],
    };
    producer.send(Publish::json("orders", &order)?).await??;

    for message in nsqd.messages("orders") {
        println!("{}", String::from_utf8_lossy(&message.body));
    }
    Ok(())
}
