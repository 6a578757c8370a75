//! The contract in its plainest form: a list of publishes, gone through from end to end at every question.

mod ends;
mod lanes;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use self::lanes::{Idle, is_foldable};
use super::{super::*, Said, nsqd::Verb};
use crate::error::ErrorKind;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Waiting,
    /// Handed over; where its command ends in the connection's stream.
    Flying(u64),
    /// Timed out, or refused for its topic, in flight: no answer, but a share of the memory.
    Empty(u64),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: usize,
    pub(super) verb: Verb,
    pub(super) topic: &'static str,
    pub(super) delay: u64,
    /// Of each body.
    pub(super) sizes: Vec<usize>,
    pub(super) deadline: Instant,
    pub(super) cancelled: bool,
    /// May be stored by an earlier connection.
    pub(super) unknown: bool,
    /// A folded batch that it was in was refused.
    pub(super) alone: bool,
    /// Got its room while the queue looked for the next command, which may or may not carry it.
    pub(super) fresh: bool,
    pub(super) place: Place,
}

impl Entry {
    pub(super) fn new(id: usize, verb: Verb, topic: &'static str, deadline: Instant) -> Self {
        Self {
            id,
            verb,
            topic,
            delay: 0,
            sizes: Vec::new(),
            deadline,
            cancelled: false,
            unknown: false,
            alone: false,
            fresh: false,
            place: Place::Waiting,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.sizes.iter().sum()
    }

    fn maybe(&self) -> Delivery {
        match self.verb {
            Verb::Mpub => Delivery::MaybePartial,
            Verb::Pub | Verb::Dpub => Delivery::MaybeWritten,
            Verb::Identify => Delivery::NotWritten,
        }
    }

    pub(super) fn is_ping(&self) -> bool {
        self.verb == Verb::Identify
    }

    fn surely_not_now(&self) -> Delivery {
        match self.unknown {
            true => self.maybe(),
            false => Delivery::NotWritten,
        }
    }

    fn on_time_out(&self) -> Delivery {
        match self.place {
            Place::Waiting => self.surely_not_now(),
            _ => self.maybe(),
        }
    }

    pub(super) fn waits(&self) -> bool {
        self.place == Place::Waiting
    }

    fn is_empty(&self) -> bool {
        matches!(self.place, Place::Empty(_))
    }
}

/// A command in flight.
pub(super) struct Flight {
    /// Those that it carries, which for a folded batch are several, or the ping.
    pub(super) ids: Vec<usize>,
    pub(super) end: u64,
    at: Instant,
}

/// Where publishes keep their order among each other: a topic, or with batching off all of them.
pub(super) type Lane = &'static str;

/// Answers that are due, in order.
pub(super) type Due = Vec<(usize, Said)>;

pub(super) struct Reference {
    pub(super) limits: Limits,
    pub(super) now: Instant,
    /// What the queue holds, in the order of acceptance.
    pub(super) entries: Vec<Entry>,
    /// The oldest first.
    pub(super) flight: Vec<Flight>,
    /// Who waits for room.
    pub(super) line: Vec<Entry>,
    /// Accepted, or answered without.
    pub(super) published: u64,
    /// nsqd's own limits for a message and for a batch, where it told them.
    named: [Option<usize>; 2],
    /// The shortest time from hand-over to `OK` of a publish on this connection, and of its greeting.
    round_trip: Duration,
    /// What nsqd could not store lets nobody be folded until an `OK`, and its lane until one of its own.
    troubled: bool,
    troubled_lanes: BTreeSet<Lane>,
    /// The lane of the command that was refused.
    offender: Option<Lane>,
    /// Who goes first on the next connection: a group of lanes before another.
    order: Vec<BTreeSet<Lane>>,
    /// Those whose place among them is not told: all that waited for it has left, and something has come.
    strays: BTreeSet<Lane>,
    /// How often the first lane, which could have gone, let the second go before it.
    passed: BTreeMap<(Lane, Lane), usize>,
    /// The lanes that could go when the queue was asked.
    asked: BTreeSet<Lane>,
}

impl Reference {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            now,
            entries: Vec::new(),
            flight: Vec::new(),
            line: Vec::new(),
            published: 0,
            named: [None; 2],
            round_trip: Duration::ZERO,
            troubled: false,
            troubled_lanes: BTreeSet::new(),
            offender: None,
            order: Vec::new(),
            strays: BTreeSet::new(),
            passed: BTreeMap::new(),
            asked: BTreeSet::new(),
        }
    }

    fn load<'a>(entries: impl Iterator<Item = &'a Entry>) -> Load {
        let mut load = Load::default();
        let publishes = entries.filter(|entry| !entry.is_ping());
        publishes.for_each(|entry| load.add(1, entry.size()));
        load
    }

    pub(super) fn held(&self) -> Load {
        Self::load(self.entries.iter())
    }

    pub(super) fn flying(&self) -> Load {
        Self::load(self.entries.iter().filter(|entry| !entry.waits()))
    }

    pub(super) fn entry(&self, id: usize) -> &Entry {
        let mut entries = self.entries.iter();
        entries.find(|entry| entry.id == id).expect("held")
    }

    /// Those of a command, which stand in its order.
    pub(super) fn members<'a>(&'a self, ids: &'a [usize]) -> impl Iterator<Item = &'a Entry> {
        let mut ids = ids.iter().peekable();
        let entries = self.entries.iter();
        entries.filter(move |entry| ids.next_if(|id| **id == entry.id).is_some())
    }

    pub(super) fn members_mut(&mut self, ids: &[usize]) -> impl Iterator<Item = &mut Entry> {
        let mut ids = ids.iter().peekable();
        let entries = self.entries.iter_mut();
        entries.filter(move |entry| ids.next_if(|id| **id == entry.id).is_some())
    }

    pub(super) fn unanswered(&self) -> impl Iterator<Item = &Entry> {
        // A ping whose caller is gone is waited for by nobody.
        let is_forgotten = |entry: &Entry| entry.is_ping() && entry.cancelled;
        let held = self
            .entries
            .iter()
            .filter(move |entry| !entry.is_empty() && !is_forgotten(entry));
        held.chain(&self.line)
    }

    fn has_room(&self, sizes: &[usize]) -> bool {
        let (held, limit) = (self.held(), self.limits.pending);
        held.publishes + sizes.len() <= limit.publishes
            && held.bytes + sizes.iter().sum::<usize>() <= limit.bytes
    }

    pub(super) fn push(&mut self, entry: Entry) -> Due {
        self.admit();
        self.published += 1;
        let first = self.line.first().map(Entry::size);
        let sizes: Vec<_> = first.into_iter().chain([entry.size()]).collect();
        if !self.has_room(&sizes) {
            let said = Said::Failed(ErrorKind::Full, Delivery::NotWritten);
            return vec![(entry.id, said)];
        }
        self.accept(entry);
        Due::new()
    }

    pub(super) fn push_patiently(&mut self, entry: Entry) -> Due {
        if entry.size() > self.limits.pending.bytes {
            return self.push(entry);
        }
        self.line.push(entry);
        self.admit();
        Due::new()
    }

    pub(super) fn admit(&mut self) {
        while let Some(first) = self.line.first()
            && self.has_room(&[first.size()])
        {
            self.published += 1;
            let first = self.line.remove(0);
            self.accept(first);
        }
    }

    fn accept(&mut self, mut entry: Entry) {
        entry.fresh = true;
        self.comes_to(self.lane_of(&entry));
        self.entries.push(entry);
    }

    /// A ping is never too much.
    pub(super) fn ping(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Pings that nobody waits for any more are forgotten instead of being handed over.
    pub(super) fn forget_pings(&mut self) {
        let is_idle = |entry: &Entry| entry.is_ping() && entry.waits() && entry.cancelled;
        self.entries.retain(|entry| !is_idle(entry));
    }

    /// Lets go of all that waits and that nobody waits for.
    pub(super) fn forget_gone(&mut self) -> Due {
        let gone = |entry: &mut Entry| !entry.is_ping() && entry.waits() && entry.cancelled;
        let said = |entry: &Entry| Said::Failed(ErrorKind::Closed, entry.surely_not_now());
        let gone = self.entries.extract_if(.., gone);
        let due = gone.map(|entry| (entry.id, said(&entry))).collect();
        self.admit();
        due
    }

    /// Takes note of publishes that were answered instead of being handed over, which must be right. Their room is for
    /// those who wait, who may be answered so in turn.
    pub(super) fn purged(&mut self, told: &[(usize, Said)]) {
        let mut told = told.to_vec();
        while !told.is_empty() {
            let before = told.len();
            told.retain(|(id, said)| {
                let place = self.entries.iter().position(|entry| entry.id == *id);
                let Some(place) = place else { return true };
                let entry = self.entries.remove(place);
                assert!(entry.waits(), "{id} was purged in flight");
                assert!(self.unfit(&entry).contains(said), "{id} was told {said:?}");
                false
            });
            assert!(told.len() < before, "purged, and not held: {told:?}");
            self.admit();
        }
    }

    pub(super) fn ok(&mut self) -> Due {
        let oldest = &self.flight[0];
        let took = self.now - oldest.at;
        let first = self.entry(oldest.ids[0]);
        if !first.is_ping() {
            let lane = self.lane_of(first);
            self.round_trip = self.round_trip.min(took);
            self.troubled = false;
            self.troubled_lanes.remove(lane);
        }
        self.pop(|_| Said::Ok)
    }

    /// Those in the oldest command leave; nothing is due where one was answered before.
    fn pop(&mut self, said: impl Fn(&Entry) -> Said) -> Due {
        let Flight { ids, .. } = self.flight.remove(0);
        let mut next = ids.iter().peekable();
        let carried = |entry: &mut Entry| next.next_if(|id| **id == entry.id).is_some();
        let gone: Vec<_> = self.entries.extract_if(.., carried).collect();
        assert_eq!(gone.len(), ids.len(), "a command lost one of its publishes");
        assert!(gone.iter().all(|entry| !entry.waits()));
        let answered = gone.iter().filter(|entry| !entry.is_empty());
        answered.map(|entry| (entry.id, said(entry))).collect()
    }

    pub(super) fn expire(&mut self, now: Instant) -> Due {
        self.fail(ErrorKind::Timeout, |entry| entry.deadline <= now)
    }

    pub(super) fn fail_all(&mut self, kind: ErrorKind) -> Due {
        self.fail(kind, |_| true)
    }

    fn fail(&mut self, kind: ErrorKind, whom: impl Fn(&Entry) -> bool) -> Due {
        let said = |entry: &Entry| Said::Failed(kind, entry.on_time_out());
        let mut due = self.answer(|entry| whom(entry).then(|| said(entry)));
        let held = due.len();
        let line = self.line.extract_if(.., |entry| whom(entry));
        due.extend(line.map(|entry| (entry.id, said(&entry))));
        self.published += (due.len() - held) as u64;
        due
    }

    /// Whoever waits leaves with its answer, whoever is in flight leaves an empty place.
    fn answer(&mut self, said: impl Fn(&Entry) -> Option<Said>) -> Due {
        let mut due = Due::new();
        self.entries.retain_mut(|entry| {
            let Some(said) = said(entry).filter(|_| !entry.is_empty()) else {
                return true;
            };
            due.push((entry.id, said));
            if let Place::Flying(end) = entry.place {
                entry.place = Place::Empty(end);
            }
            entry.is_empty()
        });
        due
    }
}
