//! Two thousand connections, one after the other, each ended with publishes on their way: nothing is left of them, and every
//! answer was the truth.

use std::net::Shutdown;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::{
    ConnectFuture, ConnectTarget, Connector, DeferredPublish, Delivery, Producer, Publish,
    Reconnect, Transport, producer::Drain, producer::GetStats, producer::Stats,
};
use tokio::net::TcpStream;

use super::load::{TOPIC, config, start, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::our_process::{allocated_kb, descriptors};
use crate::support::record::{Id, Record};
use crate::support::wait;

/// The second half is measured.
const HALF: usize = 1_000;

/// How much memory may come and go without being a leak: half a kB for each of the last connections.
const WOBBLE_KB: i64 = 512;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        a_thousand_reconnects_leave_nothing_behind
            .with(Settings {
                max_req_timeout: Duration::from_millis(1),
                in_memory: true,
                ..Settings::default()
            })
            .alone()
            .within(Duration::from_secs(120)),
    ]
}

/// fault: P28
async fn a_thousand_reconnects_leave_nothing_behind(broker: Broker) {
    let before_all = descriptors();
    let scissors = Scissors::default();
    let producer = start(
        config(&broker)
            .await
            .connector(scissors.clone())
            .reconnect_backoff(Duration::from_millis(1))
            .max_reconnect_backoff(Duration::from_millis(1)),
    );
    let lives = Lives {
        broker,
        producer,
        scissors,
    };
    lives.live(HALF).await;
    let before = (descriptors(), allocated_kb());
    lives.live(HALF).await;
    wait::until("what was opened is closed", || descriptors() <= before.0).await;
    let grown = allocated_kb() - before.1;
    eprintln!("the last {HALF} connections: {grown} kB more");
    // The embedded nsqd remembers, in this same process, what it was told; `costs.rs` counts the client's memory beside it.
    if lives.broker.kind() == Kind::Real {
        assert!(grown < WOBBLE_KB, "memory grew by {grown} kB");
    }

    let Lives {
        broker,
        producer,
        scissors,
    } = lives;
    let deadline = Duration::from_secs(5);
    let report = producer.send(Drain { timeout: deadline }).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    scissors.drop_the_socket();
    assert_eq!(broker.sockets_of_ours().await, 0);
    drop(broker);
    wait::until("all is closed", || descriptors() <= before_all).await;
}

/// A producer's connections, one after the other.
struct Lives {
    broker: Broker,
    producer: Addr<Producer>,
    scissors: Scissors,
}

impl Lives {
    async fn live(&self, times: usize) {
        let mut record = Record::new();
        let publisher = record.publisher(TOPIC);
        for time in 0..times {
            self.live_once(time, publisher, &mut record).await;
        }
        let bodies = self.broker.bodies(TOPIC, record.answered_ok()).await;
        let verdict = record.judge(bodies.iter().map(|body| (TOPIC, &body[..])));
        eprintln!("{verdict}");
        verdict.assert_clean();
        assert!(verdict.ok > times, "most publishes are stored: {verdict}");
        self.broker.delete_topic(TOPIC).await;
    }

    /// One connection, which ends in one of the ways that connections end; three publishes are on their way, or about to go.
    async fn live_once(&self, time: usize, publisher: usize, record: &mut Record) {
        let connects = self.stats().await.connects;
        let sent: [(Id, _); 3] = std::array::from_fn(|_| {
            let (id, body) = record.offer(publisher, 40);
            (id, self.producer.send(Publish::new(topic(TOPIC), body)))
        });
        match time % 4 {
            0 => self.producer.send(Reconnect).await.unwrap(),
            1 => {
                let late = DeferredPublish::new(topic("late"), Duration::from_secs(1), "x");
                let refused = self.producer.send(late).await.unwrap().unwrap_err();
                assert_eq!(refused.delivery(), Delivery::NotWritten, "{refused}");
            }
            2 => self.scissors.cut(),
            _ => {
                // The producer has had its turn, and the publishes are handed over.
                self.stats().await;
                self.scissors.cut();
            }
        }
        for (id, answer) in sent {
            record.answer(id, &answer.await.unwrap());
        }
        let end = std::time::Instant::now() + wait::PATIENCE;
        while self.stats().await.connects == connects {
            assert!(std::time::Instant::now() < end, "it does not come back");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn stats(&self) -> Stats {
        self.producer.send(GetStats).await.unwrap()
    }
}

/// A connector that keeps a second descriptor of the socket, by which the connection is cut as by an end of the line:
/// both sides read an end, and what was sent still arrives.
#[derive(Clone, Debug, Default)]
struct Scissors(Arc<Mutex<Option<std::net::TcpStream>>>);

impl Scissors {
    fn cut(&self) {
        if let Some(socket) = self.take() {
            // It may be gone already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn drop_the_socket(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<std::net::TcpStream> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.take()
    }
}

impl Connector for Scissors {
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
