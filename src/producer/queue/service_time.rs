//! How long nsqd needs for a publish.

use std::time::Instant;

/// Weight of the latest response.
const WEIGHT: f64 = 1.0 / 8.0;

/// The mean time that nsqd spends on a publish, from the responses of one connection.
#[derive(Debug, Default)]
pub(super) struct ServiceTime {
    last_response: Option<Instant>,
    /// Moving averages of the time per command, in seconds, and of its publishes.
    averages: Option<(f64, f64)>,
    /// The time per publish of the latest response.
    latest: f64,
}

impl ServiceTime {
    /// A command with this many publishes was answered. It had reached nsqd at `arrived`.
    pub(super) fn on_response(&mut self, publishes: usize, arrived: Instant, now: Instant) {
        // nsqd executes one command after the other.
        let since = self.last_response.map_or(arrived, |last| last.max(arrived));
        self.last_response = Some(now);
        let time = now.saturating_duration_since(since).as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52 publishes")]
        let publishes = publishes as f64;
        self.latest = time / publishes;
        let (times, counts) = self.averages.unwrap_or((time, publishes));
        self.averages = Some((
            times + WEIGHT * (time - times),
            counts + WEIGHT * (publishes - counts),
        ));
    }

    /// Returns the mean time per publish in seconds, once a response has shown it.
    pub(super) fn get(&self) -> Option<f64> {
        self.averages.map(|(times, counts)| times / counts)
    }

    /// Returns whether nsqd needs this many seconds for a publish: on average, and for the latest,
    /// so that a single pause does not count.
    pub(super) fn is_at_least(&self, seconds: f64) -> bool {
        self.latest >= seconds && self.get().is_some_and(|mean| mean >= seconds)
    }

    /// Returns a time per publish in seconds that the next command needs at most, as far as
    /// responses have shown.
    pub(super) fn longest(&self) -> Option<f64> {
        Some(self.get()?.max(self.latest))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn time_is_counted_from_the_response_before() {
        let (mut service_time, start) = (ServiceTime::default(), Instant::now());
        assert_eq!(service_time.get(), None);
        service_time.on_response(10, start, start + MS(100));
        assert_eq!(service_time.get(), Some(0.01));
        // It waited in nsqd while the one before was executed.
        service_time.on_response(10, start, start + MS(200));
        assert_eq!(service_time.get(), Some(0.01));
        // nsqd was idle meanwhile.
        service_time.on_response(10, start + MS(900), start + MS(1_000));
        assert_eq!(service_time.get(), Some(0.01));
    }

    #[test]
    fn mean_follows_a_change_within_tens_of_responses() {
        let (mut service_time, mut now) = (ServiceTime::default(), Instant::now());
        service_time.on_response(1, now, now + MS(5_000));
        now += MS(5_000);
        for _ in 0..50 {
            service_time.on_response(1, now, now);
        }
        assert!(service_time.get() < Some(0.01));
        for _ in 0..20 {
            now += MS(40);
            service_time.on_response(1, now - MS(40), now);
        }
        assert!(service_time.get() > Some(0.03));
    }
}
