//! What can be seen of a producer: events as they happen, its state and its counts on request.

use std::{sync::Arc, time::Duration};

use actix::{Context, Handler, Message, MessageResponse, Recipient};

use super::{
    DrainReport, Producer,
    drain::Draining,
    link::Link,
    queue::{Latency, Usage},
};
use crate::{
    error::ConnectionError,
    protocol::{AuthResponse, IdentifyResponse},
};

/// What happened to a producer's connection. Each event names the address of nsqd as it was configured, so that one
/// recipient can serve several producers.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// An attempt to connect begins.
    Connecting {
        /// nsqd's address.
        address: Arc<str>,
        /// Connections lost and attempts failed, one after the other, since a connection was a good one: the one that
        /// ended it counts too.
        failed: u32,
    },
    /// The handshake is done; publishes flow.
    Connected {
        /// nsqd's address.
        address: Arc<str>,
        /// nsqd's version, and what was negotiated.
        negotiated: IdentifyResponse,
        /// Whom nsqd took this client for, where it requires AUTH.
        auth: Option<AuthResponse>,
    },
    /// The connection is lost, and what was in flight on it is settled.
    Lost {
        /// nsqd's address.
        address: Arc<str>,
        /// The reason.
        why: ConnectionError,
        /// Publishes to be sent again: those that nsqd certainly did not execute, and with `retry_maybe_written` also those
        /// that it may have stored.
        resent: usize,
        /// Publishes that nsqd may have stored.
        unknown: usize,
    },
    /// The producer waits before the next attempt.
    BackingOff {
        /// nsqd's address.
        address: Arc<str>,
        /// How long.
        delay: Duration,
        /// Connections lost and attempts failed, one after the other, since a connection was a good one: the one that
        /// ended it counts too.
        failed: u32,
    },
    /// A [`Drain`](crate::Drain) has begun: new publishes are refused.
    Draining {
        /// nsqd's address.
        address: Arc<str>,
    },
    /// The drain has ended: nothing is held any more. The last event.
    Drained {
        /// nsqd's address.
        address: Arc<str>,
        /// How the outstanding publishes were answered.
        report: DrainReport,
    },
}

/// From now on, tells every [`ConnectionEvent`] to this recipient, as long as it lives.
///
/// A recipient that holds the producer's address keeps the producer alive as a user does. After
/// [`Drained`](ConnectionEvent::Drained) the producer lets go of its recipients.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeEvents(pub Recipient<ConnectionEvent>);

impl Handler<SubscribeEvents> for Producer {
    type Result = ();

    fn handle(&mut self, SubscribeEvents(to): SubscribeEvents, ctx: &mut Context<Self>) {
        self.handling(ctx);
        if matches!(self.link, Link::Drained) {
            return;
        }
        // Events may be far between, and those who come and go many.
        self.watched.subscribers.retain(Recipient::connected);
        self.watched.subscribers.push(to);
    }
}

/// How far a producer is, as [`GetState`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, MessageResponse)]
#[non_exhaustive]
pub enum ProducerState {
    /// It waits for the first publish to connect.
    Idle,
    /// It dials, or shakes hands.
    Connecting,
    /// Publishes flow.
    Connected,
    /// The connection is lost; what was in flight on it is being settled.
    Lost,
    /// It waits before the next attempt to connect.
    BackingOff,
    /// It drains: new publishes are refused.
    Draining,
    /// It is drained, and holds nothing.
    Drained,
}

/// Asks for the producer's [`ProducerState`], for instance for a readiness probe.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "ProducerState")]
pub struct GetState;

impl Handler<GetState> for Producer {
    type Result = ProducerState;

    fn handle(&mut self, _: GetState, ctx: &mut Context<Self>) -> ProducerState {
        self.handling(ctx);
        self.state()
    }
}

/// Asks for the producer's [`Stats`].
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Stats")]
pub struct GetStats;

/// What a producer has done since it started, and what it holds now.
///
/// `published` is always the sum of `ok`, `not_written`, `maybe_written`, `maybe_partial`, and of those that have no answer
/// yet. These are `waiting` and `in_flight` without those that timed out in flight, which hold their place until nsqd has
/// answered their command.
#[derive(Debug, Clone, MessageResponse)]
#[non_exhaustive]
pub struct Stats {
    /// How far it is.
    pub state: ProducerState,
    /// Publishes that came, whatever became of them. A batch counts as one. What a [`ProducerHandle`](crate::ProducerHandle) publishes while
    /// there is no room counts when it has found room, or was answered.
    pub published: u64,
    /// Answered `Ok`.
    pub ok: u64,
    /// Answered [`NotWritten`](crate::Delivery::NotWritten).
    pub not_written: u64,
    /// Answered [`MaybeWritten`](crate::Delivery::MaybeWritten).
    pub maybe_written: u64,
    /// Answered [`MaybePartial`](crate::Delivery::MaybePartial).
    pub maybe_partial: u64,
    /// Of those not written: refused before the queue, for what they are, because nsqd refused their topic a moment ago, or
    /// because the producer drains.
    pub refused: u64,
    /// Of those not written: refused for want of room.
    pub full: u64,
    /// Of those not ok: out of time.
    pub timed_out: u64,
    /// Sent again because a connection did not execute them.
    pub resent: u64,
    /// Commands handed to connections that publish, again and again where they were sent again.
    pub commands: u64,
    /// Of those commands: automatic batches, of two publishes or more.
    pub batches: u64,
    /// Publishes in automatic batches; divided by `batches`, how many each has on average.
    pub batched: u64,
    /// Connections made, the first one among them.
    pub connects: u64,
    /// Connections lost.
    pub losses: u64,
    /// Bytes of commands that sockets took.
    pub bytes: u64,
    /// Publishes that wait to be sent.
    pub waiting: usize,
    /// Bytes of bodies that wait to be sent.
    pub waiting_bytes: usize,
    /// Publishes that wait for capacity, before they are queued. Only those of a
    /// [`ProducerHandle`](crate::ProducerHandle) wait; others are rejected as `Full`.
    pub waiting_for_capacity: usize,
    /// Publishes sent, and not answered by nsqd.
    pub in_flight: usize,
    /// Bytes of bodies sent, and not answered by nsqd.
    pub in_flight_bytes: usize,
    /// Times from acceptance to `Ok`.
    pub latency: Latency,
    /// Why the last connection was lost, or could not be made.
    pub last_error: Option<ConnectionError>,
}

impl Handler<GetStats> for Producer {
    type Result = Stats;

    fn handle(&mut self, _: GetStats, ctx: &mut Context<Self>) -> Stats {
        self.handling(ctx);
        let queue = self.desk.queue.borrow();
        let counters = queue.counters();
        let Usage {
            publishes: waiting,
            bytes: waiting_bytes,
        } = queue.queued();
        let Usage {
            publishes: in_flight,
            bytes: in_flight_bytes,
        } = queue.in_flight();
        let Watched {
            refused,
            connects,
            losses,
            bytes,
            ..
        } = self.watched;
        let current = match &self.link {
            Link::Up(session) => session.taken(),
            _ => 0,
        };
        Stats {
            state: self.state(),
            published: counters.published + refused,
            ok: counters.ok,
            not_written: counters.not_written + refused,
            maybe_written: counters.maybe_written,
            maybe_partial: counters.maybe_partial,
            refused,
            full: counters.rejected_full,
            timed_out: counters.timed_out,
            resent: counters.requeued,
            commands: counters.commands,
            batches: counters.batches,
            batched: counters.batched,
            connects,
            losses,
            bytes: bytes + current,
            waiting,
            waiting_bytes,
            waiting_for_capacity: queue.waiting_for_capacity(),
            in_flight,
            in_flight_bytes,
            latency: queue.latency(),
            last_error: self.last.clone(),
        }
    }
}

/// Who is told of events, and what is counted beside the queue.
#[derive(Debug, Default)]
pub(super) struct Watched {
    subscribers: Vec<Recipient<ConnectionEvent>>,
    pub(super) refused: u64,
    pub(super) connects: u64,
    pub(super) losses: u64,
    /// Bytes that the sockets of earlier connections took.
    pub(super) bytes: u64,
}

impl Watched {
    pub(super) fn forget_subscribers(&mut self) {
        self.subscribers = Vec::new();
    }
}

impl Producer {
    /// Tells an event to all who want to know; `event` is given the address.
    pub(super) fn tell(&mut self, event: impl Fn(Arc<str>) -> ConnectionEvent) {
        let address = self.config.shared_address();
        self.watched.subscribers.retain(|subscriber| {
            subscriber.do_send(event(Arc::clone(address)));
            subscriber.connected()
        });
    }

    pub(super) fn state(&self) -> ProducerState {
        match (&self.drainage.state, &self.link) {
            (_, Link::Drained) => ProducerState::Drained,
            (Draining::No, Link::Idle) => ProducerState::Idle,
            (Draining::No, Link::BackingOff) => ProducerState::BackingOff,
            (Draining::No, Link::Dialling) => ProducerState::Connecting,
            (Draining::No, Link::Up(session)) if session.is_closing() => ProducerState::Lost,
            (Draining::No, Link::Up(_)) => ProducerState::Connected,
            _ => ProducerState::Draining,
        }
    }
}
