//! What can be observed of a producer: events, its state, and its statistics.

use std::{fmt, sync::Arc};

use actix::{Message, MessageResponse};
use serde::Serialize;

use super::drain::DrainReport;
use crate::{
    error::{ConnectionError, Delivery},
    link::Event,
    metrics::Latency,
    protocol::Topic,
};

/// A change of a producer. Each event names the address of nsqd, so that one recipient can serve
/// several producers.
///
/// The producer handles [`SubscribeEvents<ProducerEvent>`](crate::SubscribeEvents); changes of its
/// connection are [`ConnectionEvent`](crate::ConnectionEvent)s.
#[derive(Debug, Clone, Message, Serialize)]
#[rtype(result = "()")]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProducerEvent {
    /// The producer accepts publishes, connected or not. Only sent to a new subscriber.
    #[non_exhaustive]
    Accepting {
        /// Address of nsqd.
        address: Arc<str>,
    },
    /// A connection ended, and the publishes that were in flight on it are settled.
    #[non_exhaustive]
    Settled {
        /// Address of nsqd.
        address: Arc<str>,
        /// Publishes that are retried on the next connection: nsqd has certainly not executed them,
        /// or `retry_maybe_written` is on.
        requeued: usize,
        /// Publishes that nsqd may have stored.
        maybe_written: usize,
    },
    /// A [`Drain`](super::Drain) has begun: new publishes are rejected.
    #[non_exhaustive]
    Draining {
        /// Address of nsqd.
        address: Arc<str>,
    },
    /// The drain has ended: the producer holds no publish and no connection. The last event.
    #[non_exhaustive]
    Drained {
        /// Address of nsqd.
        address: Arc<str>,
        /// How the publishes that were outstanding when it began were answered.
        report: DrainReport,
    },
}

impl Event for ProducerEvent {}

impl ProducerEvent {
    /// Address of nsqd, as it was configured.
    pub fn address(&self) -> &str {
        match self {
            Self::Accepting { address }
            | Self::Settled { address, .. }
            | Self::Draining { address }
            | Self::Drained { address, .. } => address,
        }
    }
}

impl fmt::Display for ProducerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepting { address } => write!(f, "{address}: accepting publishes"),
            Self::Settled {
                address,
                requeued,
                maybe_written,
            } => write!(
                f,
                "{address}: connection settled: {requeued} requeued, {maybe_written} maybe written"
            ),
            Self::Draining { address } => write!(f, "{address}: draining"),
            Self::Drained { address, report } => write!(f, "{address}: drained: {report}"),
        }
    }
}

/// State of a producer, the result of [`GetState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, MessageResponse, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProducerState {
    /// It connects at the first publish (`connect_at_start` is off).
    Idle,
    /// It connects, or is in the handshake.
    Connecting,
    /// It is connected; publishes flow.
    Connected,
    /// The connection is being closed, and the publishes in flight on it are being settled.
    Disconnecting,
    /// It waits before the next attempt to connect.
    BackingOff,
    /// It drains: new publishes are rejected.
    Draining,
    /// It is drained, and holds no publish and no connection.
    Drained,
}

impl fmt::Display for ProducerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Disconnecting => "disconnecting",
            Self::BackingOff => "backing off",
            Self::Draining => "draining",
            Self::Drained => "drained",
        })
    }
}

/// Requests the [`ProducerState`], for example for a readiness probe.
///
/// ```no_run
/// # use actix::Addr;
/// use actix_nsq::{Producer, ProducerState, producer::GetState};
///
/// # async fn example(producer: Addr<Producer>) -> Result<(), actix::MailboxError> {
/// let is_ready = producer.send(GetState).await? == ProducerState::Connected;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "ProducerState")]
pub struct GetState;

/// Requests the [`Stats`].
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Stats")]
pub struct GetStats;

/// Statistics of a producer since it started, and what it holds now.
///
/// `published` is always the sum of `ok`, `not_written`, `maybe_written`, `maybe_partial`, and the
/// publishes without a result yet. Those are `queued` and `in_flight`, except publishes that timed
/// out in flight: they have their result, and are counted in `in_flight` until nsqd responds.
#[derive(Debug, Clone, MessageResponse, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Address of nsqd, as it was configured.
    pub address: Arc<str>,
    /// Current state.
    pub state: ProducerState,
    /// Publishes received, whatever their result. A batch counts as one. A publish that waits for
    /// capacity counts when it is accepted or answered.
    pub published: u64,
    /// Results `Ok`.
    pub ok: u64,
    /// Results [`NotWritten`](crate::Delivery::NotWritten).
    pub not_written: u64,
    /// Results [`MaybeWritten`](crate::Delivery::MaybeWritten).
    pub maybe_written: u64,
    /// Results [`MaybePartial`](crate::Delivery::MaybePartial).
    pub maybe_partial: u64,
    /// Part of `not_written`: rejected by the producer before the queue, because they are invalid,
    /// because there is no connection and `wait_for_connection` says not to wait for one,
    /// because nsqd denied their topic a moment ago, or because the producer is draining.
    pub rejected: u64,
    /// Part of `not_written`: rejected because the queue was full.
    pub rejected_full: u64,
    /// Publishes that timed out.
    pub timed_out: u64,
    /// Publishes that were retried, counted when the retry is sent.
    pub requeued: u64,
    /// Publish commands handed to connections, retries included.
    pub commands: u64,
    /// Part of `commands`: automatic batches, of two publishes or more.
    pub batches: u64,
    /// Publishes in automatic batches; divided by `batches` it is the mean batch size.
    pub batched: u64,
    /// Connections made, the first one included.
    pub connects: u64,
    /// Connections lost or replaced.
    pub disconnects: u64,
    /// Bytes of commands that connections have accepted, before compression and encryption.
    pub bytes_written: u64,
    /// Publishes accepted and not handed to a connection.
    pub queued: usize,
    /// Bytes of their bodies.
    pub queued_bytes: usize,
    /// Publishes handed to the connection to which nsqd has not responded.
    pub in_flight: usize,
    /// Bytes of their bodies.
    pub in_flight_bytes: usize,
    /// Publishes of handles that wait for capacity; they are not accepted yet. Cancelled ones may
    /// count until those before them are accepted.
    pub waiting_for_capacity: usize,
    /// Times to `Ok` from acceptance, or from arrival for a publish that waited for capacity.
    pub latency: Latency,
    /// Why the last connection was lost or could not be made.
    pub last_error: Option<ConnectionError>,
    /// Results by topic, if the option `topic_stats` is set. Those of a pool's members are in
    /// [`PoolStats::topics`](crate::pool::PoolStats::topics).
    pub topics: Vec<TopicStats>,
}

/// Results of the accepted publishes of a topic. A batch counts as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TopicStats {
    /// The topic. `None`: all topics beyond the maximum of the option `topic_stats`.
    pub topic: Option<Topic>,
    /// Results `Ok`.
    pub ok: u64,
    /// Results [`NotWritten`](crate::Delivery::NotWritten).
    pub not_written: u64,
    /// Results [`MaybeWritten`](crate::Delivery::MaybeWritten).
    pub maybe_written: u64,
    /// Results [`MaybePartial`](crate::Delivery::MaybePartial).
    pub maybe_partial: u64,
}

impl TopicStats {
    pub(super) fn of(topic: Option<Topic>) -> Self {
        Self {
            topic,
            ok: 0,
            not_written: 0,
            maybe_written: 0,
            maybe_partial: 0,
        }
    }

    pub(super) fn count(&mut self, result: Result<(), Delivery>) {
        let count = match result {
            Ok(()) => &mut self.ok,
            Err(Delivery::NotWritten) => &mut self.not_written,
            Err(Delivery::MaybeWritten) => &mut self.maybe_written,
            Err(Delivery::MaybePartial) => &mut self.maybe_partial,
        };
        *count += 1;
    }

    pub(super) fn answered(&self) -> u64 {
        self.ok + self.not_written + self.maybe_written + self.maybe_partial
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            state,
            published,
            ok,
            not_written,
            maybe_written,
            maybe_partial,
            queued,
            in_flight,
            connects,
            ..
        } = self;
        write!(
            f,
            "{state}: {published} published, {ok} ok, {not_written} not written, \
             {maybe_written} maybe written, {maybe_partial} maybe partial, {queued} queued, \
             {in_flight} in flight; connections made: {connects}"
        )
    }
}
