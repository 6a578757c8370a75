//! Finds nsqds by nsqlookupd: a pool publishes to all of them, a consumer receives from those that
//! have its topic.
//!
//! ```sh
//! cargo run --example lookupd_discovery
//! ```

use std::{collections::BTreeMap, error::Error, time::Duration};

use actix_nsq::{
    ConsumerConfig, ConsumerHandle, LookupConfig, PoolConfig, ProducerPool, PublishExt,
    Subscription,
    embedded::{EmbeddedLookupd, EmbeddedNsqd},
    lookup,
    pool::GetState,
    producer::Drain,
};
use futures::future::try_join_all;

const TIMEOUT: Duration = Duration::from_secs(5);

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let lookupd = EmbeddedLookupd::start()?;
    let register = || EmbeddedNsqd::builder().lookupd(lookupd.tcp_address());
    let nsqds = [register().start()?, register().start()?];
    lookupd.wait_for_nodes(nsqds.len(), TIMEOUT).await?;
    // The only address that the pool and the consumer are given.
    let address = lookupd.http_address().to_string();

    // The pool asks for all nsqds, so it needs no topic to begin with.
    let pool = ProducerPool::start(PoolConfig::discover([&address]).build()?);
    while pool.send(GetState).await?.up < nsqds.len() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("pool: {}", pool.send(GetState).await?);
    let publishes = (0..1_000).map(|number| pool.publish("numbers", number.to_string()));
    try_join_all(publishes).await?;

    // A single query, for tools.
    let config = LookupConfig::builder([&address]).build()?;
    for node in lookup::nodes(&config).await? {
        println!("nsqlookupd knows {node}; topics: {}", node.topics.len());
    }

    // The consumer asks for the nsqds of its topic, and for new ones every `lookupd_poll_interval`.
    let config = ConsumerConfig::discover([&address])
        .max_in_flight(100)
        .build()?;
    let subscription = Subscription::new("numbers", "example")?;
    let (consumer, mut messages) = ConsumerHandle::start(config, subscription);
    let mut received = BTreeMap::<String, usize>::new();
    for _ in 0..1_000 {
        let message = messages.next().await.ok_or("the consumer has ended")?;
        *received.entry(message.address().to_string()).or_default() += 1;
        message.finish()?;
    }
    for (nsqd, count) in received {
        println!("received {count} messages from {nsqd}");
    }

    // Without nsqlookupd all connections stay.
    lookupd.stop();
    pool.publish("numbers", "nsqlookupd is down").await?;
    let message = messages.next().await.ok_or("the consumer has ended")?;
    println!("received: {}", String::from_utf8_lossy(message.body()));
    message.finish()?;

    println!("pool drained: {}", pool.send(Drain::new(TIMEOUT)).await?);
    println!("consumer drained: {}", consumer.drain(TIMEOUT).await?);
    Ok(())
}
