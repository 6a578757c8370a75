//! Counts allocations per publish in this process, on the thread of producer and callers.

use std::io;
use std::net::SocketAddr;

use actix_nsq::{
    Producer, ProducerConfig, Publish, Topic,
    actix::{Addr, System},
    bytes::Bytes,
};
use futures::future::join_all;

use crate::measure::Load;

/// The allocations per publish. Two runs are subtracted, so that spawning callers is not counted.
pub fn each(address: SocketAddr, load: Load, [short, long]: [usize; 2]) -> io::Result<f64> {
    let builder = ProducerConfig::builder(address.to_string());
    let config = load.options.iter().try_fold(builder, |builder, option| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        builder.set(name, value)
    });
    let config = config.and_then(|config| config.build());
    let config = config.map_err(io::Error::other)?;
    let topic = Topic::new("gates#ephemeral").map_err(io::Error::other)?;
    let system = System::new();
    let producer = system.block_on(async { Producer::start(config) });
    let run = |rounds| system.block_on(publish(&producer, &topic, load.callers, rounds));
    // Tables and buffers grow first.
    run(short);
    let [fewer, more] =
        [short, long].map(|rounds| allocation_counter::measure(|| run(rounds)).count_total);
    Ok((more as f64 - fewer as f64) / (load.callers * (long - short)) as f64)
}

async fn publish(producer: &Addr<Producer>, topic: &Topic, callers: usize, rounds: usize) {
    let callers = (0..callers).map(|_| {
        let (producer, topic) = (producer.clone(), topic.clone());
        actix_rt::spawn(async move {
            for _ in 0..rounds {
                let publish = Publish::new(&topic, Bytes::from_static(&[7; 200]));
                let answer = producer.send(publish).await;
                answer.expect("a producer").expect("nsqd's OK");
            }
        })
    });
    for caller in join_all(callers).await {
        caller.expect("no caller panics");
    }
}
