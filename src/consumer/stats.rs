//! State, statistics and events of a consumer.

use std::{fmt, sync::Arc, time::Duration};

use actix::{Message, MessageResponse};
use bytes::Bytes;
use serde::Serialize;

use super::drain::DrainReport;
use crate::{
    error::ConnectionError,
    link::seconds,
    protocol::{MessageId, ServerError},
};

/// What a consumer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, MessageResponse, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConsumerState {
    /// It is subscribed at no nsqd: it connects, or it has no address.
    Connecting,
    /// It is subscribed at one nsqd at least.
    Subscribed,
    /// It requests no messages: [`Pause`](super::Pause) was sent, or `max_in_flight` is 0.
    Paused,
    /// It requests no messages: the handler does not exist any more.
    HandlerGone,
    /// It requests no messages, or one at a time: handlers have failed.
    BackingOff,
    /// A [`Drain`](super::Drain) is under way.
    Draining,
    /// A [`Drain`](super::Drain) has ended.
    Drained,
}

/// Returns the state of a consumer.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "ConsumerState")]
pub struct GetState;

/// Returns the statistics of a consumer.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Stats")]
pub struct GetStats;

/// Returns whether the handler should answer the messages that it has collected: one connection has
/// delivered nearly all that it may, so that a batch would hardly grow.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "bool")]
pub struct IsStarved;

/// What has happened to messages since the consumer was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Messages received, redeliveries included.
    pub received: u64,
    /// Messages passed to the handler or to the dead-letter recipient.
    pub started: u64,
    /// FINs written for messages within their deadlines.
    pub finished: u64,
    /// REQs written for messages that handlers requeued, dropped or did not end in time.
    pub requeued: u64,
    /// Of the requeued: dropped without an answer, for instance because of a panic.
    pub dropped: u64,
    /// Of the requeued: not ended within `handler_timeout`.
    pub handler_timeouts: u64,
    /// REQs written for messages that no handler had answered: the consumer was drained, an nsqd
    /// was removed, or the handler was gone.
    pub returned: u64,
    /// TOUCHes written.
    pub touched: u64,
    /// Messages whose deadline passed before a handler had started them.
    pub expired: u64,
    /// Messages whose deadline passed while a handler had them.
    pub timed_out: u64,
    /// Answers after the deadline. Of these only FINs are written.
    pub late: u64,
    /// Answers that could not be written: the connection was lost.
    pub unwritten: u64,
    /// Redeliveries of a message that a handler had; its answer answers them.
    pub attached: u64,
    /// Redeliveries that were finished at once, because the message was finished too late before.
    pub finished_again: u64,
    /// Redeliveries on a new connection while a handler had the message from the lost one.
    pub redelivered_elsewhere: u64,
    /// Messages that exceeded `max_attempts`.
    pub dead_letters: u64,
    /// `E_FIN_FAILED`, `E_REQ_FAILED` and `E_TOUCH_FAILED` received.
    pub answers_failed: u64,
}

/// The statistics of a consumer.
#[derive(Debug, Clone, MessageResponse, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// What the consumer does.
    pub state: ConsumerState,
    /// What has happened to messages.
    #[serde(flatten)]
    pub counters: Counters,
    /// Messages that wait for a handler.
    pub waiting: usize,
    /// Messages that the handler has, those whose deadline has passed included.
    pub with_handlers: usize,
    /// The nsqds.
    pub nsqds: Vec<NsqdStats>,
}

/// One nsqd of a consumer.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct NsqdStats {
    /// The address, as it was configured.
    pub address: Arc<str>,
    /// Whether the consumer is subscribed there.
    pub is_subscribed: bool,
    /// The RDY that was written last.
    pub rdy: u32,
    /// Messages received there, not answered and not expired.
    pub in_flight: usize,
    /// Time since the last message of the connection.
    #[serde(rename = "last_message_seconds", serialize_with = "optional_seconds")]
    pub last_message: Option<Duration>,
    /// Connections made.
    pub connects: u64,
    /// Connections lost or replaced.
    pub disconnects: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Why there is no connection, or why the one before was lost.
    pub last_error: Option<ConnectionError>,
}

fn optional_seconds<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

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
    /// consumer requests no messages until [`Resume`](super::Resume).
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
