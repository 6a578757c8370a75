//! What can go wrong, and what is known of the message when it did.

mod connection;

use std::time::Duration;

use actix::MailboxError;

pub use self::connection::{ConnectionError, TlsFailure};
use crate::protocol::{ErrorCode, NameError, ServerError};

/// Whether nsqd may have stored what a [`PublishError`] speaks of.
///
/// "Stored" means what nsqd's `OK` means: the message is in its queue, which by default is memory. nsqd
/// promises no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// nsqd has not stored it and will not: publishing it again cannot make a duplicate.
    NotWritten,
    /// It was handed to the socket and no answer was read: nsqd may have stored it, or may yet.
    /// Publishing it again may make a duplicate.
    MaybeWritten,
    /// Some messages of a [`MultiPublish`](crate::MultiPublish) may be stored, all of them, or none.
    MaybePartial,
}

/// What kind of failure a [`PublishError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option is unknown, unreadable, out of its bounds, or contradicts another one.
    Config,
    /// A topic or channel name that nsqd would refuse.
    InvalidName,
    /// A message without a body, which nsqd refuses.
    EmptyBody,
    /// A batch without messages, which nsqd refuses.
    EmptyBatch,
    /// A body larger than `max_publish_size`, or a batch larger than `max_batch_size`.
    TooLarge,
    /// A delay longer than `max_req_timeout`.
    DelayTooLong,
    /// As many publishes, or bytes, are outstanding as `max_pending` or `max_pending_bytes` allow.
    Full,
    /// The publish was not answered within its time-out.
    Timeout,
    /// nsqd answered with this error: to this publish, or to one before it that tells what would become of this one.
    Refused(ErrorCode),
    /// The connection was lost after the publish was handed to it and before its answer was read.
    ConnectionLost,
    /// The producer was drained: it takes no more publishes, or its dead-line passed with this one unanswered.
    Drained,
    /// The producer is gone: its arbiter stopped, or it panicked.
    Closed,
}

/// Why a publish failed, or a configuration was refused.
///
/// [`delivery`](PublishError::delivery) is what a program decides by, [`kind`](PublishError::kind) tells the causes apart, and the
/// text, which never holds a body, is for people. It can be cloned, since one lost connection answers many publishes.
#[derive(Clone)]
pub struct PublishError {
    // One pointer, so that the `Result` that travels with every publish stays small where all goes well.
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

    /// Whether nsqd may have stored the message all the same.
    pub fn delivery(&self) -> Delivery {
        self.inner.delivery
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        match &self.inner.cause {
            Cause::Option { .. }
            | Cause::UnknownOption { .. }
            | Cause::MissingOption { .. }
            | Cause::FeatureOption { .. }
            | Cause::Address { .. }
            | Cause::Options { .. }
            | Cause::Meaningless { .. }
            | Cause::Incomplete { .. } => ErrorKind::Config,
            #[cfg(feature = "tls")]
            Cause::File { .. } | Cause::Tls { .. } => ErrorKind::Config,
            Cause::Name(_) => ErrorKind::InvalidName,
            Cause::EmptyBody { .. } => ErrorKind::EmptyBody,
            Cause::EmptyBatch => ErrorKind::EmptyBatch,
            Cause::TooLarge { .. } | Cause::BatchTooLarge { .. } => ErrorKind::TooLarge,
            Cause::DelayTooLong { .. } => ErrorKind::DelayTooLong,
            Cause::Full { .. } => ErrorKind::Full,
            Cause::Unsent { .. }
            | Cause::NotConnected { .. }
            | Cause::Unanswered { .. }
            | Cause::Mailbox => ErrorKind::Timeout,
            Cause::Refused(refusal)
            | Cause::Foreseen { refusal, .. }
            | Cause::Forbidden { refusal, .. } => ErrorKind::Refused(refusal.code()),
            Cause::Lost(_) => ErrorKind::ConnectionLost,
            Cause::Drained => ErrorKind::Drained,
            Cause::Closed => ErrorKind::Closed,
        }
    }

    /// Whether publishing the same message again may succeed. Whether it may make a duplicate is another question,
    /// which [`delivery`](PublishError::delivery) answers.
    pub fn is_retryable(&self) -> bool {
        match &self.inner.cause {
            Cause::Full { .. }
            | Cause::Unsent { .. }
            | Cause::NotConnected { .. }
            | Cause::Unanswered { .. }
            | Cause::Mailbox
            | Cause::Lost(_) => true,
            Cause::Refused(refusal) => matches!(
                refusal.code(),
                ErrorCode::PubFailed
                    | ErrorCode::MpubFailed
                    | ErrorCode::DpubFailed
                    | ErrorCode::AuthFailed
            ),
            _ => false,
        }
    }

    /// What nsqd said, where it was nsqd that refused.
    pub fn refusal(&self) -> Option<&ServerError> {
        match &self.inner.cause {
            Cause::Refused(refusal)
            | Cause::Foreseen { refusal, .. }
            | Cause::Forbidden { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// The loss of the connection behind this error, or the last one before its time-out.
    pub fn connection_error(&self) -> Option<&ConnectionError> {
        match &self.inner.cause {
            Cause::Lost(lost) => Some(lost),
            Cause::Unsent { last, .. } | Cause::NotConnected { last, .. } => last.as_ref(),
            _ => None,
        }
    }
}

impl std::fmt::Display for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.cause.fmt(f)
    }
}

impl std::fmt::Debug for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

/// So that `addr.send(publish).await??` gives one error type.
///
/// A closed mailbox never handled the message, since the producer answers whatever it did handle, even as it is
/// dropped: [`Delivery::NotWritten`]. The time-out is the caller's own, set by `.timeout()`: what became of the
/// message is unknown, [`Delivery::MaybeWritten`].
impl From<MailboxError> for PublishError {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Closed => Self::new(Cause::Closed, Delivery::NotWritten),
            MailboxError::Timeout => Self::new(Cause::Mailbox, Delivery::MaybeWritten),
        }
    }
}

/// What a [`PublishError`] says, and what [`ErrorKind`] it is.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Cause {
    #[error("option {name} = \"{value}\": must be {bounds}")]
    Option {
        name: &'static str,
        value: String,
        bounds: String,
    },
    #[error("unknown option \"{name}\"; known are: {known}")]
    UnknownOption { name: String, known: String },
    #[error(
        "option {name} of go-nsq is not there, or not yet; docs/options.md says what is in its place"
    )]
    MissingOption { name: String },
    #[error(
        "option {name} needs the feature `{feature}` of actix-nsq, which this program is built without"
    )]
    FeatureOption {
        name: &'static str,
        feature: &'static str,
    },
    #[cfg(feature = "tls")]
    #[error("option {name} = \"{path}\": {problem}")]
    File {
        name: &'static str,
        path: String,
        problem: String,
    },
    #[cfg(feature = "tls")]
    #[error("TLS: {problem}")]
    Tls { problem: String },
    #[error(
        "nsqd address \"{address}\": {problem}; host:port is needed, such as 127.0.0.1:4150 or [::1]:4150"
    )]
    Address {
        address: String,
        problem: &'static str,
    },
    #[error("option {name} = {value} contradicts {other} = {bound}: {rule}")]
    Options {
        name: &'static str,
        value: String,
        other: &'static str,
        bound: String,
        rule: &'static str,
    },
    #[error("option {name} contradicts {other} = {bound}: {rule}")]
    Meaningless {
        name: &'static str,
        other: &'static str,
        bound: &'static str,
        rule: &'static str,
    },
    #[error("option {name} needs {lacks}")]
    Incomplete {
        name: &'static str,
        lacks: &'static str,
    },
    #[error(transparent)]
    Name(NameError),
    #[error("empty body{}: nsqd refuses messages without one", member(.index))]
    EmptyBody { index: Option<usize> },
    #[error("empty batch: nsqd refuses batches without messages")]
    EmptyBatch,
    #[error("body of {size} bytes{} is larger than max_publish_size = {limit}", member(.index))]
    TooLarge {
        index: Option<usize>,
        size: usize,
        limit: usize,
    },
    #[error(
        "batch of {count} messages takes {size} bytes on the wire, more than max_batch_size = {limit}"
    )]
    BatchTooLarge {
        count: usize,
        size: usize,
        limit: usize,
    },
    #[error("delay of {delay:?} is longer than max_req_timeout = {limit:?}")]
    DelayTooLong { delay: Duration, limit: Duration },
    #[error("{held} {unit} are outstanding and {size} more would exceed {option} = {limit}")]
    Full {
        option: &'static str,
        unit: &'static str,
        held: usize,
        size: usize,
        limit: usize,
    },
    #[error("not sent within {after:?}{}", last_failure(.last))]
    Unsent {
        after: Duration,
        #[source]
        last: Option<ConnectionError>,
    },
    #[error("not connected within {after:?}{}", last_failure(.last))]
    NotConnected {
        after: Duration,
        #[source]
        last: Option<ConnectionError>,
    },
    #[error("sent, but not answered by nsqd within {after:?} in all")]
    Unanswered { after: Duration },
    #[error("the caller's own time-out passed before the producer answered")]
    Mailbox,
    #[error("nsqd refused: {}", with_advice(.0))]
    Refused(#[source] ServerError),
    #[error("{size} bytes are more than nsqd takes, as it said of an earlier one: {refusal}")]
    Foreseen {
        size: usize,
        #[source]
        refusal: ServerError,
    },
    #[error("nsqd refused this topic within the last {within:?}: {refusal}")]
    Forbidden {
        within: Duration,
        #[source]
        refusal: ServerError,
    },
    #[error("sent, but the connection was lost before nsqd answered: {0}")]
    Lost(#[source] ConnectionError),
    #[error("the producer is drained")]
    Drained,
    #[error("the producer is gone")]
    Closed,
}

fn member(index: &Option<usize>) -> String {
    index
        .map(|index| format!(" at place {index} of the batch"))
        .unwrap_or_default()
}

fn with_advice(refusal: &ServerError) -> String {
    match refusal.is_tls_required() {
        true => format!("{refusal}; set tls_v1"),
        false => refusal.to_string(),
    }
}

fn last_failure(last: &Option<ConnectionError>) -> String {
    last.as_ref()
        .map(|last| format!("; the last failure of the connection: {last}"))
        .unwrap_or_default()
}
