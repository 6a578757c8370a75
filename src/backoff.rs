//! How long to wait before dialling again: exponential, with full jitter and a cap. Pure.

use std::time::Duration;

/// The delays between attempts to connect: each drawn evenly between nothing and a ceiling that doubles with
/// each attempt, up to a cap. Drawing from the whole range keeps many producers from returning in step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    unit: Duration,
    cap: Duration,
    attempt: u32,
    skip: bool,
}

impl Backoff {
    pub(crate) fn new(unit: Duration, cap: Duration) -> Self {
        Self {
            unit,
            cap,
            attempt: 0,
            skip: false,
        }
    }

    /// How many delays were drawn since the last [`reset`](Self::reset).
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }

    /// The next delay is drawn up to the cap: what failed will most likely fail again.
    pub(crate) fn skip_to_the_cap(&mut self) {
        self.skip = true;
    }

    /// The delay before the next attempt. `draw` is even in `0.0..1.0`.
    pub(crate) fn next_delay(&mut self, draw: f64) -> Duration {
        let ceiling = match std::mem::take(&mut self.skip) {
            true => self.cap,
            false => self.ceiling(),
        };
        self.attempt = self.attempt.saturating_add(1);
        ceiling.mul_f64(draw.clamp(0.0, 1.0))
    }

    fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        self.unit.saturating_mul(factor).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// fault: P1
    #[test]
    fn the_ceiling_doubles_up_to_the_cap_and_stays_there_for_ever() {
        let mut backoff = Backoff::new(MS(100), MS(5_000));
        let ceilings: Vec<_> = (0..8).map(|_| backoff.next_delay(1.0)).collect();
        assert_eq!(
            ceilings,
            [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000].map(MS)
        );
        backoff.attempt = u32::MAX;
        assert_eq!(backoff.next_delay(1.0), MS(5_000));
    }

    #[test]
    fn one_delay_can_be_drawn_up_to_the_cap_at_once() {
        let mut backoff = Backoff::new(MS(100), MS(5_000));
        backoff.skip_to_the_cap();
        let delays: Vec<_> = (0..3).map(|_| backoff.next_delay(1.0)).collect();
        assert_eq!(delays, [5_000, 200, 400].map(MS));
        assert_eq!(backoff.attempt(), 3);
    }

    /// fault: P1
    #[test]
    fn a_delay_is_spread_over_the_whole_range_below_its_ceiling() {
        let draws = 10_000;
        let mut tenths = [0; 10];
        for _ in 0..draws {
            let mut backoff = Backoff::new(MS(1_000), MS(5_000));
            let delay = backoff.next_delay(fastrand::f64());
            assert!(delay <= MS(1_000));
            tenths[(delay.as_millis() / 100).min(9) as usize] += 1;
        }
        assert!(
            tenths
                .iter()
                .all(|&count| count > draws / 20 && count < draws / 5),
            "uneven: {tenths:?}"
        );
    }

    #[test]
    fn a_reset_starts_over() {
        let mut backoff = Backoff::new(MS(100), MS(5_000));
        backoff.next_delay(1.0);
        backoff.next_delay(1.0);
        assert_eq!(backoff.attempt(), 2);
        backoff.reset();
        assert_eq!(backoff.next_delay(1.0), MS(100));
    }
}
