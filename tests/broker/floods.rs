//! A million publishes are offered to a broker that has stopped reading: memory stays within what was configured, the rest
//! is told so at once, and all recovers when the broker reads again.
//!
//! actix's mailbox is no bound: what is sent lies there until the producer's turn comes. So whoever floods looks for an
//! answer now and then, here after each [`WAVE`]; what lies between two looks is the sender's memory, not the producer's.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_nsq::actix::{Actor, Addr, Context, Handler};
use actix_nsq::{
    Delivery, ErrorKind, Producer, ProducerConfigBuilder, Publish, PublishError, PublishFailure,
    SubscribeFailures, Topic, producer::Drain, producer::GetStats, producer::Stats,
};
use actix_rt::Arbiter;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::task::unconstrained;

use super::load::{TOPIC, config, start, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Settings};
use crate::support::our_process::{forget_peak, peak_kb, resident_kb};
use crate::support::record::{Id, Record, read};
use crate::support::wait;

const MILLION: usize = 1_000_000;

/// Where the full million would tell no more, and takes ten times as long.
const PART: usize = 100_000;

/// So many are sent before the sender looks for an answer.
const WAVE: usize = 1_000;

const BODY: usize = 200;

/// What the producer holds for each publish beside its body, twice over where it keeps it for one who is told of failures.
const EACH: usize = 500;

/// What is neither the bound's nor a publish's: the record of the test (4 bytes for each of the million, and as much again
/// while it grows), a wave on its way there and back, and what the allocator keeps.
const CONSTANT: usize = 24 << 20;

pub fn scenarios() -> Vec<Scenario> {
    let long = Duration::from_secs(180);
    scenarios![
        a_million_sends_to_a_broker_that_stopped_reading_meet_the_bound
            .with(in_memory())
            .alone()
            .within(long),
        a_flood_of_do_sends_to_a_broker_that_stopped_reading_meets_the_bound
            .with(in_memory())
            .alone()
            .within(long),
        a_flood_of_sends_from_another_thread_meets_the_bound
            .with(in_memory())
            .alone()
            .within(long),
        a_flood_of_do_sends_from_another_thread_meets_the_bound
            .with(in_memory())
            .alone()
            .within(long),
        a_flood_of_sends_while_connections_are_given_up_meets_the_bound
            .with(in_memory())
            .alone()
            .within(long),
    ]
}

/// Nobody is killed here, and 20,000 messages would each be written to the disk.
fn in_memory() -> Settings {
    Settings {
        in_memory: true,
        ..Settings::default()
    }
}

/// All that is accepted goes to the socket, which takes a part of it; bytes are the bound.
fn by_bytes(config: ProducerConfigBuilder) -> ProducerConfigBuilder {
    let bytes = 4 << 20;
    config
        .max_batch_size(1 << 20)
        .max_pending_bytes(bytes)
        .publish_window_bytes(bytes)
        .publish_window(1_000_000)
}

/// Little is on its way, and the rest waits; the number is the bound.
fn by_number(config: ProducerConfigBuilder) -> ProducerConfigBuilder {
    config.max_pending(20_000)
}

/// The connection outlives the flood.
fn patient(config: ProducerConfigBuilder) -> ProducerConfigBuilder {
    let long = Duration::from_secs(120);
    config
        .heartbeat_interval(None)
        .write_timeout(long)
        .publish_timeout(2 * long)
        .ack_timeout(long)
}

/// fault: P14
async fn a_million_sends_to_a_broker_that_stopped_reading_meet_the_bound(broker: Broker) {
    let producer = start(by_bytes(patient(config(&broker).await)));
    let room = (4 << 20) / BODY;
    Flood::of(MILLION, broker, producer).await.sends(room).await;
}

/// fault: P14
async fn a_flood_of_do_sends_to_a_broker_that_stopped_reading_meets_the_bound(broker: Broker) {
    let producer = start(by_number(patient(config(&broker).await)));
    Flood::of(PART, broker, producer)
        .await
        .do_sends(20_000)
        .await;
}

/// fault: P14
async fn a_flood_of_sends_from_another_thread_meets_the_bound(broker: Broker) {
    let config = by_number(patient(config(&broker).await)).build().unwrap();
    let arbiter = Arbiter::new();
    let producer = Producer::start_in_arbiter(&arbiter.handle(), config);
    Flood::of(PART, broker, producer).await.sends(20_000).await;
    arbiter.stop();
}

/// fault: P14
async fn a_flood_of_do_sends_from_another_thread_meets_the_bound(broker: Broker) {
    let config = by_bytes(patient(config(&broker).await)).build().unwrap();
    let arbiter = Arbiter::new();
    let producer = Producer::start_in_arbiter(&arbiter.handle(), config);
    let room = (4 << 20) / BODY;
    Flood::of(PART, broker, producer).await.do_sends(room).await;
    arbiter.stop();
}

/// One connection after the other is made to a broker that does not answer, and given up; room comes and goes meanwhile.
/// fault: P14
async fn a_flood_of_sends_while_connections_are_given_up_meets_the_bound(broker: Broker) {
    let short = Duration::from_millis(300);
    let config = by_number(config(&broker).await)
        .max_pending(2_000)
        .publish_timeout(10 * short)
        .ack_timeout(short)
        .handshake_timeout(short)
        .max_reconnect_backoff(short);
    let mut flood = Flood::of(PART, broker, start(config)).await;
    let mut kept = Vec::new();
    flood.freeze(true).await;
    let (mut full, mut waves) = (0, 0);
    while waves < flood.size / WAVE || flood.stats().await.disconnects == 0 {
        full += flood.wave(&mut kept).await;
        flood.look_at(&mut kept);
        waves += 1;
    }
    flood.assert_bounded();
    let stats = flood.stats().await;
    assert_eq!(stats.rejected_full, full as u64);
    assert!(full > 0, "nothing was refused");
    flood.freeze(false).await;
    for (id, answer) in kept {
        let answer = answer.await;
        flood.record.borrow_mut().answer(id, &answer);
    }
    flood.recover().await;
}

type Answer = LocalBoxFuture<'static, Result<(), PublishError>>;

type Kept = Vec<(Id, Answer)>;

/// The answer, if it is there. Out of its turn tokio would show no more than 128 of them.
fn look(answer: &mut Answer) -> Option<Result<(), PublishError>> {
    unconstrained(answer).now_or_never()
}

/// A producer, and all that is offered to it.
struct Flood {
    size: usize,
    broker: Broker,
    producer: Addr<Producer>,
    topic: Topic,
    record: Rc<RefCell<Record>>,
    publisher: usize,
    before_kb: i64,
    began: Instant,
    limit: usize,
}

impl Flood {
    /// The producer is connected, and has published.
    async fn of(size: usize, broker: Broker, producer: Addr<Producer>) -> Self {
        let mut record = Record::new();
        let publisher = record.publisher(TOPIC);
        let flood = Self {
            size,
            broker,
            producer,
            topic: topic(TOPIC),
            record: Rc::new(RefCell::new(record)),
            publisher,
            before_kb: 0,
            began: Instant::now(),
            // By number, the bodies are the bound's as well.
            limit: (4 << 20) * 2 + 21_000 * EACH + CONSTANT,
        };
        flood.publish_one().await;
        flood
    }

    fn offer(&self) -> (Id, Publish) {
        let (id, body) = self.record.borrow_mut().offer(self.publisher, BODY);
        (id, Publish::new(&self.topic, body))
    }

    async fn publish_one(&self) {
        let (id, publish) = self.offer();
        let answer = self.producer.send(publish).await.unwrap();
        self.record.borrow_mut().answer(id, &answer);
        answer.unwrap();
    }

    async fn stats(&self) -> Stats {
        self.producer.send(GetStats).await.unwrap()
    }

    async fn freeze(&mut self, frozen: bool) {
        self.broker.freeze(frozen).await;
        if frozen {
            forget_peak();
            self.before_kb = resident_kb();
            self.began = Instant::now();
        }
    }

    /// What the process has held at most since it was frozen.
    fn assert_bounded(&self) {
        let grown = peak_kb() - self.before_kb;
        let most = i64::try_from(self.limit / 1024).unwrap();
        let (kind, size, took) = (self.broker.kind(), self.size, self.began.elapsed());
        eprintln!("{kind}: {size} publishes in {took:?}: {grown} kB at most, of {most} kB");
        assert!(
            grown <= most,
            "memory grew by {grown} kB, and may by {most} kB"
        );
    }

    /// Sends a wave. Those beyond the bound are refused by the time that the producer has come to the end of it, and counted;
    /// the others are kept.
    async fn wave(&self, kept: &mut Kept) -> usize {
        let sent: Vec<_> = (0..WAVE)
            .map(|_| {
                let (id, publish) = self.offer();
                let request = self.producer.send(publish);
                (id, async move { request.await? }.boxed_local())
            })
            .collect();
        self.stats().await;
        let mut full = 0;
        for (id, mut answer) in sent {
            match look(&mut answer) {
                Some(answer) => {
                    assert_full(answer.as_ref().unwrap_err());
                    self.record.borrow_mut().answer(id, &answer);
                    full += 1;
                }
                None => kept.push((id, answer)),
            }
        }
        full
    }

    /// Lets go of those that are answered.
    fn look_at(&self, kept: &mut Kept) {
        let mut record = self.record.borrow_mut();
        kept.retain_mut(|(id, answer)| {
            look(answer)
                .inspect(|answer| record.answer(*id, answer))
                .is_none()
        });
    }

    /// Floods by `send`, of which `room` have room: exactly so many are kept waiting, and are answered `Ok` in the end.
    async fn sends(mut self, room: usize) {
        let mut kept = Vec::new();
        self.freeze(true).await;
        let mut full = 0;
        for _ in 0..self.size / WAVE {
            full += self.wave(&mut kept).await;
        }
        self.assert_held(room).await;
        assert_eq!((kept.len(), full), (room, self.size - room));
        self.freeze(false).await;
        for (id, answer) in kept {
            let answer = answer.await;
            self.record.borrow_mut().answer(id, &answer);
            answer.unwrap();
        }
        self.recover().await;
    }

    /// The same by `do_send`: those beyond the bound are told as failures, the others are heard of no more.
    async fn do_sends(mut self, room: usize) {
        let told = Told {
            record: Rc::clone(&self.record),
        };
        let told = told.start();
        let told_to = SubscribeFailures(told.recipient());
        self.producer.send(told_to).await.unwrap();
        self.freeze(true).await;
        for _ in 0..self.size / WAVE {
            for _ in 0..WAVE {
                self.producer.do_send(self.offer().1);
            }
            self.stats().await;
        }
        let record = Rc::clone(&self.record);
        wait::until("the failures are told", || {
            record.borrow().outstanding() == room
        })
        .await;
        self.assert_held(room).await;
        self.freeze(false).await;
        wait_for_stats(&self.producer, |stats| stats.ok == room as u64 + 1).await;
        // No news of them is good news, which the broker is to bear out.
        self.record.borrow_mut().answer_outstanding(&Ok(()));
        self.recover().await;
    }

    async fn assert_held(&self, room: usize) {
        self.assert_bounded();
        let stats = self.stats().await;
        assert_eq!(stats.queued + stats.in_flight, room);
        assert_eq!(stats.rejected_full, (self.size - room) as u64);
        assert_eq!((stats.published, stats.ok), (self.size as u64 + 1, 1));
        assert_eq!(stats.disconnects, 0, "{stats:?}");
    }

    /// All is as it was before, and every answer was the truth.
    async fn recover(self) {
        for _ in 0..100 {
            self.publish_one().await;
        }
        let deadline = Duration::from_secs(30);
        let report = self
            .producer
            .send(Drain { timeout: deadline })
            .await
            .unwrap();
        assert!(report.is_clean() && report.ok == 0, "{report:?}");
        let Self { broker, record, .. } = self;
        let record = record.take();
        let bodies = broker.bodies(TOPIC, record.answered_ok()).await;
        let verdict = record.judge(bodies.iter().map(|body| (TOPIC, &body[..])));
        eprintln!("{verdict}");
        verdict.assert_clean();
    }
}

async fn wait_for_stats(producer: &Addr<Producer>, holds: impl Fn(&Stats) -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let stats = producer.send(GetStats).await.unwrap();
        if holds(&stats) {
            return;
        }
        assert!(Instant::now() < end, "waited in vain: {stats:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[track_caller]
fn assert_full(error: &PublishError) {
    let full = (ErrorKind::Full, Delivery::NotWritten);
    assert_eq!((error.kind(), error.delivery()), full, "{error}");
}

/// Who is told of failures, and notes them.
struct Told {
    record: Rc<RefCell<Record>>,
}

impl Actor for Told {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(0);
    }
}

impl Handler<PublishFailure> for Told {
    type Result = ();

    fn handle(&mut self, failed: PublishFailure, _: &mut Context<Self>) {
        assert_full(&failed.error);
        let id = read(TOPIC, &failed.publish.bodies()[0]).expect("what was published");
        self.record.borrow_mut().answer(id, &Err(failed.error));
    }
}
