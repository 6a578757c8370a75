//! How long a number of publishes takes, over a simulated link to an nsqd with a fixed cost per
//! command and per message. Nothing waits: the simulation passes the time in.
//!
//! `FULL=1` plays all cells of the table.

use std::{cell::Cell, collections::VecDeque, mem};

use super::{nsqd::commands, *};

const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The link, nsqd, and the arbiter.
#[derive(Debug, Clone, Copy)]
struct World {
    round_trip: Duration,
    /// How long other tasks hold the arbiter before each poll of the producer.
    busy: Duration,
    /// How much longer they hold it once, so that the first responses are read together.
    pause: Duration,
    /// How long a caller holds the arbiter from a result to its next publish.
    caller_cost: Duration,
    command_cost: Duration,
    message_cost: Duration,
    /// What nsqd does for a message after it was written, before the next one: the response to the
    /// last message of a command does not wait for it.
    sync_cost: Duration,
}

/// As measured with a real nsqd in memory.
const FAST: World = World {
    round_trip: Duration::ZERO,
    busy: Duration::ZERO,
    pause: Duration::ZERO,
    caller_cost: Duration::ZERO,
    command_cost: micros(8),
    message_cost: Duration::from_nanos(1_500),
    sync_cost: Duration::ZERO,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Publish,
    Deferred,
    Multi,
    Large,
}

/// A caller that publishes again when it is answered.
#[derive(Clone)]
struct Caller {
    number: usize,
    answered: Rc<RefCell<Vec<usize>>>,
    failed: Rc<Cell<usize>>,
}

impl Reply for Caller {
    fn is_closed(&self) -> bool {
        false
    }

    fn answer(self, answer: Result<(), PublishError>) {
        if answer.is_err() {
            self.failed.set(self.failed.get() + 1);
        }
        self.answered.borrow_mut().push(self.number);
    }
}

/// What is published: each of `callers` publishes `rounds` times, to one of `topics`.
#[derive(Debug, Clone, Copy)]
struct Load {
    topics: usize,
    callers: usize,
    rounds: usize,
    kind: Kind,
}

/// What a simulation shows.
#[derive(Debug)]
struct Outcome {
    /// Time until everything is answered.
    total: Duration,
    /// Longest time without a response.
    longest_silence: Duration,
    /// Number of writes.
    writes: usize,
    /// Time that nsqd has worked.
    work: Duration,
}

struct Simulation {
    queue: TransactionQueue<Caller>,
    out: Outbox,
    world: World,
    load: Load,
    topics: Vec<Topic>,
    answered: Rc<RefCell<Vec<usize>>>,
    failed: Rc<Cell<usize>>,
    rounds_left: Vec<usize>,
    /// When nsqd has executed everything that it has received.
    free_at: Instant,
    /// When each response arrives.
    responses: VecDeque<Instant>,
    /// Nothing that is queued waits for more.
    sends_at_once: bool,
    writes: usize,
    work: Duration,
    start: Instant,
    now: Instant,
}

impl Simulation {
    fn new(world: World, load: Load, batch: Option<Batch>) -> Self {
        let wide = usage(1_000_000, 1 << 30);
        let mut queue = TransactionQueue::alone(Limits {
            pending: wide,
            window: usage(20_000, 8 << 20),
            batch,
            batch_time: millis(2_500),
            retry_maybe_written: false,
            pending_per_topic: None,
            topic_stats: None,
            budget: usize::MAX,
            is_pooled: false,
        });
        queue.on_connected(world.round_trip + world.busy);
        let start = Instant::now();
        Self {
            queue,
            out: Outbox::new(),
            world,
            load,
            topics: (0..load.topics)
                .map(|number| Topic::new(format!("topic{number}")).unwrap())
                .collect(),
            answered: Rc::default(),
            failed: Rc::default(),
            rounds_left: vec![load.rounds; load.callers],
            free_at: start,
            responses: VecDeque::new(),
            sends_at_once: false,
            writes: 0,
            work: Duration::ZERO,
            start,
            now: start,
        }
    }

    fn publish(&mut self, caller: usize) {
        if self.rounds_left[caller] == 0 {
            return;
        }
        self.rounds_left[caller] -= 1;
        let body = Bytes::from_static(&[b'x'; 200]);
        let payload = match self.load.kind {
            Kind::Publish => Payload::Publish(body),
            Kind::Deferred => Payload::deferred(body, 1),
            Kind::Multi => Payload::batch(vec![body; 10]),
            Kind::Large => Payload::Publish(Bytes::from_static(&[b'x'; 100_000])),
        };
        let transaction = Transaction {
            topic: self.topics[caller % self.topics.len()].clone(),
            payload,
            timeout: 1_000 * SECOND,
        };
        let reply = Caller {
            number: caller,
            answered: Rc::clone(&self.answered),
            failed: Rc::clone(&self.failed),
        };
        self.queue
            .push(transaction, WhenFull::Reject, self.now, reply);
    }

    /// Sends what may be sent; nsqd executes it in order.
    fn send(&mut self) {
        if self.queue.waits_for_larger_write() && !self.sends_at_once {
            return;
        }
        let sent = self.out.total();
        while self.queue.next_command(b"{}", &mut self.out, self.now) {}
        self.writes += usize::from(self.out.total() > sent);
        let arrives = self.now + self.world.round_trip / 2;
        for command in commands(&self.out.take().concat()) {
            let messages = u32::try_from(command.bodies.len()).unwrap();
            let cost = self.world.command_cost + messages * self.world.message_cost;
            let answered = self.free_at.max(arrives) + cost + (messages - 1) * self.world.sync_cost;
            self.free_at = answered + self.world.sync_cost;
            self.work += cost + messages * self.world.sync_cost;
            self.responses
                .push_back(answered + self.world.round_trip / 2);
        }
    }

    /// Publishes once, with nothing else to do for nsqd.
    fn publish_alone(&mut self) {
        self.now += SECOND;
        self.rounds_left[0] += 1;
        self.publish(0);
        self.send();
        self.now = self.responses.pop_front().unwrap();
        self.queue.on_ok(self.out.total(), self.now).unwrap();
        self.answered.take();
    }

    fn run(mut self) -> Outcome {
        self.start = self.now;
        let mut longest_silence = Duration::ZERO;
        for caller in 0..self.load.callers {
            self.publish(caller);
        }
        self.send();
        while let Some(next) = self.responses.front() {
            longest_silence = longest_silence.max(*next - self.now);
            self.now = (self.now + self.world.busy).max(*next) + mem::take(&mut self.world.pause);
            while self.responses.front().is_some_and(|at| *at <= self.now) {
                self.responses.pop_front();
                self.queue.on_ok(self.out.total(), self.now).unwrap();
            }
            for caller in self.answered.take() {
                self.now += self.world.caller_cost;
                self.publish(caller);
            }
            self.send();
        }
        assert!(self.queue.is_empty(), "publishes are stuck");
        assert_eq!(self.failed.get(), 0);
        Outcome {
            total: self.now - self.start,
            longest_silence,
            writes: self.writes,
            work: self.work,
        }
    }
}

/// All cells with `FULL=1`, otherwise every `one_of` th.
fn every(one_of: usize) -> usize {
    if std::env::var_os("FULL").is_some() {
        1
    } else {
        one_of
    }
}

fn run(world: World, load: Load, batching: bool) -> Outcome {
    Simulation::new(world, load, BATCHING.batch.filter(|_| batching)).run()
}

#[test]
fn batching_costs_no_time_whatever_is_published() {
    let mut cells = Vec::new();
    for topics in [1, 16, 500, 10_000] {
        for kind in [Kind::Publish, Kind::Deferred, Kind::Multi, Kind::Large] {
            for round_trip in [0, 1, 20].map(millis) {
                for busy in [0, 1, 5].map(millis) {
                    cells.push((topics, kind, round_trip, busy));
                }
            }
        }
    }
    let mut slower = Vec::new();
    for (topics, kind, round_trip, busy) in cells.into_iter().step_by(every(7)) {
        let callers = match kind {
            Kind::Large => topics.max(100),
            _ => topics.max(1_000),
        };
        let load = Load {
            topics,
            callers,
            rounds: if topics == 10_000 { 1 } else { 4 },
            kind,
        };
        let world = World {
            round_trip,
            busy,
            ..FAST
        };
        let (on, off) = (run(world, load, true), run(world, load, false));
        let ratio = on.total.as_secs_f64() / off.total.as_secs_f64();
        println!("{topics} topics, {kind:?}, {round_trip:?} away, busy for {busy:?}: {ratio:.2}");
        if ratio > 1.05 {
            slower.push(format!("{ratio:.2}: {load:?} {world:?}"));
        }
    }
    assert!(slower.is_empty(), "{slower:#?}");
}

#[test]
fn publishes_of_few_callers_keep_nsqd_busy() {
    let world = World {
        busy: micros(20),
        pause: millis(5),
        caller_cost: Duration::from_nanos(600),
        ..FAST
    };
    for callers in [32, 64, 256, 1_000] {
        let load = Load {
            topics: 1,
            callers,
            rounds: 50,
            kind: Kind::Publish,
        };
        let Outcome { total, work, .. } = run(world, load, true);
        let total = total - world.pause;
        assert!(total <= work.mul_f64(1.2), "{callers}: {total:?}, {work:?}");
    }
}

#[test]
fn waiting_for_a_larger_write_costs_no_time() {
    let mut cells = Vec::new();
    for batch in [None, BATCHING.batch] {
        for (topics, callers) in [(1, 64), (1, 1_000), (16, 64), (500, 500)] {
            for kind in [Kind::Publish, Kind::Deferred, Kind::Multi, Kind::Large] {
                for round_trip in [0, 100, 1_000, 20_000].map(micros) {
                    for busy in [0, 20, 1_000].map(micros) {
                        cells.push((batch, topics, callers, kind, round_trip, busy));
                    }
                }
            }
        }
    }
    for (batch, topics, callers, kind, round_trip, busy) in cells.into_iter().step_by(every(5)) {
        let load = Load {
            topics,
            callers,
            rounds: 20,
            kind,
        };
        let world = World {
            round_trip,
            busy,
            ..FAST
        };
        let [waiting, at_once] = run_both_ways(|| Simulation::new(world, load, batch));
        let ratio = waiting.total.as_secs_f64() / at_once.total.as_secs_f64();
        assert!(ratio <= 1.02, "{ratio:.2}: {load:?} {world:?}");
    }
}

#[test]
fn longer_round_trip_slows_pubs_by_a_third_at_most() {
    for round_trip in [100, 1_000, 20_000].map(micros) {
        for callers in [64, 1_000, 10_000] {
            let load = Load {
                topics: 1,
                callers,
                rounds: 20,
                kind: Kind::Publish,
            };
            let [waiting, at_once] = run_both_ways(|| {
                let mut simulation = Simulation::new(FAST, load, None);
                // The handshake was shorter.
                simulation.world.round_trip = round_trip;
                simulation
            });
            let ratio = waiting.total.as_secs_f64() / at_once.total.as_secs_f64();
            assert!(
                ratio <= 1.34,
                "{ratio:.2}: {round_trip:?}, {callers} callers"
            );
        }
    }
}

#[test]
fn commands_of_many_callers_are_written_together() {
    let world = World {
        round_trip: micros(100),
        ..FAST
    };
    for (topics, callers) in [(1, 64), (500, 500)] {
        let load = Load {
            topics,
            callers,
            rounds: 20,
            kind: Kind::Deferred,
        };
        let start = || Simulation::new(world, load, BATCHING.batch);
        let [waiting, at_once] = run_both_ways(start);
        let writes = (waiting.writes, at_once.writes);
        assert!(writes.0 * 10 <= writes.1, "{writes:?}");
    }
}

/// The outcome if publishes wait for a larger write, and if none does.
fn run_both_ways(start: impl Fn() -> Simulation) -> [Outcome; 2] {
    [false, true].map(|sends_at_once| {
        let simulation = Simulation {
            sends_at_once,
            ..start()
        };
        simulation.run()
    })
}

#[test]
fn longer_round_trip_slows_a_flood_only_for_a_moment() {
    let flood = Load {
        topics: 1,
        callers: 5_000,
        rounds: 20,
        kind: Kind::Publish,
    };
    let total = |batching: bool| {
        let batch = BATCHING.batch.filter(|_| batching);
        let mut simulation = Simulation::new(FAST, flood, batch);
        // The handshake was that short.
        simulation.world.round_trip = millis(20);
        simulation.run().total
    };
    let (on, off) = (total(true), total(false));
    assert!(on <= off, "{on:?} instead of {off:?}");
}

#[test]
fn slow_nsqd_answers_batches_in_time() {
    // nsqd syncs twice per message.
    for (sync, publishes) in [(5, 300), (20, 600), (50, 300)] {
        for before in [0, 1, 20] {
            let world = World {
                sync_cost: 2 * millis(sync),
                ..FAST
            };
            let load = Load {
                topics: 1,
                callers: publishes,
                rounds: 1,
                kind: Kind::Publish,
            };
            let run = |batch| {
                let mut simulation = Simulation::new(world, load, batch);
                // Each of them is answered before nsqd syncs it, which says nothing about a batch.
                (0..before).for_each(|_| simulation.publish_alone());
                simulation.run()
            };
            let (on, off) = (run(BATCHING.batch), run(None));
            let silence = on.longest_silence;
            assert!(silence <= 3 * SECOND, "{silence:?}, {before} before");
            assert!(on.total <= off.total.mul_f64(1.3), "{on:?} {off:?}");
        }
    }
}
