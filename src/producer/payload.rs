//! The content of a publish: its bodies, their sizes and their encoding.

use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{
    config::ProducerConfig,
    error::Cause,
    protocol::{Command, ErrorCode, Outbox, ServerError, Topic, batch_size},
};

/// The bodies of a publish. It is moved several times, so that the most frequent kind is small.
#[derive(Clone)]
pub(crate) enum Payload {
    Publish(Bytes),
    Special(Box<Special>),
}

/// The bodies of a publish that is never batched.
#[derive(Clone)]
pub(crate) enum Special {
    Deferred { body: Bytes, delay_ms: u64 },
    Batch(Vec<Bytes>),
}

/// A payload of each kind, to match on.
#[derive(Clone, Copy)]
pub(crate) enum PayloadRef<'a> {
    Publish(&'a Bytes),
    Deferred { body: &'a Bytes, delay_ms: u64 },
    Batch(&'a [Bytes]),
}

impl Payload {
    pub(super) fn deferred(body: Bytes, delay_ms: u64) -> Self {
        Self::Special(Box::new(Special::Deferred { body, delay_ms }))
    }

    pub(super) fn batch(bodies: Vec<Bytes>) -> Self {
        Self::Special(Box::new(Special::Batch(bodies)))
    }

    #[inline]
    pub(super) fn as_ref(&self) -> PayloadRef<'_> {
        match self {
            Self::Publish(body) => PayloadRef::Publish(body),
            Self::Special(special) => match &**special {
                Special::Deferred { body, delay_ms } => PayloadRef::Deferred {
                    body,
                    delay_ms: *delay_ms,
                },
                Special::Batch(bodies) => PayloadRef::Batch(bodies),
            },
        }
    }

    /// Rejects what nsqd would reject by closing the connection.
    pub(super) fn check(&self, config: &ProducerConfig) -> Result<(), Cause> {
        let check = |body: &Bytes, index| match (body.len(), config.max_publish_size()) {
            (0, _) => Err(Cause::EmptyBody { index }),
            (size, limit) if size > limit => Err(Cause::TooLarge { index, size, limit }),
            _ => Ok(()),
        };
        match self.as_ref() {
            PayloadRef::Publish(body) => check(body, None),
            PayloadRef::Deferred { body, delay_ms } => {
                let (delay, limit) = (Duration::from_millis(delay_ms), config.max_req_timeout());
                if delay > limit {
                    return Err(Cause::DelayTooLong { delay, limit });
                }
                check(body, None)
            }
            PayloadRef::Batch(bodies) => {
                if bodies.is_empty() {
                    return Err(Cause::EmptyBatch);
                }
                for (index, body) in bodies.iter().enumerate() {
                    check(body, Some(index))?;
                }
                let (count, size) = (bodies.len(), batch_size(bodies));
                let limit = config.max_batch_size();
                if size > limit {
                    return Err(Cause::BatchTooLarge { count, size, limit });
                }
                Ok(())
            }
        }
    }

    /// Returns the bytes of all bodies, which count against `max_pending_bytes`.
    pub(super) fn size(&self) -> usize {
        match self.as_ref() {
            PayloadRef::Publish(body) | PayloadRef::Deferred { body, .. } => body.len(),
            PayloadRef::Batch(bodies) => bodies.iter().map(Bytes::len).sum(),
        }
    }

    pub(super) fn bodies(&self) -> &[Bytes] {
        match self.as_ref() {
            PayloadRef::Publish(body) | PayloadRef::Deferred { body, .. } => {
                std::slice::from_ref(body)
            }
            PayloadRef::Batch(bodies) => bodies,
        }
    }

    pub(super) fn delay_ms(&self) -> u64 {
        match self.as_ref() {
            PayloadRef::Deferred { delay_ms, .. } => delay_ms,
            PayloadRef::Publish(_) | PayloadRef::Batch(_) => 0,
        }
    }

    pub(super) fn encode(&self, topic: &Topic, out: &mut Outbox) {
        match self.as_ref() {
            PayloadRef::Publish(body) => Command::Publish { topic, body },
            PayloadRef::Deferred { body, delay_ms } => Command::DeferredPublish {
                topic,
                delay_ms,
                body,
            },
            PayloadRef::Batch(bodies) => Command::MultiPublish { topic, bodies },
        }
        .encode(out);
    }

    /// Returns the size that exceeds the limit named in an earlier error response, if one does.
    pub(super) fn exceeds(&self, error: &ServerError) -> Option<usize> {
        let limit = error.named_limit()?.limit;
        let above = |size: &usize| *size as u64 > limit;
        match (error.code(), self.as_ref()) {
            (
                ErrorCode::BadMessage,
                PayloadRef::Publish(body) | PayloadRef::Deferred { body, .. },
            ) => Some(body.len()).filter(above),
            (ErrorCode::BadMessage, PayloadRef::Batch(bodies)) => {
                bodies.iter().map(Bytes::len).max().filter(above)
            }
            (ErrorCode::BadBody, PayloadRef::Batch(bodies)) => {
                Some(batch_size(bodies)).filter(above)
            }
            _ => None,
        }
    }
}

/// Shows sizes only: bodies may contain secrets.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_ref() {
            PayloadRef::Publish(body) => write!(f, "PUB of {} bytes", body.len()),
            PayloadRef::Deferred { body, delay_ms } => {
                write!(f, "DPUB of {} bytes in {delay_ms} ms", body.len())
            }
            PayloadRef::Batch(bodies) => {
                write!(
                    f,
                    "MPUB of {} messages, {} bytes",
                    bodies.len(),
                    self.size()
                )
            }
        }
    }
}
