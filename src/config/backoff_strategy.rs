//! The option `backoff_strategy`.

use super::value::Value;

/// How long a consumer pauses after consecutive failures of messages. The unit is
/// `backoff_multiplier`, the maximum `max_backoff_duration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackoffStrategy {
    /// The unit times 2, 4, 8 and so on.
    Exponential,
    /// A random time between zero and that of [`Exponential`](Self::Exponential).
    FullJitter,
}

impl Value for BackoffStrategy {
    type Bounds = ();

    fn parse(text: &str) -> Option<Self> {
        match text {
            "exponential" => Some(Self::Exponential),
            "full_jitter" => Some(Self::FullJitter),
            _ => None,
        }
    }

    fn within(&self, (): &Self::Bounds) -> bool {
        true
    }

    fn show(&self) -> String {
        match self {
            Self::Exponential => "exponential".into(),
            Self::FullJitter => "full_jitter".into(),
        }
    }
}
