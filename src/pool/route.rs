//! Which member of a pool gets a publish. Time is passed in, and so is what the members show.

use std::{
    collections::{HashMap, HashSet},
    ptr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::health::{Health, Observed};
use crate::{
    config::Strategy,
    producer::{MemberSet, Usage},
    protocol::Topic,
};

/// Maximum number of members: a set of them is a number.
pub(crate) const MAX_MEMBERS: usize = 64;

/// Time in which every estimate moves halfway towards the best one, so that one unlucky answer does
/// not keep a member unused.
const DECAY_INTERVAL: Duration = Duration::from_secs(1);

/// Members whose scores differ by at most this factor take turns.
const ALIKE: f64 = 2.0;

/// Answer time in seconds that is assumed as long as no member has answered.
const ASSUMED: f64 = 1e-3;

/// Maximum number of topics whose runs are remembered. Beyond it they begin anew.
const MAX_RUNS: usize = 1_024;

/// What is known of a member.
#[derive(Debug)]
struct Known {
    address: Arc<str>,
    /// Position in the order of `Primary`.
    rank: u64,
    health: Health,
    /// The topics that are not published here.
    tombstones: HashSet<Topic>,
}

/// The publishes of a topic that go to one member, one after the other.
#[derive(Debug, Clone, Copy)]
struct Run {
    slot: usize,
    /// What was known of the members when it began.
    epoch: u64,
    /// What more of the topic it may take.
    left: Usage,
}

/// The members in a certain state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sets {
    up: MemberSet,
    /// Up, and not suspect.
    trusted: MemberSet,
    /// Suspect, and may get one publish now.
    to_probe: MemberSet,
    /// Trusted, and never lost or for as long as a topic waits before it returns.
    proved: MemberSet,
    /// Not up, but it has publishes that come back, or it is up again at once.
    settling: MemberSet,
}

impl Sets {
    /// The members that get publishes: if none is trusted, none is distrusted.
    fn usable(&self) -> MemberSet {
        if self.trusted == 0 {
            self.up
        } else {
            self.trusted
        }
    }
}

/// Decides which member gets a publish.
#[derive(Debug)]
pub(super) struct Router {
    strategy: Strategy,
    failback_after: Duration,
    /// How long a run of one topic is.
    run: Usage,
    slots: Vec<Option<Known>>,
    sets: Sets,
    /// Changes whenever `sets` or the members do.
    epoch: u64,
    runs: HashMap<Topic, Run>,
    /// The topic of the latest publish, and its run, which is often that of the next.
    latest: Option<(Topic, Run)>,
    has_tombstones: bool,
    /// The slot that got the latest run.
    turn: usize,
    decayed: Option<Instant>,
    /// Number of members added so far.
    ranks: u64,
}

impl Router {
    pub(super) fn new(strategy: Strategy, failback_after: Duration, run: Usage) -> Self {
        Self {
            strategy,
            failback_after,
            run,
            slots: Vec::new(),
            sets: Sets::default(),
            epoch: 0,
            runs: HashMap::new(),
            latest: None,
            has_tombstones: false,
            turn: 0,
            decayed: None,
            ranks: 0,
        }
    }

    /// Adds a member at a slot below [`MAX_MEMBERS`].
    pub(super) fn add(&mut self, slot: usize, address: Arc<str>) {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.ranks += 1;
        let known = Known {
            address,
            rank: self.ranks,
            health: Health::new(self.strategy),
            tombstones: HashSet::new(),
        };
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(known);
        }
        self.epoch += 1;
    }

    /// Forgets a member: it gets no publishes any more.
    pub(super) fn remove(&mut self, slot: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = None;
        }
        self.update_sets(bit(slot), Sets::default());
        self.epoch += 1;
    }

    fn known_mut(&mut self, slot: usize) -> Option<&mut Known> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Sets the topics that a member does not get.
    #[cfg(any(feature = "lookup", test))]
    pub(super) fn set_tombstones(&mut self, slot: usize, topics: HashSet<Topic>) {
        if let Some(known) = self.known_mut(slot) {
            known.tombstones = topics;
        }
        let mut known = self.slots.iter().flatten();
        self.has_tombstones = known.any(|known| !known.tombstones.is_empty());
        self.epoch += 1;
    }

    /// A member has rejected a publish because of its own state, or has lost a connection on which
    /// it had answered nothing.
    pub(super) fn on_failed(&mut self, slot: usize, now: Instant) {
        if let Some(known) = self.known_mut(slot) {
            known.health.on_failed(now);
        }
    }

    /// Returns whether a member is up that is not suspect.
    pub(super) fn has_trusted(&self) -> bool {
        self.sets.trusted != 0
    }

    /// Returns whether a member is slow, or has failed, and not recovered.
    pub(super) fn is_suspect(&self, slot: usize) -> bool {
        let known = self.slots.get(slot).and_then(Option::as_ref);
        known.is_some_and(|known| known.health.is_suspect())
    }

    /// Takes what a member shows. Returns whether it has become slow until `due`: later deadlines
    /// are not judged yet, and none without `due`.
    pub(super) fn observe(
        &mut self,
        slot: usize,
        observed: Observed,
        now: Instant,
        due: Option<Instant>,
    ) -> bool {
        let failback_after = self.failback_after;
        let Some(known) = self.known_mut(slot) else {
            return false;
        };
        let health = &mut known.health;
        let is_slow = health.observe(observed, now, due);
        let place = bit(slot);
        let only = |is_in: bool| if is_in { place } else { 0 };
        let sets = Sets {
            up: only(health.is_up()),
            trusted: only(health.is_trusted()),
            to_probe: only(health.may_be_probed(now)),
            proved: only(health.has_proved(now, failback_after)),
            settling: only(health.is_settling()),
        };
        self.update_sets(place, sets);
        is_slow
    }

    /// Replaces what the sets say of one member.
    fn update_sets(&mut self, place: MemberSet, of_member: Sets) {
        let replace = |members: MemberSet, member: MemberSet| members & !place | member;
        let sets = Sets {
            up: replace(self.sets.up, of_member.up),
            trusted: replace(self.sets.trusted, of_member.trusted),
            to_probe: replace(self.sets.to_probe, of_member.to_probe),
            proved: replace(self.sets.proved, of_member.proved),
            settling: replace(self.sets.settling, of_member.settling),
        };
        if sets != self.sets {
            self.sets = sets;
            self.epoch += 1;
        }
    }

    /// Moves the estimates halfway towards the best one, each second.
    pub(super) fn decay(&mut self, now: Instant) {
        let since = *self.decayed.get_or_insert(now);
        if now < since + DECAY_INTERVAL {
            return;
        }
        self.decayed = Some(now);
        let Some(best) = self.best_estimate() else {
            return;
        };
        for known in self.slots.iter_mut().flatten() {
            known.health.approach(best);
        }
    }

    fn best_estimate(&self) -> Option<f64> {
        let known = self.slots.iter().flatten();
        known
            .filter_map(|known| known.health.estimate())
            .reduce(f64::min)
    }

    /// When a member may have become slow.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let known = self.slots.iter().flatten();
        known.filter_map(|known| known.health.slow_at()).min()
    }

    /// Returns the members that are up.
    pub(super) fn up(&self) -> MemberSet {
        self.sets.up
    }

    /// Returns the members that are up and may get this topic.
    pub(super) fn up_for(&self, topic: &Topic) -> MemberSet {
        self.sets.up & !self.tombstoned(topic)
    }

    /// Returns the slot of the member that gets a publish of this size now, the first of `queued`
    /// of its topic, and how many of those may follow; `None` if it waits. `excluded` are members
    /// that it does not go to.
    pub(super) fn route(
        &mut self,
        topic: &Topic,
        size: usize,
        queued: usize,
        excluded: MemberSet,
        now: Instant,
    ) -> Option<(usize, Usage)> {
        let mut allowed = !excluded;
        if self.has_tombstones {
            allowed &= !self.tombstoned(topic);
        }
        self.find_run(topic);
        let slot = match self.strategy {
            Strategy::Spread => self.spread(topic, size, queued, allowed),
            Strategy::Primary | Strategy::PerTopic => {
                self.first_in_order(topic, allowed, excluded == 0)
            }
        }?;
        let is_probe = self.sets.to_probe & bit(slot) != 0;
        self.sets.to_probe &= !bit(slot);
        if let Some(known) = self.known_mut(slot) {
            known.health.on_routed(now);
        }
        let further = match (&self.latest, self.strategy) {
            // It goes alone, also if its topic went there before.
            _ if is_probe => Usage::default(),
            (Some((_, run)), Strategy::Spread) if run.slot == slot => run.left,
            (Some((_, run)), _) if run.slot == slot => Usage {
                publishes: usize::MAX,
                bytes: usize::MAX,
            },
            _ => Usage::default(),
        };
        Some((slot, further))
    }

    /// Publishes followed the one that was routed last.
    pub(super) fn on_routed_further(&mut self, slot: usize, further: Usage) {
        if let Some((_, run)) = &mut self.latest {
            run.left = run.left.minus(further);
        }
        if let Some(known) = self.known_mut(slot) {
            known.health.on_routed_further(further.publishes);
        }
    }

    fn tombstoned(&self, topic: &Topic) -> MemberSet {
        let mut members = 0;
        for (slot, known) in self.slots.iter().enumerate() {
            let tombstones = known.as_ref().map(|known| &known.tombstones);
            if tombstones.is_some_and(|topics| !topics.is_empty() && topics.contains(topic)) {
                members |= bit(slot);
            }
        }
        members
    }

    /// A member that is to be probed, else that of the run, else that of a new run. A run ends
    /// early if what is queued, as far as one run can take it, does not fit: the commands of two
    /// members would be smaller than that of one.
    fn spread(
        &mut self,
        topic: &Topic,
        size: usize,
        queued: usize,
        allowed: MemberSet,
    ) -> Option<usize> {
        let to_probe = self.sets.to_probe & allowed;
        if to_probe != 0 {
            return Some(first(to_probe));
        }
        let usable = self.sets.usable() & allowed;
        let together = Usage {
            publishes: queued.min(self.run.publishes),
            bytes: size.saturating_mul(queued).min(self.run.bytes),
        };
        if let Some((_, run)) = &mut self.latest
            && usable & bit(run.slot) != 0
            && together.fits(run.left)
        {
            run.left = run.left.minus(Usage::one(size));
            return Some(run.slot);
        }
        let slot = self.next_of_run(usable)?;
        self.begin_run(topic, slot, size);
        Some(slot)
    }

    /// The member of a new run: those that are about as good as the best take turns.
    fn next_of_run(&mut self, usable: MemberSet) -> Option<usize> {
        let assumed = self.best_estimate().unwrap_or(ASSUMED);
        let scores = self.slots.iter().enumerate().filter_map(|(slot, known)| {
            let known = known.as_ref().filter(|_| usable & bit(slot) != 0)?;
            Some((slot, known.health.score(assumed)))
        });
        let scores: Vec<_> = scores.collect();
        let best = scores.iter().map(|(_, score)| *score).reduce(f64::min)?;
        let mut alike = scores
            .iter()
            .filter(|(_, score)| *score <= best * ALIKE)
            .map(|(slot, _)| *slot);
        let first = alike.clone().next()?;
        self.turn = alike.find(|slot| *slot > self.turn).unwrap_or(first);
        Some(self.turn)
    }

    /// The first usable member in the order of the strategy.
    fn first_in_order(
        &mut self,
        topic: &Topic,
        allowed: MemberSet,
        begins_run: bool,
    ) -> Option<usize> {
        let run = self.latest.as_ref().map(|(_, run)| *run);
        if let Some(run) = run
            && run.epoch == self.epoch
            && allowed & bit(run.slot) != 0
        {
            return Some(run.slot);
        }
        let current = run.map(|run| run.slot);
        let place = current.map(bit).unwrap_or_default();
        if self.sets.settling & place != 0 {
            // Its publishes come back, or it is up again at once: those that follow wait.
            return None;
        }
        let usable = self.sets.usable() & allowed;
        let preferred = usable & (self.sets.proved | place);
        let candidates = if preferred == 0 { usable } else { preferred };
        let to_probe = self.sets.to_probe & allowed;
        let order = self.order(topic);
        let slot = order
            .into_iter()
            .find(|slot| (candidates | to_probe) & bit(*slot) != 0)?;
        // The topic goes to a member that is probed when that one is trusted.
        if to_probe & bit(slot) == 0 && begins_run {
            self.begin_run(topic, slot, 0);
        }
        Some(slot)
    }

    /// The slots in the order of the strategy.
    fn order(&self, topic: &Topic) -> Vec<usize> {
        let known = self.slots.iter().enumerate();
        let known = known.filter_map(|(slot, known)| Some((slot, known.as_ref()?)));
        let mut order: Vec<_> = known
            .map(|(slot, known)| match self.strategy {
                Strategy::PerTopic => (!rendezvous_hash(topic, &known.address), slot),
                Strategy::Primary | Strategy::Spread => (known.rank, slot),
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Makes the run of a topic, if there is one, the latest.
    #[inline]
    fn find_run(&mut self, topic: &Topic) {
        let is_same = |latest: &Topic| ptr::eq(latest.as_str(), topic.as_str()) || latest == topic;
        if self
            .latest
            .as_ref()
            .is_some_and(|(latest, _)| is_same(latest))
        {
            return;
        }
        if let Some((topic, run)) = self.latest.take() {
            if self.runs.len() >= MAX_RUNS {
                self.runs.clear();
            }
            self.runs.insert(topic, run);
        }
        self.latest = self.runs.remove_entry(topic);
    }

    fn begin_run(&mut self, topic: &Topic, slot: usize, size: usize) {
        let run = Run {
            slot,
            epoch: self.epoch,
            left: self.run.minus(Usage::one(size)),
        };
        match &mut self.latest {
            Some((_, latest)) => *latest = run,
            None => self.latest = Some((topic.clone(), run)),
        }
    }
}

/// The hash by which `PerTopic` orders the members: FNV-1a, mixed so that the order of similar
/// names differs. It must stay the same, because producers of different versions share topics.
fn rendezvous_hash(topic: &Topic, address: &str) -> u64 {
    let bytes = topic.as_str().bytes().chain([0]).chain(address.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The set of one member.
pub(super) fn bit(slot: usize) -> MemberSet {
    u32::try_from(slot)
        .ok()
        .and_then(|slot| 1_u64.checked_shl(slot))
        .unwrap_or_default()
}

fn first(members: MemberSet) -> usize {
    usize::try_from(members.trailing_zeros()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
