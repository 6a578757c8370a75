//! Consumers while nsqd is stopped, killed and left. Short forms run by default, long ones with
//! `FULL=1`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::{IncomingMessage, MessageHandler, MessageStream, Producer, Publish, Requeue};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::fixture::{CHANNEL, Handled, config, counters, drain, note, start, start_stream, until};
use crate::fixture::{TOPIC, number_of, numbered, producer, publish_all, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, ChannelState, Kind, Settings};
use crate::support::scaled;
use crate::support::wire_log::{Id, Received, WireLog};

pub fn scenarios() -> Vec<Scenario> {
    let real_only = "it concerns what a process loses";
    scenarios![
        terminated_nsqd_loses_only_what_the_client_did_not_receive.only(Kind::Real, real_only),
        killed_nsqd_loses_only_what_the_client_did_not_receive.only(Kind::Real, real_only),
        depth_is_exact_after_every_drain_under_load
            .with(Settings::in_memory())
            .only(Kind::Real, real_only),
        requeues_of_a_terminated_nsqd_get_no_connection_stuck.only(Kind::Real, real_only),
    ]
}

/// Messages per second.
fn rate() -> usize {
    scaled(1_000, 10_000)
}

/// Handlers, and what they have seen.
#[derive(Clone, Default)]
struct Handlers(Rc<Seen>);

#[derive(Default)]
struct Seen {
    /// One of this number of messages is requeued when it is first delivered; 0: none.
    requeues: usize,
    /// How often each number was finished.
    handled: Handled,
    running: RefCell<BTreeMap<Id, usize>>,
    /// The most handlers that had a message at the same time, if it was more than one.
    overlaps: RefCell<BTreeMap<Id, usize>>,
}

impl Handlers {
    async fn handle(&self, message: IncomingMessage, time: Duration) {
        let Seen {
            requeues,
            handled,
            running,
            overlaps,
        } = &*self.0;
        let (id, number) = (*message.id().as_bytes(), number_of(message.body()));
        let count = {
            let mut running = running.borrow_mut();
            let count = running.entry(id).or_default();
            *count += 1;
            *count
        };
        if count > 1 {
            let mut overlaps = overlaps.borrow_mut();
            let most = overlaps.entry(id).or_default();
            *most = count.max(*most);
        }
        sleep(time).await;
        *running.borrow_mut().get_mut(&id).unwrap() -= 1;
        // An answer fails if the connection is lost.
        let _ = if *requeues > 0 && number % requeues == 3 && message.attempts() == 1 {
            message.requeue(Requeue::now().without_backoff())
        } else {
            note(handled, &message);
            message.finish()
        };
    }

    /// Each message takes a millisecond, and ten per second longer than the timeout of 1 s, so
    /// that nsqd delivers them again meanwhile.
    async fn run(self, mut messages: MessageStream) {
        while let Some(message) = messages.next().await {
            let is_slow = number_of(message.body()) % (rate() / 10) == 7;
            let time = if is_slow { 1_900 } else { 1 };
            let handlers = self.clone();
            actix_rt::spawn(async move {
                handlers.handle(message, Duration::from_millis(time)).await;
            });
        }
    }

    fn count(&self) -> usize {
        self.0.handled.borrow().len()
    }

    /// The highest number that was handled.
    fn highest(&self) -> usize {
        let handled = self.0.handled.borrow();
        handled.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Asserts that no message of one connection was in two handlers at once, and returns how many
    /// were in several because of several connections.
    fn assert_no_overlap_on_a_connection(&self, log: &WireLog) -> usize {
        let mut connections = BTreeMap::<Id, usize>::new();
        for received in log.received() {
            let ids: BTreeSet<_> = received.into_iter().map(|message| message.id).collect();
            for id in ids {
                *connections.entry(id).or_default() += 1;
            }
        }
        let overlaps = self.0.overlaps.borrow();
        for (id, handlers) in &*overlaps {
            let connections = connections[id];
            assert!(*handlers <= connections, "{handlers}, {connections}");
        }
        overlaps.len()
    }
}

/// Publishes at a steady rate until it is stopped.
struct Publisher {
    stop: Rc<Cell<bool>>,
    task: actix_rt::task::JoinHandle<BTreeSet<usize>>,
}

impl Publisher {
    fn start(producer: Addr<Producer>, rate: usize) -> Self {
        const TICKS: usize = 50;
        let stop = Rc::new(Cell::new(false));
        let is_stopped = Rc::clone(&stop);
        let task = actix_rt::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / TICKS as u32);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut next, mut answers) = (0, Vec::new());
            while !is_stopped.get() {
                ticks.tick().await;
                for number in next..next + rate / TICKS {
                    let sent = producer.send(Publish::new(topic(TOPIC), numbered(number)));
                    answers.push(actix_rt::spawn(async move {
                        let is_ok = matches!(sent.await, Ok(Ok(())));
                        is_ok.then_some(number)
                    }));
                }
                next += rate / TICKS;
            }
            let mut published = BTreeSet::new();
            for answer in answers {
                published.extend(answer.await.unwrap());
            }
            published
        });
        Self { stop, task }
    }

    /// Returns the numbers of the messages that nsqd has stored.
    async fn stop(self) -> BTreeSet<usize> {
        self.stop.set(true);
        self.task.await.unwrap()
    }
}

/// What a campaign has lost.
struct Losses {
    published: usize,
    /// Redeliveries while handlers had the messages.
    attached: u64,
    lost: BTreeSet<usize>,
    /// The highest number that had been handled after each fault.
    faults: Vec<usize>,
    log: WireLog,
}

impl Losses {
    /// Asserts that no lost message was read to its end.
    fn assert_not_received(&self) {
        for received in self.log.received() {
            let is_lost = |it: &&Received| self.lost.contains(&number_of(&it.body));
            let whole = received.iter().find(is_lost);
            assert!(
                whole.is_none(),
                "received, and lost by the client: {whole:?}"
            );
        }
    }
}

/// Publishes and consumes at a steady rate with faults in between, until nsqd has no message left.
async fn campaign(
    broker: &Broker,
    handlers: Handlers,
    max_in_flight: usize,
    fault: impl AsyncFn(&Broker),
) -> Losses {
    let between = Duration::from_millis(scaled(600, 1_500));
    let log = WireLog::default();
    let config = config(broker).await.max_in_flight(max_in_flight);
    let config = config
        .connector(log.clone())
        .msg_timeout(Duration::from_secs(1));
    let (consumer, messages) = start_stream(config).await;
    actix_rt::spawn(handlers.clone().run(messages));
    let began = Instant::now();
    let publisher = Publisher::start(producer(broker).await, rate());
    let mut faults = Vec::new();
    for _ in 0..scaled(3, 20) {
        let before = handlers.count();
        sleep(between).await;
        // More than were in flight: no connection is stuck.
        until("messages are handled", async || {
            handlers.count() > before + max_in_flight
        })
        .await;
        fault(broker).await;
        faults.push(handlers.highest());
        broker.restart().await;
    }
    sleep(between).await;
    let took = began.elapsed();
    let published = publisher.stop().await;
    // Twice, since nsqd moves messages from the topic to the channel.
    for _ in 0..2 {
        until("nsqd has no message left", async || {
            broker.channel(TOPIC, CHANNEL).await == ChannelState::default()
        })
        .await;
        sleep(Duration::from_millis(500)).await;
    }
    let counters = counters(&consumer).await;
    assert!(drain(&consumer).await.is_clean());
    let handled = handlers.0.handled.borrow();
    let lost: BTreeSet<_> = published
        .iter()
        .filter(|number| !handled.contains_key(number))
        .copied()
        .collect();
    let repeated = handled.values().filter(|times| **times > 1).count();
    let overlaps = handlers.assert_no_overlap_on_a_connection(&log);
    eprintln!(
        "{} faults, {} published in {took:?}, {} lost, {repeated} handled again, {overlaps} in \
         handlers of several connections at once: {counters:?}",
        faults.len(),
        published.len(),
        lost.len(),
    );
    Losses {
        published: published.len(),
        attached: counters.attached,
        lost,
        faults,
        log,
    }
}

/// While nsqd stops, it may lose the message that it has taken from the queue for a connection and
/// not counted as in flight yet.
/// consumer contract: 2, 3
/// fault: C12
async fn terminated_nsqd_loses_only_what_the_client_did_not_receive(broker: Broker) {
    let losses = campaign(&broker, Handlers::default(), 200, Broker::terminate).await;
    assert!(losses.published > 0 && losses.attached > 0);
    losses.assert_not_received();
    let lost = losses.lost.len();
    assert!(lost <= losses.faults.len(), "{lost} are lost");
}

/// nsqd itself may lose a message that is requeued while it stops: it takes the message out of
/// flight, and rejects the requeue.
/// consumer contract: 2, 3
/// fault: C12
async fn requeues_of_a_terminated_nsqd_get_no_connection_stuck(broker: Broker) {
    let handlers = Handlers(Rc::new(Seen {
        requeues: 10,
        ..Seen::default()
    }));
    let losses = campaign(&broker, handlers, 200, Broker::terminate).await;
    assert!(losses.published > losses.lost.len());
}

/// nsqd forgets what it had in flight, and a message that was moving to the channel.
/// consumer contract: 2, 3
/// fault: C12
async fn killed_nsqd_loses_only_what_the_client_did_not_receive(broker: Broker) {
    const MAX_IN_FLIGHT: usize = 100;
    let losses = campaign(&broker, Handlers::default(), MAX_IN_FLIGHT, Broker::kill).await;
    losses.assert_not_received();
    // nsqd delivers in order: what was in flight is next to what had been handled.
    let near = |number: &usize, highest: &usize| {
        let highest = *highest;
        (highest.saturating_sub(MAX_IN_FLIGHT)..highest + 2 * MAX_IN_FLIGHT).contains(number)
    };
    let kill_of = |number| {
        losses
            .faults
            .iter()
            .position(|highest| near(number, highest))
    };
    let mut in_flight = vec![0; losses.faults.len()];
    let mut moving = 0;
    for number in &losses.lost {
        match kill_of(number) {
            Some(kill) => in_flight[kill] += 1,
            None => moving += 1,
        }
    }
    eprintln!("lost in flight by each kill: {in_flight:?}; moving to the channel: {moving}");
    let most = in_flight.iter().max().unwrap();
    assert!(*most <= 1 + MAX_IN_FLIGHT, "{most} are lost");
    assert!(moving <= losses.faults.len(), "{moving} are lost");
}

/// consumer contract: 11
async fn depth_is_exact_after_every_drain_under_load(broker: Broker) {
    const FILL: usize = 4_000;
    let producer = producer(&broker).await;
    let config = || async { config(&broker).await.max_in_flight(500) };
    // The channel exists from the first subscription on.
    let (first, _messages) = start_stream(config().await).await;
    drain(&first).await;
    let (mut published, mut finished, mut returned) = (0, 0, 0);
    for run in 0..scaled(10, 100) {
        if published - finished < FILL / 2 {
            let next = published..published + FILL;
            publish_all(&producer, next).await.assert_all_ok();
            published += FILL;
        }
        let left = (published - finished) as u64;
        until("the channel has all messages", async || {
            broker.channel(TOPIC, CHANNEL).await.depth == left
        })
        .await;
        let config = config().await.concurrency(20 + run % 200);
        let handler = MessageHandler::from_fn(async |message: IncomingMessage| {
            sleep(Duration::from_millis(1)).await;
            message.finish()
        });
        let consumer = start(config, handler).await;
        sleep(Duration::from_millis(fastrand::u64(0..40))).await;
        let report = drain(&consumer).await;
        let state = broker.channel(TOPIC, CHANNEL).await;
        let counters = counters(&consumer).await;
        finished += counters.finished as usize;
        returned += report.returned;
        let expected = ChannelState {
            depth: (published - finished) as u64,
            in_flight: 0,
            deferred: 0,
        };
        assert_eq!(state, expected, "run {run}: {report}, {counters:?}");
        assert!(report.is_clean(), "run {run}: {report}");
    }
    eprintln!("{finished} finished, {returned} returned");
    assert!(finished > 0 && returned > 0);
}
