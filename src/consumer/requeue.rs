//! How a message is requeued.

use std::time::Duration;

/// Longest delay that is written: a year, above any sensible `--max-req-timeout`. nsqd counts
/// nanoseconds in 64 bits, and a delay that overflows them is none.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Asks nsqd to deliver a message again: when, and whether it counts as a failure.
///
/// A failure pauses the consumer (backoff): see `max_backoff_duration` in
/// [`guide::options`](crate::guide::options).
///
/// ```
/// use std::time::Duration;
///
/// use actix_nsq::Requeue;
///
/// // The default delay, which grows with the number of deliveries; it is a failure.
/// let failed = Requeue::default();
/// // In a minute, and no failure: the message cannot be handled before.
/// let later = Requeue::after(Duration::from_secs(60)).without_backoff();
/// assert_ne!(failed, later);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use = "pass it to `IncomingMessage::requeue`"]
pub struct Requeue {
    delay: Option<Duration>,
    is_neutral: bool,
}

impl Requeue {
    /// Requeues after this delay. nsqd reduces it to its `--max-req-timeout` (1 h by default).
    pub const fn after(delay: Duration) -> Self {
        Self {
            delay: Some(delay),
            is_neutral: false,
        }
    }

    /// Requeues at once.
    pub const fn now() -> Self {
        Self::after(Duration::ZERO)
    }

    /// The message does not count as a failure.
    pub const fn without_backoff(mut self) -> Self {
        self.is_neutral = true;
        self
    }

    /// Whether the message counts as a failure.
    pub(super) fn is_failure(self) -> bool {
        !self.is_neutral
    }

    /// The delay in milliseconds of a message that was delivered `attempts` times, with the options
    /// `default_requeue_delay` and `max_requeue_delay`.
    pub(super) fn delay_ms(self, attempts: u16, default: Duration, max: Duration) -> u64 {
        let delay = self
            .delay
            .unwrap_or_else(|| default.saturating_mul(attempts.max(1).into()).min(max));
        delay.min(LONGEST).as_millis().try_into().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    /// checklist: 58
    #[test]
    fn delay_grows_with_the_deliveries_up_to_the_maximum() {
        let delay = |requeue: Requeue, attempts| requeue.delay_ms(attempts, S(90), S(900));
        assert_eq!(delay(Requeue::default(), 1), 90_000);
        assert_eq!(delay(Requeue::default(), 3), 270_000);
        assert_eq!(delay(Requeue::default(), 10), 900_000);
        // nsqd's counter wraps around.
        assert_eq!(delay(Requeue::default(), 0), 90_000);
        assert_eq!(delay(Requeue::default(), u16::MAX), 900_000);
        // An explicit delay is kept.
        assert_eq!(delay(Requeue::after(S(2_000)), 3), 2_000_000);
        assert_eq!(delay(Requeue::now(), 3), 0);
        // nsqd would read it as a negative one.
        assert_eq!(delay(Requeue::after(Duration::MAX), 3), 31_536_000_000);
    }
}
