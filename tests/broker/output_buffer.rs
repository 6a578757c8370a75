//! How long single messages wait in nsqd's output buffer, and how late it requeues them. The
//! embedded nsqd with realistic timing is as late as a real one.

use std::time::{Duration, Instant};

use actix_nsq::{ConsumerConfig, ConsumerConfigBuilder, Requeue, consumer::WaitSubscribed};

use super::fixture::{LONG, TOPIC, consumer, numbered, producer, publish};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Settings};

pub fn scenarios() -> Vec<Scenario> {
    let settings = || Settings {
        realistic_timing: true,
        ..Settings::in_memory()
    };
    scenarios![
        single_messages_wait_for_the_output_buffer_timeout.with(settings()),
        requeue_delays_end_at_the_next_scan.with(settings()),
    ]
}

/// Number of messages, of which each is published when the one before has arrived.
const COUNT: usize = 6;

const BUFFER_TIMEOUT: Duration = Duration::from_millis(250);

/// The time of `COUNT` messages, each published when the one before has arrived.
async fn time(
    broker: &Broker,
    channel: &str,
    options: impl FnOnce(ConsumerConfigBuilder) -> ConsumerConfigBuilder,
) -> Duration {
    let producer = producer(broker).await;
    let config = options(ConsumerConfig::builder(broker.address().await));
    let (consumer, mut messages) = consumer(config, TOPIC, channel);
    let subscribed = consumer.send(WaitSubscribed::new(LONG)).await;
    subscribed.unwrap().unwrap();
    // It arrives at a tick, or right before one.
    publish(&producer, numbered(0)).await.unwrap();
    messages.next().await.unwrap().finish().unwrap();
    let began = Instant::now();
    for number in 1..=COUNT {
        publish(&producer, numbered(number)).await.unwrap();
        messages.next().await.unwrap().finish().unwrap();
    }
    began.elapsed()
}

async fn single_messages_wait_for_the_output_buffer_timeout(broker: Broker) {
    let buffered = time(&broker, "many", |config| {
        config
            .max_in_flight(10)
            .output_buffer_timeout(BUFFER_TIMEOUT)
    });
    let buffered = buffered.await;
    // A consumer that is full gets its messages at once.
    let full = time(&broker, "one", |config| {
        config
            .max_in_flight(1)
            .output_buffer_timeout(BUFFER_TIMEOUT)
    });
    let full = full.await;
    let short = time(&broker, "short", |config| config.max_in_flight(10)).await;
    eprintln!("{buffered:?} with RDY 10, {full:?} with RDY 1, {short:?} with a short timeout");
    // A message that comes after an unused tick does not wait.
    let waits = BUFFER_TIMEOUT * (COUNT as u32 - 2);
    assert!(buffered >= waits, "{buffered:?} with RDY 10");
    assert!(full < waits / 2, "{full:?} with RDY 1");
    assert!(short < waits / 2, "{short:?} with a short timeout");
}

async fn requeue_delays_end_at_the_next_scan(broker: Broker) {
    let delay = Duration::from_millis(130);
    let producer = producer(&broker).await;
    let config = ConsumerConfig::builder(broker.address().await).max_in_flight(1);
    let (_consumer, mut messages) = consumer(config, TOPIC, "scan");
    publish(&producer, numbered(0)).await.unwrap();
    let mut message = messages.next().await.unwrap();
    // nsqd needs up to 5 s to notice a new channel.
    message
        .requeue(Requeue::after(delay).without_backoff())
        .unwrap();
    message = messages.next().await.unwrap();
    let mut latest = Duration::ZERO;
    for _ in 0..5 {
        let requeued = Instant::now();
        message
            .requeue(Requeue::after(delay).without_backoff())
            .unwrap();
        message = messages.next().await.unwrap();
        let took = requeued.elapsed();
        assert!(took >= delay, "{took:?}");
        latest = latest.max(took);
    }
    // The requeue follows a scan at once, so that the delay ends at the second one after it.
    assert!(latest >= Duration::from_millis(170), "{latest:?}");
    message.finish().unwrap();
}
