//! Turns: `max_in_flight` is below the number of connections, so they have RDY one after another.

use std::time::{Duration, Instant};

use super::connection::{Connection, total_target};
use crate::link::deadline_after;

/// While all connections are idle, their turns become longer, up to this factor.
const LONGEST_IDLE_TURN: u32 = 4;

/// A turn of no length would be planned again and again.
const SHORTEST_TURN: Duration = Duration::from_millis(1);

/// Whose turn it is, and for how long.
#[derive(Debug)]
pub(super) struct Turns {
    /// Turn of a connection that receives nothing (`low_rdy_idle_timeout`).
    idle_timeout: Duration,
    /// Turn of a connection that receives messages (`low_rdy_timeout`).
    busy_timeout: Duration,
    /// With a capacity of 1, a busy and an idle turn alternate. This changes when the RDY that ends
    /// a turn is written. Changed by the selection, it would flap while the selected connection
    /// waits for capacity.
    idle_is_next: bool,
    /// Turns that ended without a message, one after another.
    fruitless: u32,
    tickets: u64,
}

impl Turns {
    pub(super) fn new(idle_timeout: Duration, busy_timeout: Duration) -> Self {
        Self {
            idle_timeout: idle_timeout.max(SHORTEST_TURN),
            busy_timeout: busy_timeout.max(SHORTEST_TURN),
            idle_is_next: false,
            fruitless: 0,
            tickets: 0,
        }
    }

    pub(super) fn busy_timeout(&self) -> Duration {
        self.busy_timeout
    }

    /// Returns the last place in line.
    pub(super) fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// A connection received messages.
    pub(super) fn on_received(&mut self, connection: &mut Connection) {
        self.fruitless = 0;
        connection.turn.is_served = true;
        connection.turn.is_busy = true;
    }

    /// The RDY of a connection rises from 0.
    pub(super) fn on_begin(connection: &mut Connection, now: Instant) {
        connection.turn.since = now;
        connection.turn.is_served = false;
    }

    /// The RDY of a connection falls to 0.
    pub(super) fn on_end(&mut self, connection: &mut Connection) {
        let turn = &mut connection.turn;
        if !turn.is_served {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        self.idle_is_next = turn.is_served;
        turn.is_busy = turn.is_served;
        turn.ticket = self.next_ticket();
    }

    /// Returns how long a connection has RDY if it receives nothing.
    pub(super) fn idle_time(&self, connection: &Connection, connections: usize) -> Duration {
        let connections = u32::try_from(connections).unwrap_or(u32::MAX).max(1);
        let rounds = self.fruitless / connections;
        let time = self
            .idle_timeout
            .saturating_mul((1 + rounds).min(LONGEST_IDLE_TURN));
        time.max(connection.round_trip.saturating_mul(3))
    }

    /// Returns when the turn of a connection that has RDY ends.
    pub(super) fn end(&self, connection: &Connection, connections: usize) -> Instant {
        let since = connection.turn.since;
        let idle_time = self.idle_time(connection, connections);
        if !connection.turn.is_served {
            return deadline_after(since, idle_time);
        }
        let end = deadline_after(since, self.busy_timeout);
        if connection.capacity.held() > 0 {
            return end;
        }
        let last_message = connection.demand.last_message();
        let idle_since = last_message.map_or(since, |at| at.max(since));
        end.min(deadline_after(idle_since, idle_time))
    }

    /// Sets the target of each connection.
    pub(super) fn plan(&self, connections: &mut [Connection], max: u32, now: Instant) {
        let count = connections.len();
        for it in connections.iter_mut() {
            let is_over = it.rdy() > 0 && self.end(it, count) <= now;
            it.target = if is_over { 0 } else { it.rdy() };
        }
        take_spare(connections, max);
        while total_target(connections) < u64::from(max) {
            let selected = self.select(connections, max, now);
            let Some(it) = selected.and_then(|position| connections.get_mut(position)) else {
                break;
            };
            it.target += 1;
            if it.target == 1 && it.rdy() > 0 {
                self.renew(it, now);
            }
        }
    }

    /// A connection whose turn is over has the next one as well.
    fn renew(&self, connection: &mut Connection, now: Instant) {
        let last_message = connection.demand.last_message();
        let was_recent =
            last_message.is_some_and(|at| now.saturating_duration_since(at) < self.busy_timeout);
        let turn = &mut connection.turn;
        turn.since = now;
        turn.is_served = connection.capacity.held() > 0;
        turn.is_busy = turn.is_served || was_recent;
    }

    /// Returns the position of the connection that gets the next free place.
    fn select(&self, connections: &[Connection], max: u32, now: Instant) -> Option<usize> {
        let (mut busy, mut idle) = (
            first_in_line(connections, true, true),
            first_in_line(connections, false, true),
        );
        if busy.is_none() && idle.is_none() {
            // A place that is not settled costs nothing where it was. Therefore its last owner
            // gets it only if no other connection waits: the others would never get it.
            busy = first_in_line(connections, true, false);
            idle = first_in_line(connections, false, false);
        }
        let (busy, idle) = match (busy, idle) {
            (Some(busy), Some(idle)) => (busy, idle),
            (Some(busy), None) => return Some(busy),
            (None, Some(idle)) => return Some(select_spare(connections, idle, max, now)),
            (None, None) => return None,
        };
        let is_idle = if max > 1 {
            asked(connections) < idle_places(max)
        } else {
            let mut ending = connections.iter().filter(|it| it.rdy() > 0);
            ending
                .next()
                .map_or(self.idle_is_next, |it| it.turn.is_served)
        };
        Some(if is_idle { idle } else { busy })
    }
}

/// Only idle connections wait, and `idle` is the first of them. Some places are for them, and the
/// rest is for connections that have messages. Returns the position of the next one.
fn select_spare(connections: &[Connection], idle: usize, max: u32, now: Instant) -> usize {
    if asked(connections) < idle_places(max) {
        return idle;
    }
    let can_use = |it: &Connection| {
        it.target > 0
            && it.target < it.capacity.max_rdy()
            && it.turn.is_served
            && it.is_saturated(now)
    };
    let saturated = connections.iter().enumerate();
    let saturated = saturated.filter(|(_, it)| can_use(it));
    let least = saturated.min_by_key(|(_, it)| it.target);
    least.map_or(idle, |(position, _)| position)
}

/// Number of places with which idle connections are asked for messages.
fn idle_places(max: u32) -> usize {
    usize::try_from(max / 4).unwrap_or(usize::MAX).max(1)
}

/// Number of idle connections that have a place.
fn asked(connections: &[Connection]) -> usize {
    let is_asked = |it: &&Connection| it.target > 0 && !it.turn.is_busy;
    connections.iter().filter(is_asked).count()
}

/// Returns the position of the first in line: busy or idle, settled or not.
fn first_in_line(connections: &[Connection], is_busy: bool, is_settled: bool) -> Option<usize> {
    let waits = |it: &Connection| {
        // The turn of one that has RDY is just over.
        let was_busy = if it.rdy() > 0 {
            it.turn.is_served
        } else {
            it.turn.is_busy
        };
        let was_settled = it.rdy() == 0 && it.capacity.next_bound(0) == 0;
        it.target == 0 && was_busy == is_busy && was_settled == is_settled
    };
    let line = connections.iter().enumerate().filter(|(_, it)| waits(it));
    let first = line.min_by_key(|(_, it)| it.turn.ticket);
    first.map(|(position, _)| position)
}

/// Takes places from those with several while others wait, and those above the maximum.
fn take_spare(connections: &mut [Connection], max: u32) {
    let max_total = u64::from(max);
    let waits = |connections: &[Connection], is_busy: bool| {
        connections
            .iter()
            .any(|it| it.target == 0 && it.rdy() == 0 && it.turn.is_busy == is_busy)
    };
    loop {
        let total = total_target(connections);
        let is_wanted = waits(connections, true)
            || (waits(connections, false) && asked(connections) < idle_places(max));
        let largest = connections.iter().map(|it| it.target).max().unwrap_or(0);
        let is_spare = largest > 1 && total >= max_total && is_wanted;
        if total <= max_total && !is_spare {
            return;
        }
        // Among equals, the one that has waited longest for a message.
        let largest = connections.iter_mut().filter(|it| it.target == largest);
        let Some(it) = largest.min_by_key(|it| (it.demand.last_message(), it.turn.since)) else {
            return;
        };
        it.target = it.target.saturating_sub(1);
    }
}
