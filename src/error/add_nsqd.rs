//! Why an nsqd was not added.

use actix::MailboxError;

use super::ConfigError;

/// Why [`AddNsqd`](crate::consumer::AddNsqd) did not add an nsqd.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AddNsqdError {
    /// The address is invalid.
    #[error(transparent)]
    Address(#[from] ConfigError),
    /// A [`Drain`](crate::consumer::Drain) was sent: the consumer connects to no nsqd any more.
    #[error("draining or drained: the consumer connects to no nsqd any more")]
    Drained,
    /// The request's own timeout ([`Request::timeout`](actix::dev::Request::timeout)) passed first.
    /// The nsqd may be added later.
    #[error("the request's own timeout passed before the consumer replied")]
    RequestTimeout,
    /// The consumer has stopped.
    #[error("the consumer has stopped")]
    Closed,
}

impl From<MailboxError> for AddNsqdError {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Closed => Self::Closed,
            MailboxError::Timeout => Self::RequestTimeout,
        }
    }
}
