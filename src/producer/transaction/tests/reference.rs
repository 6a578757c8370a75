//! The contract in its plainest form: a list of publishes, gone through from end to end at every question.

use super::{super::*, Said, nsqd::Verb};
use crate::{error::ErrorKind, protocol::ErrorCode};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Waiting,
    /// Handed over; where its command ends in the connection's stream.
    Flying(u64),
    /// Timed out, or refused for its topic, in flight: no answer, but a share of the memory.
    Empty(u64),
}

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
    pub(super) place: Place,
}

impl Entry {
    pub(super) fn size(&self) -> usize {
        self.sizes.iter().sum()
    }

    fn maybe(&self) -> Delivery {
        match self.verb {
            Verb::Mpub => Delivery::MaybePartly,
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

/// Answers that are due, in order.
pub(super) type Due = Vec<(usize, Said)>;

pub(super) struct Reference {
    pub(super) limits: Limits,
    pub(super) now: Instant,
    /// What the queue holds, in the order of acceptance.
    pub(super) entries: Vec<Entry>,
    /// Who waits for room.
    pub(super) line: Vec<Entry>,
    /// Accepted, or answered without.
    pub(super) published: u64,
    /// nsqd's own limits for a message and for a batch, where it told them.
    named: [Option<usize>; 2],
}

impl Reference {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            now,
            entries: Vec::new(),
            line: Vec::new(),
            published: 0,
            named: [None; 2],
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
        self.entries.push(entry);
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
            self.entries.push(first);
        }
    }

    /// A ping goes before the publishes that wait, and is never too much.
    pub(super) fn ping(&mut self, entry: Entry) {
        let mut entries = self.entries.iter();
        let place = entries.position(|entry| entry.waits() && !entry.is_ping());
        self.entries
            .insert(place.unwrap_or(self.entries.len()), entry);
    }

    /// Pings that nobody waits for any more are forgotten instead of being handed over.
    pub(super) fn forget_pings(&mut self) {
        let is_idle = |entry: &Entry| entry.is_ping() && entry.waits() && entry.cancelled;
        self.entries.retain(|entry| !is_idle(entry));
    }

    /// What a publish that waits may be told instead of being handed over; if there is anything, it must be.
    fn unfit(&self, entry: &Entry) -> Vec<Said> {
        if entry.cancelled {
            return vec![Said::Failed(ErrorKind::Closed, entry.surely_not_now())];
        }
        let above = |size: usize, limit: Option<usize>| limit.is_some_and(|limit| size > limit);
        let [message, batch] = self.named;
        let mut codes = Vec::new();
        if entry.sizes.iter().any(|size| above(*size, message)) {
            codes.push(ErrorCode::BadMessage);
        }
        if entry.verb == Verb::Mpub && above(entry.size() + 4 * entry.sizes.len() + 4, batch) {
            codes.push(ErrorCode::BadBody);
        }
        let failed = |kind| Said::Failed(kind, entry.surely_not_now());
        let said = |code| failed(ErrorKind::Refused(code));
        let over = (entry.deadline <= self.now).then(|| failed(ErrorKind::Timeout));
        codes.into_iter().map(said).chain(over).collect()
    }

    /// Takes note that a publish was answered instead of being handed over, which must be right. Its room is for those who wait.
    pub(super) fn purged(&mut self, id: usize, said: Said) {
        let place = self.entries.iter().position(|entry| entry.id == id);
        let entry = self.entries.remove(place.expect("purged, and not held"));
        assert!(entry.waits(), "{id} was purged in flight");
        assert!(self.unfit(&entry).contains(&said), "{id} was told {said:?}");
        self.admit();
    }

    /// The publish to be handed over next.
    pub(super) fn next(&self) -> Option<&Entry> {
        let next = self.entries.iter().find(|entry| entry.waits())?;
        if next.is_ping() {
            return Some(next);
        }
        let (mut flying, window) = (self.flying(), self.limits.window);
        let alone = flying.publishes == 0;
        flying.add(1, next.size());
        let room = flying.publishes <= window.publishes && flying.bytes <= window.bytes;
        if !alone && !room {
            return None;
        }
        assert_eq!(self.unfit(next), [], "{} was not purged", next.id);
        Some(next)
    }

    pub(super) fn handed_over(&mut self, id: usize, end: u64) {
        let mut entries = self.entries.iter_mut();
        entries.find(|entry| entry.id == id).unwrap().place = Place::Flying(end);
    }

    /// The oldest command's publish leaves; nothing is due where it was answered before.
    fn pop(&mut self, said: impl Fn(&Entry) -> Said) -> Due {
        let entry = self.entries.remove(0);
        match entry.place {
            Place::Waiting => panic!("{} was not handed over", entry.id),
            Place::Flying(_) => vec![(entry.id, said(&entry))],
            Place::Empty(_) => Due::new(),
        }
    }

    pub(super) fn ok(&mut self) -> Due {
        self.pop(|_| Said::Ok)
    }

    /// An error frame and, but for a slow upload, its answer.
    pub(super) fn refused(&mut self, text: &str) -> Due {
        if self.entries[0].is_ping() {
            let kind = ErrorKind::Refused(ErrorCode::Invalid);
            return self.pop(|_| Said::Failed(kind, Delivery::NotWritten));
        }
        if text.contains("failed to read") {
            return Due::new();
        }
        let (code, sure) = match text.split(' ').next().unwrap() {
            "E_BAD_TOPIC" => (ErrorCode::BadTopic, true),
            "E_UNAUTHORIZED" => (ErrorCode::Unauthorized, true),
            "E_BAD_MESSAGE" => (ErrorCode::BadMessage, true),
            "E_BAD_BODY" => (ErrorCode::BadBody, true),
            "E_PUB_FAILED" => (ErrorCode::PubFailed, true),
            "E_DPUB_FAILED" => (ErrorCode::DpubFailed, true),
            "E_MPUB_FAILED" => (ErrorCode::MpubFailed, false),
            _ => (ErrorCode::Unknown, false),
        };
        if let Some((_, limit)) = text.split_once(" > ") {
            let limit = limit.parse().ok();
            self.named[usize::from(code == ErrorCode::BadBody)] = limit;
        }
        let said = |entry: &Entry| {
            let delivery = if sure {
                entry.surely_not_now()
            } else {
                entry.maybe()
            };
            Said::Failed(ErrorKind::Refused(code), delivery)
        };
        let topic = self.entries[0].topic;
        let mut due = self.pop(said);
        if matches!(code, ErrorCode::BadTopic | ErrorCode::Unauthorized) {
            due.extend(self.answer(|entry| (entry.topic == topic).then(|| said(entry))));
        }
        due
    }

    pub(super) fn end_refused(&mut self) -> Due {
        self.entries.retain(|entry| !entry.is_empty());
        for entry in &mut self.entries {
            entry.place = Place::Waiting;
        }
        self.entries.sort_by_key(|entry| !entry.is_ping());
        Due::new()
    }

    pub(super) fn end_lost(&mut self, taken: u64) -> Due {
        self.named = [None; 2];
        let (mut due, retry) = (Due::new(), self.limits.retry_unknown);
        for entry in &mut self.entries {
            if matches!(entry.place, Place::Flying(end) if end <= taken) && !entry.is_ping() {
                entry.unknown = true;
                if !retry {
                    let said = Said::Failed(ErrorKind::ConnectionLost, entry.maybe());
                    due.push((entry.id, said));
                    entry.place = Place::Empty(0);
                }
            }
        }
        self.end_refused();
        due
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
