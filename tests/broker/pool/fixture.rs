//! Pools of three nsqds, and an open load: publishes do not wait for earlier answers.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::{
    Delivery, PoolConfig, PoolConfigBuilder, ProducerPool, Publish, PublishError, WaitConnected,
    pool::{GetState, GetStats, PoolStats},
};
use futures::future::join_all;
use tokio::time::sleep;

use crate::fixture::{LONG, TOPIC, numbered, topic};
use crate::support::broker::{Broker, Settings};

/// Starts two more nsqds beside the first.
pub async fn three(first: Broker) -> [Broker; 3] {
    let kind = first.kind();
    let second = Broker::start(kind, Settings::default()).await;
    let third = Broker::start(kind, Settings::default()).await;
    [first, second, third]
}

pub async fn config(brokers: &[Broker]) -> PoolConfigBuilder {
    let addresses = join_all(brokers.iter().map(Broker::address)).await;
    PoolConfig::builder(addresses).reconnect_backoff(Duration::from_millis(20))
}

/// Starts a pool and waits until every member is connected.
pub async fn start(config: PoolConfigBuilder) -> Addr<ProducerPool> {
    let pool = ProducerPool::start(config.build().unwrap());
    until_up(&pool).await;
    pool
}

pub async fn until_up(pool: &Addr<ProducerPool>) {
    pool.send(WaitConnected::new(LONG)).await.unwrap().unwrap();
    let end = Instant::now() + LONG;
    loop {
        let state = pool.send(GetState).await.unwrap();
        if state.up == state.members {
            return;
        }
        assert!(
            Instant::now() < end,
            "all members up within {LONG:?}: {state}"
        );
        sleep(Duration::from_millis(1)).await;
    }
}

pub async fn stats(pool: &Addr<ProducerPool>) -> PoolStats {
    pool.send(GetStats).await.unwrap()
}

/// The answer to a publish, and when it came.
#[derive(Debug, Clone)]
pub struct Answer {
    pub number: usize,
    pub result: Result<(), PublishError>,
    pub after: Duration,
}

/// Publishes at a constant rate, whether earlier ones are answered or not.
pub struct OpenLoad {
    answers: Rc<RefCell<Vec<Answer>>>,
    published: usize,
    rate: usize,
    began: Instant,
}

impl OpenLoad {
    pub fn new(rate: usize) -> Self {
        Self {
            answers: Rc::default(),
            published: 0,
            rate,
            began: Instant::now(),
        }
    }

    pub fn published(&self) -> usize {
        self.published
    }

    /// Publishes for this long.
    pub async fn run(&mut self, pool: &Addr<ProducerPool>, time: Duration) {
        let until = Instant::now() + time;
        if self.published == 0 {
            self.began = Instant::now();
        }
        while Instant::now() < until {
            let due = self.began.elapsed().as_secs_f64() * self.rate as f64;
            while self.published < due as usize {
                let number = self.published;
                self.published += 1;
                let sent = Instant::now();
                let request = pool.send(Publish::new(topic(TOPIC), numbered(number)));
                let answers = Rc::clone(&self.answers);
                actix_rt::spawn(async move {
                    let result = request.await.map_err(PublishError::from).flatten();
                    let after = sent.elapsed();
                    answers.borrow_mut().push(Answer {
                        number,
                        result,
                        after,
                    });
                });
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits for all answers.
    pub async fn answers(self) -> Vec<Answer> {
        let end = Instant::now() + 2 * LONG;
        while self.answers.borrow().len() < self.published {
            assert!(Instant::now() < end, "all publishes are answered");
            sleep(Duration::from_millis(5)).await;
        }
        self.answers.take()
    }
}

pub fn count(answers: &[Answer], delivery: Option<Delivery>) -> usize {
    let is =
        |answer: &&Answer| answer.result.as_ref().err().map(PublishError::delivery) == delivery;
    answers.iter().filter(is).count()
}
