//! Backoff after failures: how long nothing is requested, and which results count. Pure.
//!
//! ```text
//!          failure                    the wait ends
//!   Off ------------> Waiting ---------------------> Probing
//!    ^                   ^                               |
//!    |                   |   failure: level + 1          |
//!    |                   +-------------------------------+
//!    |                       success: level - 1          |
//!    +---------------------------------------------------+
//!                            success at level 1
//! ```
//!
//! Each change of the level begins a new window. A result counts only if its message was started in
//! the current window: a message started before the failure says nothing about the time after it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::link::deadline_after;

/// How long the wait of a level is.
#[derive(Clone)]
pub(crate) enum BackoffStrategy {
    /// `multiplier` times two to the power of the level.
    Exponential,
    /// Evenly distributed between zero and the exponential wait.
    FullJitter,
    /// A function of the level, which is at least 1.
    Custom(Arc<dyn Fn(u32) -> Duration + Send + Sync>),
}

impl fmt::Debug for BackoffStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exponential => "Exponential",
            Self::FullJitter => "FullJitter",
            Self::Custom(_) => "Custom",
        })
    }
}

/// The options of the backoff.
#[derive(Debug, Clone)]
pub(crate) struct BackoffOptions {
    pub(crate) strategy: BackoffStrategy,
    pub(crate) multiplier: Duration,
    /// Longest wait (`max_backoff_duration`); zero turns backoff off.
    pub(crate) max: Duration,
}

impl BackoffOptions {
    /// Returns the wait of a level without jitter and without maximum. It decides how high the
    /// level may rise: a jittered wait would let the level grow without limit.
    fn full_wait(&self, level: u32) -> Duration {
        match &self.strategy {
            // A panic of the application's function must not end the consumer.
            BackoffStrategy::Custom(wait) => {
                catch_unwind(AssertUnwindSafe(|| wait(level))).unwrap_or(Duration::MAX)
            }
            BackoffStrategy::Exponential | BackoffStrategy::FullJitter => {
                let factor = 1_u32.checked_shl(level).unwrap_or(u32::MAX);
                self.multiplier.saturating_mul(factor)
            }
        }
    }

    fn wait(&self, level: u32, random: f64) -> Duration {
        let wait = self.full_wait(level).min(self.max);
        match self.strategy {
            BackoffStrategy::FullJitter => wait.mul_f64(random.clamp(0.0, 1.0)),
            BackoffStrategy::Exponential | BackoffStrategy::Custom(_) => wait,
        }
    }

    /// Whether the level may rise to this one. The first level is always allowed: otherwise a small
    /// maximum would turn backoff off.
    fn allows(&self, level: u32) -> bool {
        !self.max.is_zero() && (level == 1 || self.full_wait(level) <= self.max)
    }
}

/// What the end of a message says about the handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure,
    /// Nothing: the message was requeued without backoff, for example.
    Neutral,
}

/// The period between two changes of the level, in which a message was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window(u32);

/// What may be requested from nsqd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackoffState {
    /// As much as flow control allows.
    Off,
    /// Nothing.
    Waiting { until: Instant },
    /// One message at a time.
    Probing,
}

/// The backoff of a consumer.
#[derive(Debug)]
pub(super) struct Backoff {
    options: BackoffOptions,
    level: u32,
    state: BackoffState,
    window: u32,
}

impl Backoff {
    pub(super) fn new(options: BackoffOptions) -> Self {
        Self {
            options,
            level: 0,
            state: BackoffState::Off,
            window: 0,
        }
    }

    pub(super) fn level(&self) -> u32 {
        self.level
    }

    pub(super) fn state(&self) -> BackoffState {
        self.state
    }

    /// Returns the window of a message that is started now.
    pub(super) fn window(&self) -> Window {
        Window(self.window)
    }

    /// A message that was started in `window` ended. Returns whether the level changed. `random` is
    /// evenly distributed in `0.0..1.0`.
    pub(super) fn on_outcome(
        &mut self,
        window: Window,
        outcome: Outcome,
        random: f64,
        now: Instant,
    ) -> bool {
        if window != self.window() {
            return false;
        }
        let level = match (self.state, outcome) {
            (BackoffState::Waiting { .. }, _)
            | (_, Outcome::Neutral)
            | (BackoffState::Off, Outcome::Success) => return false,
            (BackoffState::Off, Outcome::Failure) if !self.options.allows(1) => return false,
            (BackoffState::Probing, Outcome::Success) => self.level.saturating_sub(1),
            (_, Outcome::Failure) if self.options.allows(self.level.saturating_add(1)) => {
                self.level.saturating_add(1)
            }
            (_, Outcome::Failure) => self.level,
        };
        self.level = level;
        self.window = self.window.wrapping_add(1);
        self.state = if level == 0 {
            BackoffState::Off
        } else {
            let wait = self.options.wait(level, random);
            BackoffState::Waiting {
                until: deadline_after(now, wait),
            }
        };
        true
    }

    /// Ends a wait that is over. Returns whether the state changed.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        let is_over = matches!(self.state, BackoffState::Waiting { until } if until <= now);
        if is_over {
            self.state = BackoffState::Probing;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn backoff(strategy: BackoffStrategy, max: Duration) -> Backoff {
        Backoff::new(BackoffOptions {
            strategy,
            multiplier: s(1),
            max,
        })
    }

    /// A message that was started in the current window ends so. Returns the wait, and ends it.
    fn end(backoff: &mut Backoff, outcome: Outcome, random: f64) -> Option<Duration> {
        let now = Instant::now();
        let window = backoff.window();
        if !backoff.on_outcome(window, outcome, random, now) {
            return None;
        }
        let BackoffState::Waiting { until } = backoff.state() else {
            return Some(Duration::ZERO);
        };
        assert!(backoff.advance(until));
        assert_eq!(backoff.state(), BackoffState::Probing);
        Some(until - now)
    }

    /// The waits while all messages fail, then while all succeed.
    fn waits(backoff: &mut Backoff, failures: usize, random: f64) -> [Vec<Duration>; 2] {
        let rising = (0..failures).filter_map(|_| end(backoff, Outcome::Failure, random));
        let rising = rising.collect();
        let falling = std::iter::from_fn(|| end(backoff, Outcome::Success, random));
        [rising, falling.collect()]
    }

    /// checklist: 71
    #[test]
    fn exponential_waits_rise_to_the_maximum_and_fall() {
        let mut backoff = backoff(BackoffStrategy::Exponential, s(120));
        let [rising, falling] = waits(&mut backoff, 8, 0.0);
        assert_eq!(rising, [2, 4, 8, 16, 32, 64, 64, 64].map(s));
        assert_eq!(falling, [32, 16, 8, 4, 2, 0].map(s));
        assert_eq!(backoff.state(), BackoffState::Off);
    }

    /// checklist: 71
    /// fault: G10
    #[test]
    fn jitter_shortens_the_wait_and_does_not_raise_the_level() {
        let mut backoff = backoff(BackoffStrategy::FullJitter, s(120));
        let [rising, _] = waits(&mut backoff, 10, 0.25);
        let quarters = [2, 4, 8, 16, 32, 64, 64, 64, 64, 64].map(|wait| s(wait) / 4);
        assert_eq!(rising, quarters);
        let [rising, falling] = waits(&mut backoff, 10, 0.0);
        assert_eq!(rising, [s(0); 10]);
        assert_eq!(
            falling.len(),
            6,
            "the level is bounded by the wait without jitter"
        );
    }

    /// checklist: 71
    #[test]
    fn own_function_decides_the_wait_of_each_level() {
        let wait = |level| s(10 * u64::from(level));
        let mut backoff = backoff(BackoffStrategy::Custom(Arc::new(wait)), s(25));
        let [rising, falling] = waits(&mut backoff, 3, 0.5);
        assert_eq!(rising, [10, 20, 20].map(s));
        assert_eq!(falling, [10, 0].map(s));
    }

    #[test]
    fn level_at_which_an_own_function_panics_is_not_reached() {
        for (panics_at, rising) in [(1, [25, 20, 20]), (2, [10, 10, 10]), (3, [10, 20, 20])] {
            let wait = move |level| {
                assert_ne!(level, panics_at, "the function panics");
                s(10 * u64::from(level))
            };
            let mut backoff = backoff(BackoffStrategy::Custom(Arc::new(wait)), s(25));
            let [waits, _] = waits(&mut backoff, 3, 0.5);
            assert_eq!(waits, rising.map(s), "{panics_at}");
        }
    }

    #[test]
    fn maximum_below_the_first_level_is_its_wait() {
        let mut backoff = backoff(BackoffStrategy::Exponential, s(1));
        let [rising, falling] = waits(&mut backoff, 3, 0.0);
        assert_eq!(rising, [1, 1, 1].map(s));
        assert_eq!(falling, [s(0)]);
    }

    /// checklist: 71
    #[test]
    fn maximum_of_zero_turns_backoff_off() {
        let mut backoff = backoff(BackoffStrategy::Exponential, s(0));
        assert_eq!(end(&mut backoff, Outcome::Failure, 0.0), None);
        assert_eq!(backoff.state(), BackoffState::Off);
    }

    /// fault: G9
    #[test]
    fn result_during_a_wait_or_of_an_earlier_window_does_not_count() {
        let mut backoff = backoff(BackoffStrategy::Exponential, s(120));
        let now = Instant::now();
        let first = backoff.window();
        assert!(backoff.on_outcome(first, Outcome::Failure, 0.0, now));
        let second = backoff.window();
        for window in [first, second] {
            assert!(!backoff.on_outcome(window, Outcome::Failure, 0.0, now));
            assert!(!backoff.on_outcome(window, Outcome::Success, 0.0, now));
        }
        assert!(!backoff.advance(now + s(1)));
        assert!(backoff.advance(now + s(2)));
        assert!(!backoff.on_outcome(first, Outcome::Success, 0.0, now));
        assert!(!backoff.on_outcome(second, Outcome::Neutral, 0.0, now));
        assert!(backoff.on_outcome(second, Outcome::Success, 0.0, now));
    }

    #[test]
    fn huge_wait_does_not_overflow() {
        let mut backoff = Backoff::new(BackoffOptions {
            strategy: BackoffStrategy::Exponential,
            multiplier: Duration::MAX,
            max: Duration::MAX,
        });
        for _ in 0..100 {
            assert!(end(&mut backoff, Outcome::Failure, 0.0).is_some());
        }
    }
}
