//! What to do when a publish fails: an error that says "not written" is tried again without the risk of a duplicate; one
//! that says "maybe written" is for you to decide; and what must not be lost is kept in an outbox until it is `Ok`.
//!
//! ```text
//! cargo run --example handling_errors
//! ```
//!
//! The nsqd is inside this process, since it is made to fail on demand.

use std::{collections::BTreeMap, time::Duration};

use actix_nsq::{
    Delivery, Drain, Producer, ProducerConfig, Publish, PublishError, Topic, actix::Addr,
    bytes::Bytes, embedded::EmbeddedNsqd,
};
use tokio::time::sleep;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

#[actix::main]
async fn main() -> Fallible<()> {
    let nsqd = EmbeddedNsqd::start()?;
    let config = ProducerConfig::builder(nsqd.address().to_string())
        .publish_timeout(Duration::from_secs(2))
        .build()?;
    let producer = Producer::start(config);

    println!("nsqd refuses twice, and stores nothing: a retry that cannot duplicate");
    let invoices = Topic::new("invoices")?;
    nsqd.faults()
        .fail_next("PUB", "E_PUB_FAILED PUB failed exiting");
    nsqd.faults()
        .fail_next("PUB", "E_PUB_FAILED PUB failed exiting");
    publish_once(&producer, &invoices, "invoice 1".into()).await?;
    expect("one invoice is stored", nsqd.message_count("invoices") == 1)?;

    println!("\nnsqd stores it, and is gone before it has said so: nobody can know");
    nsqd.faults().close_after_commands(1);
    let error = publish_once(&producer, &invoices, "invoice 2".into())
        .await
        .err();
    let delivery = error.map(|error| error.delivery());
    expect(
        "the answer says so",
        delivery == Some(Delivery::MaybeWritten),
    )?;
    // Here it was stored. A retry, on the chance that it was not, would have sent the invoice twice.
    expect(
        "two invoices are stored",
        nsqd.message_count("invoices") == 2,
    )?;

    println!(
        "\nThe same, and worse, to an outbox: it tries until it is sure, at the price of duplicates"
    );
    let mut outbox = Outbox::new(Topic::new("orders")?);
    for number in 1..=5 {
        outbox.put(format!("order {number}"));
    }
    nsqd.faults().close_after_commands(3);
    while !outbox.is_empty() {
        outbox.flush(&producer).await;
        println!("  {} left in the outbox", outbox.kept.len());
        nsqd.faults().close_after_commands(4);
        sleep(Duration::from_millis(100)).await;
    }
    let stored = nsqd.messages("orders");
    println!("  nsqd has {} messages", stored.len());
    for number in 1..=5 {
        let id = format!("{number}:");
        let copies = stored
            .iter()
            .filter(|it| it.body.starts_with(id.as_bytes()));
        expect("every order is stored", copies.count() >= 1)?;
    }

    let deadline = Duration::from_secs(5);
    producer.send(Drain { timeout: deadline }).await?;
    Ok(())
}

/// Publishes a message that must not come twice: tried again as long as it is certain that nsqd has not stored it. For
/// errors of the connection that is not necessary: the producer itself tries until its time-out.
async fn publish_once(
    producer: &Addr<Producer>,
    topic: &Topic,
    body: Bytes,
) -> Result<(), PublishError> {
    let mut pauses = [50, 200, 1_000].map(Duration::from_millis).into_iter();
    loop {
        let message = Publish::new(topic, body.clone());
        let error = match producer.send(message).await? {
            Ok(()) => break,
            Err(error) => error,
        };
        println!("  {:?}: {error}", error.delivery());
        // Both are asked: a body that is too large is not written either, and never will be.
        let safe = error.delivery() == Delivery::NotWritten && error.is_retryable();
        match pauses.next() {
            Some(pause) if safe => sleep(pause).await,
            _ => return Err(error),
        }
    }
    println!("  stored");
    Ok(())
}

/// Messages that must not be lost, kept until nsqd has them for certain.
///
/// This one is in memory. A real one is a table of the database, written in the same transaction as the order itself, and
/// flushed by a task: then neither a crash nor an outage loses any.
struct Outbox {
    topic: Topic,
    next: u64,
    kept: BTreeMap<u64, Bytes>,
}

impl Outbox {
    fn new(topic: Topic) -> Self {
        Self {
            topic,
            next: 1,
            kept: BTreeMap::new(),
        }
    }

    /// The number goes with the message, so that its consumer can tell a duplicate.
    fn put(&mut self, text: String) {
        let body = format!("{}:{text}", self.next);
        self.kept.insert(self.next, body.into());
        self.next += 1;
    }

    fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Publishes all that is kept, together, and drops what is stored, and only that.
    async fn flush(&mut self, producer: &Addr<Producer>) {
        let send = |(number, body): (&u64, &Bytes)| {
            let message = Publish::new(&self.topic, body.clone());
            (*number, producer.send(message))
        };
        let sent: Vec<_> = self.kept.iter().map(send).collect();
        for (number, answer) in sent {
            match answer.await.unwrap_or_else(|gone| Err(gone.into())) {
                Ok(()) => drop(self.kept.remove(&number)),
                Err(error) => println!("  {number}: {:?}: {error}", error.delivery()),
            }
        }
    }
}

fn expect(what: &str, holds: bool) -> Result<(), String> {
    if !holds {
        return Err(format!("it should be so, but is not: {what}"));
    }
    println!("  so it is: {what}");
    Ok(())
}
