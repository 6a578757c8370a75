//! An actor that handles messages.
//!
//! ```sh
//! cargo run --example consume
//! ```

use std::error::Error;

use actix_nsq::{
    Consumer, ConsumerConfig, IncomingMessage, Producer, ProducerConfig, PublishExt, Subscription,
    actix::{Actor, ActorContext, Context, Handler},
    embedded::EmbeddedNsqd,
};
use tokio::sync::oneshot;

/// Prints three messages, and stops.
struct Printer {
    left: usize,
    done: Option<oneshot::Sender<()>>,
}

impl Actor for Printer {
    type Context = Context<Self>;
}

impl Handler<IncomingMessage> for Printer {
    type Result = ();

    fn handle(&mut self, message: IncomingMessage, ctx: &mut Context<Self>) {
        let printed = std::str::from_utf8(message.body()).map(|text| println!("received {text}"));
        // `Ok` finishes the message, `Err` requeues it.
        message.settle(printed);
        self.left -= 1;
        if self.left == 0 {
            ctx.stop();
            drop(self.done.take());
        }
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let address = nsqd.address().to_string();
    let producer = Producer::start(ProducerConfig::new(&address)?);
    for order in ["apple pie", "espresso", "tea"] {
        producer.publish("orders", order).await?;
    }

    let (sender, done) = oneshot::channel();
    let printer = Printer {
        left: 3,
        done: Some(sender),
    };
    let config = ConsumerConfig::builder(address).max_in_flight(10).build()?;
    let subscription = Subscription::new("orders", "printer")?;
    // The type is needed if the actor handles other messages as well.
    let printer = printer.start().recipient::<IncomingMessage>();
    let consumer = Consumer::start(config, subscription, printer);

    // Fails when the sender is dropped.
    let _ = done.await;
    drop(consumer);
    Ok(())
}
