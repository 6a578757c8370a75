//! A guided tour: three ways to publish, a local rejection, a restart of nsqd, a consumer, graceful
//! shutdowns.
//!
//! ```sh
//! cargo run --example quickstart                                   # an nsqd inside this process
//! NSQD_TCP_ADDRESS=127.0.0.1:4150 cargo run --example quickstart   # your nsqd
//! ```
//!
//! With its own nsqd it also restarts that nsqd while it publishes. It ends with counts; the exit
//! code is 0 only if every result was as expected.

use std::{error::Error, process::ExitCode, time::Duration};

use actix_nsq::{
    ConsumerConfig, ConsumerHandle, DeferredPublish, Delivery, ErrorKind, MultiPublish, Producer,
    ProducerConfig, Publish, PublishError, Subscription, Topic, actix::Addr,
    embedded::EmbeddedNsqd, producer::Drain,
};

const TIMEOUT: Duration = Duration::from_secs(5);

#[actix::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let embedded = match std::env::var_os("NSQD_TCP_ADDRESS") {
        Some(_) => None,
        None => Some(EmbeddedNsqd::start()?),
    };
    let address = match &embedded {
        Some(nsqd) => nsqd.address().to_string(),
        None => std::env::var("NSQD_TCP_ADDRESS")?,
    };
    println!(
        "nsqd: {address}, inside this process: {}",
        embedded.is_some()
    );

    let config = ProducerConfig::builder(&address)
        .publish_timeout(TIMEOUT)
        .build()?;
    let producer = Producer::start(config);
    let topic = Topic::new("quickstart")?;
    let mut counts = Counts::default();

    println!("\nThree ways to publish:");
    counts.add("PUB ", producer.send(Publish::new(&topic, "hello")).await?);
    let batch = MultiPublish::new(&topic, ["one", "two"]);
    counts.add("MPUB", producer.send(batch).await?);
    let deferred = DeferredPublish::new(&topic, Duration::from_secs(2), "later");
    counts.add("DPUB", producer.send(deferred).await?);

    println!("\nAn invalid message is rejected before it is sent, and affects no other:");
    counts.add_rejected("PUB ", producer.send(Publish::new(&topic, "")).await?);

    if let Some(nsqd) = &embedded {
        restart(nsqd, &producer, &topic, &mut counts).await?;
    }

    let report = producer.send(Drain { timeout: TIMEOUT }).await?;
    println!("\nDrained. Publishes that were outstanding: {report}");
    consume(&address, &topic, &counts).await?;
    if let Some(nsqd) = &embedded {
        let stored = nsqd.message_count(topic.as_str());
        println!("\nnsqd stored {stored} messages, two of them for the MPUB.");
        // The batch is one result and two messages.
        let expected = counts.ok + 1..=counts.ok + 1 + counts.maybe_written;
        counts.unexpected += usize::from(!expected.contains(&stored));
    }
    Ok(counts.conclude())
}

/// Publishes while nsqd is down for a moment: the messages are queued until it is back.
async fn restart(
    nsqd: &EmbeddedNsqd,
    producer: &Addr<Producer>,
    topic: &Topic,
    counts: &mut Counts,
) -> Result<(), Box<dyn Error>> {
    const DOWN: Duration = Duration::from_millis(500);
    println!("\nnsqd stops, and starts again in {DOWN:?}. Publishing goes on:");
    nsqd.stop();
    let restart = async {
        tokio::time::sleep(DOWN).await;
        println!("  nsqd starts again");
        nsqd.restart()
    };
    let publish = async {
        for number in 0..10 {
            let message = Publish::new(topic, format!("message {number}"));
            counts.add("PUB ", producer.send(message).await?);
        }
        Ok::<_, PublishError>(())
    };
    let (restarted, published) = tokio::join!(restart, publish);
    restarted?;
    Ok(published?)
}

/// Finishes as many messages as were published.
async fn consume(address: &str, topic: &Topic, counts: &Counts) -> Result<(), Box<dyn Error>> {
    println!("\nA consumer handles the messages:");
    let config = ConsumerConfig::builder(address).max_in_flight(10).build()?;
    let subscription = Subscription::new(topic, "quickstart")?;
    let (consumer, mut messages) = ConsumerHandle::start(config, subscription);
    // The batch is one result and two messages.
    for _ in 0..counts.ok + 1 {
        let message = tokio::time::timeout(TIMEOUT, messages.next()).await?;
        let message = message.ok_or("the consumer has ended")?;
        let (body, attempts) = (message.body(), message.attempts());
        println!("  {}, attempt {attempts}", String::from_utf8_lossy(body));
        message.finish()?;
    }
    // The last answers may not have been written before.
    let report = consumer.drain(TIMEOUT).await?;
    println!("Drained. Answers since the drain began: {report}");
    Ok(())
}

#[derive(Default)]
struct Counts {
    ok: usize,
    rejected: usize,
    maybe_written: usize,
    unexpected: usize,
}

impl Counts {
    fn add(&mut self, command: &str, result: Result<(), PublishError>) {
        match result {
            Ok(()) => {
                println!("  {command} Ok");
                self.ok += 1;
            }
            Err(error) => {
                println!("  {command} {:?}: {error}", error.delivery());
                // A publish that was in flight at the moment when nsqd stopped may be stored.
                match error.kind() {
                    ErrorKind::ConnectionLost => self.maybe_written += 1,
                    _ => self.unexpected += 1,
                }
            }
        }
    }

    fn add_rejected(&mut self, command: &str, result: Result<(), PublishError>) {
        match result {
            Err(error) if error.delivery() == Delivery::NotWritten => {
                println!("  {command} NotWritten: {error}");
                self.rejected += 1;
            }
            other => {
                println!("  {command} should have been rejected: {other:?}");
                self.unexpected += 1;
            }
        }
    }

    fn conclude(&self) -> ExitCode {
        let Self {
            ok,
            rejected,
            maybe_written,
            unexpected,
        } = self;
        println!(
            "\nPublishes: {ok} ok, {rejected} rejected on purpose, {maybe_written} maybe written, \
             {unexpected} unexpected"
        );
        if *unexpected == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
