//! Follows an order through two topics by its trace id. The log records of the crate are events of
//! the same subscriber.
//!
//! ```sh
//! cargo run --bin trace
//! ```

use std::{error::Error, time::Duration};

use actix::Addr;
use actix_nsq::{
    Consumer, ConsumerConfig, IncomingMessage, MessageHandler, Producer, ProducerConfig,
    Subscription, Topic,
    consumer::{Drain, GetStats},
    embedded::EmbeddedNsqd,
};
use integrations::trace::{self, Traced};
use tokio::time::sleep;
use tracing::Instrument;

const ORDERS: Topic = Topic::from_static("orders");
const INVOICES: Topic = Topic::from_static("invoices");

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // begin subscriber
    // With the feature `tracing-log` of tracing-subscriber, `init` also installs `LogTracer`, which
    // makes log records events.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .init();
    // end subscriber
    let nsqd = EmbeddedNsqd::start()?;
    let address = nsqd.address().to_string();
    let producer = Producer::start(ProducerConfig::new(&address)?);

    let config = ConsumerConfig::builder(address).max_in_flight(10).build()?;
    let subscription = Subscription::new("orders", "billing")?;
    let invoices = producer.clone();
    let handler = MessageHandler::from_fn(move |message| bill(message, invoices.clone()));
    let consumer = Consumer::start(config, subscription, handler);

    for item in ["apple pie", "espresso"] {
        trace::publish(&producer, &ORDERS, item, None).await?;
    }
    while consumer.send(GetStats).await?.counters.finished < 2 {
        sleep(Duration::from_millis(10)).await;
    }
    consumer.send(Drain::new(Duration::from_secs(5))).await?;
    Ok(())
}

// begin handler
async fn bill(message: IncomingMessage, producer: Addr<Producer>) -> Result<(), Box<dyn Error>> {
    let Traced {
        payload,
        context,
        span,
    } = trace::traced::<String>(&message)?;
    let handle = async {
        tracing::info!(item = payload, "order billed");
        trace::publish(&producer, &INVOICES, payload.as_str(), Some(context)).await?;
        Ok(())
    };
    handle.instrument(span).await
}
// end handler
