//! When to connect again: how a connection ended decides the delay and the log level. Pure.

use std::time::Duration;

use log::Level;

/// Delay after a rejection on a connection that had served: the rejection is no sign of trouble,
/// and other publishes wait.
const AFTER_REJECTION: Duration = Duration::from_millis(20);

/// A connection that lasted this long resets the backoff. If nsqd has responded `OK` on it or
/// delivered a message, the initial backoff is long enough.
const STABLE: Duration = Duration::from_secs(1);

/// Shortest delay of the backoff: zero would mean "connect at once".
const SHORTEST: Duration = Duration::from_millis(1);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) cause: EndCause,
    /// The application has asked for a new connection meanwhile.
    pub(crate) reconnect_requested: bool,
    /// nsqd responded `OK` to a publish, or delivered a message, at least once.
    pub(crate) had_served: bool,
    /// Time from the handshake until the connection began to close.
    pub(crate) lasted: Duration,
    /// Another attempt will most likely fail in the same way.
    pub(crate) is_persistent: bool,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndCause {
    /// It was closed because the application asked for a new connection.
    Requested,
    /// nsqd rejected a command, whose sender got the error, and closed the connection.
    Rejected,
    /// Anything else.
    Lost,
}

/// Decides when to connect again.
#[derive(Debug)]
pub(crate) struct Retry {
    backoff: Backoff,
    /// The last connection ended with a rejection. Under load many of these follow one another, so
    /// they are logged at debug level only.
    is_routine: bool,
    /// The last connection ended with a rejection or on request, and no attempt has failed since:
    /// the next connection is expected in a moment.
    is_replacing: bool,
}

impl Retry {
    /// `initial` and `max` bound the backoff.
    pub(crate) fn new(initial: Duration, max: Duration) -> Self {
        Self {
            backoff: Backoff::new(initial, max),
            is_routine: false,
            is_replacing: false,
        }
    }

    pub(crate) fn is_replacing(&self) -> bool {
        self.is_replacing
    }

    /// Consecutive failures: connections lost and attempts failed since the last stable connection.
    pub(crate) fn failures(&self) -> u32 {
        self.backoff.attempt
    }

    /// Level at which a message of `level` about the current connection is logged.
    pub(crate) fn level(&self, level: Level) -> Level {
        if self.is_routine { Level::Debug } else { level }
    }

    /// Returns the delay after a connection ended. `random` is evenly distributed in `0.0..1.0`.
    pub(crate) fn after_end(&mut self, end: End, random: f64) -> Duration {
        let stable = if end.had_served {
            STABLE.min(self.backoff.initial)
        } else {
            STABLE
        };
        // Under load some rejections are lost when nsqd resets the connection, and then count as a
        // lost connection; without this reset the delays after those would add up.
        let served_and_rejected = end.cause == EndCause::Rejected && end.had_served;
        if served_and_rejected || end.lasted >= stable {
            self.backoff.reset();
        }
        self.is_routine = end.cause == EndCause::Rejected && !end.is_persistent;
        self.is_replacing = self.is_routine || end.cause == EndCause::Requested;
        if end.reconnect_requested {
            return Duration::ZERO;
        }
        match end.cause {
            EndCause::Requested => Duration::ZERO,
            EndCause::Rejected if end.had_served => AFTER_REJECTION,
            EndCause::Rejected | EndCause::Lost => self.backoff(end.is_persistent, random),
        }
    }

    /// Returns the delay after an attempt to connect failed. `random` is evenly distributed in
    /// `0.0..1.0`.
    pub(crate) fn after_failure(&mut self, is_persistent: bool, random: f64) -> Duration {
        self.is_routine = false;
        self.is_replacing = false;
        self.backoff(is_persistent, random)
    }

    fn backoff(&mut self, is_persistent: bool, random: f64) -> Duration {
        let delay = if is_persistent {
            self.backoff.longest_delay(random)
        } else {
            self.backoff.next_delay(random)
        };
        delay.max(SHORTEST)
    }
}

/// Exponential backoff with full jitter: each delay is drawn evenly between zero and a limit that
/// doubles with each attempt. Full jitter keeps many clients from reconnecting at the same moment.
#[derive(Debug)]
struct Backoff {
    initial: Duration,
    max: Duration,
    attempt: u32,
}

impl Backoff {
    fn new(initial: Duration, max: Duration) -> Self {
        Self {
            initial,
            max,
            attempt: 0,
        }
    }

    fn reset(&mut self) {
        self.attempt = 0;
    }

    fn next_delay(&mut self, random: f64) -> Duration {
        let factor = 1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        let limit = self.initial.saturating_mul(factor).min(self.max);
        self.draw(limit, random)
    }

    /// Draws below `max`, whatever the number of attempts.
    fn longest_delay(&mut self, random: f64) -> Duration {
        self.draw(self.max, random)
    }

    fn draw(&mut self, limit: Duration, random: f64) -> Duration {
        self.attempt = self.attempt.saturating_add(1);
        limit.mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn retry() -> Retry {
        Retry::new(MS(100), MS(5_000))
    }

    fn lost() -> End {
        End {
            cause: EndCause::Lost,
            reconnect_requested: false,
            had_served: true,
            lasted: Duration::ZERO,
            is_persistent: false,
        }
    }

    /// fault: P1
    #[test]
    fn backoff_limit_doubles_up_to_the_maximum() {
        let mut retry = retry();
        let delays: Vec<_> = (0..8).map(|_| retry.after_failure(false, 1.0)).collect();
        assert_eq!(
            delays,
            [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000].map(MS)
        );
        retry.backoff.attempt = u32::MAX;
        assert_eq!(retry.after_failure(false, 1.0), MS(5_000));
    }

    /// fault: P1
    #[test]
    fn backoff_delay_is_spread_over_the_whole_range() {
        let draws = 10_000;
        let mut tenths = [0; 10];
        for _ in 0..draws {
            let delay = Retry::new(MS(1_000), MS(5_000)).after_failure(false, fastrand::f64());
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
    fn persistent_failure_backs_off_up_to_the_maximum() {
        let mut retry = retry();
        assert_eq!(retry.after_failure(true, 1.0), MS(5_000));
        assert_eq!(retry.after_failure(false, 1.0), MS(200));
        assert_eq!(retry.failures(), 2);
    }

    #[test]
    fn backoff_delay_is_never_zero() {
        assert_eq!(retry().after_failure(false, 0.0), MS(1));
    }

    #[test]
    fn stable_connection_resets_the_backoff() {
        for (had_served, lasted, failures) in [
            (true, MS(100), 1),
            (true, MS(99), 3),
            (false, MS(1_000), 1),
            (false, MS(999), 3),
        ] {
            let mut retry = retry();
            retry.after_failure(false, 1.0);
            retry.after_failure(false, 1.0);
            let end = End {
                had_served,
                lasted,
                ..lost()
            };
            retry.after_end(end, 1.0);
            assert_eq!(retry.failures(), failures, "{end:?}");
        }
    }

    #[test]
    fn requested_reconnect_has_no_delay() {
        for (cause, failures) in [
            (EndCause::Requested, 1),
            (EndCause::Lost, 1),
            // A rejection resets the backoff, too.
            (EndCause::Rejected, 0),
        ] {
            let mut retry = retry();
            retry.after_failure(false, 1.0);
            let end = End {
                cause,
                reconnect_requested: true,
                ..lost()
            };
            assert_eq!(retry.after_end(end, 1.0), Duration::ZERO, "{cause:?}");
            assert_eq!(retry.failures(), failures, "{cause:?}");
        }
    }

    #[test]
    fn rejection_after_service_is_a_short_routine_delay() {
        let mut retry = retry();
        retry.after_failure(false, 1.0);
        let end = End {
            cause: EndCause::Rejected,
            ..lost()
        };
        assert_eq!(retry.after_end(end, 1.0), MS(20));
        assert_eq!(retry.failures(), 0);
        assert_eq!(retry.level(Level::Warn), Level::Debug);
        retry.after_failure(false, 1.0);
        assert_eq!(retry.level(Level::Warn), Level::Warn);
    }

    #[test]
    fn rejection_before_service_backs_off() {
        let end = End {
            cause: EndCause::Rejected,
            had_served: false,
            ..lost()
        };
        let mut retry = retry();
        assert_eq!(retry.after_end(end, 1.0), MS(100));
        assert_eq!(retry.after_end(end, 1.0), MS(200));
    }
}
