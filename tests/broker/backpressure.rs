//! Far more is published than a broker that stopped reading accepts: memory stays within the
//! configured limits, the excess is answered `Full` at once, and everything recovers.
//!
//! The mailbox of an actix actor is unbounded: sent messages stay there until the producer
//! handles them. The senders here wait for the producer after every [`WAVE`].

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix_nsq::actix::{Actor, Addr, Arbiter, Context, Handler};
use actix_nsq::{
    Delivery, ErrorKind, Producer, ProducerConfigBuilder, ProducerHandle, Publish, PublishError,
    PublishFailure, SubscribeFailures, Topic, producer::Drain,
};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use tokio::task::unconstrained;

use super::fixture::{
    Answers, LONG, TOPIC, assert_error, config, numbered, numbers, publish_all, start, stats,
    stats_once, topic,
};
use super::load::audit;
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Settings};
use crate::support::our_process::{forget_peak, peak_kb, resident_kb};
use crate::support::record::{Id, Outcome, Record, read};
use crate::support::{scaled, wait};

/// Number of publishes between two waits of the sender.
const WAVE: usize = 1_000;

const BODY: usize = 200;

/// What the producer may hold: by bytes, or by number of publishes.
const MAX_BYTES: usize = 4 << 20;
const MAX_PENDING: usize = MAX_BYTES / BODY;

/// Limit for the growth of memory: the bodies, twice because the test holds some too, 500 bytes
/// for every publish, and 24 MiB for the test's record, one wave and the allocator.
const MAX_GROWTH: usize = 2 * MAX_BYTES + MAX_PENDING * 500 + (24 << 20);

pub fn scenarios() -> Vec<Scenario> {
    // Writing every message to disk would take most of the time.
    let in_memory = Settings::in_memory;
    scenarios![
        flood_of_sends_stays_within_max_pending_bytes
            .with(in_memory())
            .in_own_process(),
        flood_of_do_sends_from_a_thread_stays_within_max_pending
            .with(in_memory())
            .in_own_process(),
        handle_callers_wait_for_capacity_through_an_outage,
    ]
}

/// The connection survives the flood.
fn lenient(config: ProducerConfigBuilder) -> ProducerConfigBuilder {
    let long = Duration::from_secs(300);
    config
        .heartbeat_interval(None)
        .write_timeout(long)
        .publish_timeout(2 * long)
        .ack_timeout(long)
}

/// Everything accepted is passed to the socket, which takes a part of it.
/// fault: P14
async fn flood_of_sends_stays_within_max_pending_bytes(broker: Broker) {
    let config = lenient(config(&broker).await)
        .max_batch_size(1 << 20)
        .max_pending_bytes(MAX_BYTES)
        .publish_window_bytes(MAX_BYTES)
        .publish_window(1_000_000);
    let mut flood = Flood::new(broker, start(config)).await;
    flood.stop_broker().await;
    let (mut waiting, mut full) = (Vec::new(), 0);
    for _ in 0..flood.size / WAVE {
        full += flood.send_wave(&mut waiting).await;
    }
    flood.assert_bounded().await;
    assert_eq!(
        (waiting.len(), full),
        (MAX_PENDING, flood.size - MAX_PENDING)
    );
    flood.broker.freeze(false).await;
    for (id, answer) in waiting {
        let answer = answer.await;
        flood.record.borrow_mut().answer(id, &answer);
        answer.unwrap();
    }
    flood.recover().await;
}

/// Few publishes are in flight, and the others are queued.
/// fault: P14
async fn flood_of_do_sends_from_a_thread_stays_within_max_pending(broker: Broker) {
    let config = lenient(config(&broker).await).max_pending(MAX_PENDING);
    let arbiter = Arbiter::new();
    let producer = Producer::start_in_arbiter(&arbiter.handle(), config.build().unwrap());
    let mut flood = Flood::new(broker, producer).await;
    let failures = Failures(Rc::clone(&flood.record)).start();
    let subscribe = SubscribeFailures(failures.recipient());
    flood.producer.send(subscribe).await.unwrap();
    flood.stop_broker().await;
    for _ in 0..flood.size / WAVE {
        for _ in 0..WAVE {
            flood.producer.do_send(flood.offer().1);
        }
        stats(&flood.producer).await;
    }
    let record = Rc::clone(&flood.record);
    let all_reported = || record.borrow().outstanding() == MAX_PENDING;
    wait::until("failures are reported", all_reported).await;
    flood.assert_bounded().await;
    flood.broker.freeze(false).await;
    let all_stored = |stats: &actix_nsq::producer::Stats| stats.ok == MAX_PENDING as u64 + 1;
    stats_once(&flood.producer, "the others are stored", all_stored).await;
    record.borrow_mut().answer_outstanding(Outcome::Ok);
    drop(record);
    flood.recover().await;
    arbiter.stop();
}

/// Notes failures of `do_send`.
struct Failures(Rc<RefCell<Record>>);

impl Actor for Failures {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(0);
    }
}

impl Handler<PublishFailure> for Failures {
    type Result = ();

    fn handle(&mut self, failure: PublishFailure, _: &mut Context<Self>) {
        assert_error(&failure.error, ErrorKind::Full, Delivery::NotWritten);
        let id = read(TOPIC, &failure.publish.bodies()[0]).expect("a recorded message");
        self.0.borrow_mut().answer(id, Outcome::NotWritten);
    }
}

type Answer = LocalBoxFuture<'static, Result<(), PublishError>>;

/// A producer, and the record of everything that is published with it.
struct Flood {
    size: usize,
    broker: Broker,
    producer: Addr<Producer>,
    topic: Topic,
    record: Rc<RefCell<Record>>,
    publisher: usize,
    resident_before_kb: i64,
}

impl Flood {
    async fn new(broker: Broker, producer: Addr<Producer>) -> Self {
        let mut record = Record::new();
        let flood = Self {
            size: scaled(40_000, 1_000_000),
            broker,
            producer,
            topic: topic(TOPIC),
            publisher: record.publisher(TOPIC),
            record: Rc::new(RefCell::new(record)),
            resident_before_kb: 0,
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

    async fn stop_broker(&mut self) {
        self.broker.freeze(true).await;
        forget_peak();
        self.resident_before_kb = resident_kb();
    }

    /// Sends a wave, and returns how many of it were answered `Full`. The others are kept.
    async fn send_wave(&self, waiting: &mut Vec<(Id, Answer)>) -> usize {
        let send = |_| {
            let (id, publish) = self.offer();
            let request = self.producer.send(publish);
            (id, async move { request.await? }.boxed_local())
        };
        let sent: Vec<_> = (0..WAVE).map(send).collect();
        // The mailbox is first in, first out: the wave is handled before this is answered.
        stats(&self.producer).await;
        let mut full = 0;
        for (id, mut answer) in sent {
            // Within tokio's budget, only 128 would be seen.
            match unconstrained(&mut answer).now_or_never() {
                Some(answer) => {
                    let error = answer.as_ref().unwrap_err();
                    assert_error(error, ErrorKind::Full, Delivery::NotWritten);
                    self.record.borrow_mut().answer(id, &answer);
                    full += 1;
                }
                None => waiting.push((id, answer)),
            }
        }
        full
    }

    /// The memory of the process and the counts of the producer are within their limits.
    async fn assert_bounded(&self) {
        let (grown, most) = (
            peak_kb() - self.resident_before_kb,
            MAX_GROWTH as i64 / 1024,
        );
        assert!(
            grown <= most,
            "memory grew by {grown} kB, more than {most} kB"
        );
        let stats = stats(&self.producer).await;
        assert_eq!(stats.queued + stats.in_flight, MAX_PENDING);
        assert_eq!(stats.rejected_full, (self.size - MAX_PENDING) as u64);
        assert_eq!((stats.published, stats.ok), (self.size as u64 + 1, 1));
        assert_eq!(stats.disconnects, 0, "{stats:?}");
    }

    /// The producer publishes as before, and every answer was true.
    async fn recover(self) {
        for _ in 0..100 {
            self.publish_one().await;
        }
        let report = self.producer.send(Drain { timeout: LONG }).await.unwrap();
        assert!(report.is_clean() && report.ok == 0, "{report:?}");
        audit(self.record.take(), &self.broker).await.assert_clean();
    }
}

/// checklist: 33
async fn handle_callers_wait_for_capacity_through_an_outage(broker: Broker) {
    let handle = ProducerHandle::start(config(&broker).await.max_pending(10).build().unwrap());
    let producer = handle.address().clone();
    publish_all(&producer, 0..5).await.assert_all_ok();
    broker.kill().await;
    let calls = (5..2_000).map(async |number| {
        let answer = handle.publish(TOPIC, numbered(number)).await;
        (number, answer)
    });
    let (answered, ()) = tokio::join!(join_all(calls), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        broker.restart().await;
    });
    let mut answers = Answers::default();
    for (number, answer) in answered {
        answers.record(number, answer);
    }
    // Those that were sent before the producer noticed the kill.
    assert!(answers.failed(Delivery::MaybeWritten) <= 10);
    assert_eq!(answers.failed(Delivery::NotWritten), 0);
    let bodies = broker.bodies(TOPIC, answers.ok() + 5).await.split_off(5);
    assert!(numbers(&bodies).is_sorted(), "not in arrival order");
    answers.assert_agree_with(&bodies);
}
