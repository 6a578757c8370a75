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
            BackoffStrategy::Custom(wait) => wait(level),
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
pub(crate) struct Window(u64);

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
    window: u64,
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
        self.window += 1;
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
