//! Pools of three nsqds, and an open load: publishes do not wait for earlier answers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::producer::AnyPublish;
use actix_nsq::{
    Delivery, PoolConfig, PoolConfigBuilder, ProducerPool, Publish, PublishError, WaitConnected,
    pool::{GetState, GetStats, MemberStats, PoolStats},
};
use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::fixture::{Answers, LONG, TOPIC, numbered, topic};
use crate::support::broker::{Broker, Settings};
use crate::support::scaled;

/// Publishes per second of an open load: few enough for a debug build.
pub fn rate() -> usize {
    if cfg!(debug_assertions) {
        2_000
    } else {
        scaled(2_000, 10_000)
    }
}

/// Starts two more nsqds beside the first.
pub async fn three(first: Broker) -> [Broker; 3] {
    let kind = first.kind();
    let second = Broker::start(kind, Settings::default()).await;
    let third = Broker::start(kind, Settings::default()).await;
    [first, second, third]
}

pub async fn addresses(brokers: &[Broker]) -> Vec<String> {
    join_all(brokers.iter().map(Broker::address)).await
}

pub async fn config(brokers: &[Broker]) -> PoolConfigBuilder {
    config_of(addresses(brokers).await)
}

pub fn config_of(addresses: Vec<String>) -> PoolConfigBuilder {
    PoolConfig::builder(addresses)
        .reconnect_backoff(Duration::from_millis(20))
        .max_reconnect_backoff(Duration::from_millis(200))
}

/// Starts a pool and waits until every member is connected.
pub async fn start(config: PoolConfigBuilder) -> Addr<ProducerPool> {
    let pool = ProducerPool::start(config.build().unwrap());
    until_up(&pool).await;
    pool
}

pub async fn until_up(pool: &Addr<ProducerPool>) {
    pool.send(WaitConnected::new(LONG)).await.unwrap().unwrap();
    until(pool, "all members are up", |stats| {
        stats.state.up == stats.state.members
    })
    .await;
}

pub async fn until_none_up(pool: &Addr<ProducerPool>) {
    let end = Instant::now() + LONG;
    while pool.send(GetState).await.unwrap().up > 0 {
        assert!(Instant::now() < end, "a member stays up");
        sleep(Duration::from_millis(1)).await;
    }
}

pub async fn stats(pool: &Addr<ProducerPool>) -> PoolStats {
    pool.send(GetStats).await.unwrap()
}

/// Polls the statistics until `holds`.
pub async fn until(
    pool: &Addr<ProducerPool>,
    what: &str,
    holds: impl Fn(&PoolStats) -> bool,
) -> PoolStats {
    let end = Instant::now() + LONG;
    loop {
        let stats = stats(pool).await;
        if holds(&stats) {
            return stats;
        }
        assert!(Instant::now() < end, "{what} within {LONG:?}: {stats:#?}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// The statistics of the member at this address.
pub async fn member(pool: &Addr<ProducerPool>, address: &str) -> MemberStats {
    let members = stats(pool).await.members.into_iter();
    let found = members.into_iter().find(|it| *it.address == *address);
    found.expect("a member at this address")
}

/// What [`TOPIC`] holds at all nsqds together.
pub async fn stored(brokers: &[Broker]) -> Vec<Vec<u8>> {
    let bodies = brokers.iter().map(|broker| broker.bodies(TOPIC, 0));
    join_all(bodies).await.concat()
}

/// The answer to a publish, and when it came.
#[derive(Debug, Clone)]
pub struct Answer {
    pub number: usize,
    pub result: Result<(), PublishError>,
    /// When it was published.
    pub sent: Instant,
    pub after: Duration,
}

impl Answer {
    pub fn delivery(&self) -> Option<Delivery> {
        self.result.as_ref().err().map(PublishError::delivery)
    }

    /// It was published and not answered at some time of this interval.
    pub fn is_open_in(&self, (begin, end): (Instant, Instant)) -> bool {
        self.sent <= end && self.sent + self.after >= begin
    }
}

/// Publishes at a constant rate, whether earlier publishes are answered or not, until it is
/// stopped.
pub struct OpenLoad {
    answers: Rc<RefCell<Vec<Answer>>>,
    published: Rc<Cell<usize>>,
    task: JoinHandle<()>,
}

impl OpenLoad {
    /// Publishes numbered messages to [`TOPIC`].
    pub fn start(pool: &Addr<ProducerPool>) -> Self {
        Self::start_with(pool, |number| {
            Publish::new(topic(TOPIC), numbered(number)).into()
        })
    }

    pub fn start_with(
        pool: &Addr<ProducerPool>,
        publish: impl Fn(usize) -> AnyPublish + 'static,
    ) -> Self {
        let answers = Rc::<RefCell<Vec<Answer>>>::default();
        let published = Rc::<Cell<usize>>::default();
        let load = (Rc::clone(&answers), Rc::clone(&published), pool.clone());
        let task = actix_rt::spawn(async move {
            let (answers, published, pool) = load;
            let began = Instant::now();
            loop {
                let due = began.elapsed().as_secs_f64() * rate() as f64;
                while published.get() < due as usize {
                    let number = published.replace(published.get() + 1);
                    let sent = Instant::now();
                    let request = pool.send(publish(number));
                    let answers = Rc::clone(&answers);
                    actix_rt::spawn(async move {
                        let result = request.await.map_err(PublishError::from);
                        let result = result.and_then(|answer| answer);
                        let after = sent.elapsed();
                        answers.borrow_mut().push(Answer {
                            number,
                            result,
                            sent,
                            after,
                        });
                    });
                }
                sleep(Duration::from_millis(1)).await;
            }
        });
        Self {
            answers,
            published,
            task,
        }
    }

    /// Lets it publish for this long.
    pub async fn goes_on(&self, time: Duration) {
        sleep(time).await;
    }

    /// Lets it publish for this long. Returns how many publishes were in flight at a member at
    /// most.
    pub async fn in_flight_meanwhile(
        &self,
        pool: &Addr<ProducerPool>,
        address: &str,
        time: Duration,
    ) -> usize {
        let end = Instant::now() + time;
        let mut most = 0;
        while Instant::now() < end {
            most = most.max(member(pool, address).await.producer.in_flight);
            self.goes_on(Duration::from_millis(20)).await;
        }
        most
    }

    /// Ends the load, and waits for all answers.
    pub async fn stop(self) -> Vec<Answer> {
        self.task.abort();
        let end = Instant::now() + 2 * LONG;
        while self.answers.borrow().len() < self.published.get() {
            assert!(Instant::now() < end, "all publishes are answered");
            sleep(Duration::from_millis(1)).await;
        }
        let mut answers = self.answers.take();
        answers.sort_by_key(|answer| answer.number);
        answers
    }
}

impl Drop for OpenLoad {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Number of answers with this delivery; `None`: `Ok`.
pub fn count(answers: &[Answer], delivery: Option<Delivery>) -> usize {
    let is = |answer: &&Answer| answer.delivery() == delivery;
    answers.iter().filter(is).count()
}

/// Asserts that each publish was answered `Ok`.
#[track_caller]
pub fn assert_all_ok(answers: &[Answer]) {
    let first = answers.iter().find(|answer| answer.result.is_err());
    let failed = answers.len() - count(answers, None);
    assert_eq!(failed, 0, "of {}; the first: {first:?}", answers.len());
}

/// Asserts that every nsqd together holds what was answered `Ok`, exactly once, and nothing that
/// was answered `NotWritten`.
pub async fn assert_stored_once(brokers: &[Broker], answers: &[Answer]) {
    let mut all = Answers::default();
    for answer in answers {
        all.record(answer.number, answer.result.clone());
    }
    all.assert_agree_with(&stored(brokers).await);
}

/// Asserts that no publish waited longer for its answer.
#[track_caller]
pub fn assert_answered_within(answers: &[Answer], limit: Duration) {
    let slowest = answers.iter().max_by_key(|answer| answer.after);
    let slowest = slowest.expect("answers");
    assert!(slowest.after <= limit, "{slowest:?}");
}

/// Waits until each member of a pool under load gets about as much as the others within half a
/// second. On a machine with other work a member may count as slow for a second.
pub async fn until_load_is_even(pool: &Addr<ProducerPool>) {
    let ok_of_each = async || -> Vec<u64> {
        let members = stats(pool).await.members;
        members.iter().map(|member| member.producer.ok).collect()
    };
    let end = Instant::now() + LONG;
    loop {
        let before = ok_of_each().await;
        // Each turn of a member has 256 publishes.
        sleep(Duration::from_secs_f64(3_000.0 / rate() as f64)).await;
        let after = ok_of_each().await;
        let gained = before
            .iter()
            .zip(&after)
            .map(|(before, after)| after - before);
        let gained: Vec<_> = gained.collect();
        let all: u64 = gained.iter().sum();
        println!("load of each member: {gained:?}");
        if gained.iter().all(|it| (all / 5..all / 2).contains(it)) {
            return;
        }
        assert!(Instant::now() < end, "the load is even: {gained:?}");
    }
}

/// The smallest share of the publishes of one second that were answered `Ok` within a second, from
/// `since` on.
pub fn least_share_in_time(answers: &[Answer], since: Instant, seconds: u32) -> f64 {
    let second = Duration::from_secs(1);
    let shares = (0..seconds).map(|number| {
        let begin = since + second * number;
        let of_second = answers.iter();
        let of_second: Vec<_> = of_second
            .filter(|answer| (begin..begin + second).contains(&answer.sent))
            .collect();
        let in_time = |answer: &&&Answer| answer.result.is_ok() && answer.after <= second;
        of_second.iter().filter(in_time).count() as f64 / of_second.len().max(1) as f64
    });
    shares.fold(1.0, f64::min)
}
