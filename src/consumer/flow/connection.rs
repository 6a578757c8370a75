//! One connection, as flow control sees it.

use std::time::{Duration, Instant};

use super::{capacity::Capacity, demand::Demand};
use crate::consumer::connection_key::ConnectionKey;

/// A connection and its RDY.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) key: ConnectionKey,
    pub(super) round_trip: Duration,
    pub(super) capacity: Capacity,
    pub(super) demand: Demand,
    pub(super) turn: Turn,
    /// When its RDY was raised last.
    pub(super) raised: Option<Instant>,
    /// Since when it has one more than others that need as much: the remainder of a division.
    pub(super) remainder: Option<Instant>,
    /// The RDY that the current plan gives it.
    pub(super) target: u32,
}

/// The time during which a connection has RDY.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) since: Instant,
    /// A message arrived in this turn.
    pub(super) is_served: bool,
    /// A message arrived in this turn or in the last one.
    pub(super) is_busy: bool,
    /// Place in line for the next turn: the lowest is first. A new connection is last, or one that
    /// is lost again and again would always be first.
    pub(super) ticket: u64,
}

impl Connection {
    pub(super) fn new(
        key: ConnectionKey,
        max_rdy: u32,
        round_trip: Duration,
        ticket: u64,
        now: Instant,
    ) -> Self {
        Self {
            key,
            round_trip,
            capacity: Capacity::new(max_rdy, round_trip),
            demand: Demand::new(round_trip, now),
            turn: Turn {
                since: now,
                is_served: false,
                is_busy: false,
                ticket,
            },
            raised: None,
            remainder: None,
            target: 0,
        }
    }

    pub(super) fn rdy(&self) -> u32 {
        self.capacity.rdy()
    }

    pub(super) fn is_saturated(&self, now: Instant) -> bool {
        self.demand.is_saturated(&self.capacity, now)
    }
}

/// Sum of the RDYs that the current plan gives.
pub(super) fn total_target(connections: &[Connection]) -> u64 {
    connections.iter().map(|it| u64::from(it.target)).sum()
}
