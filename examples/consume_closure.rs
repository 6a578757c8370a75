//! An async closure that handles several messages at the same time. Its result answers them.
//!
//! ```sh
//! cargo run --example consume_closure
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{
    Consumer, ConsumerConfig, IncomingMessage, MessageHandler, Producer, ProducerConfig,
    PublishExt, Subscription,
    consumer::{Drain, GetStats},
    embedded::EmbeddedNsqd,
};
use tokio::time::sleep;

async fn handle(message: IncomingMessage) -> Result<(), String> {
    let text = String::from_utf8(message.body().to_vec()).map_err(|error| error.to_string())?;
    sleep(Duration::from_millis(100)).await;
    println!("handled {text}");
    Ok(())
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let address = nsqd.address().to_string();
    let producer = Producer::start(ProducerConfig::new(&address)?);

    let config = ConsumerConfig::builder(address)
        .max_in_flight(10)
        .handler_timeout(Duration::from_secs(30))
        .build()?;
    let subscription = Subscription::new("numbers", "handler")?;
    let consumer = Consumer::start(config, subscription, MessageHandler::from_fn(handle));

    for number in 0..20 {
        producer.publish("numbers", number.to_string()).await?;
    }
    while consumer.send(GetStats).await?.counters.finished < 20 {
        sleep(Duration::from_millis(10)).await;
    }
    println!(
        "drained; answers since then: {}",
        consumer.send(Drain::new(Duration::from_secs(5))).await?
    );
    Ok(())
}
