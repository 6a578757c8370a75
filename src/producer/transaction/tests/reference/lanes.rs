//! What may be handed over next: which publish, or which of them as one, and which topic's.

use super::*;
use crate::protocol::ErrorCode;

/// Bodies above are not folded.
const LARGE: usize = 64 << 10;

/// Why nothing is handed over though publishes wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Idle {
    /// None waits.
    Empty,
    /// As many commands are in flight as there should be.
    Commands,
    /// As many publishes are in flight as there should be.
    Publishes,
    /// The next one has no room in the window.
    Window,
    /// So few wait that they should become more before they leave as one.
    Pile,
}

/// Whether it may share a command, as far as it is its own affair.
pub(in super::super) fn is_foldable(entry: &Entry) -> bool {
    entry.verb == Verb::Pub && !entry.alone && entry.size() <= LARGE
}

impl Reference {
    pub(in super::super) fn lane_of(&self, entry: &Entry) -> Lane {
        match self.limits.batch {
            Some(_) => entry.topic,
            None => "",
        }
    }

    /// What waits in a lane, the oldest first.
    fn pile(&self, lane: Lane) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.iter();
        let waiting = entries.filter(|entry| entry.waits() && !entry.is_ping());
        waiting.filter(move |entry| self.lane_of(entry) == lane)
    }

    /// Those in which something waits.
    pub(super) fn lanes(&self) -> BTreeSet<Lane> {
        let entries = self.entries.iter();
        let waiting = entries.filter(|entry| entry.waits() && !entry.is_ping());
        waiting.map(|entry| self.lane_of(entry)).collect()
    }

    pub(in super::super) fn is_folding(&self, entry: &Entry) -> bool {
        let troubled = self.troubled || self.troubled_lanes.contains(self.lane_of(entry));
        self.limits.batch.is_some() && is_foldable(entry) && !troubled
    }

    pub(in super::super) fn is_troubled(&self) -> bool {
        self.troubled || !self.troubled_lanes.is_empty()
    }

    /// What a publish that waits may be told instead of being handed over; if there is anything, it must be.
    pub(super) fn unfit(&self, entry: &Entry) -> Vec<Said> {
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

    /// How many commands there should be in flight.
    fn most_commands(&self) -> usize {
        8 + (self.round_trip.as_micros() / 50) as usize
    }

    fn most_publishes(&self) -> usize {
        256 + self.round_trip.as_micros() as usize
    }

    /// Commands in flight that carry publishes.
    fn commands(&self) -> usize {
        let ids = self.flight.iter().map(|flight| flight.ids[0]);
        ids.filter(|id| !self.entry(*id).is_ping()).count()
    }

    fn at_its_pace(&self) -> Option<Idle> {
        self.limits.batch?;
        if self.commands() >= self.most_commands() {
            return Some(Idle::Commands);
        }
        (self.flying().publishes >= self.most_publishes()).then_some(Idle::Publishes)
    }

    /// How many publishes of a lane are in flight.
    fn in_flight(&self, lane: Lane) -> usize {
        let publishes = self.entries.iter().filter(|entry| !entry.is_ping());
        let flying = publishes.filter(|entry| !entry.waits());
        flying.filter(|entry| self.lane_of(entry) == lane).count()
    }

    /// Whether what waits in a lane is enough to leave, or is not to be folded anyhow.
    fn could_go(&self, lane: Lane) -> bool {
        let Some(batch) = self.limits.batch else {
            return true;
        };
        let enough = batch
            .messages
            .min(self.in_flight(lane) / self.most_commands());
        let next = self.pile(lane).next();
        self.pile(lane).count() >= enough || next.is_some_and(|next| !self.is_folding(next))
    }

    /// The queue is about to be asked for the next command. In so many lanes too few wait.
    pub(in super::super) fn ask(&mut self) -> usize {
        for entry in &mut self.entries {
            entry.fresh = false;
        }
        let mut lanes = self.lanes();
        let all = lanes.len();
        lanes.retain(|lane| self.could_go(lane));
        self.asked = lanes;
        all - self.asked.len()
    }

    /// The lanes that could go when it was asked, and still can.
    fn ready(&self) -> BTreeSet<Lane> {
        let mut lanes = self.lanes();
        lanes.retain(|lane| self.asked.contains(lane) && self.could_go(lane));
        lanes
    }

    /// Those of a lane that belong into its next command, whatever its turn. None: there is no room for the first.
    fn command(&self, lane: Lane) -> Vec<&Entry> {
        let mut members: Vec<&Entry> = Vec::new();
        let (mut flying, window) = (self.flying(), self.limits.window);
        let mut size = 4;
        for entry in self.pile(lane).filter(|entry| self.unfit(entry).is_empty()) {
            let alone = flying.publishes == 0;
            flying.add(1, entry.size());
            size += 4 + entry.size();
            if !alone && (flying.publishes > window.publishes || flying.bytes > window.bytes) {
                break;
            }
            if let Some(first) = members.first() {
                let Some(batch) = self.limits.batch else {
                    break;
                };
                let bytes = self.named[1].map_or(batch.bytes, |named| named.min(batch.bytes));
                let fits = members.len() < batch.messages && size <= bytes;
                if !fits || !self.is_folding(first) || !self.is_folding(entry) {
                    break;
                }
            }
            members.push(entry);
        }
        members
    }

    /// The ping to be handed over next: before any publish.
    pub(in super::super) fn next_ping(&self) -> Option<usize> {
        let mut entries = self.entries.iter();
        let ping = entries.find(|entry| entry.is_ping() && entry.waits());
        ping.map(|ping| ping.id)
    }

    /// Takes note of a command, which must be one that may come now.
    pub(in super::super) fn handed_over(&mut self, ids: &[usize], end: u64) {
        let first = self.entry(ids[0]);
        if first.is_ping() {
            assert_eq!(Some(ids[0]), self.next_ping());
        } else {
            assert_eq!(self.next_ping(), None, "a ping goes before");
            let lane = self.lane_of(first);
            assert_eq!(self.at_its_pace(), None, "too much in flight for {ids:?}");
            let could = self.asked.contains(lane) || self.could_go(lane);
            assert!(could, "too few are piled up for {ids:?}");
            let pile = self.pile(lane).take(ids.len()).map(|entry| entry.id);
            assert!(
                pile.eq(ids.iter().copied()),
                "{ids:?} are not the oldest that wait"
            );
            let command = self.command(lane);
            let expected: Vec<_> = command.iter().map(|entry| entry.id).collect();
            let missed = command.get(ids.len());
            let complete = expected.starts_with(ids) && missed.is_none_or(|entry| entry.fresh);
            assert!(complete, "handed over: {ids:?}, and not {expected:?}");
            self.takes_its_turn(lane);
        }
        self.members_mut(ids)
            .for_each(|entry| entry.place = Place::Flying(end));
        self.flight.push(Flight {
            ids: ids.to_vec(),
            end,
            at: self.now,
        });
    }

    /// Takes note that nothing was handed over, which must be right.
    pub(in super::super) fn nothing_handed_over(&mut self) -> Idle {
        assert_eq!(self.next_ping(), None, "a ping may always go");
        let lanes = self.lanes();
        if lanes.is_empty() {
            return Idle::Empty;
        }
        if let Some(idle) = self.at_its_pace() {
            return idle;
        }
        let has_no_room = |lane: &Lane| {
            let fit = self.pile(lane).any(|entry| self.unfit(entry).is_empty());
            fit && self.could_go(lane) && self.command(lane).is_empty()
        };
        let idle = if lanes.iter().any(has_no_room) {
            Idle::Window
        } else {
            // With nothing of its topic in flight, no answer would bring anybody back to it.
            let stuck = |lane: &&Lane| {
                let asked = self.asked.contains(*lane) || self.in_flight(lane) == 0;
                asked && self.could_go(lane)
            };
            let stuck: Vec<_> = lanes.iter().filter(stuck).collect();
            assert!(stuck.is_empty(), "{stuck:?} should have handed over");
            Idle::Pile
        };
        let ready = self.ready();
        self.passed.retain(|(lane, _), _| ready.contains(lane));
        idle
    }

    /// Lanes take turns, and on a new connection in the order in which the last one left them.
    fn takes_its_turn(&mut self, lane: Lane) {
        let mut ready = self.ready();
        ready.remove(lane);
        if !self.strays.contains(lane) {
            let mut groups = self.order.iter();
            let last = self.order.len().saturating_sub(1);
            let group = groups.position(|group| group.contains(lane));
            for earlier in self.order.iter().take(group.unwrap_or(last)) {
                let mut left = earlier.intersection(&ready);
                assert_eq!(left.next(), None, "{lane} went before it");
            }
        }
        for group in &mut self.order {
            group.remove(lane);
        }
        self.passed
            .retain(|(other, _), _| *other != lane && ready.contains(other));
        for other in ready {
            let passed = self.passed.entry((other, lane)).or_default();
            *passed += 1;
            assert!(*passed < 2, "{lane} went twice before {other}");
        }
    }

    /// Something comes to a lane: where nothing waited it has no place among the others.
    pub(super) fn comes_to(&mut self, lane: Lane) {
        if self.pile(lane).next().is_none() {
            self.asked.remove(lane);
            self.passed.retain(|(other, _), _| *other != lane);
            for group in &mut self.order {
                if group.remove(lane) {
                    self.strays.insert(lane);
                }
            }
        }
    }
}
