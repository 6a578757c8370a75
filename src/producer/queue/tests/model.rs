//! Random schedules: the queue between callers and a simulated nsqd, which parses the real bytes.
//!
//! After each step the answers are compared with those that are due, and with what nsqd has stored.
//! The queue decides which topic is next and how many publishes form a batch; the tests beside this
//! file cover that.
//!
//! `QUEUE_SCHEDULES` sets the number of schedules, `QUEUE_SEED` plays a single one.

mod capacity;
mod connection;
mod kinds;
mod moving;
mod truth;

use std::collections::{BTreeMap, VecDeque};

use self::{connection::Link, kinds::Kind};
use super::{
    nsqd::{Nsqd, Peer, UNWELCOME, Verb},
    *,
};

/// How often each event happened.
#[derive(Default)]
pub(super) struct Count(BTreeMap<&'static str, u64>);

impl Count {
    pub(super) fn add(&mut self, what: &'static str) {
        self.add_some(what, 1);
    }

    fn add_some(&mut self, what: &'static str, times: usize) {
        *self.0.entry(what).or_default() += times as u64;
    }
}

/// Each happens at least once in twenty schedules, or the schedules show nothing.
const OFTEN: [&str; 31] = [
    "E_PUB_FAILED or E_MPUB_FAILED",
    "OK",
    "alone after a rejected batch",
    "batched",
    "cancelled",
    "connection lost",
    "drained",
    "dropped",
    "ended by a rejection",
    "executed after the end",
    "removed when cancelled",
    "full",
    "given back",
    "job of several polls",
    "requeued",
    "healed",
    "late OK",
    "waiting cancelled",
    "lost, not written",
    "lost, written",
    "out of step",
    "rejected batch",
    "rejected by one nsqd",
    "removed before its turn",
    "removed when full",
    "slow upload",
    "stored twice",
    "taken in",
    "timed out",
    "topic full",
    "waiting rejected",
];

/// The state of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waits for capacity.
    Waiting,
    Queued,
    InFlight,
    /// On its way to another queue of the pool.
    Moving,
    /// Answered in flight: its response is still to come, and it holds its memory.
    Answered,
    Done,
}

/// A publish or a ping, as its caller sees it.
struct Publish {
    id: usize,
    verb: Verb,
    topic: &'static str,
    delay: Option<u64>,
    /// Of each message; none for a ping.
    sizes: Vec<usize>,
    deadline: Instant,
    cancelled: Rc<Cell<bool>>,
    stage: Stage,
    outcome: Option<Outcome>,
    /// How often each of its messages is stored.
    copies: Vec<u32>,
    /// nsqd may reject it as invalid.
    invalid: bool,
    /// An automatic batch with it was rejected.
    alone: bool,
    written: bool,
    /// An earlier connection may have stored it.
    maybe: bool,
    /// It was away in another queue.
    moved: bool,
}

impl Publish {
    fn is_ping(&self) -> bool {
        self.verb == Verb::Identify
    }

    fn size(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// The delivery if this connection may have stored it.
    fn maybe_now(&self) -> Delivery {
        match self.verb {
            Verb::Mpub => Delivery::MaybePartial,
            Verb::Identify => Delivery::NotWritten,
            _ => Delivery::MaybeWritten,
        }
    }

    /// The delivery if this connection has not stored it.
    fn not_now(&self) -> Delivery {
        if self.maybe {
            self.maybe_now()
        } else {
            Delivery::NotWritten
        }
    }

    fn unsettled(&self) -> Delivery {
        match self.stage {
            Stage::InFlight => self.maybe_now(),
            _ => self.not_now(),
        }
    }

    fn is_in_queue(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Queued | Stage::InFlight)
    }

    fn is_unanswered(&self) -> bool {
        self.is_in_queue() || self.stage == Stage::Moving
    }
}

/// Answers that are due.
type Due = Vec<(usize, Outcome)>;

struct World<'a> {
    rng: fastrand::Rng,
    count: &'a mut Count,
    kind: Kind,
    queue: TransactionQueue<Caller>,
    log: Rc<Log>,
    /// On their way to another queue.
    moving: Moving<Caller>,
    /// By number, which is the order of the calls.
    publishes: Vec<Publish>,
    /// All before are done.
    done: usize,
    nsqd: Nsqd,
    link: Option<Link>,
    /// Lost connections on which nsqd goes on executing.
    ghosts: Vec<Peer>,
    now: Instant,
    counters: Counters,
    /// The latest publish answered `Ok`, by topic or for all.
    last_ok: BTreeMap<&'static str, usize>,
}

impl<'a> World<'a> {
    fn new(seed: u64, count: &'a mut Count) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let kind = Kind::any(&mut rng);
        let mut nsqd = Nsqd {
            max_msg_size: 0,
            max_body_size: 0,
            trouble: kind.trouble,
            stored: Vec::new(),
        };
        reconfigure(&mut nsqd, &mut rng);
        Self {
            rng,
            count,
            queue: TransactionQueue::alone(kind.limits),
            kind,
            log: Rc::default(),
            moving: Moving::new(Vec::new()),
            publishes: Vec::new(),
            done: 0,
            nsqd,
            link: None,
            ghosts: Vec::new(),
            now: Instant::now(),
            counters: Counters::default(),
            last_ok: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        let due = match self.rng.u32(0..100) {
            0..16 => self.push_some(),
            16 => self.ping(),
            17 => self.ghost_works(),
            18..20 => self.cancel(),
            20..25 => self.time_passes(),
            25..40 => self.send(),
            40..55 => self.transport_accepts(),
            55..70 => self.nsqd_works(),
            70..90 => self.frame_arrives(),
            90 if self.rng.bool() => self.out_of_step(),
            90 => self.remove_cancelled(),
            91 => self.remove_cancelled(),
            92 => self.close(),
            93..97 => self.settle(),
            97 if self.rng.bool() => self.give_back(),
            97 | 98 => self.take_in(),
            _ => self.ghost_works(),
        };
        self.check(due);
    }

    /// One publish, or several so that they can be batched.
    fn push_some(&mut self) -> Due {
        let some = if self.rng.bool() {
            self.rng.usize(1..=self.kind.burst)
        } else {
            1
        };
        (0..some).flat_map(|_| self.push()).collect()
    }

    fn size(&mut self) -> usize {
        match self.rng.u32(0..40) {
            // Above what is copied, so that the body is a piece of its own.
            0 | 1 => 5000,
            // The largest that is batched, and the smallest that is not.
            2 if self.rng.u32(0..4) == 0 => (64 << 10) + self.rng.usize(0..2),
            2..8 => self.rng.usize(30..300),
            _ => self.rng.usize(5..30),
        }
    }

    fn caller(&mut self, verb: Verb, topic: &'static str, timeout: Duration) -> Caller {
        let (id, cancelled) = (self.publishes.len(), Rc::new(Cell::new(false)));
        self.publishes.push(Publish {
            id,
            verb,
            topic,
            delay: None,
            sizes: Vec::new(),
            deadline: self.now + timeout,
            cancelled: Rc::clone(&cancelled),
            stage: Stage::Queued,
            outcome: None,
            copies: Vec::new(),
            invalid: false,
            alone: false,
            written: false,
            maybe: false,
            moved: false,
        });
        let log = Rc::clone(&self.log);
        Caller { id, cancelled, log }
    }

    fn push(&mut self) -> Due {
        let verb = match self.rng.usize(0..self.kind.plain) {
            0 => Verb::Mpub,
            1 => Verb::Dpub,
            _ => Verb::Pub,
        };
        let topic = self.kind.topics[self.rng.usize(0..self.kind.topics.len())];
        let timeout = Duration::from_millis(self.rng.u64(0..self.kind.timeout_ms));
        // The order of acceptance shows in the times.
        self.now += Duration::from_nanos(1);
        let caller = self.caller(verb, topic, timeout);
        let id = caller.id;
        let messages = match verb {
            Verb::Mpub => self.rng.usize(1..5),
            _ => 1,
        };
        let unwelcome = self.rng.u32(0..100) == 0;
        let sizes: Vec<_> = (0..messages).map(|_| self.size()).collect();
        let mut bodies = sizes.iter().map(|size| {
            let mut body = vec![b'.'; *size];
            body[..4].copy_from_slice(&(id as u32).to_be_bytes());
            if unwelcome {
                body[4] = UNWELCOME;
            }
            Bytes::from(body)
        });
        let delay_ms = self.rng.u64(0..3_600_000);
        let payload = match verb {
            Verb::Mpub => Payload::batch(bodies.collect()),
            Verb::Dpub => Payload::deferred(bodies.next().unwrap(), delay_ms),
            _ => Payload::Publish(bodies.next().unwrap()),
        };
        let publish = &mut self.publishes[id];
        publish.stage = Stage::Done;
        publish.copies = vec![0; sizes.len()];
        publish.invalid = unwelcome || sizes.iter().any(|size| *size > SMALLEST_LIMIT);
        publish.delay = (verb == Verb::Dpub).then_some(delay_ms);
        publish.sizes = sizes;
        let transaction = Transaction {
            topic: Topic::new(topic).unwrap(),
            payload,
            timeout,
        };
        let size = self.publishes[id].size();
        let may_fit = size <= self.kind.limits.pending.bytes;
        let when_full = match self.rng.u32(0..4) {
            0 if may_fit => WhenFull::Wait,
            _ => WhenFull::Reject,
        };
        let before = self.log.answers.borrow().len();
        self.queue.push(transaction, when_full, self.now, caller);
        // It is rejected at once, even if cancelled ones are removed only in the next polls.
        let full = (id, Outcome::Failed(ErrorKind::Full, Delivery::NotWritten));
        let is_early = self.log.answers.borrow()[before..].contains(&full)
            && self.kind.limits.budget < usize::MAX;
        self.finish_jobs();
        let mut due = self.log.answers.borrow()[before..].to_vec();
        let own = due.iter().position(|(answered, _)| *answered == id);
        let own = own.map(|index| due.remove(index));
        self.count.add_some("removed when full", due.len());
        self.removed(&due);
        if let Some(own) = own.filter(|own| *own != full) {
            // Above a known limit, it is removed by a pass that is under way.
            self.publishes[id].stage = Stage::Waiting;
            self.removed(&[own]);
            due.push(own);
            return due;
        }
        if when_full == WhenFull::Wait {
            self.publishes[id].stage = Stage::Waiting;
            self.admit();
            return due;
        }
        self.counters.published += 1;
        let is_topic_full = self.is_topic_full(topic);
        if !is_early && self.may_overtake(id) && self.has_capacity(1, size) && !is_topic_full {
            self.publishes[id].stage = Stage::Queued;
            return due;
        }
        self.count.add("full");
        if is_topic_full {
            self.count.add("topic full");
        }
        due.push(full);
        due
    }

    fn ping(&mut self) -> Due {
        let timeout = Duration::from_millis(self.rng.u64(0..500));
        let caller = self.caller(Verb::Identify, "", timeout);
        self.queue.ping(timeout, self.now, caller);
        Due::new()
    }

    /// Answers those for which `outcome` has an answer.
    fn answer(&mut self, outcome: impl Fn(&Publish) -> Option<Outcome>) -> Due {
        let mut due = Due::new();
        for (id, publish) in self.publishes.iter_mut().enumerate().skip(self.done) {
            let Some(outcome) = outcome(publish).filter(|_| publish.is_in_queue()) else {
                continue;
            };
            due.push((id, outcome));
            publish.stage = match publish.stage {
                Stage::InFlight => Stage::Answered,
                Stage::Waiting => {
                    self.counters.published += 1;
                    Stage::Done
                }
                _ => Stage::Done,
            };
        }
        due
    }

    fn cancel(&mut self) -> Due {
        let ids = self.publishes.len();
        let open: Vec<_> = (self.done..ids)
            .filter(|id| self.publishes[*id].is_unanswered())
            .collect();
        if open.is_empty() {
            return Due::new();
        }
        let publish = &mut self.publishes[open[self.rng.usize(0..open.len())]];
        publish.cancelled.set(true);
        self.count.add("cancelled");
        if publish.stage == Stage::Waiting {
            publish.stage = Stage::Done;
            self.count.add("waiting cancelled");
        }
        Due::new()
    }

    /// Cancelled publishes that are not in flight are removed.
    fn remove_cancelled(&mut self) -> Due {
        self.queue.remove_cancelled();
        let due = self.answer(|publish| {
            let is_removed = publish.cancelled.get() && publish.stage == Stage::Queued;
            let outcome = Outcome::Failed(ErrorKind::Closed, publish.not_now());
            (is_removed && !publish.is_ping()).then_some(outcome)
        });
        self.count.add_some("removed when cancelled", due.len());
        due
    }

    fn time_passes(&mut self) -> Due {
        self.now += Duration::from_millis(self.rng.u64(0..60));
        if self.rng.bool() {
            // Deadlines were checked a short time ago.
            return Due::new();
        }
        let now = self.now;
        self.queue.expire(now, Some(&ConnectionError::ClosedByPeer));
        let due = self.answer(|publish| {
            let outcome = Outcome::Failed(ErrorKind::Timeout, publish.unsettled());
            (publish.deadline <= now).then_some(outcome)
        });
        self.count.add_some("timed out", due.len());
        due
    }

    fn ghost_works(&mut self) -> Due {
        if !self.ghosts.is_empty() {
            let index = self.rng.usize(0..self.ghosts.len());
            let ghost = &mut self.ghosts[index];
            let answer = self.nsqd.execute(ghost, &mut self.rng, self.count);
            if answer.is_some() {
                self.count.add("executed after the end");
            }
        }
        Due::new()
    }

    /// nsqd is well and no time passes: everything outstanding is answered.
    fn heal(&mut self) {
        self.nsqd.trouble = 0;
        let due = self.take_in();
        self.check(due);
        for _ in 0..1000 {
            if self.queue.is_empty() {
                self.count.add("healed");
                return;
            }
            let due = self.send();
            self.check(due);
            if let Some(link) = &mut self.link {
                link.write_all();
            }
            loop {
                self.nsqd_works();
                if self.link.as_ref().is_none_or(Link::is_quiet) {
                    break;
                }
                let due = self.frame_arrives();
                self.check(due);
            }
            let due = self.settle();
            self.check(due);
        }
        panic!("publishes are stuck");
    }

    /// Whatever is left is answered, and stays true whatever nsqd still executes.
    fn finish(mut self) {
        if self.rng.bool() {
            self.heal();
        }
        if self.rng.bool() {
            let due = self.take_in();
            self.check(due);
        }
        let drains = self.rng.bool();
        let kind = if drains {
            ErrorKind::Drained
        } else {
            ErrorKind::Closed
        };
        let due = self.answer(|publish| Some(Outcome::Failed(kind, publish.unsettled())));
        if drains {
            self.count.add_some("drained", due.len());
            self.queue.fail_all(&Cause::Drained);
            self.check(due);
        } else {
            self.count.add_some("dropped", due.len());
            let none = TransactionQueue::alone(self.kind.limits);
            drop(std::mem::replace(&mut self.queue, none));
            self.check_answers(due);
        }
        let due = self.drop_moving();
        self.check_answers(due);
        if let Some(link) = self.link.take() {
            self.ghosts.push(link.into_ghost());
        }
        for mut ghost in std::mem::take(&mut self.ghosts) {
            while self
                .nsqd
                .execute(&mut ghost, &mut self.rng, self.count)
                .is_some()
            {}
        }
        self.check_answers(Due::new());
    }
}

/// The least that nsqd ever accepts as a message.
const SMALLEST_LIMIT: usize = 28;

/// Other limits: nsqd was restarted or replaced.
fn reconfigure(nsqd: &mut Nsqd, rng: &mut fastrand::Rng) {
    nsqd.max_msg_size = [SMALLEST_LIMIT, 250, 1 << 20, 1 << 20][rng.usize(0..4)];
    nsqd.max_body_size = [60, 250, 5 << 20, 5 << 20][rng.usize(0..4)];
}

/// Prints which schedule failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the schedule that failed: QUEUE_SEED={}", self.0);
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

/// contract: 1, 2, 3, 4, 6, 7, 9
#[test]
fn random_schedules_keep_the_contract() {
    let schedules = setting("QUEUE_SCHEDULES").unwrap_or(5_000);
    let single = setting("QUEUE_SEED");
    let seeds = single.map_or(0..schedules, |seed| seed..seed + 1);
    let mut count = Count::default();
    for seed in seeds {
        let seed = Seed(seed);
        let mut world = World::new(seed.0, &mut count);
        for _ in 0..world.rng.u32(20..160) {
            world.step();
        }
        world.finish();
    }
    println!("{:#?}", count.0);
    // Fewer schedules say nothing about the minimum.
    if schedules < 1000 || single.is_some() {
        return;
    }
    for what in OFTEN {
        let times = count.0.get(what).copied().unwrap_or_default();
        assert!(times >= schedules / 20, "{what}: only {times} times");
    }
}
