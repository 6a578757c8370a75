//! Memory and CPU time of idle producers and consumers, each with a connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_nsq::actix::{Addr, System, SystemRunner};
use actix_nsq::{
    Consumer, ConsumerConfig, MessageHandler, Producer, ProducerConfig, ProducerConfigBuilder,
    Publish, PublishError, Subscription, Topic, consumer::WaitSubscribed,
};

use crate::measure::{self, Figure, LONG, answers, counts, cpu_micros, grown, heartbeats};
use crate::support::wait;

const TOPIC: &str = "scale";

/// Starts this many producers, each of which publishes once.
async fn publish_with(producers: &mut Vec<Addr<Producer>>, config: &ProducerConfig, count: usize) {
    let topic = Topic::new(TOPIC).unwrap();
    let start = |_| Producer::start(config.clone());
    producers.extend((0..count).map(start));
    let publish = |it: &Addr<Producer>| it.send(Publish::new(&topic, "x"));
    for answer in answers(producers.iter().map(publish)).await {
        answer.unwrap().unwrap();
    }
}

/// The producers, and the bytes of each: allocated and resident.
fn producers_with(
    system: &SystemRunner,
    config: ProducerConfigBuilder,
    count: usize,
) -> (Vec<Addr<Producer>>, [f64; 2]) {
    let config = config.publish_timeout(LONG).build().unwrap();
    let mut producers = Vec::with_capacity(count);
    let grown = grown(|| system.block_on(publish_with(&mut producers, &config, count)));
    (producers, grown.map(|bytes| bytes / count as f64))
}

pub fn producers() -> io::Result<Vec<Figure>> {
    let (nsqd, [count, ..]) = (measure::nsqd()?, counts());
    let (interval, heartbeats) = heartbeats();
    let config = || ProducerConfig::builder(nsqd.address()).heartbeat_interval(interval);
    let system = System::new();
    // The tables of the runtime grow first.
    drop(producers_with(&system, config(), 10));
    let (_producers, [heap, resident]) = producers_with(&system, config(), count);
    let cpu = system.block_on(cpu_micros(interval * heartbeats));
    let (_snappy, [snappy, _]) = producers_with(&system, config().snappy(true), count / 10);
    let (_deflate, [deflate, _]) = producers_with(&system, config().deflate(true), count / 10);
    Ok(vec![
        ("producer", "heap, bytes", heap),
        ("producer", "resident, bytes", resident),
        (
            "producer",
            "CPU per heartbeat, µs",
            cpu / (count as f64 * f64::from(heartbeats)),
        ),
        ("producer with snappy", "heap, bytes", snappy),
        ("producer with deflate", "heap, bytes", deflate),
    ])
}

/// Starts this many consumers, each with a channel of its own, in which it handles a message.
async fn consume_with(consumers: &mut Vec<Addr<Consumer>>, address: &str, count: usize) {
    let (interval, _) = heartbeats();
    let config = ConsumerConfig::builder(address).heartbeat_interval(interval);
    let config = config.build().unwrap();
    let handled = Arc::new(AtomicUsize::new(0));
    consumers.extend((0..count).map(|number| {
        let subscription = Subscription::new(TOPIC, format!("channel_{number}")).unwrap();
        let handled = Arc::clone(&handled);
        let handler = MessageHandler::from_fn(move |_| {
            handled.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, PublishError>(()) }
        });
        Consumer::start(config.clone(), subscription, handler)
    }));
    let subscribed = |it: &Addr<Consumer>| it.send(WaitSubscribed::new(LONG));
    for subscribed in answers(consumers.iter().map(subscribed)).await {
        subscribed.unwrap().unwrap();
    }
    let producer = Producer::start(ProducerConfig::new(address).unwrap());
    let publish = Publish::new(Topic::new(TOPIC).unwrap(), "x");
    producer.send(publish).await.unwrap().unwrap();
    wait::until("all handle it", || handled.load(Ordering::Relaxed) == count).await;
}

pub fn consumers() -> io::Result<Vec<Figure>> {
    let (nsqd, [_, count, ..]) = (measure::nsqd()?, counts());
    let system = System::new();
    let (mut consumers, address) = (Vec::with_capacity(count), nsqd.address());
    system.block_on(consume_with(
        &mut Vec::new(),
        &measure::nsqd()?.address(),
        10,
    ));
    let grown = grown(|| system.block_on(consume_with(&mut consumers, &address, count)));
    let [heap, resident] = grown.map(|bytes| bytes / count as f64);
    let (interval, heartbeats) = heartbeats();
    let cpu = system.block_on(cpu_micros(interval * heartbeats));
    Ok(vec![
        ("consumer", "heap, bytes", heap),
        ("consumer", "resident, bytes", resident),
        (
            "consumer",
            "CPU per heartbeat, µs",
            cpu / (count as f64 * f64::from(heartbeats)),
        ),
    ])
}
