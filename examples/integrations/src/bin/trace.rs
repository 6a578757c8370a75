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
    PublishExt, Subscription, Topic,
    consumer::{Drain, GetStats},
    embedded::EmbeddedNsqd,
};
use integrations::trace::{self, Traced};
use tokio::time::sleep;
use tracing::Instrument;

const ORDERS: Topic = Topic::from_static("orders");
const INVOICES: Topic = Topic::from_static("invoices");
const DEAD_ORDERS: Topic = Topic::from_static("dead_orders");

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
    // From a program that knows no envelopes.
    producer.publish(&ORDERS, "lemonade").await?;
    while consumer.send(GetStats).await?.counters.finished < 3 {
        sleep(Duration::from_millis(10)).await;
    }
    consumer.send(Drain::new(Duration::from_secs(5))).await?;
    Ok(())
}

// begin handler
async fn bill(message: IncomingMessage, producer: Addr<Producer>) -> Result<(), Box<dyn Error>> {
    let traced = match trace::traced::<String>(&message) {
        Ok(traced) => traced,
        Err(error) => {
            // It can never be read. If it cannot be stored either, it comes again.
            producer
                .publish(&DEAD_ORDERS, message.body().clone())
                .await?;
            tracing::error!(%error, "order without an envelope, moved to {DEAD_ORDERS}");
            return Ok(());
        }
    };
    let Traced {
        payload,
        context,
        span,
    } = traced;
    let handle = async {
        tracing::info!(item = payload, "order billed");
        trace::publish(&producer, &INVOICES, payload.as_str(), Some(context)).await?;
        Ok(())
    };
    handle.instrument(span).await
}
// end handler
