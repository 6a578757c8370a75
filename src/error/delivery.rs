//! What is known about the message when a publish fails.

use std::fmt;

use serde::Serialize;

/// Whether nsqd may have stored the message of a failed publish.
///
/// "Stored" has the meaning of nsqd's `OK` response: the message is in nsqd's queue, which by
/// default is memory. nsqd does not promise more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// nsqd has not stored the message and will not. Publishing it again cannot create a duplicate;
    /// [`is_retryable`](crate::PublishError::is_retryable) says whether it may succeed.
    NotWritten,
    /// nsqd may have stored the message, or may still do so: no response was read that decides it.
    /// Publishing it again may create a duplicate.
    MaybeWritten,
    /// Some, all or none of the messages of a [`MultiPublish`](crate::MultiPublish) may be stored.
    MaybePartial,
}

impl Delivery {
    /// Returns the name in snake case, such as `not_written`. `Display` and `Serialize` use the
    /// same text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotWritten => "not_written",
            Self::MaybeWritten => "maybe_written",
            Self::MaybePartial => "maybe_partial",
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
