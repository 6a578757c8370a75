//! Why waiting for a connection failed.

use std::time::Duration;

use actix::MailboxError;

use super::{Cause, ConnectionError, Delivery, PublishError, publish::last_error};

/// Why a [`WaitConnected`](crate::WaitConnected) or a
/// [`WaitSubscribed`](crate::consumer::WaitSubscribed) failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// There was no connection, or no subscription, within the timeout.
    #[error("not connected within {after:?}{}", last_error(.last))]
    Timeout {
        /// The timeout.
        after: Duration,
        /// The last failure of a connection, if there was one.
        #[source]
        last: Option<ConnectionError>,
    },
    /// The request's own timeout ([`Request::timeout`](actix::dev::Request::timeout)) passed first.
    #[error("the request's own timeout passed before the actor replied")]
    RequestTimeout,
    /// A [`Drain`](crate::producer::Drain) was sent: the actor accepts nothing any more.
    #[error("draining or drained")]
    Drained,
    /// The actor has stopped.
    #[error("the actor has stopped")]
    Closed,
}

impl From<MailboxError> for WaitError {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Closed => Self::Closed,
            MailboxError::Timeout => Self::RequestTimeout,
        }
    }
}

/// For programs that wait and publish in one function. Waiting writes nothing:
/// [`Delivery::NotWritten`].
impl From<WaitError> for PublishError {
    fn from(error: WaitError) -> Self {
        let cause = match error {
            WaitError::Timeout { after, last } => Cause::NotConnected { after, last },
            WaitError::RequestTimeout => Cause::RequestTimeout,
            WaitError::Drained => Cause::Drained,
            WaitError::Closed => Cause::Closed,
        };
        Self::new(cause, Delivery::NotWritten)
    }
}
