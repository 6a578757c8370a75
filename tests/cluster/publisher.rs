//! A client that publishes to both topics through a pool.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_nsq::actix::{Actor, spawn};
use actix_nsq::bytes::Bytes;
use actix_nsq::pool::{GetMembers, MemberState};
use actix_nsq::{ConnectionEvent, PoolConfig, ProducerHandle, ProducerPool, Topic};
use futures::future::select;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::client::{self, DRAIN_TIMEOUT, Observer, TOPICS};
use crate::layout::Publisher;
use crate::messages::record_of;
use crate::support::record::{Id, Outcome};
use crate::support::wait;

/// Shorter than some faults, so that publishes time out.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(4);
const ACK_TIMEOUT: Duration = Duration::from_millis(1_500);
const PUBLISH_WINDOW: usize = 200;
/// An answer that takes this much longer than `publish_timeout` is late.
const GRACE: Duration = Duration::from_secs(1);

/// Interval of publishing.
const TICK: Duration = Duration::from_millis(10);
/// Publishes per second to each topic.
const RATE: f64 = 150.0;
/// Maximum size of a body in bytes.
const MAX_SIZE: usize = 400;

/// What is published.
struct Load {
    client: usize,
    pool: ProducerHandle<ProducerPool>,
    /// Number of messages, by topic.
    offered: [Cell<usize>; 2],
    unanswered: Cell<usize>,
}

/// Publishes until it is stopped.
pub async fn run(client: usize, kind: Publisher, nsqds: Vec<String>, lookupds: Vec<String>) {
    let retries = kind == Publisher::KnowsAndRetries;
    let known = if retries { nsqds } else { Vec::new() };
    let config = PoolConfig::discover(lookupds)
        .addresses(known)
        .connection(client::connection())
        .lookupd_poll_interval(client::LOOKUPD_POLL_INTERVAL)
        .lookupd_poll_timeout(client::LOOKUPD_POLL_TIMEOUT)
        .publish_timeout(PUBLISH_TIMEOUT)
        .ack_timeout(ACK_TIMEOUT)
        .publish_window(PUBLISH_WINDOW)
        .retry_maybe_written(retries);
    let config = config.build().expect("a valid configuration");
    let load = Rc::new(Load {
        client,
        pool: ProducerHandle::start_pool(config),
        offered: Default::default(),
        unanswered: Cell::new(0),
    });
    let lost = Rc::clone(&load);
    let then = Box::new(move || {
        if retries {
            lost.report_offered();
            println!("may_repeat");
        }
    });
    let observer = Observer { then };
    load.pool
        .subscribe::<ConnectionEvent>(observer.start().recipient());
    spawn(report_members(load.pool.clone()));
    select(pin!(load.publish()), pin!(client::stopped())).await;
    let report = load.pool.drain(DRAIN_TIMEOUT).await;
    let report = report.expect("the pool can be drained");
    if !report.is_clean() {
        println!("problem client {client} is not drained: {report}");
    }
    wait::until("all is answered", || load.unanswered.get() == 0).await;
    load.report_offered();
}

async fn report_members(pool: ProducerHandle<ProducerPool>) {
    let mut ticks = interval(client::REPORT_INTERVAL);
    loop {
        ticks.tick().await;
        let members = pool.address().send(GetMembers).await.unwrap_or_default();
        let is_up = |state| matches!(state, MemberState::Up | MemberState::Suspect);
        let up = members.iter().filter(|member| is_up(member.state));
        client::report_up(up.map(|member| &*member.address));
    }
}

impl Load {
    fn report_offered(&self) {
        for (topic, offered) in TOPICS.iter().zip(&self.offered) {
            println!("offered {topic} {}", offered.get());
        }
    }

    /// Publishes to both topics at a steady rate. No publish waits for the answer of another one.
    async fn publish(self: &Rc<Self>) {
        let mut records = TOPICS.map(record_of);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut last, mut due) = (Instant::now(), 0.0);
        loop {
            ticks.tick().await;
            due = (due + RATE * last.elapsed().as_secs_f64()).min(RATE);
            last = Instant::now();
            while due >= 1.0 {
                due -= 1.0;
                for (number, record) in records.iter_mut().enumerate() {
                    let (id, body) = record.offer(self.client, fastrand::usize(..MAX_SIZE));
                    self.offered[number].set(id.number + 1);
                    self.unanswered.set(self.unanswered.get() + 1);
                    spawn(Rc::clone(self).report_answer(TOPICS[number], id, body));
                }
            }
        }
    }

    async fn report_answer(self: Rc<Self>, topic: &'static str, id: Id, body: Bytes) {
        let name = Topic::new(topic).expect("a valid name");
        let answer = self.pool.publish(name, body);
        match timeout(PUBLISH_TIMEOUT + GRACE, answer).await {
            Ok(answer) => {
                let outcome = match Outcome::from(&answer) {
                    Outcome::Ok => "ok",
                    Outcome::NotWritten => "not_written",
                    Outcome::Maybe => "maybe",
                };
                println!("{outcome} {topic} {}", id.number);
            }
            Err(_) => println!("problem {topic} {id} is not answered in time"),
        }
        self.unanswered.set(self.unanswered.get() - 1);
    }
}
