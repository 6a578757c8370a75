//! Connections and producers that have ended leave no descriptor, task or memory behind. What idle
//! ones cost is measured in `tests/scale`.

use std::net::Shutdown;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::{
    ConnectFuture, ConnectTarget, Connector, DeferredPublish, Delivery, ErrorKind, Producer,
    ProducerState, Publish, PublishError, Reconnect, Transport, WaitConnected, producer::Drain,
    producer::GetState,
};
use futures::future::join_all;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::fixture::{LONG, TOPIC, config, numbered, start, stats, stats_once, topic};
use super::load::audit;
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::our_process::{allocated_kb, descriptors};
use crate::support::record::Record;
use crate::support::scaled;
use crate::support::wait::{self, PATIENCE};

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        thousands_of_connections_leave_nothing_behind
            .with(Settings {
                max_req_timeout: Duration::from_millis(1),
                in_memory: true,
                ..Settings::default()
            })
            .in_own_process(),
        producers_dropped_in_any_state_leave_nothing_behind
            .only(Kind::Embedded, "it concerns the producer alone")
            .in_own_process(),
    ]
}

/// Every connection ends in one of four ways, with publishes in flight.
/// fault: P28
/// checklist: 22
async fn thousands_of_connections_leave_nothing_behind(broker: Broker) {
    /// The second half is measured.
    const MAX_GROWTH_KB: i64 = 512;
    let half = scaled(200, 1_000);
    let descriptors_before = descriptors();
    let cutter = Cutter::default();
    let short = Duration::from_millis(1);
    let config = config(&broker).await.connector(cutter.clone());
    let producer = start(config.reconnect_backoff(short).max_reconnect_backoff(short));
    end_connections(&broker, &producer, &cutter, half).await;
    let before = (descriptors(), allocated_kb());
    end_connections(&broker, &producer, &cutter, half).await;
    wait::until("sockets are closed", || descriptors() <= before.0).await;
    let grown = allocated_kb() - before.1;
    // The embedded nsqd keeps a history in this process.
    if broker.kind() == Kind::Real {
        assert!(grown < MAX_GROWTH_KB, "memory grew by {grown} kB");
    }

    let report = producer.send(Drain { timeout: LONG }).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    drop(cutter.take());
    assert_eq!(broker.sockets_of_ours().await, 0);
    drop((broker, producer));
    wait::until("everything is closed", || {
        descriptors() <= descriptors_before
    })
    .await;
}

/// Three publishes on each connection, which then ends.
async fn end_connections(
    broker: &Broker,
    producer: &Addr<Producer>,
    cutter: &Cutter,
    count: usize,
) {
    let mut record = Record::new();
    let publisher = record.publisher(TOPIC);
    for number in 0..count {
        let connects = stats(producer).await.connects;
        let sent = [(); 3].map(|()| {
            let (id, body) = record.offer(publisher, 40);
            (id, producer.send(Publish::new(topic(TOPIC), body)))
        });
        match number % 4 {
            0 => producer.send(Reconnect).await.unwrap(),
            1 => {
                let delay = Duration::from_secs(1);
                let rejected = DeferredPublish::new(topic("rejected"), delay, "x");
                let error = producer.send(rejected).await.unwrap().unwrap_err();
                assert_eq!(error.delivery(), Delivery::NotWritten, "{error}");
            }
            2 => cutter.cut(),
            _ => {
                // Afterwards, the publishes are in flight.
                stats(producer).await;
                cutter.cut();
            }
        }
        for (id, answer) in sent {
            record.answer(id, &answer.await.unwrap());
        }
        stats_once(producer, "it reconnects", |stats| stats.connects > connects).await;
    }
    let audit = audit(record, broker).await;
    audit.assert_clean();
    assert!(audit.ok > count, "{audit}");
    broker.delete_topic(TOPIC).await;
}

/// A connector that keeps a second descriptor of the socket, to shut the connection down. Both
/// sides then read EOF, and bytes in flight still arrive.
#[derive(Clone, Debug, Default)]
struct Cutter(Arc<Mutex<Option<std::net::TcpStream>>>);

impl Cutter {
    fn cut(&self) {
        if let Some(socket) = self.take() {
            // Fails if the connection has ended already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn take(&self) -> Option<std::net::TcpStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Connector for Cutter {
    fn connect(&self, target: &ConnectTarget) -> ConnectFuture {
        let (held, address) = (Arc::clone(&self.0), target.address().to_owned());
        Box::pin(async move {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let socket = socket.into_std()?;
            let second = socket.try_clone()?;
            *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(second);
            Ok(Transport::new(TcpStream::from_std(socket)?))
        })
    }
}

/// Producers per group. Both ends of their sockets are in this process.
const GROUP: usize = 100;
const HOUR: Duration = Duration::from_secs(3600);

/// Runs `group` several times, each time in a `LocalSet`, which ends when all its tasks have:
/// producers, readers and writers. Afterwards no more tasks and descriptors exist than before.
async fn run_groups(mut group: impl AsyncFnMut()) {
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = (descriptors(), tasks());
    for number in 0..scaled(2, 10) {
        let set = LocalSet::new();
        set.run_until(group()).await;
        let ended = tokio::time::timeout(PATIENCE, set).await;
        assert!(ended.is_ok(), "group {number}: a task remains");
        // The broker closes its sockets a moment later.
        wait::until("sockets are closed", || descriptors() <= before.0).await;
        assert_eq!(tasks(), before.1, "group {number}");
    }
}

async fn until_all(producers: &[Addr<Producer>], state: ProducerState) {
    for producer in producers {
        while producer.send(GetState).await.expect("the producer answers") != state {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn until_all_connected(producers: &[Addr<Producer>]) {
    let timeout = PATIENCE;
    let connected = producers
        .iter()
        .map(|it| it.send(WaitConnected { timeout }));
    for connected in join_all(connected).await {
        connected.unwrap().expect("connected");
    }
}

/// Sends one publish to each producer. The future returns the answers.
fn publish_to_each(
    producers: &[Addr<Producer>],
) -> impl Future<Output = Vec<Result<(), PublishError>>> + Unpin + use<> {
    let requests = producers.iter().enumerate().map(|(number, producer)| {
        let request = producer.send(Publish::new(topic(TOPIC), numbered(number)));
        Box::pin(async { request.await? })
    });
    join_all(requests.collect::<Vec<_>>())
}

/// fault: P28
/// checklist: 22, 111, 112
async fn producers_dropped_in_any_state_leave_nothing_behind(broker: Broker) {
    let config = config(&broker).await;
    let start = |config: &actix_nsq::ProducerConfigBuilder| {
        let config = config.clone().build().unwrap();
        Vec::from_iter((0..GROUP).map(|_| Producer::start(config.clone())))
    };
    // While connecting: a frozen broker accepts connections and answers no handshake.
    run_groups(async || {
        broker.freeze(true).await;
        let producers = start(&config);
        until_all(&producers, ProducerState::Connecting).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        until_all(&producers, ProducerState::Connecting).await;
        drop(producers);
        broker.freeze(false).await;
    })
    .await;
    // With publishes in flight, which are answered before the producers end.
    run_groups(async || {
        let producers = start(&config);
        until_all_connected(&producers).await;
        broker.freeze(true).await;
        let answers = publish_to_each(&producers);
        // The mailbox is first in, first out: the publishes are handled.
        until_all(&producers, ProducerState::Connected).await;
        drop(producers);
        broker.freeze(false).await;
        answers.await.into_iter().for_each(Result::unwrap);
    })
    .await;
    // While draining.
    run_groups(async || {
        let producers = start(&config);
        until_all_connected(&producers).await;
        broker.freeze(true).await;
        let answers = publish_to_each(&producers);
        let timeout = Duration::from_millis(50);
        producers
            .iter()
            .for_each(|it| it.do_send(Drain { timeout }));
        for producer in &producers {
            // Afterwards, the drain has begun.
            producer.send(GetState).await.unwrap();
        }
        drop(producers);
        for answer in answers.await {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Drained);
        }
        broker.freeze(false).await;
    })
    .await;
    // While backing off.
    broker.kill().await;
    let config = config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR);
    run_groups(async || {
        let producers = start(&config);
        until_all(&producers, ProducerState::BackingOff).await;
    })
    .await;
}
