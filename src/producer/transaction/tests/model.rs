//! Random schedules: the queue between a simulated nsqd, which reads the real bytes, and a plain reading of the contract.
//!
//! After every step the answers must be exactly those that the [`Reference`] expects, and, whatever both of them think,
//! they must be true of what the simulated nsqd has stored.
//!
//! `QUEUE_SCHEDULES` sets how many schedules are played, `QUEUE_SEED` plays a single one.

use std::collections::BTreeMap;

use super::{
    nsqd::{Answer, Nsqd, Peer, Verb, commands, number},
    reference::{Due, Entry, Place, Reference},
    *,
};

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
    last_ok: Option<usize>,
    last_first: Option<usize>,
    topics_from: usize,
}

/// The first two are refused, and in many a schedule not published to.
const TOPICS: [&str; 12] = [
    "bad", "locked", "a", "b", "a", "b", "a", "b", "a", "b", "a", "c",
];

impl<'a> World<'a> {
    fn new(seed: u64, count: &'a mut Count) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limits = Limits {
            pending: Load {
                publishes: [3, 10, 100][rng.usize(0..3)],
                bytes: [200, 6000, 1 << 20][rng.usize(0..3)],
            },
            window: Load {
                publishes: rng.usize(1..10),
                bytes: [1, 100, 1 << 20][rng.usize(0..3)],
            },
            retry_unknown: rng.bool(),
        };
        let mut nsqd = Nsqd {
            max_msg_size: 0,
            max_body_size: 0,
            trouble: [0, 5, 20][rng.usize(0..3)],
            stored: Vec::new(),
        };
        reconfigure(&mut nsqd, &mut rng);
        Self {
            topics_from: 2 * rng.usize(0..2),
            rng,
            count,
            queue: TransactionQueue::new(limits),
            reference: Reference::new(limits),
            book: Rc::default(),
            gone: Vec::new(),
            fates: Vec::new(),
            nsqd,
            link: None,
            ghosts: Vec::new(),
            now: Instant::now(),
            tally: Tally::default(),
            last_ok: None,
            last_first: None,
        }
    }

    /// One step; whatever it is, the answers given must be those expected.
    fn step(&mut self) {
        let due = match self.rng.u32(0..100) {
            0..18 => self.push(),
            18..20 => self.cancel(),
            20..25 => self.time_passes(),
            25..40 => self.hand_over(),
            40..55 => self.socket_takes(),
            55..70 => self.nsqd_works(),
            70..90 => self.frame_arrives(),
            90..91 => self.out_of_step(),
            91..93 => self.close(),
            93..97 => self.settle(),
            _ => self.a_ghost_works(),
        };
        self.check(due);
    }

    fn push(&mut self) -> Due {
        let id = self.gone.len();
        let verb = [Verb::Pub, Verb::Pub, Verb::Mpub, Verb::Dpub][self.rng.usize(0..4)];
        let messages = if verb == Verb::Mpub {
            self.rng.usize(1..5)
        } else {
            1
        };
        let sizes: Vec<_> = (0..messages)
            .map(|_| match self.rng.u32(0..20) {
                // Above what is copied, so that the body travels as a piece of its own.
                0 => 5000,
                1..4 => self.rng.usize(30..300),
                _ => self.rng.usize(4..30),
            })
            .collect();
        let mut bodies = sizes.iter().map(|size| {
            let mut body = vec![b'.'; *size];
            body[..4].copy_from_slice(&(id as u32).to_be_bytes());
            Bytes::from(body)
        });
        let delay = self.rng.u64(0..3_600_000);
        let payload = match verb {
            Verb::Pub => Payload::Publish(bodies.next().unwrap()),
            Verb::Mpub => Payload::Batch(bodies.collect()),
            Verb::Dpub => Payload::Deferred {
                body: bodies.next().unwrap(),
                delay_ms: delay,
            },
        };
        let topic = TOPICS[self.rng.usize(self.topics_from..TOPICS.len())];
        let timeout = Duration::from_millis(self.rng.u64(0..500));
        let gone = Rc::new(Cell::new(false));
        self.gone.push(Rc::clone(&gone));
        self.fates.push(Fate {
            copies: vec![0; sizes.len()],
            ..Fate::default()
        });
        let caller = Caller {
            id,
            gone,
            book: Rc::clone(&self.book),
        };
        let transaction = Transaction {
            topic: Topic::new(topic).unwrap(),
            payload,
            timeout,
        };
        self.count.add("published");
        self.queue.push(transaction, self.now, caller);
        let due = self.reference.push(Entry {
            id,
            verb,
            topic,
            delay,
            sizes,
            deadline: self.now + timeout,
            cancelled: false,
            unknown: false,
            place: Place::Waiting,
        });
        self.count.add_some("full", due.len());
        due
    }

    fn cancel(&mut self) -> Due {
        let entries = &mut self.reference.entries;
        if !entries.is_empty() {
            let place = self.rng.usize(0..entries.len());
            let entry = &mut entries[place];
            entry.cancelled = true;
            self.gone[entry.id].set(true);
            self.count.add("cancelled");
        }
        Due::new()
    }

    fn time_passes(&mut self) -> Due {
        self.now += Duration::from_millis(self.rng.u64(0..60));
        self.queue.expire(self.now, Some(&ConnectionError::Closed));
        let due = self.reference.expire(self.now);
        self.count.add_some("timed out", due.len());
        due
    }

    fn hand_over(&mut self) -> Due {
        let link = self.link.get_or_insert_with(|| {
            self.count.add("connected");
            if self.rng.u32(0..4) == 0 {
                reconfigure(&mut self.nsqd, &mut self.rng);
            }
            Link {
                out: Outbox::new(),
                handed: Vec::new(),
                taken: 0,
                peer: Peer::default(),
                frames: Vec::new(),
                starts: Vec::new(),
                state: State::Open,
            }
        });
        // As the session does: after an error frame, or while it closes, nothing is handed over.
        if link.state != State::Open {
            return Due::new();
        }
        let mut due = Due::new();
        loop {
            let handed = self.queue.next_command(&mut link.out);
            let told = self.book.told.borrow();
            for (id, said) in told.iter().skip(due.len()) {
                self.reference.purged(*id, *said);
                due.push((*id, *said));
                self.count.add("purged");
            }
            let next = self.reference.next();
            assert_eq!(handed, next.is_some(), "whether there is a command");
            let Some(entry) = next else { break };
            let (id, start) = (entry.id, link.handed.len());
            let bytes = link.out.take().concat();
            assert_is(entry, &bytes);
            link.starts.push((start, id));
            link.handed.extend(bytes);
            self.reference.handed_over(id, link.handed.len() as u64);
            let again = std::mem::replace(&mut self.fates[id].handed_over, true);
            if again {
                self.count.add("handed over again");
            } else {
                assert!(self.last_first < Some(id), "{id} was written out of order");
                self.last_first = Some(id);
                self.count.add("handed over");
            }
        }
        due
    }

    fn socket_takes(&mut self) -> Due {
        if let Some(link) = &mut self.link {
            let waiting = link.handed.len() - link.taken;
            link.taken += some_of(waiting, &mut self.rng);
        }
        Due::new()
    }

    fn nsqd_works(&mut self) -> Due {
        if let Some(link) = &mut self.link {
            let answers = work(
                &mut self.nsqd,
                &mut link.peer,
                &link.handed[..link.taken],
                &mut self.rng,
                self.count,
            );
            link.frames.extend(answers);
        }
        Due::new()
    }

    fn frame_arrives(&mut self) -> Due {
        let Some(link) = &mut self.link else {
            return Due::new();
        };
        if link.frames.is_empty() {
            return Due::new();
        }
        let Answer { start, error } = link.frames.remove(0);
        let starts = &link.starts;
        let id = starts.iter().find(|(at, _)| *at == start).unwrap().1;
        assert_eq!(self.reference.entries[0].id, id, "whose answer it is");
        let Some(text) = error else {
            self.queue.ok(link.taken as u64).unwrap();
            let due = self.reference.ok();
            self.count
                .add(if due.is_empty() { "late OK" } else { "OK" });
            return due;
        };
        link.state = if self.rng.u32(0..10) > 0 {
            State::Refused
        } else {
            // More frames follow: so it is no nsqd, and nothing behind the refusal is sure.
            self.count.add("more after a refusal");
            State::Closing
        };
        self.queue.refused(&refusal(&text)).unwrap();
        let due = self.reference.refused(&text);
        self.count.add(if text.contains("failed to read") {
            "slow upload"
        } else if text.contains(" > ") {
            "named limit"
        } else if text.contains("_FAILED") || text.contains("SHINY") {
            "refused for trouble"
        } else {
            "refused for its topic"
        });
        due
    }

    /// A frame that belongs to nothing, or to what is not wholly sent: it answers nothing, and the connection is lost.
    fn out_of_step(&mut self) -> Due {
        let Some(link) = &mut self.link else {
            return Due::new();
        };
        let oldest = self.queue.oldest_end();
        if oldest.is_none_or(|end| end > link.taken as u64) && link.state == State::Open {
            self.queue.ok(link.taken as u64).unwrap_err();
            if oldest.is_none() {
                self.queue.refused(&refusal("E_INVALID")).unwrap_err();
            }
            link.state = State::Closing;
            // Nothing that such a peer says is believed.
            link.frames.clear();
            link.peer.dead = true;
            self.count.add("out of step");
        }
        Due::new()
    }

    fn close(&mut self) -> Due {
        if let Some(link) = &mut self.link
            && link.state == State::Open
        {
            link.state = State::Closing;
        }
        Due::new()
    }

    /// Both sides of the connection have ended.
    fn settle(&mut self) -> Due {
        let Some(link) = self.link.take_if(|link| link.state != State::Open) else {
            return Due::new();
        };
        let mut peer = link.peer;
        let taken = link.taken as u64;
        let due = match link.state {
            State::Refused => {
                self.queue.end(Ending::Refused);
                self.count.add("ended by a refusal");
                self.reference.end_refused()
            }
            _ => {
                for entry in &self.reference.entries {
                    match entry.place {
                        Place::Flying(end) if end <= taken => {
                            self.count.add("lost whole");
                            let retry = self.reference.limits.retry_unknown;
                            self.fates[entry.id].may_repeat = retry;
                        }
                        Place::Flying(_) => self.count.add("lost half or unsent"),
                        _ => {}
                    }
                }
                let cause = Cause::Lost(ConnectionError::Closed);
                let cause = &cause;
                self.queue.end(Ending::Lost { taken, cause });
                self.count.add("connection lost");
                self.reference.end_lost(taken)
            }
        };
        // What the socket took may still arrive.
        let arrived = peer.arrived.len();
        peer.arrived.extend(&link.handed[arrived..link.taken]);
        self.ghosts.push(peer);
        due
    }

    fn a_ghost_works(&mut self) -> Due {
        if !self.ghosts.is_empty() {
            let place = self.rng.usize(0..self.ghosts.len());
            let ghost = &mut self.ghosts[place];
            if !ghost.dead
                && self
                    .nsqd
                    .execute(ghost, &mut self.rng, self.count)
                    .is_some()
            {
                self.count.add("executed after the end");
            }
        }
        Due::new()
    }

    fn check(&mut self, due: Due) {
        self.check_answers(due);
        self.check_books();
    }

    /// The answers given since the last step are those that are due, and they are true.
    fn check_answers(&mut self, mut due: Due) {
        for (id, place) in self.nsqd.stored.split_off(0) {
            let fate = &mut self.fates[id];
            fate.copies[place] += 1;
            if fate.copies[place] > 1 {
                assert!(fate.may_repeat, "{id} was stored twice");
                self.count.add("stored twice");
            }
            self.count.add("stored");
            self.is_true(id);
        }
        let mut told = self.book.told.take();
        for (id, said) in &told {
            let before = self.fates[*id].said.replace(*said);
            assert_eq!(before, None, "{id} was answered twice");
            match said {
                Said::Ok => self.tally.ok += 1,
                Said::Failed(_, Delivery::NotWritten) => self.tally.not_written += 1,
                Said::Failed(_, Delivery::MaybeWritten) => self.tally.maybe_written += 1,
                Said::Failed(_, Delivery::MaybePartly) => self.tally.maybe_partly += 1,
            }
            if *said == Said::Ok {
                assert!(self.last_ok < Some(*id), "{id} was confirmed out of order");
                self.last_ok = Some(*id);
            }
            self.is_true(*id);
        }
        told.sort_by_key(|(id, _)| *id);
        due.sort_by_key(|(id, _)| *id);
        assert_eq!(told, due, "told, and due");
    }

    fn is_true(&self, id: usize) {
        let Fate { said, copies, .. } = &self.fates[id];
        match said {
            Some(Said::Ok) => assert!(copies.iter().all(|n| *n > 0), "{id}: Ok, not stored"),
            Some(Said::Failed(_, Delivery::NotWritten)) => {
                assert!(copies.iter().all(|n| *n == 0), "{id}: NotWritten, stored");
            }
            _ => {}
        }
    }

    fn check_books(&self) {
        let (queue, reference) = (&self.queue, &self.reference);
        assert_eq!(queue.tally(), self.tally);
        assert_eq!(queue.ledger.held, reference.held(), "held");
        assert_eq!(queue.flying, reference.flying(), "flying");
        let (pending, window) = (reference.limits.pending, reference.limits.window);
        let (held, flying) = (queue.ledger.held, queue.flying);
        assert!(held.publishes <= pending.publishes && held.bytes <= pending.bytes);
        let within = flying.publishes <= window.publishes && flying.bytes <= window.bytes;
        assert!(within || flying.publishes == 1, "{flying:?}");
        assert_eq!(queue.in_flight(), flying.publishes > 0);
        let oldest = reference.entries.first().map(|entry| entry.place);
        let end = match oldest {
            Some(Place::Flying(end) | Place::Empty(end)) => Some(end),
            _ => None,
        };
        assert_eq!(queue.oldest_end(), end, "oldest end");
        let earliest = reference.unanswered().map(|entry| entry.deadline).min();
        assert_eq!(queue.is_empty(), earliest.is_none());
        if let Some(earliest) = earliest {
            assert!(queue.due().is_some_and(|due| due <= earliest), "due");
        }
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
            assert!(fate.said.is_some(), "{id} was never answered");
        }
    }
}

/// Other limits: nsqd was restarted, or another one stands there.
fn reconfigure(nsqd: &mut Nsqd, rng: &mut fastrand::Rng) {
    nsqd.max_msg_size = [28, 250, 1 << 20, 1 << 20][rng.usize(0..4)];
    nsqd.max_body_size = [60, 250, 5 << 20, 5 << 20][rng.usize(0..4)];
}

/// Nothing, all, or any part.
fn some_of(all: usize, rng: &mut fastrand::Rng) -> usize {
    match rng.u32(0..3) {
        0 => all,
        _ => rng.usize(0..=all),
    }
}

/// Some of what the socket took arrives, and nsqd executes some of that.
fn work(
    nsqd: &mut Nsqd,
    peer: &mut Peer,
    taken: &[u8],
    rng: &mut fastrand::Rng,
    count: &mut Count,
) -> Vec<Answer> {
    let more = some_of(taken.len() - peer.arrived.len(), rng);
    let arrived = peer.arrived.len();
    peer.arrived.extend(&taken[arrived..arrived + more]);
    let mut answers = Vec::new();
    for _ in 0..rng.u32(0..8) {
        answers.extend(nsqd.execute(peer, rng, count));
    }
    if rng.u32(0..20) == 0 {
        answers.extend(nsqd.lose_patience(peer));
    }
    answers
}

/// The bytes are this publish, whole and nothing else.
fn assert_is(entry: &Entry, bytes: &[u8]) {
    let [command] = &commands(bytes)[..] else {
        panic!("{} commands", commands(bytes).len());
    };
    assert_eq!((command.verb, command.topic), (entry.verb, entry.topic));
    if entry.verb == Verb::Dpub {
        assert_eq!(command.delay, entry.delay.to_string());
    }
    let sizes = command.bodies.iter().map(|body| body.len());
    assert!(sizes.eq(entry.sizes.iter().copied()));
    assert!(command.bodies.iter().all(|body| number(body) == entry.id));
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

#[test]
fn random_schedules_keep_the_contract() {
    let schedules = setting("QUEUE_SCHEDULES").unwrap_or(10_000);
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
    for what in [""; 0] {
        let times = count.0.get(what).copied().unwrap_or_default();
        assert!(times >= schedules / 10, "{what}: only {times} times");
    }
}
