//! Why an administrative request failed.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::ConnectionError;

/// Why a request of [`admin`](crate::admin) failed.
///
/// After [`Connection`](Self::Connection), [`Timeout`](Self::Timeout) and
/// [`Incomplete`](Self::Incomplete) the server may have executed the request, or may still do it.
/// Every request of `admin` can be repeated: a second one changes nothing more, except that
/// `empty_*` drops what arrived in between.
///
/// `Serialize` writes the text.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// Connecting failed, or the connection broke.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The answer was not complete in time.
    #[error("no complete answer within {after:?}")]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The connection ended before the answer was complete.
    #[error("the connection was closed before the answer was complete")]
    Incomplete,
    /// The server rejected the request.
    #[error("rejected with HTTP status {status}{}", in_parentheses(message))]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The server's code, such as `TOPIC_NOT_FOUND`, or the text of a failed `ping`. Empty for
        /// another text, which could repeat a secret of the address.
        message: String,
    },
    /// The address is that of a TCP port.
    #[error(
        "this is the TCP port of nsqd or nsqlookupd: use its HTTP port (usually 4151 of nsqd, \
         4161 of nsqlookupd)"
    )]
    TcpPort,
    /// The answer is not HTTP.
    #[error("the answer is not HTTP: {problem}")]
    NotHttp {
        /// What is wrong with it.
        problem: String,
    },
    /// The body is not what nsqd sends.
    #[error("the answer is not one of nsqd: {problem}")]
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
}

impl AdminError {
    /// Returns whether the server does not know the topic or the channel: a deletion had nothing to
    /// delete.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Rejected { status: 404, message }
                if matches!(message.as_str(), "TOPIC_NOT_FOUND" | "CHANNEL_NOT_FOUND")
        )
    }
}

fn in_parentheses(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(" ({message})"),
    }
}

impl Serialize for AdminError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
