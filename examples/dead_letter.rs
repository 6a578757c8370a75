//! Messages that fail too often go to another topic.
//!
//! ```sh
//! cargo run --example dead_letter
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{
    Consumer, ConsumerConfig, DeadLetter, IncomingMessage, MessageHandler, Producer,
    ProducerConfig, PublishExt, Subscription,
    actix::{Actor, Addr, Context, Handler, ResponseFuture},
    embedded::EmbeddedNsqd,
};

/// Publishes dead letters to a topic, and finishes them when nsqd has stored them.
struct DeadLetters {
    producer: Addr<Producer>,
}

impl Actor for DeadLetters {
    type Context = Context<Self>;
}

impl Handler<DeadLetter> for DeadLetters {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, letter: DeadLetter, _: &mut Context<Self>) -> Self::Result {
        let (message, producer) = (letter.message, self.producer.clone());
        Box::pin(async move {
            let stored = producer
                .publish("dead_orders", message.body().clone())
                .await;
            // If that failed, the message comes again.
            message.settle(stored);
        })
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let address = nsqd.address().to_string();
    let producer = Producer::start(ProducerConfig::new(&address)?);
    producer.publish("orders", "cannot be handled").await?;

    let dead_letters = DeadLetters { producer }.start();
    let config = ConsumerConfig::builder(address)
        .max_attempts(3)
        .default_requeue_delay(Duration::from_millis(10))
        .max_backoff_duration(Duration::ZERO)
        .build()?;
    let subscription =
        Subscription::new("orders", "kitchen")?.dead_letters(dead_letters.recipient());
    let handler = MessageHandler::from_fn(async |message: IncomingMessage| {
        println!("attempt {} fails", message.attempts());
        Err::<(), _>("out of apples")
    });
    let consumer = Consumer::start(config, subscription, handler);

    let limit = Duration::from_secs(10);
    let dead = nsqd.wait_for_messages("dead_orders", 1, limit).await?;
    for letter in dead {
        println!("dead letter: {}", String::from_utf8_lossy(&letter.body));
    }
    drop(consumer);
    Ok(())
}
