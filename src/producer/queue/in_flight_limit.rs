//! How much is kept in flight when publishes are batched, how large a batch may be, and when
//! publishes wait for a larger write.
//!
//! Enough in flight to keep nsqd busy, and so little that queued publishes form large batches. This
//! limit concerns only topics with publishes in flight whose next one can be batched: others form
//! no larger batches by waiting, only larger writes.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use super::{
    limits::{Batch, LARGE, Usage},
    overlap::Overlap,
    round_trip::RoundTrip,
    service_time::ServiceTime,
};

/// Number of messages that a batch may have before responses show how fast nsqd is. With two syncs
/// of 50 ms per message a batch takes 1.6 s.
const FIRST_BATCH: usize = 16;

/// A batch is at most this many times larger than one that was answered lately: the time for a
/// small command says little about a large one, because nsqd may sync after its response.
const GROWTH: usize = 4;

/// Number of batches among which the publishes of a few callers are divided. With two, nsqd still
/// waits while their callers publish again; eight cost more than they gain.
const DIVIDED_AMONG: usize = 4;

/// Numbers of publishes that such a batch may have at most. With fewer the time for a command
/// dominates. With more callers two full batches are in flight in any case.
const DIVIDED_BATCH: RangeInclusive<usize> = 8..=96;

/// Time per publish in seconds from which on publishes are not divided: nsqd, or reading its
/// responses, then takes much longer than the callers, which need less than 1 µs.
const LONG_SERVICE_TIME: f64 = 5e-6;

/// The limits of a connection, from its round trip and nsqd's speed.
///
/// The constants are measured: a local nsqd reaches its highest rate with about 8 commands and 256
/// publishes in flight; each microsecond of round trip needs about one publish more.
#[derive(Debug)]
pub(super) struct InFlightLimit {
    round_trip: RoundTrip,
    service_time: ServiceTime,
    /// Time within which a batch is to be answered.
    batch_time: Duration,
    /// Publishes of the largest command that was answered lately.
    largest: usize,
    overlap: Overlap,
    /// Nothing is sent until nothing is in flight, so that the next command measures the round
    /// trip.
    is_measuring: bool,
}

impl InFlightLimit {
    pub(super) fn new(batch_time: Duration) -> Self {
        Self {
            round_trip: RoundTrip::default(),
            service_time: ServiceTime::default(),
            batch_time,
            largest: 0,
            overlap: Overlap::default(),
            is_measuring: false,
        }
    }

    /// A new connection was made, whose handshake took `round_trip` for one response.
    pub(super) fn on_connected(&mut self, round_trip: Duration) {
        self.round_trip = RoundTrip::new(round_trip);
        self.is_measuring = false;
    }

    /// A connection was lost: the next one may be to another nsqd, and perhaps this one was too
    /// slow.
    pub(super) fn on_lost(&mut self) {
        self.service_time = ServiceTime::default();
        self.largest = 0;
    }

    /// A command that was sent at `since` with these publishes was answered after `time`.
    pub(super) fn on_response(
        &mut self,
        usage: Usage,
        since: Instant,
        time: Duration,
        now: Instant,
    ) {
        self.round_trip.on_response(time);
        // A large body takes its time on the way.
        if usage.bytes / usage.publishes.max(1) <= LARGE {
            self.largest = usage.publishes.max(self.largest - self.largest.div_ceil(8));
            let arrived = since + self.round_trip.get();
            self.service_time.on_response(usage.publishes, arrived, now);
        }
    }

    /// A command that measures the round trip was answered after this time.
    pub(super) fn on_measurement(&mut self, time: Duration, now: Instant) {
        self.is_measuring = false;
        self.round_trip.on_measurement(time, now);
    }

    /// A topic was held back. If the round trip is in doubt, it is measured.
    pub(super) fn on_held_back(&mut self, now: Instant) {
        self.is_measuring |= self.round_trip.is_due(now);
    }

    /// Whether the next command is to measure the round trip.
    pub(super) fn is_measuring(&self) -> bool {
        self.is_measuring
    }

    /// Maximum number of commands in flight.
    pub(super) fn commands(&self) -> usize {
        self.during_round_trip(50e-6) + 8
    }

    /// Returns whether `queued` publishes wait to be written with others, about a third of all
    /// together: of the `commands` in flight, all but twice as many keep nsqd busy for longer than
    /// a round trip. It needs at least 5 µs for each.
    pub(super) fn allows_to_wait(&self, commands: usize, queued: usize) -> bool {
        let more = commands.saturating_sub(queued.saturating_mul(2));
        // The first comparison is enough for the commands of a few callers.
        more > 8 && more > self.during_round_trip(5e-6) + 8
    }

    /// Another command is sent while fewer publishes than this are in flight.
    pub(super) fn publishes(&self) -> usize {
        self.during_round_trip(1e-6) + 256
    }

    /// Number of queued publishes from which a topic sends its next batch: as many as one of its
    /// commands in flight has on average.
    pub(super) fn batch_from(&self, in_flight: usize) -> usize {
        in_flight / self.commands()
    }

    /// Reduces the next batch of `unsent` publishes to what nsqd can store in time, and to a part
    /// of all `unanswered` ones if there are few. `None`: the next command carries one publish.
    pub(super) fn batch(&self, limits: Batch, unsent: usize, unanswered: usize) -> Option<Batch> {
        if unsent <= 1 || self.is_measuring {
            return None;
        }
        let grown = FIRST_BATCH.max(GROWTH.saturating_mul(self.largest));
        let in_time = match self.service_time.longest() {
            None => FIRST_BATCH,
            Some(each) => whole(self.batch_time.as_secs_f64() / each).max(1),
        };
        let most = in_time.min(grown);
        let most = self.divided(unsent, unanswered).unwrap_or(most).min(most);
        Some(Batch {
            messages: limits.messages.min(most),
            ..limits
        })
    }

    /// The maximum of a batch, so that nsqd has others to execute while callers publish again.
    fn divided(&self, unsent: usize, unanswered: usize) -> Option<usize> {
        let most = unanswered.div_ceil(DIVIDED_AMONG);
        let is_slow = self.service_time.is_at_least(LONG_SERVICE_TIME);
        // A small rest stays with the others.
        let is_divided = DIVIDED_BATCH.contains(&most) && unsent >= most + most / 2;
        (is_divided && !is_slow && self.overlap.is_likely()).then_some(most)
    }

    /// A burst is sent while nsqd has nothing to execute, or not.
    pub(super) fn on_burst(&mut self, nsqd_is_idle: bool) {
        self.overlap.on_burst(nsqd_is_idle);
    }

    /// How many nsqd can execute during one round trip, if each takes at least `seconds`.
    fn during_round_trip(&self, seconds: f64) -> usize {
        let each = self.service_time.get().unwrap_or_default().max(seconds);
        whole(self.round_trip.get().as_secs_f64() / each)
    }
}

/// Rounds a number down; one without an end becomes a large number.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not negative, and a larger one than the maximum is not needed"
)]
fn whole(number: f64) -> usize {
    number.min(1e9) as usize
}
