//! The option `wait_for_connection`.

use super::value::Value;

/// Whether a publish that arrives while there is no connection is queued until there is one.
///
/// It never concerns publishes that are queued already, nor those that arrive while the producer
/// connects again because nsqd rejected a publish or because a [`Reconnect`](crate::Reconnect) was
/// requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitForConnection {
    /// It is queued, and times out after `publish_timeout` at the latest.
    Always,
    /// It is queued until the first connection was made. Later it fails at once with
    /// [`ErrorKind::NotConnected`](crate::ErrorKind::NotConnected).
    First,
    /// It fails at once with [`ErrorKind::NotConnected`](crate::ErrorKind::NotConnected).
    Never,
}

impl Value for WaitForConnection {
    type Bounds = ();

    fn parse(text: &str) -> Option<Self> {
        match text {
            "always" => Some(Self::Always),
            "first" => Some(Self::First),
            "never" => Some(Self::Never),
            _ => None,
        }
    }

    fn within(&self, (): &Self::Bounds) -> bool {
        true
    }

    fn show(&self) -> String {
        match self {
            Self::Always => "always".into(),
            Self::First => "first".into(),
            Self::Never => "never".into(),
        }
    }
}
