//! A random model of the rounds: nsqlookupds that answer, fail, restart and take their time, nsqds
//! that register, vanish and lose connections, and an owner that executes the decisions.
//!
//! `ROUNDS_SCHEDULES` sets the number of schedules, and `ROUNDS_SEED` replays one.

use std::collections::BTreeMap;

use super::*;

/// Longest time of a query in the model.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Time within which a node that is named or unreported must be dialled or dropped: a query that
/// runs at the loss, the one that follows, and the longest distance between two rounds.
const BOUND: Duration = Duration::from_secs(10 + 10 + 90 + 1);

/// A query that runs.
struct Running {
    id: LookupdId,
    until: Instant,
    /// The nodes that were registered when it began; `None`: it fails.
    answer: Option<Vec<&'static str>>,
    began: Instant,
}

/// The owner's side of a node that it has to dial.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Owned {
    Dialling,
    Up,
    /// Lost, and waiting since then.
    Waiting(Instant),
}

const NODES: [&str; 4] = ["a", "b", "c", "d"];

struct World {
    random: fastrand::Rng,
    rounds: Rounds,
    now: Instant,
    /// What each nsqlookupd knows; `None`: it is down.
    lookupds: BTreeMap<LookupdId, Option<Vec<&'static str>>>,
    running: Vec<Running>,
    owned: BTreeMap<&'static str, Owned>,
    /// Since when the state of each node at every nsqlookupd has not changed.
    quiet_since: Instant,
    last_starts: BTreeMap<LookupdId, Instant>,
    /// The last answers: when the query began, and the nodes.
    last_ok: BTreeMap<LookupdId, (Instant, bool, Vec<&'static str>)>,
    sources: BTreeMap<&'static str, std::collections::BTreeSet<LookupdId>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let timing = Timing {
            interval: INTERVAL,
            jitter: 0.5,
        };
        let mut world = Self {
            random: fastrand::Rng::with_seed(seed),
            rounds: Rounds::new(timing, now),
            now,
            lookupds: BTreeMap::new(),
            running: Vec::new(),
            owned: BTreeMap::new(),
            quiet_since: now,
            last_starts: BTreeMap::new(),
            last_ok: BTreeMap::new(),
            sources: BTreeMap::new(),
        };
        for _ in 0..world.random.usize(0..=3) {
            world.add_lookupd();
        }
        world
    }

    fn add_lookupd(&mut self) {
        let id = self.rounds.add(self.now);
        let known = NODES.into_iter().filter(|_| self.random.bool()).collect();
        self.lookupds.insert(id, Some(known));
        self.quiet_since = self.now;
    }

    fn any_lookupd(&mut self) -> Option<LookupdId> {
        let ids: Vec<_> = self.lookupds.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[self.random.usize(0..ids.len())])
    }

    fn any_node(&mut self) -> &'static str {
        NODES[self.random.usize(0..NODES.len())]
    }

    /// One event, and what follows from it.
    fn step(&mut self) {
        match self.random.u32(0..20) {
            0 if self.lookupds.len() < 4 => self.add_lookupd(),
            1 if self.random.u32(0..4) == 0 => {
                if let Some(id) = self.any_lookupd() {
                    self.lookupds.remove(&id);
                    self.running.retain(|query| query.id != id);
                    self.last_ok.remove(&id);
                    for sources in self.sources.values_mut() {
                        sources.remove(&id);
                    }
                    self.rounds.remove(id);
                    self.quiet_since = self.now;
                }
            }
            2 => {
                if let Some(id) = self.any_lookupd() {
                    let is_up = self.random.bool();
                    self.lookupds.insert(id, is_up.then(Vec::new));
                    self.quiet_since = self.now;
                }
            }
            3..=5 => {
                let (id, node) = (self.any_lookupd(), self.any_node());
                if let Some(Some(known)) = id.and_then(|id| self.lookupds.get_mut(&id)) {
                    match known.iter().position(|it| *it == node) {
                        Some(at) => drop(known.remove(at)),
                        None => known.push(node),
                    }
                    self.quiet_since = self.now;
                }
            }
            6..=8 => {
                let node = self.any_node();
                if let Some(owned @ Owned::Dialling) = self.owned.get_mut(node) {
                    *owned = Owned::Up;
                    self.rounds.connected(node);
                }
            }
            9..=11 => {
                let node = self.any_node();
                if let Some(owned @ Owned::Up) = self.owned.get_mut(node) {
                    *owned = Owned::Waiting(self.now);
                    self.rounds.lost(node, self.now);
                }
            }
            12 => self.rounds.refresh(self.now),
            _ => self.advance(),
        }
        self.take_decisions(None);
        self.poll();
    }

    /// Time passes, at most to the next answer or deadline.
    fn advance(&mut self) {
        let answers = self.running.iter().map(|query| query.until);
        let next = answers.chain(self.rounds.deadline()).min();
        let longest = Duration::from_millis(self.random.u64(0..30_000));
        self.now = match next {
            Some(next) => next.max(self.now).min(self.now + longest),
            None => self.now + longest,
        };
        while let Some(at) = self.running.iter().position(|it| it.until <= self.now) {
            let query = self.running.swap_remove(at);
            let named = query.answer.clone().unwrap_or_default();
            if query.answer.is_some() {
                for name in &named {
                    self.sources.entry(name).or_default().insert(query.id);
                }
            }
            let ended = (query.began, query.answer.is_some(), named);
            let known = match (ended.1, self.last_ok.get(&query.id)) {
                (false, Some((_, _, nodes))) => nodes.clone(),
                _ => ended.2.clone(),
            };
            self.last_ok.insert(query.id, (ended.0, ended.1, known));
            let answer = query.answer.as_deref().map(super::nodes).ok_or(());
            self.rounds.on_answer(query.id, answer);
            self.take_decisions(Some(&query));
            self.poll();
        }
    }

    fn poll(&mut self) {
        for id in self.rounds.poll(self.now, self.random.f64()) {
            assert!(
                !self.running.iter().any(|query| query.id == id),
                "two queries at once"
            );
            let known = self.lookupds[&id].clone();
            let takes = match (&known, self.random.u32(0..8)) {
                (None, 0) => TIMEOUT,
                (_, 1) => Duration::from_millis(self.random.u64(0..10_000)),
                _ => Duration::from_millis(self.random.u64(0..50)),
            };
            self.running.push(Running {
                id,
                until: self.now + takes,
                answer: known,
                began: self.now,
            });
            self.last_starts.insert(id, self.now);
        }
        if !self.lookupds.is_empty() {
            let deadline = self.rounds.deadline().expect("a next round");
            assert!(deadline > self.now, "a round that is due was not started");
        }
    }

    /// Executes the decisions, and checks each. `cause`: the query whose end is the reason.
    fn take_decisions(&mut self, cause: Option<&Running>) {
        for decision in self.rounds.take_decisions() {
            match decision {
                Decision::Dial(node) => {
                    let name = NODES.into_iter().find(|it| **it == *node.address).unwrap();
                    let before = self.owned.insert(name, Owned::Dialling);
                    match before {
                        None => assert!(names(cause, name), "{name} was not named"),
                        Some(Owned::Waiting(since)) => self.check_dial(name, since, cause),
                        Some(other) => panic!("{name} is dialled although it is {other:?}"),
                    }
                }
                Decision::Drop(address) => {
                    let name = NODES.into_iter().find(|it| **it == *address).unwrap();
                    let before = self.owned.remove(name);
                    assert!(
                        matches!(before, Some(Owned::Dialling | Owned::Waiting(_))),
                        "{name} is dropped although it is {before:?}"
                    );
                    for id in self.sources.remove(name).unwrap_or_default() {
                        let (_, is_ok, nodes) = &self.last_ok[&id];
                        assert!(*is_ok, "{name} is dropped although {id} has not answered");
                        assert!(!nodes.contains(&name), "{name} is dropped, {id} names it");
                    }
                }
                Decision::Changed(node) => panic!("{node} has not changed"),
            }
        }
        assert!(self.rounds.nodes.len() <= NODES.len());
        assert_eq!(self.rounds.nodes.len(), self.owned.len());
    }

    /// A lost node may be dialled because of an answer to a query after the loss that names it, or
    /// because the last queries of all nsqlookupds began after the loss and failed.
    fn check_dial(&self, name: &str, since: Instant, cause: Option<&Running>) {
        let is_named = names(cause, name) && cause.is_some_and(|query| query.began >= since);
        let has_failed = |id| {
            let last: Option<&(Instant, bool, _)> = self.last_ok.get(id);
            last.is_some_and(|(began, is_ok, _)| !is_ok && *began >= since)
        };
        assert!(
            is_named || self.lookupds.keys().all(has_failed),
            "{name} is dialled without a reason"
        );
    }

    /// After a long quiet time every node is where it should be.
    fn check_settled(&mut self) {
        let until = self.now + BOUND;
        while self.now < until {
            self.advance();
            self.poll();
        }
        if self.lookupds.is_empty() {
            return;
        }
        let answers: Vec<_> = self.lookupds.values().flatten().collect();
        for name in NODES {
            let is_named = answers.iter().any(|known| known.contains(&name));
            match self.owned.get(name) {
                Some(Owned::Waiting(_)) => {
                    assert!(!is_named, "{name} is named and waits");
                    assert!(!answers.is_empty(), "{name} waits, and nothing answers");
                    let sources = self.sources[name].iter();
                    let is_down = |id| self.lookupds[id].is_none();
                    assert!({ sources }.any(is_down), "{name} waits for nothing");
                }
                Some(Owned::Dialling) if !is_named && answers.len() == self.lookupds.len() => {
                    panic!("{name} is not named, down, and not dropped")
                }
                Some(Owned::Dialling | Owned::Up) => {}
                None => assert!(!is_named, "{name} is named and was not dialled"),
            }
        }
        for (id, last) in &self.last_starts {
            let is_recent = self.now - *last <= Duration::from_secs(101);
            assert!(
                is_recent || !self.lookupds.contains_key(id),
                "{id} is not queried"
            );
        }
    }
}

fn names(cause: Option<&Running>, name: &str) -> bool {
    let answer = cause.and_then(|query| query.answer.as_ref());
    answer.is_some_and(|nodes| nodes.contains(&name))
}

fn play(seed: u64) {
    let mut world = World::new(seed);
    world.poll();
    for _ in 0..world.random.usize(1..300) {
        world.step();
    }
    world.check_settled();
}

/// checklist: 87, 88, 89, 90
/// fault: C9
#[test]
fn random_schedules_keep_the_rules() {
    let number = |name| std::env::var(name).ok().and_then(|it| it.parse().ok());
    if let Some(seed) = number("ROUNDS_SEED") {
        return play(seed);
    }
    for seed in 0..number("ROUNDS_SCHEDULES").unwrap_or(1_000) {
        let played = std::panic::catch_unwind(|| play(seed));
        assert!(played.is_ok(), "ROUNDS_SEED={seed}");
    }
}
