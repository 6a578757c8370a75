//! Observes a producer: connection events, producer events, and discarded failures.
//!
//! ```sh
//! cargo run --example events
//! ```

use std::{error::Error, time::Duration};

use actix::prelude::*;
use actix_nsq::{
    ConnectionEvent, Producer, ProducerConfig, ProducerEvent, Publish, PublishExt, PublishFailure,
    SubscribeEvents, SubscribeFailures, embedded::EmbeddedNsqd, producer::Drain,
};

struct Watcher;

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        println!("connection: {event}");
    }
}

impl Handler<ProducerEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: ProducerEvent, _: &mut Context<Self>) {
        println!("producer: {event}");
    }
}

impl Handler<PublishFailure> for Watcher {
    type Result = ();

    fn handle(&mut self, failure: PublishFailure, _: &mut Context<Self>) {
        println!("failure: {}", failure.error);
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let producer = Producer::start(ProducerConfig::new(nsqd.address().to_string())?);
    let watcher = Watcher.start();
    // A new subscriber first receives the current state.
    let recipient = watcher.clone().recipient::<ConnectionEvent>();
    producer.do_send(SubscribeEvents(recipient));
    let recipient = watcher.clone().recipient::<ProducerEvent>();
    producer.do_send(SubscribeEvents(recipient));
    producer.do_send(SubscribeFailures(watcher.recipient()));

    producer.publish("orders", "an order").await?;
    producer.do_send(Publish::new("orders", ""));
    nsqd.stop();
    // Until the producer has noticed it, a publish fails as "maybe written".
    tokio::time::sleep(Duration::from_millis(100)).await;
    let publish = producer.publish("orders", "queued while nsqd is down");
    let (published, restarted) = tokio::join!(publish, async { nsqd.restart() });
    restarted?;
    published?;
    let timeout = Duration::from_secs(5);
    producer.send(Drain { timeout }).await?;
    Ok(())
}
