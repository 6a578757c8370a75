//! What a producer leaves behind, and what it costs while it does nothing.

use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::{DeferredPublish, Producer};

use super::load::{config, numbered, producer, publish, start, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::our_process::{allocated_kb, descriptors, thread_cpu_time};
use crate::support::wait;

pub fn scenarios() -> Vec<Scenario> {
    let one_kind = "the other kind is made to hang up in another way";
    scenarios![
        a_thousand_lost_connections_leave_nothing_behind
            .only(Kind::Embedded, one_kind)
            .alone(),
        hundreds_of_refusals_leave_nothing_behind
            .only(Kind::Real, one_kind)
            .with(small())
            .alone(),
        hundreds_of_failed_attempts_leave_nothing_behind.alone(),
        hundreds_of_producers_leave_nothing_behind
            .only(
                Kind::Real,
                "the embedded one remembers, in this same process, whom it served"
            )
            .alone(),
        an_idle_producer_costs_next_to_nothing,
    ]
}

/// checklist: 22, 111, 112
fn small() -> Settings {
    Settings {
        max_req_timeout: Duration::from_millis(1),
        ..Settings::default()
    }
}

/// How much memory may come and go without being a leak: less than a kB for each of the last 500.
const WOBBLE_KB: i64 = 256;

/// What the process holds. An actor of a connection holds its socket, and so is seen as a descriptor.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    memory_kb: i64,
}

impl Held {
    fn now() -> Self {
        Self {
            descriptors: descriptors(),
            memory_kb: allocated_kb(),
        }
    }

    /// Waits until the process holds no more than it did, but for a connection on its way.
    async fn until_no_more_than(before: Self, what: &str) {
        wait::until("what was opened is closed", || {
            descriptors() <= before.descriptors
        })
        .await;
        let now = Self::now();
        eprintln!("{what}: {before:?}, then {now:?}");
        let grown = now.memory_kb - before.memory_kb;
        assert!(grown < WOBBLE_KB, "{what}: memory grew by {grown} kB");
    }
}

/// checklist: 22, 111, 112
async fn a_thousand_lost_connections_leave_nothing_behind(broker: Broker) {
    let backoff = Duration::from_millis(1);
    let config = config(&broker)
        .await
        .reconnect_backoff(backoff)
        .max_reconnect_backoff(backoff);
    let producer = start(config);
    // First as many as the embedded nsqd itself remembers.
    lose_connections(&broker, &producer, 1_000).await;
    let before = Held::now();
    lose_connections(&broker, &producer, 500).await;
    Held::until_no_more_than(before, "500 of 1,500 lost connections").await;
}

async fn lose_connections(broker: &Broker, producer: &Addr<Producer>, times: usize) {
    for time in 0..times {
        publish(producer, "x").await.unwrap();
        if time % 2 == 0 {
            broker.embedded().faults().reset_connections();
        } else {
            broker.embedded().faults().close_connections();
        }
        broker.embedded().delete_topic(super::load::TOPIC);
        broker.embedded().wait_for_connections(1).await;
    }
}

/// nsqd hangs up after each refusal.
/// checklist: 22, 111, 112
async fn hundreds_of_refusals_leave_nothing_behind(broker: Broker) {
    let producer = producer(&broker).await;
    refuse(&producer, 100).await;
    let before = Held::now();
    refuse(&producer, 200).await;
    Held::until_no_more_than(before, "200 of 300 refusals").await;
}

async fn refuse(producer: &Addr<Producer>, times: usize) {
    for _ in 0..times {
        publish(producer, "x").await.unwrap();
        let late = DeferredPublish::new(topic("late"), Duration::from_secs(1), "x");
        producer.send(late).await.unwrap().unwrap_err();
    }
}

/// fault: P28
/// checklist: 22, 111, 112
async fn hundreds_of_failed_attempts_leave_nothing_behind(broker: Broker) {
    let backoff = Duration::from_millis(1);
    let config = config(&broker)
        .await
        .reconnect_backoff(backoff)
        .max_reconnect_backoff(backoff);
    let producer = start(config);
    publish(&producer, "x").await.unwrap();
    broker.kill().await;
    let outage = Duration::from_millis(500);
    fail(&producer, outage).await;
    let before = Held::now();
    fail(&producer, outage).await;
    Held::until_no_more_than(before, "half a second of failed attempts").await;
    broker.restart().await;
    publish(&producer, "x").await.unwrap();
}

async fn fail(producer: &Addr<Producer>, outage: Duration) {
    let message = actix_nsq::Publish::new(topic(super::load::TOPIC), "x").expires_in(outage);
    producer.send(message).await.unwrap().unwrap_err();
}

/// Each is dropped without a goodbye.
/// fault: P28
/// checklist: 22, 111, 112
async fn hundreds_of_producers_leave_nothing_behind(broker: Broker) {
    // First as many as the embedded nsqd itself remembers.
    start_and_drop(&broker, 1_000).await;
    let before = Held::now();
    start_and_drop(&broker, 300).await;
    Held::until_no_more_than(before, "300 of 1,300 producers").await;
}

async fn start_and_drop(broker: &Broker, times: usize) {
    for number in 0..times {
        let producer = producer(broker).await;
        publish(&producer, numbered(number)).await.unwrap();
    }
    broker.until_no_client_is_left().await;
}

/// At most 20 ms of processor time in 10 s, with a heartbeat each second.
/// checklist: 22, 111, 112
async fn an_idle_producer_costs_next_to_nothing(broker: Broker) {
    let producer = start(
        config(&broker)
            .await
            .heartbeat_interval(Duration::from_secs(1)),
    );
    publish(&producer, "x").await.unwrap();
    // The producer lives on this very thread, and nothing else does anything on it.
    let before = thread_cpu_time();
    let idle = Duration::from_secs(3);
    tokio::time::sleep(idle).await;
    let used = thread_cpu_time() - before;
    eprintln!(
        "{:?}: an idle producer used {used:?} in {idle:?}",
        broker.kind()
    );
    assert!(used < idle / 500, "{used:?} in {idle:?}");
    publish(&producer, "x").await.unwrap();
    assert_eq!(broker.handshakes().await, 1);
}
