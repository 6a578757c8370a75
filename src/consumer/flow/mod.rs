//! Flow control: distributes `max_in_flight` over the connections as RDY. Time is passed in.
//!
//! The consumer reports events, and at the end of each poll that had any, or at [`Flow::due`]:
//!
//! ```text
//! received, answered, expired, outcome, open, close ...
//! flow.settle(due)
//! plan = flow.plan(now)
//! to each connection, in one write:
//!     the RDY of plan.lowered   ->   the answers since the last plan   ->   the RDY of plan.raised
//! wake at flow.due()
//! ```
//!
//! The order in the write matters. Behind an answer, nsqd may already have delivered another
//! message when it reads a lower RDY; and only an answer frees the capacity that a higher RDY uses.
//! `Flow` counts each planned RDY as written. What has arrived must be read and reported before
//! [`Flow::settle`], also after the arbiter was blocked: the settle time of a lower RDY counts on
//! it.
//!
//! RDY is raised only out of `max_in_flight` minus all that can be in flight (see [`capacity`]) or
//! is held of lost connections. So at most `max_in_flight` messages are on the wire or unanswered.
//!
//! | state | rule |
//! |---|---|
//! | paused, or backoff waits | RDY 0 |
//! | backoff probes | one message from one connection: [`probe`] |
//! | `max_in_flight` below the number of connections | [`turns`] |
//! | else | [`shares`] |

mod capacity;
mod connection;
mod demand;
mod probe;
mod shares;
mod turns;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub(super) use self::capacity::settle_time;
use self::{connection::Connection, probe::Probe, shares::Shares, turns::Turns};
use super::{
    backoff::{Backoff, BackoffOptions, BackoffState, Outcome, Window},
    connection_key::ConnectionKey,
};
use crate::link::deadline_after;

/// An RDY that rises by less than half soon after the last rise waits until this time has passed
/// since then, if more is to come.
const SMALL_RISE_DELAY: Duration = Duration::from_millis(100);

/// The options of flow control.
#[derive(Debug, Clone)]
pub(crate) struct FlowOptions {
    pub(crate) max_in_flight: u32,
    pub(crate) low_rdy_idle_timeout: Duration,
    pub(crate) low_rdy_timeout: Duration,
    pub(crate) backoff: BackoffOptions,
}

/// RDYs to write. An empty plan has not allocated.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Written before the answers since the last plan.
    pub(crate) lowered: Vec<(ConnectionKey, u32)>,
    /// Written after them.
    pub(crate) raised: Vec<(ConnectionKey, u32)>,
}

/// Which rule distributes the capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Nothing,
    Probe,
    Turns,
    Shares,
}

/// The flow control of a consumer.
#[derive(Debug)]
pub(crate) struct Flow {
    max: u32,
    is_paused: bool,
    /// In the order in which they were opened.
    connections: Vec<Connection>,
    /// Position of the open connection to each nsqd.
    positions: Vec<Option<usize>>,
    /// Connections that are left: no rule gives them capacity, but they may still use some.
    left: Vec<Connection>,
    /// Messages of lost connections that are neither answered nor expired.
    orphaned: u32,
    backoff: Backoff,
    probe: Probe,
    turns: Turns,
    shares: Shares,
    /// An event since the last plan.
    has_events: bool,
    due: Option<Instant>,
}

impl Flow {
    pub(crate) fn new(options: FlowOptions) -> Self {
        Self {
            max: options.max_in_flight,
            is_paused: false,
            connections: Vec::new(),
            positions: Vec::new(),
            left: Vec::new(),
            orphaned: 0,
            backoff: Backoff::new(options.backoff),
            probe: Probe::default(),
            turns: Turns::new(options.low_rdy_idle_timeout, options.low_rdy_timeout),
            shares: Shares::new(),
            has_events: false,
            due: None,
        }
    }

    /// A connection subscribed; nsqd's RDY is 0. `max_rdy` is nsqd's `max_rdy_count`, and
    /// `round_trip` the one measured by the handshake.
    pub(crate) fn open(
        &mut self,
        key: ConnectionKey,
        max_rdy: u32,
        round_trip: Duration,
        now: Instant,
    ) {
        let index = usize::try_from(key.nsqd).unwrap_or(usize::MAX);
        if let Some(Some(position)) = self.positions.get(index) {
            let earlier = self.connections.get(*position).map(|it| it.key);
            debug_assert!(earlier.is_none(), "{earlier:?} is still open");
            if let Some(earlier) = earlier {
                self.close(earlier);
            }
        }
        if self.positions.len() <= index {
            self.positions.resize(index + 1, None);
        }
        if let Some(position) = self.positions.get_mut(index) {
            *position = Some(self.connections.len());
        }
        let ticket = self.turns.next_ticket();
        let connection = Connection::new(key, max_rdy, round_trip, ticket, now);
        self.connections.push(connection);
        self.change();
    }

    /// nsqd is asked to send nothing more on a connection, which counts as RDY 0. Its capacity is
    /// for the others when nothing of it can be on the wire or held any more.
    pub(crate) fn leave(&mut self, key: ConnectionKey, now: Instant) {
        if let Some(mut connection) = self.take(key) {
            if connection.rdy() > 0 {
                self.turns.on_end(&mut connection);
            }
            connection.capacity.lower(0, now);
            self.left.push(connection);
        }
    }

    /// A connection was lost or is being closed. Its messages count until they are answered or
    /// expire, which is reported with the same key.
    pub(crate) fn close(&mut self, key: ConnectionKey) {
        let left = self.left.iter().position(|it| it.key == key);
        let left = left.map(|position| self.left.swap_remove(position));
        if let Some(connection) = left.or_else(|| self.take(key)) {
            let held = connection.capacity.held();
            self.orphaned = self.orphaned.saturating_add(held);
            self.change();
        }
    }

    /// Takes a connection out of those that the rules see.
    fn take(&mut self, key: ConnectionKey) -> Option<Connection> {
        let position = self.position(key)?;
        let connection = self.connections.remove(position);
        for it in &mut self.positions {
            *it = match *it {
                Some(other) if other == position => None,
                Some(other) if other > position => Some(other - 1),
                unchanged => unchanged,
            };
        }
        self.change();
        Some(connection)
    }

    /// Messages were received. If the connection is closed already, they count as held of it.
    pub(crate) fn received(&mut self, key: ConnectionKey, count: u32, now: Instant) {
        let is_single = self.connections.len() == 1;
        let position = self.position(key);
        let Some(it) = position.and_then(|position| self.connections.get_mut(position)) else {
            self.has_events = true;
            match self.any_mut(key) {
                Some(it) => it.capacity.received(count),
                None => self.orphaned = self.orphaned.saturating_add(count),
            }
            return;
        };
        self.has_events = true;
        let was_saturated = it.is_saturated(now);
        it.capacity.received(count);
        self.turns.on_received(it);
        let is_saturated = it.demand.received(&it.capacity, now);
        if is_saturated && !is_single {
            self.shares.on_saturated(!was_saturated);
        }
    }

    /// Messages that have not expired are answered with FIN or REQ. The answers are written behind
    /// the lower RDYs of the next plan.
    ///
    /// An answer is `late` within two round trips and `output_buffer_timeout` of the deadline: nsqd
    /// may have requeued the message before it reads the answer.
    pub(crate) fn answered(&mut self, key: ConnectionKey, count: u32, late: bool, now: Instant) {
        self.has_events = true;
        self.shares.on_freed();
        match self.any_mut(key) {
            Some(it) => {
                it.capacity.answered(count, late);
                if !late {
                    it.demand.answered(count, it.capacity.held(), now);
                }
            }
            None => self.orphaned = self.orphaned.saturating_sub(count),
        }
    }

    /// Messages passed their deadline unanswered: nsqd requeues them. They no longer count, and
    /// their answers are not reported to [`Self::answered`]. The same for a message that is
    /// delivered again while it is held: one expires, then one is received.
    pub(crate) fn expired(&mut self, key: ConnectionKey, count: u32, now: Instant) {
        self.has_events = true;
        self.shares.on_freed();
        match self.any_mut(key) {
            Some(it) => it.capacity.expired(count, now),
            None => self.orphaned = self.orphaned.saturating_sub(count),
        }
    }

    /// A message that a handler started in `window` ended. Returns whether the backoff changed.
    /// `random` is evenly distributed in `0.0..1.0`.
    pub(crate) fn outcome(
        &mut self,
        window: Window,
        outcome: Outcome,
        random: f64,
        now: Instant,
    ) -> bool {
        let has_changed = self.backoff.on_outcome(window, outcome, random, now);
        if has_changed {
            self.probe = Probe::default();
            self.change();
        }
        has_changed
    }

    /// Changes `max_in_flight`.
    pub(crate) fn set_max(&mut self, max: u32) {
        self.max = max;
        self.change();
    }

    /// Requests nothing until [`Self::resume`].
    pub(crate) fn pause(&mut self) {
        self.is_paused = true;
        self.change();
    }

    pub(crate) fn resume(&mut self) {
        self.is_paused = false;
        self.change();
    }

    /// Returns the window to keep with a message when a handler starts it.
    pub(crate) fn window(&self) -> Window {
        self.backoff.window()
    }

    pub(crate) fn backoff(&self) -> BackoffState {
        self.backoff.state()
    }

    pub(crate) fn backoff_level(&self) -> u32 {
        self.backoff.level()
    }

    /// Returns the RDY of a connection; 0 if it is not open.
    pub(crate) fn rdy(&self, key: ConnectionKey) -> u32 {
        let position = self.position(key);
        let connection = position.and_then(|position| self.connections.get(position));
        connection.map_or(0, Connection::rdy)
    }

    /// Whether a connection holds at least 85 % of its RDY: more would be handled if
    /// `max_in_flight` allowed it.
    pub(crate) fn is_starved(&self) -> bool {
        self.connections.iter().any(|it| {
            let held = it.capacity.held();
            held > 0 && u64::from(held) * 100 >= u64::from(it.rdy()) * 85
        })
    }

    /// Returns the time at which [`Self::plan`] must run if no event comes before.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Frees the capacity that is settled at `due`. Everything that had arrived by then must have
    /// been reported.
    pub(crate) fn settle(&mut self, due: Instant) {
        for it in self.connections.iter_mut().chain(&mut self.left) {
            if it.capacity.settle(due) {
                self.shares.on_freed();
                self.has_events = true;
            }
        }
    }

    /// Returns the RDYs to write now. Costs nothing if nothing happened.
    pub(crate) fn plan(&mut self, now: Instant) -> Plan {
        let mut plan = Plan::default();
        if !self.has_events && self.due.is_none_or(|due| due > now) {
            return plan;
        }
        self.has_events = false;
        if self.backoff.advance(now) {
            self.shares.on_change();
        }
        let is_planned = self.set_targets(now);
        if is_planned {
            self.lower(&mut plan, now);
        }
        for it in self.connections.iter_mut().chain(&mut self.left) {
            it.capacity.write_answers(now);
        }
        if is_planned {
            self.raise(&mut plan, now);
        }
        self.due = self.next_due();
        plan
    }

    /// All connections that can have messages in flight.
    fn all(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().chain(&self.left)
    }

    /// The connection with this key, if it is open or left.
    fn any_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        match self.position(key) {
            Some(position) => self.connections.get_mut(position),
            None => self.left.iter_mut().find(|it| it.key == key),
        }
    }

    fn position(&self, key: ConnectionKey) -> Option<usize> {
        let index = usize::try_from(key.nsqd).ok()?;
        let position = (*self.positions.get(index)?)?;
        let connection = self.connections.get(position)?;
        (connection.key == key).then_some(position)
    }

    fn change(&mut self) {
        self.has_events = true;
        self.shares.on_change();
    }

    fn rule(&self) -> Rule {
        match self.backoff.state() {
            _ if self.is_paused || self.max == 0 || self.connections.is_empty() => Rule::Nothing,
            BackoffState::Waiting { .. } => Rule::Nothing,
            BackoffState::Probing => Rule::Probe,
            BackoffState::Off => {
                let max = usize::try_from(self.max).unwrap_or(usize::MAX);
                if max < self.connections.len() {
                    Rule::Turns
                } else {
                    Rule::Shares
                }
            }
        }
    }

    /// Applies the rule, and returns whether it has set the targets.
    fn set_targets(&mut self, now: Instant) -> bool {
        let rule = self.rule();
        let connections = &mut self.connections;
        match rule {
            Rule::Nothing => {
                for it in connections {
                    it.target = 0;
                }
                true
            }
            Rule::Probe => {
                self.probe.plan(connections, &self.turns, now);
                true
            }
            Rule::Turns => {
                self.turns.plan(connections, self.max, now);
                true
            }
            Rule::Shares => {
                let busy_timeout = self.turns.busy_timeout();
                self.shares.plan(connections, self.max, busy_timeout, now)
            }
        }
    }

    fn lower(&mut self, plan: &mut Plan, now: Instant) {
        for it in &mut self.connections {
            if it.target >= it.rdy() {
                continue;
            }
            it.capacity.lower(it.target, now);
            if it.target == 0 {
                self.turns.on_end(it);
            }
            plan.lowered.push((it.key, it.target));
        }
    }

    /// Capacity that is neither in flight nor held.
    fn free(&self) -> u32 {
        let bounds = self.all().map(|it| it.capacity.bound());
        let used = bounds.map(u64::from).sum::<u64>() + u64::from(self.orphaned);
        u32::try_from(u64::from(self.max).saturating_sub(used)).unwrap_or(u32::MAX)
    }

    /// Raises RDYs towards their targets, those with the least first.
    fn raise(&mut self, plan: &mut Plan, now: Instant) {
        let mut free = self.free();
        let connections = self.connections.iter_mut();
        let mut rising: Vec<_> = connections.filter(|it| it.target > it.rdy()).collect();
        rising.sort_by_key(|it| (it.rdy(), it.turn.ticket));
        for it in rising {
            let (before, bound) = (it.rdy(), it.capacity.bound());
            let target = it.target.min(it.capacity.max_rdy());
            let rdy = target.min(bound.saturating_add(free));
            if rdy <= before {
                self.shares.on_short();
                continue;
            }
            if rdy < target {
                let next = it.raised.map(|at| deadline_after(at, SMALL_RISE_DELAY));
                let is_small = rdy - before < before.max(1) / 2;
                if let Some(next) = next.filter(|next| is_small && *next > now) {
                    self.shares.retry_at(next);
                    continue;
                }
                self.shares.on_short();
            }
            free -= rdy.saturating_sub(bound);
            it.capacity.raise(rdy);
            it.raised = Some(now);
            if before == 0 {
                Turns::on_begin(it, now);
            }
            plan.raised.push((it.key, rdy));
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let connections = &self.connections;
        let settles = self.all().filter_map(|it| it.capacity.settles());
        let settles = settles.min();
        let rule = match self.rule() {
            Rule::Nothing => None,
            Rule::Probe => self.probe.due(connections, &self.turns),
            Rule::Turns => {
                let with_rdy = connections.iter().filter(|it| it.rdy() > 0);
                with_rdy
                    .map(|it| self.turns.end(it, connections.len()))
                    .min()
            }
            Rule::Shares => self.shares.due(),
        };
        let wait = match self.backoff.state() {
            BackoffState::Waiting { until } => Some(until),
            BackoffState::Off | BackoffState::Probing => None,
        };
        [settles, rule, wait].into_iter().flatten().min()
    }
}
