//! Shares: there is capacity for all connections. Each has at least 1, and those that are saturated
//! share evenly what the others do not need.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use super::connection::{Connection, total_target};
use crate::link::deadline_after;

/// Shortest time between two plans, unless a connection is added or lost.
const PACE: Duration = Duration::from_millis(10);

/// While a saturated connection has less than it could use, its share is planned at least this
/// often: others may have become idle meanwhile.
const REVIEW: Duration = Duration::from_millis(100);

/// Growth of a saturated connection's RDY in one plan.
const GROWTH: u32 = 4;

/// From this share on, the remainder of a division stays where it is.
const LARGE_SHARE: u32 = 4;

/// The remainder of a division stays with a connection for this long, or for `low_rdy_timeout` if
/// that is longer.
const REMAINDER_TURN: Duration = Duration::from_secs(1);

/// When shares are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Request {
    None,
    /// When [`PACE`] allows it.
    Paced,
    Now,
}

/// When the shares were planned, and what asks for another plan.
#[derive(Debug)]
pub(super) struct Shares {
    request: Request,
    planned: Option<Instant>,
    /// A saturated connection has less than it could use.
    is_unmet: bool,
    /// A target is not reached yet, since its capacity is still in use elsewhere.
    is_short: bool,
    /// When a rise that was too small is tried again.
    retry: Option<Instant>,
}

/// What the plan computes for a connection.
struct Share<'a> {
    connection: &'a mut Connection,
    is_saturated: bool,
    /// The most that it is believed to need.
    want: u32,
    /// Its part of an even distribution.
    fair: u32,
}

impl Shares {
    pub(super) fn new() -> Self {
        Self {
            request: Request::None,
            planned: None,
            is_unmet: false,
            is_short: false,
            retry: None,
        }
    }

    /// A connection was added or lost, or the limits have changed.
    pub(super) fn on_change(&mut self) {
        self.request = Request::Now;
    }

    /// A connection was found to use all of its RDY. `is_new`: it did not before.
    pub(super) fn on_saturated(&mut self, is_new: bool) {
        if is_new || self.is_unmet {
            self.request = self.request.max(Request::Paced);
        }
    }

    /// Capacity became free.
    pub(super) fn on_freed(&mut self) {
        if self.is_short {
            self.request = self.request.max(Request::Paced);
        }
    }

    /// A rise was limited by free capacity.
    pub(super) fn on_short(&mut self) {
        self.is_short = true;
    }

    /// A rise was too small to be written before `at`.
    pub(super) fn retry_at(&mut self, at: Instant) {
        self.is_short = true;
        self.retry = Some(self.retry.map_or(at, |retry| retry.min(at)));
    }

    /// Returns when the next plan is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let planned = self.planned?;
        let requested = match self.request {
            Request::None => None,
            Request::Paced => Some(deadline_after(planned, PACE)),
            Request::Now => Some(planned),
        };
        let review = self.is_unmet.then(|| deadline_after(planned, REVIEW));
        [requested, review, self.retry].into_iter().flatten().min()
    }

    /// Sets the target of each connection if a plan is due, and returns whether it was.
    pub(super) fn plan(
        &mut self,
        connections: &mut [Connection],
        max: u32,
        busy_timeout: Duration,
        now: Instant,
    ) -> bool {
        if self.request != Request::Now && self.due().is_none_or(|due| due > now) {
            return false;
        }
        self.request = Request::None;
        self.planned = Some(now);
        self.is_short = false;
        self.retry = None;
        self.is_unmet = false;
        let count = u32::try_from(connections.len()).unwrap_or(u32::MAX);
        let is_single = count == 1;
        let mut shares: Vec<_> = connections
            .iter_mut()
            .map(|connection| Share::new(connection, max.div_ceil(count), now))
            .collect();
        let rotation = REMAINDER_TURN.max(busy_timeout);
        divide(&mut shares, max, rotation, now);
        for share in &mut shares {
            share.connection.target = share.target();
            let may_grow = share.fair < share.connection.capacity.max_rdy();
            self.is_unmet |= share.is_saturated && may_grow && !is_single;
        }
        let total: u64 = shares
            .iter()
            .map(|it| u64::from(it.connection.target))
            .sum();
        take_excess(&mut shares, total.saturating_sub(u64::from(max)));
        drop(shares);
        give_rest(connections, max);
        true
    }
}

impl<'a> Share<'a> {
    /// `even` is the share of a connection of which nothing is known.
    fn new(connection: &'a mut Connection, even: u32, now: Instant) -> Self {
        let Connection {
            capacity, demand, ..
        } = &mut *connection;
        demand.roll(capacity.held(), now);
        let is_saturated = demand.is_saturated(capacity, now) || demand.is_unknown(capacity, now);
        let want = if capacity.rdy() == 0 {
            even
        } else if is_saturated {
            capacity.rdy().saturating_mul(GROWTH)
        } else if demand.is_idle(capacity, now) {
            1
        } else {
            demand.peak().saturating_mul(2)
        };
        let want = want.clamp(1, capacity.max_rdy());
        Self {
            connection,
            is_saturated,
            want,
            fair: 0,
        }
    }

    /// Returns the RDY that it has, or its fair share if that is a gain of at least an eighth.
    fn target(&self) -> u32 {
        let rdy = self.connection.rdy();
        let is_worth = self.fair >= rdy.saturating_add((rdy / 8).max(1));
        let rises = rdy == 0 || (is_worth && self.is_saturated);
        if rises { self.fair.max(rdy) } else { rdy }
    }

    fn excess(&self) -> u32 {
        self.connection.target.saturating_sub(self.fair.max(1))
    }
}

/// Divides `max` as evenly as possible, so that none has more than it wants.
fn divide(shares: &mut [Share<'_>], max: u32, rotation: Duration, now: Instant) {
    let level = highest_level(max, |level| {
        shares.iter().map(|it| u64::from(it.want.min(level))).sum()
    });
    let mut rest = u64::from(max);
    for share in shares.iter_mut() {
        share.fair = share.want.min(level);
        rest = rest.saturating_sub(u64::from(share.fair));
    }
    let is_recent = |share: &Share<'_>| {
        let since = share.connection.remainder;
        since.is_some_and(|at| now.saturating_duration_since(at) < rotation)
    };
    let mut wanting: Vec<_> = shares.iter_mut().filter(|it| it.want > it.fair).collect();
    wanting.sort_by_key(|share| {
        let is_above = share.connection.rdy() > level;
        // The memory of the rotation is a time, not the RDY: that may not be written yet.
        let keeps = if level >= LARGE_SHARE {
            is_above
        } else {
            is_recent(share)
        };
        (
            Reverse(keeps),
            share.connection.remainder,
            Reverse(is_above),
        )
    });
    let rest = usize::try_from(rest).unwrap_or(usize::MAX);
    for share in wanting.into_iter().take(rest) {
        share.fair += 1;
        if !is_recent(share) {
            share.connection.remainder = Some(now);
        }
    }
}

/// Takes what is missing from those with the most above their fair share.
fn take_excess(shares: &mut [Share<'_>], mut missing: u64) {
    shares.sort_by_key(|it| Reverse(it.excess()));
    for share in shares {
        let excess = share.excess();
        let taken = u32::try_from(missing).unwrap_or(u32::MAX).min(excess);
        share.connection.target -= taken;
        missing -= u64::from(taken);
    }
}

/// Gives what is left to those with the least, so that the sum is `max`.
fn give_rest(connections: &mut [Connection], max: u32) {
    let filled = |it: &Connection, level: u32| it.target.max(level.min(it.capacity.max_rdy()));
    let level = highest_level(max, |level| {
        let filled = connections.iter().map(|it| filled(it, level));
        filled.map(u64::from).sum()
    });
    for it in connections.iter_mut() {
        it.target = filled(it, level);
    }
    let mut rest = u64::from(max).saturating_sub(total_target(connections));
    for it in connections {
        let has_least = it.target == level && it.target < it.capacity.max_rdy();
        if rest > 0 && has_least {
            it.target += 1;
            rest -= 1;
        }
    }
}

/// Returns the highest level up to `max` at which the total is at most `max`. The total rises with
/// the level.
fn highest_level(max: u32, total: impl Fn(u32) -> u64) -> u32 {
    let (mut level, mut above) = (0, u64::from(max) + 1);
    while above - level > 1 {
        let middle = level + (above - level) / 2;
        if total(u32::try_from(middle).unwrap_or(u32::MAX)) <= u64::from(max) {
            level = middle;
        } else {
            above = middle;
        }
    }
    u32::try_from(level).unwrap_or(u32::MAX)
}
