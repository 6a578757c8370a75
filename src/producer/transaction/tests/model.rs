//! Random schedules: the queue between a simulated nsqd, which reads the real bytes, and a plain reading of the contract.
//!
//! After every step the answers must be exactly those that the [`Reference`] expects, and, whatever both of them think,
//! they must be true of what the simulated nsqd has stored.
//!
//! `QUEUE_SCHEDULES` sets how many schedules are played, `QUEUE_SEED` plays a single one.

mod commands;
mod ends;
mod kinds;
mod pings;
mod steps;
mod truth;

use std::collections::BTreeMap;

use self::kinds::Kind;
use super::{
    nsqd::{Answer, Command, Nsqd, Peer, UNWELCOME, Verb, commands, number},
    reference::{Due, Entry, Idle, Lane, Place, Reference, is_foldable},
    *,
};
use crate::protocol::ErrorCode;

/// How often what happened.
#[derive(Default)]
pub(super) struct Count(BTreeMap<&'static str, u64>);

impl Count {
    pub(super) fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn add_some(&mut self, what: &'static str, times: usize) {
        *self.0.entry(what).or_default() += times as u64;
    }
}

/// All of it must happen often, or the model shows nothing: in one schedule of twenty.
const OFTEN: [&str; 41] = [
    "E_PUB_FAILED, E_MPUB_FAILED",
    "OK",
    "alone after a refused fold",
    "cancelled",
    "connected",
    "connection lost",
    "drained",
    "dropped",
    "ended by a refusal",
    "enough commands in flight",
    "executed after the end",
    "folded",
    "forgotten",
    "full",
    "handed over",
    "handed over again",
    "healed",
    "late OK",
    "left the line",
    "lost half or unsent",
    "lost whole",
    "more after a refusal",
    "named limit",
    "not folded in trouble",
    "out of step",
    "ping asked again",
    "pinged",
    "ping refused",
    "published",
    "purged",
    "refused for its topic",
    "refused for trouble",
    "slow upload",
    "some let go of before a fold",
    "stored",
    "stored twice",
    "the window is full",
    "timed out",
    "unknown code",
    "unwelcome message",
    "waited for room",
];

/// And all of this in one schedule of four hundred.
const NOW_AND_THEN: [&str; 16] = [
    "a pile grows",
    "a fold lost half or unsent",
    "a fold lost whole",
    "fold: E_BAD_TOPIC",
    "fold: E_MPUB_FAILED",
    "fold: E_UNAUTHORIZED",
    "fold: another known code",
    "fold: named body limit",
    "fold: named message limit",
    "fold: slow upload",
    "fold: unknown code",
    "fold: unwelcome message",
    "late OK for some of a fold",
    "nothing but piles that grow",
    "ping forgotten",
    "the offender stands last",
];

/// A connection as the producer and its socket see it.
struct Link {
    out: Outbox,
    /// All that was handed over; the socket has taken `taken` of it.
    handed: Vec<u8>,
    taken: usize,
    peer: Peer,
    /// Frames under way to the client.
    frames: Vec<Answer>,
    /// Where each command starts, and whose it is.
    starts: Vec<(usize, usize)>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing more is handed over; what nsqd has said may still be read.
    Closing,
    /// An error frame was read.
    Refused,
}

/// What became of a publish in truth.
#[derive(Default)]
struct Fate {
    handed_over: bool,
    said: Option<Said>,
    /// How often each of its messages was stored.
    copies: Vec<u32>,
    ping: bool,
    /// nsqd may refuse it for what it is.
    guilty: bool,
    /// Its caller made it a batch.
    batch: bool,
    topic: &'static str,
    /// A ping before it was sent, or a publish that waited for room: nobody waited for its answer any more.
    forgotten: bool,
    /// Its command was wholly sent on a connection that was lost, and at-least-once was asked for.
    may_repeat: bool,
}

struct World<'a> {
    rng: fastrand::Rng,
    count: &'a mut Count,
    queue: TransactionQueue<Caller>,
    reference: Reference,
    book: Rc<Book>,
    gone: Vec<Rc<Cell<bool>>>,
    fates: Vec<Fate>,
    nsqd: Nsqd,
    link: Option<Link>,
    /// Lost connections on which nsqd goes on executing.
    ghosts: Vec<Peer>,
    now: Instant,
    tally: Tally,
    last_ok: BTreeMap<Lane, usize>,
    last_first: BTreeMap<Lane, usize>,
    kind: Kind,
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
        let now = Instant::now();
        Self {
            rng,
            count,
            queue: TransactionQueue::new(kind.limits),
            reference: Reference::new(kind.limits, now),
            book: Rc::default(),
            gone: Vec::new(),
            fates: Vec::new(),
            nsqd,
            link: None,
            ghosts: Vec::new(),
            kind,
            now,
            tally: Tally::default(),
            last_ok: BTreeMap::new(),
            last_first: BTreeMap::new(),
        }
    }

    /// One step; whatever it is, the answers given must be those expected.
    fn step(&mut self) {
        let due = match self.rng.u32(0..100) {
            0..16 => self.push(),
            16..18 => self.ping(),
            18..20 => self.cancel(),
            20..25 => self.time_passes(),
            25..40 => self.hand_over(),
            40..55 => self.socket_takes(),
            55..70 => self.nsqd_works(),
            70..90 => self.frame_arrives(),
            90 if self.rng.bool() => self.forget_gone(),
            90 => self.out_of_step(),
            91..93 => self.close(),
            93..97 => self.settle(),
            _ => self.a_ghost_works(),
        };
        self.check(due);
    }

    /// Trouble is over, and nobody's time passes: all that is outstanding must find its way.
    fn heal(&mut self) {
        self.nsqd.trouble = 0;
        for _ in 0..1000 {
            if self.queue.is_empty() {
                self.count.add("healed");
                return;
            }
            let due = self.hand_over();
            self.check(due);
            if let Some(link) = &mut self.link {
                link.taken = link.handed.len();
            }
            // All frames, then the end of the connection where there is one.
            loop {
                self.nsqd_works();
                if self.link.as_ref().is_none_or(|link| link.frames.is_empty()) {
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

    /// Whatever is left is answered, and stays true whatever nsqd does still.
    fn finish(mut self) {
        if self.rng.bool() {
            self.heal();
        }
        if self.rng.bool() {
            self.queue.fail_all(&Cause::Drained);
            let due = self.reference.fail_all(ErrorKind::Drained);
            self.count.add_some("drained", due.len());
            self.check(due);
        } else {
            let none = TransactionQueue::new(self.reference.limits);
            drop(std::mem::replace(&mut self.queue, none));
            let due = self.reference.fail_all(ErrorKind::Closed);
            self.count.add_some("dropped", due.len());
            self.check_answers(due);
        }
        if let Some(link) = self.link.take() {
            let mut peer = link.peer;
            let arrived = peer.arrived.len();
            peer.arrived.extend(&link.handed[arrived..link.taken]);
            self.ghosts.push(peer);
        }
        for mut ghost in std::mem::take(&mut self.ghosts) {
            while self
                .nsqd
                .execute(&mut ghost, &mut self.rng, self.count)
                .is_some()
            {}
        }
        self.check_answers(Due::new());
        for (id, fate) in self.fates.iter().enumerate() {
            let answered = fate.said.is_some() != fate.forgotten;
            assert!(answered, "{id} was never answered");
        }
    }
}

/// The least that nsqd ever takes for a message.
const SMALLEST_LIMIT: usize = 28;

/// Other limits: nsqd was restarted, or another one stands there.
fn reconfigure(nsqd: &mut Nsqd, rng: &mut fastrand::Rng) {
    nsqd.max_msg_size = [SMALLEST_LIMIT, 250, 1 << 20, 1 << 20][rng.usize(0..4)];
    nsqd.max_body_size = [60, 250, 5 << 20, 5 << 20][rng.usize(0..4)];
}

/// Tells which schedule failed.
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

/// contract: 2
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
    // Below so many the minimum would say nothing.
    if schedules < 1000 || single.is_some() {
        return;
    }
    let often = OFTEN.map(|what| (what, 20));
    let seldom = NOW_AND_THEN.map(|what| (what, 400));
    for (what, one_of) in often.into_iter().chain(seldom) {
        let times = count.0.get(what).copied().unwrap_or_default();
        assert!(times >= schedules / one_of, "{what}: only {times} times");
    }
}
