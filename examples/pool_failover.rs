//! Publishes to three nsqds and stops one of them meanwhile: its queued publishes move to the
//! others, and nothing is lost.
//!
//! ```sh
//! cargo run --example pool_failover
//! ```

use std::{
    collections::BTreeMap,
    error::Error,
    time::{Duration, Instant},
};

use actix::prelude::*;
use actix_nsq::{
    Delivery, PoolConfig, ProducerPool, PublishExt, SubscribeEvents,
    embedded::EmbeddedNsqd,
    pool::{GetMembers, GetState, GetStats, PoolEvent},
    producer::Drain,
};
use futures::future::join_all;
use tokio::time::{interval, sleep};

struct Watcher {
    start: Instant,
}

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<PoolEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: PoolEvent, _: &mut Context<Self>) {
        println!("{:>5} ms  {event}", self.start.elapsed().as_millis());
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqds = [
        EmbeddedNsqd::start()?,
        EmbeddedNsqd::start()?,
        EmbeddedNsqd::start()?,
    ];
    for nsqd in &nsqds {
        // As over a network: otherwise nothing waits for an answer when the nsqd stops.
        nsqd.faults().delay_responses(Duration::from_millis(5));
    }
    let config = PoolConfig::builder(nsqds.iter().map(|nsqd| nsqd.address().to_string()))
        // At most this many publishes can become `MaybeWritten` when an nsqd is lost.
        .publish_window(50)
        .build()?;
    let pool = ProducerPool::start(config);
    while pool.send(GetState).await?.up < nsqds.len() {
        sleep(Duration::from_millis(10)).await;
    }
    let start = Instant::now();
    let watcher = Watcher { start }.start();
    pool.send(SubscribeEvents(watcher.recipient::<PoolEvent>()))
        .await?;

    // 10,000 publishes per second; none waits for the result of another one.
    let mut results = Vec::new();
    let mut stopped = None;
    let mut ticks = interval(Duration::from_millis(10));
    for tick in 0..150 {
        ticks.tick().await;
        for number in 0..100 {
            let body = (tick * 100 + number).to_string();
            let result = pool.publish("numbers", body.clone());
            results.push(async { (body, result.await) });
        }
        if tick == 50 {
            // The one that has the most publishes now.
            let members = pool.send(GetMembers).await?;
            let busiest = members.iter().max_by_key(|member| member.outstanding);
            let is_busiest = |nsqd: &&EmbeddedNsqd| {
                busiest.is_some_and(|member| *member.address == nsqd.address().to_string())
            };
            stopped = nsqds.iter().find(is_busiest);
        }
        if let Some(nsqd) = stopped.filter(|_| tick == 50) {
            println!("--------  {} stops", nsqd.address());
            nsqd.stop();
        }
        if let Some(nsqd) = stopped.filter(|_| tick == 100) {
            println!("--------  {} is back", nsqd.address());
            nsqd.restart()?;
        }
    }

    let mut stored = BTreeMap::<_, usize>::new();
    let (mut ok, mut not_written, mut maybe_written, mut lost) = (0, 0, 0, 0);
    let results = join_all(results).await;
    for message in nsqds.iter().flat_map(|nsqd| nsqd.messages("numbers")) {
        *stored.entry(message.body).or_default() += 1;
    }
    for (body, result) in results {
        match result.map_err(|error| error.delivery()) {
            Ok(()) => {
                ok += 1;
                lost += usize::from(!stored.contains_key(body.as_bytes()));
            }
            Err(Delivery::NotWritten) => not_written += 1,
            Err(_) => maybe_written += 1,
        }
    }
    println!("results: {ok} ok, {not_written} not written, {maybe_written} maybe written");
    let duplicates = stored.values().filter(|&&times| times > 1).count();
    println!("ok and not stored: {lost}; stored twice: {duplicates}");
    for member in pool.send(GetStats).await?.members {
        println!(
            "{}: {} publishes passed to it, {} moved away; state: {}",
            member.address, member.moved_to, member.moved_from, member.state
        );
    }
    let drained = pool.send(Drain::new(Duration::from_secs(5))).await?;
    println!("drained: {drained}");
    Ok(())
}
