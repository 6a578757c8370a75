//! Messages that cannot be handled yet, and a service that fails for a while.
//!
//! ```sh
//! cargo run --example requeue_and_backoff
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{
    ConsumerConfig, ConsumerEvent, ConsumerHandle, ProducerConfig, ProducerHandle, Requeue,
    Subscription,
    actix::{Actor, Context, Handler},
    embedded::EmbeddedNsqd,
};

/// Prints what the consumer does after failures.
struct Watcher;

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<ConsumerEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: ConsumerEvent, _: &mut Context<Self>) {
        println!("  event: {event}");
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let address = nsqd.address().to_string();
    let producer = ProducerHandle::start(ProducerConfig::new(&address)?);
    producer.multi_publish("jobs", ["a", "b", "c"]).await?;

    let config = ConsumerConfig::builder(address)
        .default_requeue_delay(Duration::from_millis(200))
        .backoff_multiplier(Duration::from_millis(100))
        .build()?;
    let (consumer, mut messages) =
        ConsumerHandle::start(config, Subscription::new("jobs", "worker")?);
    consumer.subscribe(Watcher.start().recipient());

    let mut finished = 0;
    while finished < 3 {
        let message = messages.next().await.ok_or("the consumer has ended")?;
        let (job, attempt) = (
            String::from_utf8_lossy(message.body()).into_owned(),
            message.attempts(),
        );
        match (job.as_str(), attempt) {
            ("a", 1) => {
                println!("{job}: comes again in 100 ms, and is no failure");
                let later = Requeue::after(Duration::from_millis(100));
                message.requeue(later.without_backoff())?;
            }
            ("b", 1..=2) => {
                println!("{job}: attempt {attempt} fails, and the consumer pauses");
                message.requeue(Requeue::default())?;
            }
            _ => {
                println!("{job}: done in attempt {attempt}");
                message.finish()?;
                finished += 1;
            }
        }
    }
    consumer.drain(Duration::from_secs(5)).await?;
    Ok(())
}
