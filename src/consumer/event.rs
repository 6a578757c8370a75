//! Events of a consumer.

use std::{fmt, sync::Arc, time::Duration};

use actix::Message;
use bytes::Bytes;
use serde::Serialize;

use super::{drain::DrainReport, stats::ConsumerState};
use crate::{
    link::{Event, seconds},
    protocol::{MessageId, ServerError},
};

/// A change of a consumer, for those who send
/// [`SubscribeEvents<ConsumerEvent>`](crate::SubscribeEvents). Changes of its connections are
/// [`ConnectionEvent`](crate::ConnectionEvent)s.
#[derive(Debug, Clone, Message, Serialize)]
#[rtype(result = "()")]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConsumerEvent {
    /// The first event of a subscriber: what the consumer does.
    #[non_exhaustive]
    State {
        /// What it does.
        state: ConsumerState,
    },
    /// nsqd has accepted the subscription.
    #[non_exhaustive]
    Subscribed {
        /// Address of nsqd.
        address: Arc<str>,
    },
    /// A failure, or a success after failures: the consumer requests nothing for a time, and then
    /// one message.
    #[non_exhaustive]
    BackingOff {
        /// Successes that are needed before the consumer requests as much as before.
        level: u32,
        /// Time without messages.
        #[serde(rename = "delay_seconds", serialize_with = "seconds")]
        delay: Duration,
    },
    /// The handlers succeed again: the consumer requests as much as before the failures.
    BackoffEnded,
    /// A message exceeded `max_attempts`, there is no recipient of dead letters, and the message
    /// was finished.
    #[non_exhaustive]
    Discarded {
        /// Address of nsqd.
        address: Arc<str>,
        /// The message.
        #[serde(serialize_with = "as_text")]
        id: MessageId,
        /// Number of its deliveries.
        attempts: u16,
        /// Its body.
        #[serde(skip)]
        body: Bytes,
    },
    /// nsqd rejected an answer (`E_FIN_FAILED`, `E_REQ_FAILED` or `E_TOUCH_FAILED`): the message
    /// had timed out, or its channel was emptied.
    #[non_exhaustive]
    AnswerFailed {
        /// Address of nsqd.
        address: Arc<str>,
        /// nsqd's error, with the id of the message.
        error: ServerError,
    },
    /// The handler does not exist any more: its actor has stopped, or the stream was dropped. The
    /// consumer requests no more messages: start another one, with a handler that exists.
    HandlerGone,
    /// A [`Drain`](super::Drain) has begun.
    Draining,
    /// A [`Drain`](super::Drain) has ended. The last event of a consumer.
    #[non_exhaustive]
    Drained {
        /// What became of the messages.
        report: DrainReport,
    },
}

impl Event for ConsumerEvent {
    fn body_size(&self) -> usize {
        match self {
            Self::Discarded { body, .. } => body.len(),
            _ => 0,
        }
    }
}

fn as_text<S: serde::Serializer>(id: &MessageId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

impl fmt::Display for ConsumerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State { state } => write!(f, "the consumer is {state:?}"),
            Self::Subscribed { address } => write!(f, "{address}: subscribed"),
            Self::BackingOff { level, delay } => {
                write!(f, "backoff level {level}: no messages for {delay:?}")
            }
            Self::BackoffEnded => f.write_str("backoff ended"),
            Self::Discarded {
                address,
                id,
                attempts,
                ..
            } => write!(
                f,
                "{address}: discarded message {id} after {attempts} attempts"
            ),
            Self::AnswerFailed { address, error } => write!(f, "{address}: {error}"),
            Self::HandlerGone => f.write_str("the handler is gone; paused"),
            Self::Draining => f.write_str("draining"),
            Self::Drained { report } => write!(f, "drained: {report}"),
        }
    }
}
