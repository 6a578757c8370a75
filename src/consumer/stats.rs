//! State and statistics of a consumer.

use std::{sync::Arc, time::Duration};

use actix::{Message, MessageResponse};
use serde::Serialize;

use crate::{
    error::ConnectionError,
    link::optional_seconds,
    metrics::Latency,
    protocol::{Channel, Topic},
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
    /// Messages whose body the [JSON handler](super::MessageHandler::json) could not read.
    pub unreadable: u64,
    /// `E_FIN_FAILED`, `E_REQ_FAILED` and `E_TOUCH_FAILED` received.
    pub answers_failed: u64,
}

/// The statistics of a consumer.
#[derive(Debug, Clone, MessageResponse, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The topic.
    pub topic: Topic,
    /// The channel.
    pub channel: Channel,
    /// What the consumer does.
    pub state: ConsumerState,
    /// What has happened to messages.
    #[serde(flatten)]
    pub counters: Counters,
    /// Messages that wait for a handler.
    pub waiting: usize,
    /// Messages that the handler has, those whose deadline has passed included.
    pub with_handlers: usize,
    /// Successes that are needed before the consumer requests as much as before failures; 0: it is
    /// not in backoff.
    pub backoff_level: u32,
    /// Times from the start of a message until its handler answered it, dropped it, or exceeded
    /// `handler_timeout`.
    pub handling: Latency,
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
