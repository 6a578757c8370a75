//! A record of the input, and why it was not published.

use std::fmt;

use actix_nsq::{Delivery, ErrorScope, PublishError, bytes::Bytes};

/// A piece of the input to be published as one message.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Number in the input, from 0.
    pub(crate) number: u64,
    pub(crate) body: Result<Bytes, Invalid>,
}

/// Records that were read together, at least one.
pub(crate) type Chunk = Vec<Record>;

impl Record {
    /// Size of the body in bytes; 0 if there is none to publish.
    pub(crate) fn size(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }
}

/// Why a record is not sent to any nsqd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalid {
    Empty,
    /// Its body is not kept: it may have no end.
    TooLarge {
        max_publish_size: usize,
    },
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty record: nsqd rejects messages without a body"),
            Self::TooLarge { max_publish_size } => write!(
                f,
                "record exceeds max_publish_size ({max_publish_size} bytes); check --delimiter, or \
                 raise nsqd's --max-msg-size and then max_publish_size"
            ),
        }
    }
}

/// Why a record was not published, or may not have been.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was not sent.
    Invalid(Invalid),
    /// The producer or nsqd did not take it.
    Publish(PublishError),
}

impl Failure {
    pub(crate) fn delivery(&self) -> Delivery {
        match self {
            Self::Invalid(_) => Delivery::NotWritten,
            Self::Publish(error) => error.delivery(),
        }
    }

    /// Whether the record itself is the reason, so that it can never succeed.
    pub(crate) fn is_invalid_record(&self) -> bool {
        match self {
            Self::Invalid(_) => true,
            Self::Publish(error) => {
                let is_certain = error.delivery() == Delivery::NotWritten;
                is_certain && !error.is_retryable() && error.scope() == ErrorScope::Message
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Publish(error) => error.fmt(f),
        }
    }
}
