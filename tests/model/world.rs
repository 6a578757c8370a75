//! One schedule: the producer, its surroundings, and what is known of it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use actix::{Addr, Recipient};
use actix_nsq::{Producer, ProducerConfig, ProducerHandle, PublishFailure, SubscribeFailures};
use fastrand::Rng;
use tokio::time::{Instant, sleep_until};

use super::{
    asks::Ask,
    batching::Batching,
    line::Line,
    network::Network,
    notes::{Event, Notes},
    nsqd::Nsqd,
    path::Path,
    publish::Publish,
    record::Record,
    setup::Setup,
    stopping::Stopping,
};

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Deadlines are checked at most every 20 ms, and timers fire on the next whole millisecond.
pub(crate) const GRANULARITY: Duration = ms(22);

pub(crate) const TOPICS: [&str; 5] = ["bad", "locked", "a", "b", "c"];

/// How often each event happened.
#[derive(Debug, Default)]
pub(crate) struct Count(pub(crate) BTreeMap<String, u64>);

impl Count {
    pub(crate) fn add(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }
}

thread_local! {
    /// The trace of a schedule that is replayed.
    pub(crate) static TRACE: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// What nsqd does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Everything, at once.
    Prompt,
    /// Steps decide what it reads, executes and sends; it sends heartbeats.
    ByHand,
    /// Heartbeats, and nothing else.
    Busy,
    /// It reads and sends nothing.
    Silent,
    /// It does not read.
    Deaf,
}

/// What becomes of connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Good,
    Chancy,
    Refused,
    Hanging,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) count: Count,
    pub(crate) setup: Setup,
    pub(crate) network: Network,
    pub(crate) nsqd: Nsqd,
    pub(crate) mood: Mood,
    pub(crate) reach: Reach,
    /// One for each wire of the network.
    pub(crate) lines: Vec<Line>,
    pub(crate) dials_seen: usize,
    pub(crate) record: Record,
    pub(crate) publishes: Vec<Publish>,
    /// The publish of a message, by its publisher and number.
    pub(crate) owners: Vec<Vec<usize>>,
    /// The publishes without an answer.
    pub(crate) open: Vec<usize>,
    pub(crate) asks: Vec<Ask>,
    pub(crate) handle: Option<ProducerHandle>,
    pub(crate) path: Path,
    pub(crate) events: Notes<Event>,
    pub(crate) failures: Notes<PublishFailure>,
    pub(crate) stopping: Stopping,
    /// When `Reconnect` was last sent.
    pub(crate) reconnect: Option<Instant>,
    /// The latest publish that was written first, by topic, or at index 0 of all.
    pub(crate) last_first: [Option<usize>; TOPICS.len()],
    pub(crate) batching: Batching,
    pub(crate) began: Instant,
    /// Counts the turns of other tasks.
    pub(crate) turns: u64,
    /// Callers may cancel, which makes some checks weaker.
    pub(crate) callers_leave: bool,
    pub(crate) hard_times: bool,
    /// nsqd is well and nothing fails any more.
    pub(crate) healed: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        // The producer draws its delays from the generator of the thread.
        fastrand::seed(seed);
        let mut rng = Rng::with_seed(seed);
        let setup = Setup::draw(&mut rng);
        let network = Network::default();
        let builder = ProducerConfig::builder("nsqd in memory").connector(network.clone());
        let config = setup.apply(builder).build().expect("a valid Config");
        let hard_times = rng.u32(0..4) > 0;
        let nsqd = Nsqd {
            max_msg_size: if hard_times && rng.u32(0..3) == 0 {
                1000
            } else {
                1 << 20
            },
            max_body_size: if hard_times && rng.u32(0..3) == 0 {
                2000
            } else {
                5 << 20
            },
            grudge: None,
            strict: true,
            trouble: if hard_times {
                [0, 5, 20][rng.usize(0..3)]
            } else {
                0
            },
        };
        let mut record = Record::new();
        for topic in TOPICS {
            record.publisher(topic);
        }
        let (connection_events, producer_events, events) = Notes::of_events(&network);
        let (failures_to, failures): (Recipient<PublishFailure>, _) =
            Notes::by_a_recorder(&network);
        let handle = ProducerHandle::start(config);
        handle.subscribe(connection_events);
        handle.subscribe(producer_events);
        handle.address().do_send(SubscribeFailures(failures_to));
        let mut world = Self {
            callers_leave: rng.bool(),
            count: Count::default(),
            setup,
            network,
            nsqd,
            mood: Mood::Prompt,
            reach: if hard_times {
                [Reach::Good, Reach::Good, Reach::Chancy, Reach::Refused][rng.usize(0..4)]
            } else {
                Reach::Good
            },
            lines: Vec::new(),
            dials_seen: 0,
            record,
            publishes: Vec::new(),
            owners: vec![Vec::new(); TOPICS.len()],
            open: Vec::new(),
            asks: Vec::new(),
            handle: Some(handle),
            path: Path::default(),
            events,
            failures,
            stopping: Stopping::default(),
            reconnect: None,
            last_first: [None; TOPICS.len()],
            batching: Batching::default(),
            began: Instant::now(),
            turns: 0,
            hard_times,
            healed: false,
            rng,
        };
        world.note(|| format!("{:?}, {:?}", world.setup, world.nsqd));
        world.count.add(format!("variant: {}", world.setup.variant));
        world
    }

    /// Adds to the trace of a replayed schedule.
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        TRACE.with_borrow_mut(|trace| {
            if let Some(trace) = trace {
                trace.push(format!("{:>9.1?} {}", self.began.elapsed(), what()));
            }
        });
    }

    /// Runs all tasks until they are idle, without time passing.
    pub(crate) async fn settle_down(&mut self) {
        let mut quiet = 0;
        while quiet < 4 {
            let before = self.network.lock().activity;
            self.turns += 1;
            self.look_around().await;
            tokio::task::yield_now().await;
            let unchanged = before == self.network.lock().activity;
            quiet = if unchanged { quiet + 1 } else { 0 };
        }
        self.look_around().await;
        self.check_deadlines();
        self.check_stopping();
    }

    async fn look_around(&mut self) {
        poll_fn(|cx| {
            self.turn(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Lets time pass.
    pub(crate) async fn run(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            self.turns += 1;
            let until = self.next_heartbeat().map_or(end, |due| due.min(end));
            let mut timer = std::pin::pin!(sleep_until(until));
            poll_fn(|cx| {
                self.turn(cx);
                timer.as_mut().poll(cx)
            })
            .await;
            self.check_deadlines();
            if Instant::now() >= end {
                break;
            }
        }
        self.settle_down().await;
    }

    /// One turn of nsqd and of all observers.
    fn turn(&mut self, cx: &mut Context<'_>) {
        self.network.lock().watcher = Some(cx.waker().clone());
        self.answer_dials();
        self.nsqd_works();
        self.see_wires();
        self.see_answers(cx);
        self.see_failures();
        self.see_events();
        self.see_the_end_of_a_drain(cx);
        self.see_successes();
    }

    pub(crate) fn handle(&self) -> ProducerHandle {
        self.handle.clone().expect("a handle")
    }

    pub(crate) fn address(&self) -> Addr<Producer> {
        self.handle().address().clone()
    }
}
