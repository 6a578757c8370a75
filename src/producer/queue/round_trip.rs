//! How long nsqd's response to a command takes if nothing is in flight before it.

use std::time::{Duration, Instant};

/// A response that takes this much longer than twice the estimate makes it doubtful. A local nsqd
/// needs about as long for all that the limits allow in flight.
const TOLERANCE: Duration = Duration::from_micros(500);

/// Minimum time between two measurements of an estimate that is doubtful but right.
const MIN_INTERVAL: Duration = Duration::from_millis(20);

/// The same as a multiple of the estimate: a measurement costs about one round trip, and so at most
/// a fiftieth of the time.
const INTERVAL: u32 = 50;

/// The estimated round trip of a connection.
///
/// A command measures it if it carries one small publish and no publish was in flight before it:
/// other responses include the time for what nsqd executes before. Under load no command does; if
/// responses take long then, nothing is sent until all that is in flight is answered, and the next
/// command measures.
#[derive(Debug, Default)]
pub(super) struct RoundTrip {
    estimate: Duration,
    measured: Option<Instant>,
    is_doubtful: bool,
    /// The last measurement was this much, above the estimate. A second one must confirm it.
    higher: Option<Duration>,
}

impl RoundTrip {
    /// Starts with the time of one response of the handshake.
    pub(super) fn new(handshake: Duration) -> Self {
        Self {
            estimate: handshake,
            ..Self::default()
        }
    }

    pub(super) fn get(&self) -> Duration {
        self.estimate
    }

    /// A command was answered after `time`.
    pub(super) fn on_response(&mut self, time: Duration) {
        self.is_doubtful = self.is_doubtful || time > self.estimate.saturating_mul(2) + TOLERANCE;
    }

    /// A command that measures was answered after `time`.
    pub(super) fn on_measurement(&mut self, time: Duration, now: Instant) {
        if time > self.estimate {
            if !self.is_due(now) {
                return;
            }
            let Some(first) = self.higher.replace(time) else {
                return;
            };
            self.estimate = first.min(time);
        } else {
            self.estimate = time;
        }
        self.measured = Some(now);
        self.is_doubtful = false;
        self.higher = None;
    }

    /// Whether the next command is to measure.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let interval = self.estimate.saturating_mul(INTERVAL).max(MIN_INTERVAL);
        self.is_doubtful
            && self
                .measured
                .is_none_or(|measured| now.saturating_duration_since(measured) >= interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn shorter_measurement_counts_at_once() {
        let mut round_trip = RoundTrip::new(MS(10));
        round_trip.on_measurement(MS(3), Instant::now());
        assert_eq!(round_trip.get(), MS(3));
    }

    #[test]
    fn longer_measurement_counts_when_another_confirms_it() {
        let (mut round_trip, now) = (RoundTrip::new(MS(0)), Instant::now());
        // Only if responses take long.
        round_trip.on_measurement(MS(20), now);
        round_trip.on_measurement(MS(20), now);
        assert_eq!(round_trip.get(), MS(0));
        round_trip.on_response(MS(20));
        assert!(round_trip.is_due(now));
        round_trip.on_measurement(MS(70), now);
        assert_eq!(round_trip.get(), MS(0));
        round_trip.on_measurement(MS(20), now);
        assert_eq!(round_trip.get(), MS(20));
        assert!(!round_trip.is_due(now));
    }

    #[test]
    fn measurements_take_at_most_a_fiftieth_of_the_time() {
        let (mut round_trip, now) = (RoundTrip::new(MS(20)), Instant::now());
        round_trip.on_measurement(MS(20), now);
        round_trip.on_response(MS(40));
        assert!(!round_trip.is_due(now + MS(2_000)));
        round_trip.on_response(MS(41));
        assert!(!round_trip.is_due(now + MS(999)));
        assert!(round_trip.is_due(now + MS(1_000)));
    }
}
