//! Why a publish failed.

use std::{fmt, sync::Arc, time::Duration};

use actix::MailboxError;
use serde::{Serialize, Serializer};

use super::{ConnectionError, Delivery};
use crate::protocol::{ErrorCode, NameError, ServerError};

/// The kind of failure of a [`PublishError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The topic or channel name is invalid.
    InvalidName,
    /// A message has no body; nsqd rejects such messages.
    EmptyBody,
    /// A batch has no messages; nsqd rejects such batches.
    EmptyBatch,
    /// A body exceeds `max_publish_size`, or a batch exceeds `max_batch_size`.
    TooLarge,
    /// A delay exceeds `max_req_timeout`.
    DelayTooLong,
    /// A value cannot be serialized as JSON.
    Serialize,
    /// The queue is full: as many publishes or bytes are outstanding as `max_pending` or
    /// `max_pending_bytes` allow.
    Full,
    /// There was no response within the time allowed.
    Timeout,
    /// nsqd rejected the publish with this error code, or rejected an earlier one in a way that
    /// applies to this one.
    Rejected(ErrorCode),
    /// There is no connection, and the option `wait_for_connection` says not to wait for one.
    NotConnected,
    /// The connection was lost after the publish was written and before the response was read.
    ConnectionLost,
    /// The producer was drained. It accepts no publishes, or the drain's timeout passed before the
    /// response.
    Drained,
    /// The producer has stopped: its arbiter stopped, or it panicked.
    Closed,
}

impl ErrorKind {
    /// Returns the name in snake case, such as `connection_lost`, or nsqd's code for
    /// [`Rejected`](Self::Rejected), such as `E_BAD_TOPIC`. `Display` and `Serialize` use the same
    /// text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidName => "invalid_name",
            Self::EmptyBody => "empty_body",
            Self::EmptyBatch => "empty_batch",
            Self::TooLarge => "too_large",
            Self::DelayTooLong => "delay_too_long",
            Self::Serialize => "serialize",
            Self::Full => "full",
            Self::Timeout => "timeout",
            Self::Rejected(code) => code.as_str(),
            Self::NotConnected => "not_connected",
            Self::ConnectionLost => "connection_lost",
            Self::Drained => "drained",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a failure concerns, and so what else is likely to fail in the same way.
///
/// With several producers, a failure of scope [`Server`](Self::Server) or [`Client`](Self::Client)
/// is a reason to try another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorScope {
    /// This message: it is empty, too large, delayed for too long, or not serializable.
    Message,
    /// All messages of this topic: its name is invalid, or publishing to it is not authorized.
    Topic,
    /// This nsqd: the connection was lost, a timeout passed, or nsqd reported a failure of its own.
    Server,
    /// This producer: its queue is full, it was drained, or it has stopped.
    Client,
}

impl ErrorScope {
    /// Returns the name in snake case, such as `message`. `Display` and `Serialize` use the same
    /// text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Topic => "topic",
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for ErrorScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a publish failed.
///
/// Decide by [`delivery`](PublishError::delivery) whether a retry may create a duplicate, and by
/// [`is_retryable`](PublishError::is_retryable) whether it may succeed;
/// [`kind`](PublishError::kind) and [`scope`](PublishError::scope) classify the failure. The text
/// is for people and never contains a body. Cloning is supported, because one lost connection fails
/// many publishes.
///
/// [`testing`](crate::testing) creates errors of any kind for tests.
#[derive(Clone)]
pub struct PublishError {
    // One pointer keeps the `Result` of every publish small.
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    cause: Cause,
    delivery: Delivery,
}

impl PublishError {
    pub(crate) fn new(cause: Cause, delivery: Delivery) -> Self {
        Self {
            inner: Box::new(Inner { cause, delivery }),
        }
    }

    /// Returns whether nsqd may have stored the message nevertheless.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.inner.delivery
    }

    /// Returns the kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.inner.cause {
            Cause::Name(_) => ErrorKind::InvalidName,
            Cause::EmptyBody { .. } => ErrorKind::EmptyBody,
            Cause::EmptyBatch => ErrorKind::EmptyBatch,
            Cause::TooLarge { .. } | Cause::BatchTooLarge { .. } => ErrorKind::TooLarge,
            Cause::DelayTooLong { .. } => ErrorKind::DelayTooLong,
            Cause::Serialize(_) => ErrorKind::Serialize,
            Cause::Full { .. } => ErrorKind::Full,
            Cause::NotSent { .. }
            | Cause::NotConnected { .. }
            | Cause::Unanswered { .. }
            | Cause::RequestTimeout => ErrorKind::Timeout,
            Cause::Rejected(error)
            | Cause::ExceedsServerLimit { error, .. }
            | Cause::TopicDenied { error, .. } => ErrorKind::Rejected(error.code()),
            Cause::NoConnection { .. } => ErrorKind::NotConnected,
            Cause::ConnectionLost(_) => ErrorKind::ConnectionLost,
            Cause::Drained => ErrorKind::Drained,
            Cause::Closed => ErrorKind::Closed,
        }
    }

    /// Returns what the failure concerns: the message, its topic, nsqd, or this producer.
    #[must_use]
    pub fn scope(&self) -> ErrorScope {
        match &self.inner.cause {
            Cause::EmptyBody { .. }
            | Cause::EmptyBatch
            | Cause::TooLarge { .. }
            | Cause::BatchTooLarge { .. }
            | Cause::DelayTooLong { .. }
            | Cause::Serialize(_)
            | Cause::ExceedsServerLimit { .. } => ErrorScope::Message,
            Cause::Name(_) | Cause::TopicDenied { .. } => ErrorScope::Topic,
            Cause::NotSent { .. }
            | Cause::NotConnected { .. }
            | Cause::Unanswered { .. }
            | Cause::RequestTimeout
            | Cause::NoConnection { .. }
            | Cause::ConnectionLost(_) => ErrorScope::Server,
            Cause::Full { .. } | Cause::Drained | Cause::Closed => ErrorScope::Client,
            Cause::Rejected(error) => match error.code() {
                ErrorCode::BadTopic | ErrorCode::Unauthorized => ErrorScope::Topic,
                ErrorCode::BadMessage | ErrorCode::BadBody if !error.is_slow_upload() => {
                    ErrorScope::Message
                }
                // A delay above nsqd's --max-req-timeout.
                ErrorCode::Invalid if error.text().contains(" out of range ") => {
                    ErrorScope::Message
                }
                _ => ErrorScope::Server,
            },
        }
    }

    /// Returns whether publishing the same message again may succeed. Whether it may create a
    /// duplicate is a separate question, see [`delivery`](PublishError::delivery).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match &self.inner.cause {
            Cause::Full { .. }
            | Cause::NotSent { .. }
            | Cause::NotConnected { .. }
            | Cause::Unanswered { .. }
            | Cause::RequestTimeout
            | Cause::NoConnection { .. }
            | Cause::ConnectionLost(_) => true,
            Cause::Rejected(error) => matches!(
                error.code(),
                ErrorCode::PubFailed
                    | ErrorCode::MpubFailed
                    | ErrorCode::DpubFailed
                    | ErrorCode::AuthFailed
            ),
            _ => false,
        }
    }

    /// Returns the HTTP status with which a web server reports this error truthfully:
    ///
    /// | error | status |
    /// |---|---|
    /// | `InvalidName`, `EmptyBody`, `EmptyBatch`, `DelayTooLong`, `Serialize` | 400 |
    /// | `TooLarge` | 413 |
    /// | `NotWritten`, retryable or of scope `Client`: the request may be repeated | 503 |
    /// | `NotWritten` otherwise: nsqd has unexpected limits or permissions | 500 |
    /// | `MaybeWritten` by `Timeout` | 504 |
    /// | `MaybeWritten`, `MaybePartial` otherwise | 502 |
    ///
    /// An ambiguous result is never 503, after which clients and proxies retry without asking.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match (self.kind(), self.delivery()) {
            (
                ErrorKind::InvalidName
                | ErrorKind::EmptyBody
                | ErrorKind::EmptyBatch
                | ErrorKind::DelayTooLong
                | ErrorKind::Serialize,
                _,
            ) => 400,
            (ErrorKind::TooLarge, _) => 413,
            (ErrorKind::Timeout, Delivery::MaybeWritten) => 504,
            (_, Delivery::MaybeWritten | Delivery::MaybePartial) => 502,
            _ if self.scope() == ErrorScope::Client || self.is_retryable() => 503,
            _ => 500,
        }
    }

    /// Returns nsqd's error response, if nsqd rejected the publish.
    #[must_use]
    pub fn server_error(&self) -> Option<&ServerError> {
        match &self.inner.cause {
            Cause::Rejected(error)
            | Cause::ExceedsServerLimit { error, .. }
            | Cause::TopicDenied { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Returns the connection failure that caused this error, or the last one before the timeout or
    /// the publish.
    #[must_use]
    pub fn connection_error(&self) -> Option<&ConnectionError> {
        match &self.inner.cause {
            Cause::ConnectionLost(error) => Some(error),
            Cause::NotSent { last, .. }
            | Cause::NotConnected { last, .. }
            | Cause::NoConnection { last } => last.as_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.cause.fmt(f)
    }
}

impl fmt::Debug for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishError")
            .field("kind", &self.kind())
            .field("delivery", &self.delivery())
            .field("text", &format_args!("{self}"))
            .finish()
    }
}

impl std::error::Error for PublishError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.inner.cause)
    }
}

impl From<NameError> for PublishError {
    fn from(name: NameError) -> Self {
        Self::new(Cause::Name(name), Delivery::NotWritten)
    }
}

/// Makes `addr.send(publish).await??` yield one error type.
///
/// A closed mailbox never handled the message, because the producer answers everything that it has
/// handled, even when it is dropped: [`Delivery::NotWritten`]. `Timeout` is the request's own
/// (`.timeout()` on the request), so the outcome is ambiguous: [`Delivery::MaybeWritten`].
impl From<MailboxError> for PublishError {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Closed => Self::new(Cause::Closed, Delivery::NotWritten),
            MailboxError::Timeout => Self::new(Cause::RequestTimeout, Delivery::MaybeWritten),
        }
    }
}

/// The causes of a [`PublishError`]: its text, [`ErrorKind`] and [`ErrorScope`] follow from it.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Cause {
    #[error(transparent)]
    Name(NameError),
    #[error("empty body{}: nsqd rejects messages without a body", in_batch(.index))]
    EmptyBody { index: Option<usize> },
    #[error("empty batch: nsqd rejects batches without messages")]
    EmptyBatch,
    #[error("body of {size} bytes{} exceeds max_publish_size ({limit})", in_batch(.index))]
    TooLarge {
        index: Option<usize>,
        size: usize,
        limit: usize,
    },
    #[error(
        "batch of {count} messages needs {size} bytes, which exceeds max_batch_size ({limit}); \
         split the batch"
    )]
    BatchTooLarge {
        count: usize,
        size: usize,
        limit: usize,
    },
    #[error("delay of {delay:?} exceeds max_req_timeout ({limit:?})")]
    DelayTooLong { delay: Duration, limit: Duration },
    #[error("cannot serialize the message as JSON: {0}")]
    Serialize(#[source] Arc<serde_json::Error>),
    #[error(
        "queue is full: {held} {unit} are outstanding and {size} more would exceed {option} \
         ({limit})"
    )]
    Full {
        option: &'static str,
        unit: &'static str,
        held: usize,
        size: usize,
        limit: usize,
    },
    #[error("not sent within {after:?}{}", last_error(.last))]
    NotSent {
        after: Duration,
        #[source]
        last: Option<ConnectionError>,
    },
    #[error("not connected within {after:?}{}", last_error(.last))]
    NotConnected {
        after: Duration,
        #[source]
        last: Option<ConnectionError>,
    },
    #[error("sent, but nsqd did not respond within {after:?}")]
    Unanswered { after: Duration },
    #[error("the request's own timeout passed before the producer replied")]
    RequestTimeout,
    #[error("rejected by nsqd: {}", with_advice(.0))]
    Rejected(#[source] ServerError),
    #[error("{size} bytes exceed the limit that nsqd reported earlier: {error}")]
    ExceedsServerLimit {
        size: usize,
        #[source]
        error: ServerError,
    },
    #[error("nsqd denied this topic within the last {within:?}: {error}")]
    TopicDenied {
        within: Duration,
        #[source]
        error: ServerError,
    },
    #[error("not connected{}", last_error(.last))]
    NoConnection {
        #[source]
        last: Option<ConnectionError>,
    },
    #[error("sent, but the connection was lost before nsqd responded: {0}")]
    ConnectionLost(#[source] ConnectionError),
    #[error("the producer was drained")]
    Drained,
    #[error("the producer has stopped")]
    Closed,
}

fn in_batch(index: &Option<usize>) -> String {
    index
        .map(|index| format!(" at index {index} of the batch"))
        .unwrap_or_default()
}

fn with_advice(error: &ServerError) -> String {
    if error.is_tls_required() {
        format!("{error}; set tls_v1")
    } else {
        error.to_string()
    }
}

pub(super) fn last_error(last: &Option<ConnectionError>) -> String {
    last.as_ref()
        .map(|last| format!("; last connection error: {last}"))
        .unwrap_or_default()
}
