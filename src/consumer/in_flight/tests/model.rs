//! Random schedules: the held messages beside a plain list that obeys the same rules.
//!
//! `IN_FLIGHT_SCHEDULES` sets the number of schedules, `IN_FLIGHT_SEED` plays a single one.

use std::collections::BTreeSet;

use super::*;

/// A message in the list.
#[derive(Debug, Clone)]
struct Entry {
    key: ConnectionKey,
    id: MessageId,
    /// Order of arrival of the first copy.
    order: u64,
    /// Of the last copy.
    attempts: u16,
    received: Instant,
    deadline: Instant,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting(Ticket),
    Started(Ticket),
    Expired(Ticket),
}

impl Entry {
    fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting(_))
    }
}

struct Model {
    rng: fastrand::Rng,
    held: InFlight,
    entries: Vec<Entry>,
    finished_late: BTreeSet<(ConnectionKey, MessageId)>,
    open: Vec<ConnectionKey>,
    serials: u32,
    now: Instant,
    arrivals: u64,
    counts: [u64; 8],
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut model = Self {
            rng: fastrand::Rng::with_seed(seed),
            held: InFlight::new(false),
            entries: Vec::new(),
            finished_late: BTreeSet::new(),
            open: Vec::new(),
            serials: 0,
            now: Instant::now(),
            arrivals: 0,
            counts: [0; 8],
        };
        model.connect();
        model
    }

    fn connect(&mut self) {
        let key = key(self.serials);
        self.serials += 1;
        self.held.open(key, TIMING);
        self.open.push(key);
    }

    fn position(&self, key: ConnectionKey, id: MessageId) -> Option<usize> {
        let mut entries = self.entries.iter();
        entries.position(|entry| (entry.key, entry.id) == (key, id))
    }

    fn receive(&mut self) {
        let Some(key) = self.rng.choice(self.open.iter()).copied() else {
            return self.connect();
        };
        let mut id = id(self.rng.u64(0..60));
        if self.rng.u8(0..4) == 0 {
            // nsqd redelivers what has expired.
            let known = self.entries.iter().filter(|entry| entry.key == key);
            let known = known.filter(|entry| matches!(entry.stage, Stage::Expired(_)));
            let late = self.finished_late.iter().filter(|(other, _)| *other == key);
            let known: Vec<_> = known
                .map(|entry| entry.id)
                .chain(late.map(|(_, id)| *id))
                .collect();
            id = self.rng.choice(known).unwrap_or(id);
        }
        let known = self.position(key, id);
        let was_finished = self.finished_late.contains(&(key, id));
        // A copy that nsqd has stored twice has the same number of attempts.
        let attempts = self.rng.u16(1..5);
        self.arrivals += 1;
        let received = self.held.receive(key, id, attempts, self.now);
        let deadline = self.now + TIMING.timeout;
        let expected = match known.and_then(|known| self.entries.get_mut(known)) {
            Some(entry) => {
                (entry.received, entry.deadline) = (self.now, deadline);
                entry.attempts = attempts;
                match entry.stage {
                    Stage::Waiting(_) => Received::Replaced,
                    Stage::Started(_) => Received::Attached { was_held: true },
                    Stage::Expired(ticket) => {
                        entry.stage = Stage::Started(ticket);
                        self.counts[0] += 1;
                        Received::Attached { was_held: false }
                    }
                }
            }
            None if was_finished => {
                self.counts[1] += 1;
                Received::FinishedBefore
            }
            None => {
                let Received::Waiting(ticket) = received else {
                    panic!("{received:?}")
                };
                self.entries.push(Entry {
                    key,
                    id,
                    order: self.arrivals,
                    attempts,
                    received: self.now,
                    deadline,
                    stage: Stage::Waiting(ticket),
                });
                received
            }
        };
        assert_eq!(received, expected);
    }

    fn start(&mut self) {
        let waiting = self.entries.iter_mut();
        let waiting = waiting.filter_map(|entry| match entry.stage {
            Stage::Waiting(ticket) => Some((ticket, entry)),
            Stage::Started(_) | Stage::Expired(_) => None,
        });
        let Some((ticket, first)) = waiting.min_by_key(|(_, entry)| entry.order) else {
            return;
        };
        assert!(self.held.is_waiting(ticket));
        let started = self.held.start(ticket, start(), self.now);
        assert_eq!(started, Some((first.attempts, first.received)));
        assert_eq!(self.held.start(ticket, start(), self.now), None);
        let slot = self.held.get(ticket).unwrap();
        assert_eq!(slot.deadline, first.deadline);
        first.stage = Stage::Started(ticket);
        self.counts[2] += 1;
    }

    /// Answers a message that a handler has, and a second time.
    fn answer(&mut self) {
        let with_handlers = self.entries.iter().enumerate();
        let with_handlers: Vec<_> = with_handlers
            .filter_map(|(index, entry)| match entry.stage {
                Stage::Waiting(_) => None,
                Stage::Started(ticket) => Some((index, ticket, true)),
                Stage::Expired(ticket) => Some((index, ticket, false)),
            })
            .collect();
        let Some((index, ticket, was_held)) = self.rng.choice(with_handlers) else {
            return;
        };
        let entry = self.entries.remove(index);
        let (is_finish, is_open) = (self.rng.bool(), self.open.contains(&entry.key));
        let answered = self.held.answer(ticket, is_finish, self.now).unwrap();
        assert_eq!((answered.key, answered.id), (entry.key, entry.id));
        let is_expired = !was_held || entry.deadline <= self.now;
        assert_eq!(
            (answered.was_held, answered.is_expired),
            (was_held, is_expired)
        );
        assert_eq!(answered.is_open, is_open);
        assert_eq!(answered.is_late, self.now + TIMING.margin >= entry.deadline);
        if is_expired && is_finish && is_open {
            self.finished_late.insert((entry.key, entry.id));
            self.counts[3] += 1;
        }
        assert_eq!(self.held.answer(ticket, true, self.now), None);
        assert_eq!(self.held.touch(ticket, self.now), None);
    }

    fn touch(&mut self) {
        let open = &self.open;
        let with_handlers = self.entries.iter_mut();
        let with_handlers: Vec<_> = with_handlers
            .filter_map(|entry| match entry.stage {
                Stage::Started(ticket) => Some((ticket, entry)),
                Stage::Waiting(_) | Stage::Expired(_) => None,
            })
            .collect();
        let Some((ticket, entry)) = self.rng.choice(with_handlers) else {
            return;
        };
        let deadline = (self.now + TIMING.timeout).min(entry.received + TIMING.max_timeout);
        let is_in_time = self.now < entry.deadline && deadline > entry.deadline;
        let has_effect = open.contains(&entry.key) && is_in_time;
        let touched = self.held.touch(ticket, self.now);
        assert_eq!(touched, has_effect.then_some((entry.key, entry.id)));
        if has_effect {
            entry.deadline = deadline;
            self.counts[4] += 1;
        }
    }

    fn pass(&mut self) {
        self.now += ms(self.rng.u64(0..300));
        while let Some(due) = self.held.take_due(self.now, self.now) {
            let Due::Expired { key, id, started } = due else {
                panic!("{due:?} without auto_touch");
            };
            let index = self.position(key, id).unwrap();
            assert!(self.entries[index].deadline <= self.now);
            match self.entries[index].stage {
                Stage::Started(ticket) => {
                    assert!(started.is_some());
                    self.entries[index].stage = Stage::Expired(ticket);
                    self.counts[5] += 1;
                }
                Stage::Waiting(ticket) => {
                    assert!(started.is_none() && !self.held.is_waiting(ticket));
                    self.entries.remove(index);
                    self.counts[6] += 1;
                }
                Stage::Expired(_) => panic!("{id} expires twice"),
            }
        }
    }

    fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let index = self.rng.usize(0..self.open.len());
        let key = self.open.swap_remove(index);
        self.held.close(key);
        self.finished_late.retain(|(other, _)| *other != key);
        self.connect();
    }

    fn return_waiting(&mut self) {
        let of = self.rng.choice(self.open.iter()).copied();
        let returned = self.held.return_waiting(of, self.now);
        let before = self.entries.len();
        self.entries
            .retain(|entry| !entry.is_waiting() || of.is_some_and(|of| of != entry.key));
        assert_eq!(returned.len(), before - self.entries.len());
        assert!(returned.iter().all(|it| it.is_held));
        self.counts[7] += 1;
    }

    fn step(&mut self) {
        match self.rng.u8(0..100) {
            0..35 => self.receive(),
            35..60 => self.start(),
            60..78 => self.answer(),
            78..84 => self.touch(),
            84..97 => self.pass(),
            97..99 => self.close(),
            _ => self.return_waiting(),
        }
        self.check();
    }

    fn check(&self) {
        let waiting = self.entries.iter().filter(|it| it.is_waiting()).count();
        assert_eq!(self.held.waiting(), waiting);
        assert_eq!(self.held.started(), self.entries.len() - waiting);
        let is_held = |entry: &&Entry| !matches!(entry.stage, Stage::Expired(_));
        let held = self.entries.iter().filter(is_held);
        let due = held.clone().map(|entry| entry.deadline).min();
        assert_eq!(self.held.due(), due);
        assert_eq!(self.held.held_of_nsqd(0), held.clone().count());
        assert_eq!(self.held.held_of_nsqd(1), 0);
        for key in &self.open {
            let held = held.clone().filter(|entry| entry.key == *key).count();
            assert_eq!(self.held.held(*key), held);
        }
        assert!(self.held.connections.iter().count() <= self.open.len() + self.entries.len());
    }
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect(name))
}

/// consumer contract: 1, 3, 7, 9
#[test]
fn held_messages_obey_the_rules_in_random_schedules() {
    let schedules = setting("IN_FLIGHT_SCHEDULES").unwrap_or(300);
    let seeds = match setting("IN_FLIGHT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..schedules,
    };
    let mut counts = [0; 8];
    for seed in seeds.clone() {
        let played = std::panic::catch_unwind(|| {
            let mut model = Model::new(seed);
            (0..400).for_each(|_| model.step());
            model.counts
        });
        let played = played.unwrap_or_else(|_| panic!("IN_FLIGHT_SEED={seed}"));
        for (count, played) in counts.iter_mut().zip(played) {
            *count += played;
        }
    }
    let rare = counts.iter().any(|count| *count < schedules / 4);
    assert!(
        seeds.count() < 100 || !rare,
        "too few of an event: {counts:?}"
    );
}
