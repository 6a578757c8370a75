//! Members that fail: the others get their publishes.

use std::time::Duration;

use actix_nsq::Delivery;

use super::fixture::{OpenLoad, config, count, start, stats, three};
use crate::fixture::{TOPIC, numbers};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::Broker;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![killed_members_lose_and_repeat_nothing]
}

/// pool contract: 1, 2, 6
async fn killed_members_lose_and_repeat_nothing(broker: Broker) {
    let brokers = three(broker).await;
    let pool = start(config(&brokers).await).await;
    let mut load = OpenLoad::new(2_000);
    load.run(&pool, Duration::from_millis(500)).await;
    for broker in &brokers {
        broker.kill().await;
        load.run(&pool, Duration::from_millis(500)).await;
        broker.restart().await;
        load.run(&pool, Duration::from_millis(500)).await;
    }
    let published = load.published();
    let answers = load.answers().await;
    let slowest = answers.iter().map(|answer| answer.after).max().unwrap();
    let stats = stats(&pool).await;
    println!("{stats}, slowest {slowest:?}");
    for m in &stats.members {
        println!(
            "{} to {} from {} {}",
            m.address, m.moved_to, m.moved_from, m.producer
        );
    }
    assert_eq!(count(&answers, Some(Delivery::NotWritten)), 0);
    let maybe = count(&answers, Some(Delivery::MaybeWritten));
    println!("{published} published, {maybe} maybe written");
    let _ = (TOPIC, numbers);
}
