//! The invariants of flow control.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use super::{
    Count,
    scene::Scene,
    timeline::{MS, S},
};
use crate::consumer::{
    backoff::BackoffState,
    connection_key::ConnectionKey,
    flow::{Flow, Plan, Rule, connection::Connection},
};

/// What was seen of a schedule.
pub(super) struct Checks {
    /// Most messages that may be on the wire or unanswered: `max_in_flight`, or an earlier one
    /// while what was requested under it ends.
    limit: u64,
    /// RDY of each connection, as written.
    written: BTreeMap<ConnectionKey, u32>,
    /// Latest change of connections, limits or backoff.
    changed: u64,
    /// When all capacity was last given out.
    given: u64,
    /// Since when nothing is held or requested while the backoff probes.
    unprobed: Option<u64>,
    backoff: BackoffState,
    rule: Rule,
    /// A probe was requested in the current state of the backoff.
    has_probed: bool,
    /// Deliveries that were received since then.
    probed: Vec<(ConnectionKey, usize)>,
    /// When RDYs were written, and when timers were due.
    writes: VecDeque<u64>,
    timers: VecDeque<u64>,
}

/// Removes what is older than `period`, adds `count` times now, and returns how many there are.
fn recent(times: &mut VecDeque<u64>, count: usize, period: u64, now: u64) -> usize {
    times.extend(std::iter::repeat_n(now, count));
    while times.front().is_some_and(|at| at + period <= now) {
        times.pop_front();
    }
    times.len()
}

fn sum(flow: &Flow, of: impl Fn(&Connection) -> u32) -> u64 {
    flow.all().map(|it| u64::from(of(it))).sum()
}

/// Most that can be on the wire or unanswered according to flow control.
fn bound(flow: &Flow) -> u64 {
    sum(flow, |it| it.capacity.bound()) + u64::from(flow.orphaned)
}

impl Checks {
    pub(super) fn new(max: u32) -> Self {
        Self {
            limit: u64::from(max),
            written: BTreeMap::new(),
            changed: 0,
            given: 0,
            unprobed: None,
            backoff: BackoffState::Off,
            rule: Rule::Nothing,
            has_probed: false,
            probed: Vec::new(),
            writes: VecDeque::new(),
            timers: VecDeque::new(),
        }
    }

    /// Connections or limits change.
    pub(super) fn on_change(&mut self, flow: &Flow, now: u64) {
        self.changed = now;
        self.limit = self.limit.max(u64::from(flow.max));
    }

    pub(super) fn on_close(&mut self, key: ConnectionKey) {
        self.written.remove(&key);
        // The others do not wait for what is held of it.
        self.probed.retain(|(of, _)| *of != key);
    }

    pub(super) fn on_timer(&mut self, scene: &Scene, now: u64) {
        let timers = recent(&mut self.timers, 1, 100 * MS, now);
        let limit = 40 + 40 * scene.nsqds.len();
        assert!(timers <= limit, "a storm of timers: {timers} in 100 ms");
    }

    /// nsqd sent a message, and this many are on the wire or unanswered.
    pub(super) fn on_delivery(&self, flow: &Flow, live: u64) {
        let limit = self.limit;
        assert!(
            live <= limit,
            "{live} unanswered, more than {limit}: {flow:#?}"
        );
        let bound = bound(flow);
        assert!(live <= bound, "{live} unanswered, bound {bound}: {flow:#?}");
    }

    /// A message was received. `is_live`: a delivery is unanswered.
    pub(super) fn on_received(
        &mut self,
        key: ConnectionKey,
        number: usize,
        is_live: impl Fn(usize) -> bool,
    ) {
        if self.has_probed {
            self.probed.push((key, number));
            self.probed.retain(|(_, number)| is_live(*number));
            let probed = self.probed.len();
            assert!(probed <= 1, "{probed} messages at a time in backoff");
        }
    }

    /// The end of a message changed the backoff. `is_current`: it was started since the last
    /// change.
    pub(super) fn on_backoff_change(&mut self, is_current: bool, now: u64) {
        assert!(
            is_current,
            "the result of a message of an earlier window counts"
        );
        self.changed = now;
    }

    pub(super) fn after_plan(
        &mut self,
        flow: &Flow,
        plan: &Plan,
        (now, instant): (u64, Instant),
        count: &mut Count,
    ) {
        self.check_writes(flow, plan, now);
        self.check_backoff(flow, plan, now, count);
        self.check_capacity(flow, now, count);
        let due = flow.due();
        let is_later = due.is_none_or(|due| due > instant);
        assert!(is_later, "due again at once: {flow:#?}");
        if self.rule != flow.rule() {
            self.rule = flow.rule();
            self.changed = now;
        }
        let ended_turn = plan.lowered.iter().any(|(_, rdy)| *rdy == 0);
        if self.rule == Rule::Turns && ended_turn {
            count.add("turn ended");
        }
        if self.rule == Rule::Shares && !plan.lowered.is_empty() {
            count.add("shares changed");
        }
    }

    fn check_writes(&mut self, flow: &Flow, plan: &Plan, now: u64) {
        for (key, rdy) in &plan.lowered {
            let before = self.written.insert(*key, *rdy).unwrap_or(0);
            assert!(*rdy < before, "RDY {before} is lowered to {rdy}");
        }
        for (key, rdy) in &plan.raised {
            let before = self.written.insert(*key, *rdy).unwrap_or(0);
            assert!(*rdy > before, "RDY {before} is raised to {rdy}");
        }
        for it in &flow.connections {
            let written = self.written.get(&it.key).copied().unwrap_or(0);
            assert_eq!(flow.rdy(it.key), written);
            let max_rdy = it.capacity.max_rdy();
            assert!(written <= max_rdy, "RDY {written}, more than {max_rdy}");
        }
        let written: u64 = self.written.values().map(|rdy| u64::from(*rdy)).sum();
        let limit = match flow.rule() {
            Rule::Nothing => 0,
            Rule::Probe => 1,
            Rule::Turns | Rule::Shares => u64::from(flow.max),
        };
        assert!(
            written <= limit,
            "sum of RDYs {written}, more than {limit}: {flow:#?}"
        );
        let changes = plan.lowered.len() + plan.raised.len();
        let writes = recent(&mut self.writes, changes, 10 * MS, now);
        let limit = 20 + 10 * flow.connections.len();
        assert!(
            writes <= limit,
            "a flood of RDYs: {writes} in 10 ms: {flow:#?}"
        );
    }

    fn check_backoff(&mut self, flow: &Flow, plan: &Plan, now: u64, count: &mut Count) {
        let backoff = flow.backoff();
        if self.backoff != backoff {
            if backoff == BackoffState::Off {
                count.add("backoff left");
            }
            if flow.backoff_level() > 1 {
                count.add("failed again in backoff");
            }
            self.backoff = backoff;
            self.has_probed = false;
            self.probed.clear();
        }
        if flow.rule() == Rule::Probe {
            self.has_probed |= !plan.raised.is_empty();
        }
        if !self.probed.is_empty() {
            count.add("backoff probe served");
        }
        let held = sum(flow, |it| it.capacity.held()) + u64::from(flow.orphaned);
        let is_asked = self.written.values().any(|rdy| *rdy > 0);
        let is_unprobed = flow.rule() == Rule::Probe && held == 0 && !is_asked;
        let since = self.unprobed.unwrap_or(now);
        self.unprobed = is_unprobed.then_some(since);
        let is_stuck = is_unprobed && now > since + 300 * MS;
        assert!(!is_stuck, "no connection is probed: {flow:#?}");
    }

    fn check_capacity(&mut self, flow: &Flow, now: u64, count: &mut Count) {
        let max = u64::from(flow.max);
        let bounds = sum(flow, |it| it.capacity.bound());
        let limit = self.limit;
        assert!(
            bounds <= limit,
            "bound {bounds}, more than {limit}: {flow:#?}"
        );
        if bound(flow) <= max {
            self.limit = max;
        }
        for it in flow.all() {
            let capacity = &it.capacity;
            if capacity.held() > capacity.bound() {
                count.add("more held than bound");
            }
            let is_needed = capacity.bound() <= capacity.rdy().max(capacity.held());
            let settles = capacity.settles().is_some();
            assert!(is_needed || settles, "capacity is lost: {flow:#?}");
        }
        let is_distributed = matches!(flow.rule(), Rule::Turns | Rule::Shares);
        let connections = flow.connections.iter();
        let most: u64 = connections.map(|it| u64::from(it.capacity.max_rdy())).sum();
        let all = max.min(most);
        let given = bound(flow);
        if given >= all || !is_distributed {
            self.given = now;
        }
        let is_left = now > self.given + 3 * S && now > self.changed + 3 * S;
        assert!(!is_left, "only {given} of {all} are given out: {flow:#?}");
    }
}
