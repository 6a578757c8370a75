//! A thousand producers are started, and dropped in whatever state they are: of none of them anything is left.

use std::time::Duration;

use actix_nsq::actix::{Addr, Arbiter};
use actix_nsq::{
    ErrorKind, Producer, ProducerConfig, ProducerState, Publish, PublishError, WaitConnected,
    producer::Drain, producer::GetState,
};
use futures::future::join_all;
use tokio::task::LocalSet;

use super::load::{TOPIC, config, numbered, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};
use crate::support::our_process::descriptors;
use crate::support::wait::{self, PATIENCE};

pub fn scenarios() -> Vec<Scenario> {
    let one_kind = "it is about the producer, whichever kind is there";
    scenarios![
        dropped_while_connecting
            .only(Kind::Embedded, one_kind)
            .alone(),
        dropped_while_backing_off
            .only(Kind::Embedded, one_kind)
            .alone(),
        dropped_in_flight.only(Kind::Embedded, one_kind).alone(),
        dropped_while_draining
            .only(Kind::Embedded, one_kind)
            .alone(),
        dropped_drained.only(Kind::Embedded, one_kind).alone(),
        stopped_with_their_arbiter
            .only(Kind::Embedded, one_kind)
            .alone(),
    ]
}

/// So many at once, since both ends of their sockets are ours.
const GROUP: usize = 100;
const GROUPS: usize = 10;
const HOUR: Duration = Duration::from_secs(3600);

fn start(config: &ProducerConfig) -> Vec<Addr<Producer>> {
    (0..GROUP)
        .map(|_| Producer::start(config.clone()))
        .collect()
}

/// Lets a group after the other live and be dropped, each in a `LocalSet` of its own, which ends only when all its tasks have,
/// be they producers, readers or writers; and then as many descriptors are open as before.
async fn live_and_leave_nothing(mut live: impl AsyncFnMut()) {
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = (descriptors(), alive());
    for group in 0..GROUPS {
        let tasks = LocalSet::new();
        tasks.run_until(live()).await;
        let ended = tokio::time::timeout(PATIENCE, tasks).await;
        assert!(ended.is_ok(), "in group {group} a task is left");
        // The broker takes a moment to see that its clients have gone.
        wait::until("what was opened is closed", || descriptors() <= before.0).await;
        assert_eq!(alive(), before.1, "in group {group}");
    }
}

/// Waits until all of them are in this state.
async fn until_all_are(producers: &[Addr<Producer>], state: ProducerState) {
    for producer in producers {
        while producer.send(GetState).await.expect("it lives") != state {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn until_all_are_connected(producers: &[Addr<Producer>]) {
    let waits = producers.iter().map(|producer| {
        let timeout = PATIENCE;
        producer.send(WaitConnected { timeout })
    });
    for connected in join_all(waits).await {
        connected.unwrap().expect("connected");
    }
}

/// A publish to each, already sent; the answers.
fn publish_to(
    producers: &[Addr<Producer>],
) -> impl Future<Output = Vec<Result<(), PublishError>>> + use<> {
    let messages = producers.iter().enumerate().map(|(number, producer)| {
        let request = producer.send(Publish::new(topic(TOPIC), numbered(number)));
        async { request.await? }
    });
    join_all(messages.collect::<Vec<_>>())
}

/// checklist: 22, 111, 112
async fn dropped_while_connecting(broker: Broker) {
    let config = config(&broker).await.build().unwrap();
    live_and_leave_nothing(async || {
        // Connections are taken, and no handshake is answered.
        broker.freeze(true).await;
        let producers = start(&config);
        until_all_are(&producers, ProducerState::Connecting).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        until_all_are(&producers, ProducerState::Connecting).await;
        drop(producers);
        // A frozen broker does not see that they have gone.
        broker.freeze(false).await;
    })
    .await;
}

/// fault: P28
/// checklist: 22, 111, 112
async fn dropped_while_backing_off(broker: Broker) {
    let config = config(&broker).await.reconnect_backoff(HOUR);
    let config = config.max_reconnect_backoff(HOUR).build().unwrap();
    broker.kill().await;
    live_and_leave_nothing(async || {
        let producers = start(&config);
        until_all_are(&producers, ProducerState::BackingOff).await;
    })
    .await;
}

/// fault: P28
/// checklist: 22, 111, 112
async fn dropped_in_flight(broker: Broker) {
    let config = config(&broker).await.build().unwrap();
    live_and_leave_nothing(async || {
        let producers = start(&config);
        until_all_are_connected(&producers).await;
        broker.freeze(true).await;
        let mut answers = Box::pin(publish_to(&producers));
        assert!(
            futures::future::poll_immediate(&mut answers)
                .await
                .is_none()
        );
        // The mailbox is first in, first out: they are in the queue now.
        until_all_are(&producers, ProducerState::Connected).await;
        drop(producers);
        broker.freeze(false).await;
        // What was accepted is answered before the end.
        for answer in answers.await {
            answer.unwrap();
        }
    })
    .await;
}

/// checklist: 22, 111, 112
async fn dropped_while_draining(broker: Broker) {
    let config = config(&broker).await.build().unwrap();
    live_and_leave_nothing(async || {
        let producers = start(&config);
        until_all_are_connected(&producers).await;
        broker.freeze(true).await;
        let answers = publish_to(&producers);
        for producer in &producers {
            producer.do_send(Drain {
                timeout: Duration::from_millis(50),
            });
        }
        until_all_are(&producers, ProducerState::Draining).await;
        drop(producers);
        for answer in answers.await {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Drained);
        }
        broker.freeze(false).await;
    })
    .await;
}

/// checklist: 22, 111, 112
async fn dropped_drained(broker: Broker) {
    let config = config(&broker).await.build().unwrap();
    live_and_leave_nothing(async || {
        let producers = start(&config);
        let answers = publish_to(&producers);
        let deadline = PATIENCE;
        let drains = producers
            .iter()
            .map(|producer| producer.send(Drain { timeout: deadline }));
        let (answers, reports) = tokio::join!(answers, join_all(drains));
        for (answer, report) in answers.into_iter().zip(reports) {
            answer.unwrap();
            assert_eq!(report.unwrap().ok, 1);
        }
    })
    .await;
}

/// A tenth of them connected, a tenth with a publish in flight, a tenth draining, and so on.
/// fault: P28
/// checklist: 22, 111, 112
async fn stopped_with_their_arbiter(broker: Broker) {
    let config = config(&broker).await.build().unwrap();
    live_and_leave_nothing(async || {
        let arbiter = Arbiter::new();
        let start = || Producer::start_in_arbiter(&arbiter.handle(), config.clone());
        let producers: Vec<_> = (0..GROUP).map(|_| start()).collect();
        until_all_are_connected(&producers[..GROUP / 2]).await;
        broker.freeze(true).await;
        let mut answers = Box::pin(publish_to(&producers[GROUP / 4..]));
        assert!(
            futures::future::poll_immediate(&mut answers)
                .await
                .is_none()
        );
        let drains = producers[..GROUP / 3].iter().map(|producer| {
            let deadline = HOUR;
            producer.send(Drain { timeout: deadline })
        });
        let mut drains = Box::pin(join_all(drains));
        let _ = futures::future::poll_immediate(&mut drains).await;
        let pings = producers
            .iter()
            .map(|producer| producer.send(actix_nsq::Ping { timeout: HOUR }));
        let mut pings = Box::pin(join_all(pings));
        let _ = futures::future::poll_immediate(&mut pings).await;
        arbiter.stop();
        // Every publish and every ping is answered, and every drain ends, be it without a report.
        for answer in answers.await {
            answer.unwrap_err();
        }
        for drained in drains.await {
            let _ = drained;
        }
        for answer in pings.await {
            let failed = answer.map_err(PublishError::from).and_then(|answer| answer);
            failed.unwrap_err();
        }
        arbiter.join().unwrap();
        broker.freeze(false).await;
    })
    .await;
}
