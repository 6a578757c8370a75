//! Flow control between several nsqds, checked by the bytes that are written.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::{
    Consumer, ConsumerConfig, ConsumerConfigBuilder, ConsumerState, MessageHandler,
    consumer::SetMaxInFlight,
};
use tokio::time::sleep;

use super::fixture::{drain, start, stats, until};
use crate::fixture::{producer, publish_all};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Settings};
use crate::support::flow_check::{Checked, check};
use crate::support::scaled;
use crate::support::wire_log::{Event, WireLog};

pub fn scenarios() -> Vec<Scenario> {
    let in_memory = Settings::in_memory;
    scenarios![
        one_message_in_flight_serves_five_nsqds_equally.with(in_memory()),
        only_busy_nsqd_gets_nearly_all_capacity.with(in_memory()),
        stopped_nsqds_never_let_the_maximum_be_exceeded.with(in_memory()),
        changed_maximum_is_kept_between_five_nsqds.with(in_memory()),
        share_of_a_lost_nsqd_is_soon_in_use_elsewhere.with(in_memory()),
        ten_backoffs_in_a_row_end_at_full_speed.with(in_memory()),
    ]
}

/// When handlers ended, by address.
type Served = BTreeMap<String, Vec<Instant>>;

/// A consumer of several nsqds.
struct Scene {
    brokers: Vec<Broker>,
    consumer: Addr<Consumer>,
    log: WireLog,
    max: usize,
    /// Number of handlers that fail, from the next one on.
    failures: Rc<Cell<usize>>,
    served: Rc<RefCell<Served>>,
}

/// The nsqds of a scene, and how many messages the first of them have.
struct Backlog {
    nsqds: usize,
    full: usize,
    messages: usize,
}

impl Scene {
    async fn start(
        first: Broker,
        backlog: Backlog,
        max: usize,
        time: Duration,
        options: impl FnOnce(ConsumerConfigBuilder) -> ConsumerConfigBuilder,
    ) -> Self {
        let kind = first.kind();
        let mut brokers = vec![first];
        while brokers.len() < backlog.nsqds {
            brokers.push(Broker::start(kind, Settings::in_memory()).await);
        }
        let mut addresses = Vec::new();
        for (index, broker) in brokers.iter().enumerate() {
            addresses.push(broker.address().await);
            if index >= backlog.full {
                continue;
            }
            let producer = producer(broker).await;
            for from in (0..backlog.messages).step_by(1_000) {
                let numbers = from..(from + 1_000).min(backlog.messages);
                publish_all(&producer, numbers).await.assert_all_ok();
            }
        }
        let (log, failures) = (WireLog::default(), Rc::new(Cell::new(0)));
        let served = Rc::<RefCell<Served>>::default();
        let config = ConsumerConfig::builder(addresses[0].clone())
            .addresses(addresses)
            .connector(log.clone())
            .reconnect_backoff(Duration::from_millis(20))
            .max_reconnect_backoff(Duration::from_millis(100))
            .max_in_flight(max);
        let (handler, mut messages) = MessageHandler::stream();
        let (notes, fails) = (log.clone(), Rc::clone(&failures));
        let serve = Rc::clone(&served);
        actix_rt::spawn(async move {
            while let Some(message) = messages.next().await {
                let (log, served, fails) = (notes.clone(), Rc::clone(&serve), Rc::clone(&fails));
                actix_rt::spawn(async move {
                    sleep(time).await;
                    let address = message.address().to_owned();
                    let mut served = served.borrow_mut();
                    served.entry(address).or_default().push(Instant::now());
                    log.handled(&message);
                    if fails.get() > 0 {
                        fails.set(fails.get() - 1);
                        message.settle(Err::<(), _>("failed"));
                    } else {
                        // Fails if the connection is lost.
                        let _ = message.finish();
                    }
                });
            }
        });
        Self {
            consumer: start(options(config), handler).await,
            brokers,
            log,
            max,
            failures,
            served,
        }
    }

    /// Waits until all nsqds are subscribed and all capacity is distributed.
    async fn until_full_speed(&self) {
        until("the sum of RDYs is max_in_flight", async || {
            let nsqds = stats(&self.consumer).await.nsqds;
            let is_subscribed = nsqds.iter().all(|nsqd| nsqd.is_subscribed);
            let ready: usize = nsqds.iter().map(|nsqd| nsqd.rdy as usize).sum();
            is_subscribed && ready == self.max
        })
        .await;
    }

    /// Waits until all nsqds have delivered messages.
    async fn until_all_are_served(&self) {
        let count = self.brokers.len();
        until("all are served", async || {
            self.served.borrow().len() == count
        })
        .await;
    }

    /// Checks everything that was written.
    async fn end(self) -> Checked {
        let checked = check(self.max, &self.log.events());
        let checked = checked.unwrap_or_else(|problem| panic!("{problem}"));
        eprintln!("{}: {checked}", self.brokers[0].kind());
        drain(&self.consumer).await;
        checked
    }
}

/// Nothing but a stall of the machine makes more than `max` unanswered.
#[track_caller]
fn assert_at_most(max: usize, checked: &Checked) {
    assert!(checked.messages > 0 && checked.readies > 0, "{checked}");
    assert!(checked.most_ready <= max, "{checked}");
    assert!(
        checked.most_unanswered <= max + checked.stalled,
        "{checked}"
    );
}

/// consumer contract: 4, 5
/// fault: C7, G6
/// checklist: 52, 55
async fn one_message_in_flight_serves_five_nsqds_equally(first: Broker) {
    let backlog = Backlog {
        nsqds: 5,
        full: 5,
        messages: scaled(1_000, 25_000),
    };
    // Shorter turns for a shorter run.
    let turn = Duration::from_millis(scaled(50, 500));
    let options = |config: ConsumerConfigBuilder| config.low_rdy_timeout(turn);
    let scene = Scene::start(first, backlog, 1, Duration::from_millis(1), options).await;
    scene.until_all_are_served().await;
    scene.served.borrow_mut().clear();
    let (began, time) = (Instant::now(), Duration::from_secs(scaled(4, 120)));
    sleep(time).await;
    let served = scene.served.take();
    let counts: Vec<_> = served.values().map(Vec::len).collect();
    eprintln!("served in {time:?}: {counts:?}");
    assert_at_most(1, &scene.end().await);
    // A busy machine serves few in a short run.
    let (least, most) = scaled((0.5, 1.5), (0.9, 1.1));
    assert_fair(&served, began, time, least, most);
    let window = Duration::from_secs(20);
    let mut from = Duration::ZERO;
    while from + window <= time {
        assert_fair(&served, began + from, window, 0.7, f64::MAX);
        from += window / 20;
    }
}

/// Asserts that each nsqd was served between `least` and `most` times the mean.
#[track_caller]
fn assert_fair(served: &Served, from: Instant, time: Duration, least: f64, most: f64) {
    let period = from..from + time;
    let counts: Vec<_> = served
        .values()
        .map(|times| times.iter().filter(|at| period.contains(*at)).count())
        .collect();
    let mean = counts.iter().sum::<usize>() as f64 / 5.0;
    let is_fair = counts
        .iter()
        .all(|count| (mean * least..=mean * most).contains(&(*count as f64)));
    assert!(counts.len() == 5 && is_fair, "{counts:?} in {time:?}");
}

/// Each of the idle ones keeps one. go-nsq uses 10 of 40, whatever the handlers do.
/// consumer contract: 4
/// fault: G5
/// checklist: 56
async fn only_busy_nsqd_gets_nearly_all_capacity(first: Broker) {
    const MAX: usize = 40;
    let backlog = Backlog {
        nsqds: 4,
        full: 1,
        messages: scaled(6_000, 40_000),
    };
    let time = Duration::from_millis(20);
    let scene = Scene::start(first, backlog, MAX, time, |config| config).await;
    let seconds = scaled(2, 15);
    sleep(Duration::from_secs(seconds)).await;
    let served = scene.served.borrow().values().map(Vec::len).sum::<usize>();
    eprintln!("{} messages per second", served / seconds as usize);
    let checked = scene.end().await;
    assert_at_most(MAX, &checked);
    // Gains of less than an eighth are left.
    assert!(checked.most_unanswered >= (MAX - 3) * 7 / 8, "{checked}");
    assert_eq!(checked.last_ready, MAX);
    // A busy machine handles messages later than they could be.
    assert!(checked.mean_unanswered >= scaled(20.0, 30.0), "{checked}");
}

/// consumer contract: 2, 4
/// fault: G1
/// checklist: 52
async fn stopped_nsqds_never_let_the_maximum_be_exceeded(first: Broker) {
    const MAX: usize = 20;
    let backlog = Backlog {
        nsqds: 5,
        full: 5,
        messages: scaled(2_000, 15_000),
    };
    let time = Duration::from_millis(5);
    let scene = Scene::start(first, backlog, MAX, time, |config| config).await;
    for restart in 0..scaled(3, 20) {
        scene.until_full_speed().await;
        scene.until_all_are_served().await;
        scene.served.borrow_mut().clear();
        let broker = &scene.brokers[restart % 5];
        broker.terminate().await;
        sleep(Duration::from_millis(fastrand::u64(0..200))).await;
        broker.restart().await;
    }
    scene.until_full_speed().await;
    assert_at_most(MAX, &scene.end().await);
}

/// consumer contract: 4
/// checklist: 57
async fn changed_maximum_is_kept_between_five_nsqds(first: Broker) {
    let backlog = Backlog {
        nsqds: 5,
        full: 5,
        messages: scaled(2_500, 20_000),
    };
    let time = Duration::from_millis(5);
    let mut scene = Scene::start(first, backlog, 20, time, |config| config).await;
    scene.until_full_speed().await;
    let first_max = scene.max;
    for max in [3, 50, 5, 0, 100, 7, 1, 30].repeat(scaled(1, 10)) {
        let is_raised = max > scene.max;
        if is_raised {
            scene.log.max_in_flight(max);
        }
        scene.consumer.send(SetMaxInFlight(max)).await.unwrap();
        if !is_raised {
            scene.log.max_in_flight(max);
        }
        scene.max = max;
        scene.until_full_speed().await;
        sleep(Duration::from_millis(100)).await;
    }
    scene.max = first_max;
    let checked = scene.end().await;
    assert_at_most(100, &checked);
    assert_eq!(checked.last_ready, 30);
}

/// consumer contract: 4
/// fault: G2
/// checklist: 54
async fn share_of_a_lost_nsqd_is_soon_in_use_elsewhere(first: Broker) {
    const MAX: usize = 40;
    const IN_USE: usize = MAX * 9 / 10;
    let backlog = Backlog {
        nsqds: 4,
        full: 4,
        messages: scaled(5_000, 30_000),
    };
    let time = Duration::from_millis(10);
    let scene = Scene::start(first, backlog, MAX, time, |config| config).await;
    let mut losses = Vec::new();
    for lost in 0..scaled(3, 20) {
        scene.until_full_speed().await;
        scene.until_all_are_served().await;
        scene.served.borrow_mut().clear();
        let broker = &scene.brokers[lost % 4];
        losses.push((Instant::now(), broker.address().await));
        broker.terminate().await;
        until("the capacity is used elsewhere", async || {
            let nsqds = stats(&scene.consumer).await.nsqds;
            let up: Vec<_> = nsqds.iter().filter(|nsqd| nsqd.is_subscribed).collect();
            let in_flight: usize = up.iter().map(|nsqd| nsqd.in_flight).sum();
            up.len() == 3 && in_flight >= IN_USE
        })
        .await;
        broker.restart().await;
    }
    let events = scene.log.events();
    assert_at_most(MAX, &scene.end().await);
    let losses = losses.iter();
    let times = losses.map(|(since, address)| in_use_after(&events, *since, address, IN_USE));
    let times: Vec<_> = times.map(Option::unwrap).collect();
    eprintln!("in use elsewhere after {times:?}");
    let longest = times.into_iter().max().unwrap();
    // A busy machine is late.
    let most = Duration::from_millis(scaled(500, 100));
    assert!(longest <= most, "{longest:?}");
}

/// The time from the last answer to a message of the connection that was lost after `since`, until
/// the other connections hold this number of messages.
fn in_use_after(
    events: &[(Instant, Event)],
    since: Instant,
    address: &str,
    count: usize,
) -> Option<Duration> {
    let (mut open, mut held) = (BTreeMap::new(), BTreeMap::<usize, usize>::new());
    let (mut closed, mut answered) = (None, None);
    for (at, event) in events {
        match event {
            Event::Opened(connection, address) => {
                open.insert(*connection, address.to_string());
            }
            Event::Received(connection, _) => *held.entry(*connection).or_default() += 1,
            Event::Answered(connection, _) => {
                let held = held.entry(*connection).or_default();
                *held = held.saturating_sub(1);
            }
            Event::Closed(connection) => {
                held.remove(connection);
                let is_it = open.remove(connection).is_some_and(|it| it == address);
                if is_it && *at >= since {
                    closed.get_or_insert(*at);
                }
            }
            Event::Handled(delivery) if *delivery.address == *address => answered = Some(*at),
            _ => {}
        }
        if let Some(closed) = closed
            && held.values().sum::<usize>() >= count
        {
            let answered = answered.map_or(closed, |at| at.max(closed));
            return Some(at.duration_since(answered));
        }
    }
    None
}

/// An nsqd restarts in every other one.
/// consumer contract: 6
/// fault: C8, G8
/// checklist: 69, 70
async fn ten_backoffs_in_a_row_end_at_full_speed(first: Broker) {
    const MAX: usize = 20;
    let backlog = Backlog {
        nsqds: 5,
        full: 5,
        messages: scaled(3_000, 20_000),
    };
    let step = Duration::from_millis(scaled(20, 100));
    let options = |config: ConsumerConfigBuilder| config.backoff_multiplier(step);
    let scene = Scene::start(first, backlog, MAX, Duration::from_millis(2), options).await;
    for round in 0..10 {
        scene.until_full_speed().await;
        scene.until_all_are_served().await;
        scene.served.borrow_mut().clear();
        // Probes fail as well.
        scene.failures.set(1 + round % 3);
        until("the handlers have failed", async || {
            scene.failures.get() == 0
        })
        .await;
        if round % 2 == 1 {
            // While it waits, while it probes, or after it.
            sleep(step.mul_f64(fastrand::f64() * 4.0)).await;
            let broker = &scene.brokers[round % 5];
            broker.terminate().await;
            broker.restart().await;
        }
        until("the backoff ends", async || {
            stats(&scene.consumer).await.state == ConsumerState::Subscribed
        })
        .await;
    }
    scene.until_full_speed().await;
    scene.until_all_are_served().await;
    assert_at_most(MAX, &scene.end().await);
}
