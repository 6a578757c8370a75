//! Why an nsqlookupd gave no usable answer, or was not added.

use std::{sync::Arc, time::Duration};

use actix::MailboxError;
use serde::{Serialize, Serializer};

use super::{ConfigError, ConnectionError};

/// Why an nsqlookupd gave no usable answer.
///
/// `Serialize` writes the text.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Connecting failed, or the connection broke.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The answer was not complete in time.
    #[error("no complete answer within lookupd_poll_timeout ({after:?})")]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The connection ended before the answer was complete.
    #[error("the connection was closed before the answer was complete")]
    Incomplete,
    /// The answer is not HTTP.
    #[error("the answer is not HTTP: {problem}")]
    NotHttp {
        /// What is wrong with it.
        problem: String,
    },
    /// The address is that of nsqd's TCP port.
    #[error("an nsqd answered: use nsqlookupd's HTTP port (usually 4161), not nsqd's TCP port")]
    NsqdTcpPort,
    /// The address is that of nsqlookupd's TCP port.
    #[error("this is nsqlookupd's TCP port (usually 4160): use its HTTP port (usually 4161)")]
    LookupdTcpPort,
    /// The server does not know the path, as nsqd's HTTP port does not.
    #[error(
        "the server does not know the path: this may be nsqd's HTTP port (usually 4151) instead of \
         nsqlookupd's (usually 4161), or a wrong path"
    )]
    NotFound,
    /// The server answered with a redirect, which is not followed.
    #[error("redirected ({status}) to {location}: use that address")]
    Redirect {
        /// The HTTP status.
        status: u16,
        /// Where the server redirects to, without its query.
        location: String,
    },
    /// The server answered with another status than 200.
    #[error("HTTP status {status}{text}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// Empty, or nsqlookupd's message in parentheses.
        text: String,
    },
    /// The body is not what nsqlookupd sends.
    #[error("the answer is not one of nsqlookupd: {problem}")]
    Body {
        /// What is wrong with it.
        problem: String,
    },
    /// The answer is too large.
    #[error("the answer exceeds {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// `lookupd_authorization` is set, but there is no secret that can be sent.
    #[error("lookupd_authorization is set, but {problem}")]
    Secret {
        /// What is wrong with the secret.
        problem: String,
    },
    /// There is no address of an nsqlookupd.
    #[error("there is no address of an nsqlookupd")]
    NoAddress,
}

impl Serialize for LookupError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why [`AddLookupd`](crate::lookup::AddLookupd) did not add an nsqlookupd.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AddLookupdError {
    /// The address is invalid.
    #[error(transparent)]
    Address(#[from] ConfigError),
    /// A drain has begun: nothing is discovered any more.
    #[error("draining or drained: nothing is discovered any more")]
    Drained,
    /// The request's own timeout ([`Request::timeout`](actix::dev::Request::timeout)) passed first.
    /// The nsqlookupd may be added later.
    #[error("the request's own timeout passed before the actor replied")]
    RequestTimeout,
    /// The actor has stopped.
    #[error("the actor has stopped")]
    Closed,
}

impl From<MailboxError> for AddLookupdError {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Closed => Self::Closed,
            MailboxError::Timeout => Self::RequestTimeout,
        }
    }
}

impl From<Arc<std::io::Error>> for LookupError {
    fn from(error: Arc<std::io::Error>) -> Self {
        Self::Connection(ConnectionError::Io(error))
    }
}
