//! What a publish costs, where it can be counted exactly: in a binary of its own, since the allocator is counted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use actix_nsq::{
    Config, Drain, Producer, Publish, Topic,
    actix::{Addr, System},
    bytes::Bytes,
    embedded::EmbeddedNsqd,
};
use futures::future::join_all;

const CALLERS: u64 = 64;

/// Publishes from many tasks at once, each waiting for its answer before it goes on.
async fn publish(producer: &Addr<Producer>, topic: &Topic, rounds: u64) {
    let body = Bytes::from(vec![7; 200]);
    let callers = (0..CALLERS).map(|_| {
        let (producer, topic, body) = (producer.clone(), topic.clone(), body.clone());
        actix_rt::spawn(async move {
            for _ in 0..rounds {
                producer
                    .send(Publish::new(&topic, body.clone()))
                    .await
                    .unwrap()
                    .unwrap();
            }
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
}

/// actix itself needs three for each `send`. The peer runs on another thread, which is not counted.
#[test]
fn a_publish_of_64_callers_costs_at_most_three_and_a_half_allocations() {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let system = System::new();
    let topic = Topic::new("costs").unwrap();
    let producer = system.block_on(async {
        let producer = Producer::start(Config::new(nsqd.address().to_string()).unwrap());
        publish(&producer, &topic, 100).await;
        producer
    });
    let rounds = 500;
    let counted =
        allocation_counter::measure(|| system.block_on(publish(&producer, &topic, rounds)));
    let each = counted.count_total as f64 / (CALLERS * rounds) as f64;
    println!("{each:.3} allocations for each publish");
    assert!(
        (3.0..=3.5).contains(&each),
        "{each:.3} allocations for each publish"
    );
    let report = system.block_on(producer.send(Drain {
        deadline: std::time::Duration::from_secs(5),
    }));
    assert!(report.unwrap().is_clean());
}
