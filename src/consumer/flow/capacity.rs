//! What one connection can have in flight: exact accounting of the RDYs and answers written to it.
//!
//! RDY is a ceiling: nsqd delivers while it has fewer messages in flight than RDY. So what it can
//! have in flight, once it has executed all that was written, has an upper bound:
//!
//! | event | `bound` becomes |
//! |---|---|
//! | RDY r is written | `max(bound, r)` |
//! | an answer is written | `max(rdy, bound - 1)` |
//! | the settle time after a lower RDY is over | `min(bound, max(rdy, held))` |
//!
//! The answer is written behind the lower RDY of its burst. In the other order nsqd could fill the
//! freed place before it reads the lower RDY.

use std::time::{Duration, Instant};

use crate::link::deadline_after;

/// After this and two round trips, everything that nsqd sent before it read a lower RDY or CLS has
/// arrived. The one assumption about time; nsqd and the network need far less unless they stall.
const SETTLE: Duration = Duration::from_millis(20);

/// Returns the time after which everything has arrived that nsqd sent before it read a command.
pub(in crate::consumer) fn settle_time(round_trip: Duration) -> Duration {
    SETTLE.saturating_add(round_trip.saturating_mul(2))
}

/// RDY and messages in flight of one connection.
#[derive(Debug)]
pub(super) struct Capacity {
    /// Highest RDY that nsqd accepts.
    max_rdy: u32,
    settle_time: Duration,
    /// As written last.
    rdy: u32,
    bound: u32,
    /// Received, neither answered nor expired.
    held: u32,
    /// Answers since the last plan, which are written behind its lower RDYs.
    unwritten: Unwritten,
    /// When the bound falls to what is held.
    settles: Option<Instant>,
}

/// Answers that are not written yet.
#[derive(Debug, Default)]
struct Unwritten {
    /// Each frees a place.
    freeing: u32,
    /// Close to the deadline: nsqd may have requeued the message already and filled its place, so
    /// the answer frees nothing.
    late: u32,
}

impl Capacity {
    pub(super) fn new(max_rdy: u32, round_trip: Duration) -> Self {
        Self {
            max_rdy: max_rdy.max(1),
            settle_time: settle_time(round_trip),
            rdy: 0,
            bound: 0,
            held: 0,
            unwritten: Unwritten::default(),
            settles: None,
        }
    }

    pub(super) fn max_rdy(&self) -> u32 {
        self.max_rdy
    }

    pub(super) fn rdy(&self) -> u32 {
        self.rdy
    }

    pub(super) fn bound(&self) -> u32 {
        self.bound
    }

    pub(super) fn held(&self) -> u32 {
        self.held
    }

    pub(super) fn settles(&self) -> Option<Instant> {
        self.settles
    }

    /// Returns the bound after this lower RDY and the answers since the last plan are written. The
    /// rules go by it: RDYs rise behind these answers, and no event may follow them.
    pub(super) fn next_bound(&self, rdy: u32) -> u32 {
        rdy.max(self.bound.saturating_sub(self.unwritten.freeing))
    }

    /// Whether messages may be on the wire after RDY 0 and the answers since the last plan are
    /// written. Only the settle time excludes it: even if all of the bound is held, nsqd may have
    /// requeued some of it and sent others.
    pub(super) fn may_receive_without_rdy(&self) -> bool {
        let is_settled = self.rdy == 0 && self.settles.is_none() && self.unwritten.late == 0;
        self.next_bound(0) > 0 && !is_settled
    }

    /// Messages that were received and whose answers are not written. Until then, they are in
    /// flight.
    fn in_flight(&self) -> u32 {
        let answers = self.unwritten.freeing.saturating_add(self.unwritten.late);
        self.held.saturating_add(answers)
    }

    pub(super) fn received(&mut self, count: u32) {
        self.held = self.held.saturating_add(count);
    }

    pub(super) fn answered(&mut self, count: u32, late: bool) {
        self.held = self.held.saturating_sub(count);
        let answers = if late {
            &mut self.unwritten.late
        } else {
            &mut self.unwritten.freeing
        };
        *answers = answers.saturating_add(count);
    }

    /// nsqd requeues an expired message and may fill its place before it reads a lower RDY, so only
    /// the settle time frees it.
    pub(super) fn expired(&mut self, count: u32, now: Instant) {
        self.held = self.held.saturating_sub(count);
        if self.bound > self.rdy {
            self.settle_later(now);
        }
    }

    /// A lower RDY is written.
    pub(super) fn lower(&mut self, rdy: u32, now: Instant) {
        self.rdy = rdy;
        if self.bound > rdy {
            self.settle_later(now);
        }
    }

    /// The answers since the last plan are written.
    pub(super) fn write_answers(&mut self, now: Instant) {
        let Unwritten { freeing, late } = std::mem::take(&mut self.unwritten);
        if freeing == 0 && late == 0 {
            return;
        }
        self.bound = self.rdy.max(self.bound.saturating_sub(freeing));
        if self.bound == self.rdy {
            self.settles = None;
        } else if self.settles.is_none() && self.bound > self.held {
            self.settle_later(now);
        }
    }

    /// A higher RDY is written.
    pub(super) fn raise(&mut self, rdy: u32) {
        self.rdy = rdy;
        self.bound = self.bound.max(rdy);
        if self.bound == rdy {
            self.settles = None;
        }
    }

    /// Lowers the bound if the settle time is over. Returns whether it was.
    pub(super) fn settle(&mut self, now: Instant) -> bool {
        if self.settles.is_none_or(|at| at > now) {
            return false;
        }
        self.settles = None;
        // More than the bound may be held for a moment: nsqd has requeued a message that is not
        // expired by the clock of this side.
        self.bound = self.bound.min(self.rdy.max(self.in_flight()));
        true
    }

    fn settle_later(&mut self, now: Instant) {
        self.settles = Some(deadline_after(now, self.settle_time));
    }
}
