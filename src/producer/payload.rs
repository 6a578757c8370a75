//! What a publish sends, and how much that is. Pure.

use bytes::Bytes;

use crate::protocol::{Command, ErrorCode, Outbox, ServerError, Topic};

/// What a publish sends.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Publish(Bytes),
    Deferred { body: Bytes, delay_ms: u64 },
    Batch(Vec<Bytes>),
}

impl Payload {
    /// The bytes of its bodies, which is what it holds of the memory budget.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Publish(body) | Self::Deferred { body, .. } => body.len(),
            Self::Batch(bodies) => bodies.iter().map(Bytes::len).sum(),
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

    /// Whether the nsqd that named a limit in this refusal would refuse this payload too.
    pub(super) fn exceeds(&self, refusal: &ServerError) -> bool {
        let Some(named) = refusal.named_limit() else {
            return false;
        };
        let above = |size: usize| size as u64 > named.limit;
        match (refusal.code(), self) {
            (ErrorCode::BadMessage, Self::Publish(body) | Self::Deferred { body, .. }) => {
                above(body.len())
            }
            (ErrorCode::BadMessage, Self::Batch(bodies)) => {
                bodies.iter().any(|body| above(body.len()))
            }
            (ErrorCode::BadBody, Self::Batch(bodies)) => above(batch_size(bodies)),
            _ => false,
        }
    }
}

/// The size of a batch as MPUB counts it: the count, and a length and a body for each message.
pub(crate) fn batch_size(bodies: &[Bytes]) -> usize {
    bodies.iter().fold(4, |size, body| {
        size.saturating_add(4).saturating_add(body.len())
    })
}
