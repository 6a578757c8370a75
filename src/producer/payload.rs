//! The content of a publish: its bodies, their sizes and their encoding.

use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{
    config::ProducerConfig,
    error::Cause,
    protocol::{Command, ErrorCode, Outbox, ServerError, Topic, batch_size},
};

/// The bodies of a publish.
#[derive(Clone)]
pub(crate) enum Payload {
    Publish(Bytes),
    Deferred { body: Bytes, delay_ms: u64 },
    Batch(Vec<Bytes>),
}

impl Payload {
    /// Rejects what nsqd would reject by closing the connection.
    pub(super) fn check(&self, config: &ProducerConfig) -> Result<(), Cause> {
        let check = |body: &Bytes, index| match (body.len(), config.max_publish_size()) {
            (0, _) => Err(Cause::EmptyBody { index }),
            (size, limit) if size > limit => Err(Cause::TooLarge { index, size, limit }),
            _ => Ok(()),
        };
        match self {
            Self::Publish(body) => check(body, None),
            Self::Deferred { body, delay_ms } => {
                let (delay, limit) = (Duration::from_millis(*delay_ms), config.max_req_timeout());
                if delay > limit {
                    return Err(Cause::DelayTooLong { delay, limit });
                }
                check(body, None)
            }
            Self::Batch(bodies) => {
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
        match self {
            Self::Publish(body) | Self::Deferred { body, .. } => body.len(),
            Self::Batch(bodies) => bodies.iter().map(Bytes::len).sum(),
        }
    }

    pub(super) fn bodies(&self) -> &[Bytes] {
        match self {
            Self::Publish(body) | Self::Deferred { body, .. } => std::slice::from_ref(body),
            Self::Batch(bodies) => bodies,
        }
    }

    pub(super) fn delay_ms(&self) -> u64 {
        match self {
            Self::Deferred { delay_ms, .. } => *delay_ms,
            Self::Publish(_) | Self::Batch(_) => 0,
        }
    }

    pub(super) fn encode(&self, topic: &Topic, out: &mut Outbox) {
        match self {
            Self::Publish(body) => Command::Publish { topic, body },
            Self::Deferred { body, delay_ms } => Command::DeferredPublish {
                topic,
                delay_ms: *delay_ms,
                body,
            },
            Self::Batch(bodies) => Command::MultiPublish { topic, bodies },
        }
        .encode(out);
    }

    /// Returns the size that exceeds the limit named in an earlier error response, if one does.
    pub(super) fn exceeds(&self, error: &ServerError) -> Option<usize> {
        let limit = error.named_limit()?.limit;
        let above = |size: &usize| *size as u64 > limit;
        match (error.code(), self) {
            (ErrorCode::BadMessage, Self::Publish(body) | Self::Deferred { body, .. }) => {
                Some(body.len()).filter(above)
            }
            (ErrorCode::BadMessage, Self::Batch(bodies)) => {
                bodies.iter().map(Bytes::len).max().filter(above)
            }
            (ErrorCode::BadBody, Self::Batch(bodies)) => Some(batch_size(bodies)).filter(above),
            _ => None,
        }
    }
}

/// Shows sizes only: bodies may contain secrets.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(body) => write!(f, "PUB of {} bytes", body.len()),
            Self::Deferred { body, delay_ms } => {
                write!(f, "DPUB of {} bytes in {delay_ms} ms", body.len())
            }
            Self::Batch(bodies) => {
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
