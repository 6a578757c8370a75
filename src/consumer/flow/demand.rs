//! How much RDY a connection seems to need.

use std::time::{Duration, Instant};

use super::capacity::Capacity;

/// A connection without a message for this long gives away all but one of its RDY.
pub(super) const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Period over which the peak is taken.
const PEAK_PERIOD: Duration = Duration::from_secs(1);

/// Shortest period over which answers count as places that nsqd may have filled again.
const SHORTEST_ROUND_TRIP: Duration = Duration::from_micros(500);

/// A connection stays saturated for this long, at least four round trips.
const SATURATED_FOR: Duration = Duration::from_millis(100);

/// A count of the current period and of the one before it.
#[derive(Debug)]
struct Rolling {
    current: u32,
    previous: u32,
    since: Instant,
    period: Duration,
}

impl Rolling {
    fn new(period: Duration, now: Instant) -> Self {
        Self {
            current: 0,
            previous: 0,
            since: now,
            period,
        }
    }

    /// Begins a new period with `first` if the current one is over.
    fn roll(&mut self, first: u32, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age >= self.period {
            let is_next = age < self.period.saturating_mul(2);
            self.previous = if is_next { self.current } else { first };
            self.current = first;
            self.since = now;
        }
    }
}

/// What the recent traffic of a connection shows.
#[derive(Debug)]
pub(super) struct Demand {
    opened: Instant,
    round_trip: Duration,
    last_message: Option<Instant>,
    /// When the connection was last seen to use all of its RDY.
    saturated: Option<Instant>,
    /// Most messages held at once.
    peak: Rolling,
    /// Answers of the last round trip: nsqd may have filled their places with messages that are
    /// still on the wire.
    answers: Rolling,
}

impl Demand {
    pub(super) fn new(round_trip: Duration, now: Instant) -> Self {
        Self {
            opened: now,
            round_trip,
            last_message: None,
            saturated: None,
            peak: Rolling::new(PEAK_PERIOD, now),
            answers: Rolling::new(round_trip.max(SHORTEST_ROUND_TRIP), now),
        }
    }

    pub(super) fn last_message(&self) -> Option<Instant> {
        self.last_message
    }

    /// Messages were received, which `capacity` counts already. Returns whether the connection
    /// turned out to be saturated.
    pub(super) fn received(&mut self, capacity: &Capacity, now: Instant) -> bool {
        let held = capacity.held();
        self.roll(held, now);
        self.last_message = Some(now);
        self.peak.current = self.peak.current.max(held);
        let answers = self.answers.current.saturating_add(self.answers.previous);
        let is_full = held.saturating_add(answers) >= capacity.rdy();
        if is_full {
            self.saturated = Some(now);
        }
        is_full
    }

    pub(super) fn answered(&mut self, count: u32, held: u32, now: Instant) {
        self.roll(held, now);
        self.answers.current = self.answers.current.saturating_add(count);
    }

    pub(super) fn roll(&mut self, held: u32, now: Instant) {
        self.peak.roll(held, now);
        self.answers.roll(0, now);
    }

    /// Whether the connection could use more than its RDY.
    pub(super) fn is_saturated(&self, capacity: &Capacity, now: Instant) -> bool {
        let period = SATURATED_FOR.max(self.round_trip.saturating_mul(4));
        let was_saturated = || {
            self.saturated
                .is_some_and(|at| now.saturating_duration_since(at) < period)
        };
        capacity.rdy() > 0 && (capacity.held() >= capacity.rdy() || was_saturated())
    }

    /// Whether it holds no message and received none for a while.
    pub(super) fn is_idle(&self, capacity: &Capacity, now: Instant) -> bool {
        capacity.held() == 0
            && self
                .last_message
                .is_none_or(|at| now.saturating_duration_since(at) >= IDLE_AFTER)
    }

    /// Whether it was opened so recently that its demand is unknown.
    pub(super) fn is_unknown(&self, capacity: &Capacity, now: Instant) -> bool {
        capacity.rdy() == 0 && now.saturating_duration_since(self.opened) < IDLE_AFTER
    }

    /// Most messages held at once in the last one to two seconds.
    pub(super) fn peak(&self) -> u32 {
        self.peak.current.max(self.peak.previous)
    }
}
