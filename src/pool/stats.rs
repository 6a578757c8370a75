//! What can be observed of a pool: its state, its members and its statistics.

use std::{fmt, sync::Arc};

use actix::{Message, MessageResponse};
use serde::Serialize;

use super::event::MoveReason;
use crate::{
    metrics::Latency,
    producer::{Stats, TopicStats},
};

/// Requests the [`PoolState`], for example for a readiness probe.
///
/// ```no_run
/// # use actix::Addr;
/// use actix_nsq::{ProducerPool, pool::GetState};
///
/// # async fn example(pool: Addr<ProducerPool>) -> Result<(), actix::MailboxError> {
/// let is_ready = pool.send(GetState).await?.up > 0;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "PoolState")]
pub struct GetState;

/// State of a pool, the result of [`GetState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, MessageResponse, Serialize)]
#[non_exhaustive]
pub struct PoolState {
    /// Whether it accepts publishes.
    pub phase: PoolPhase,
    /// Members that are connected.
    pub up: usize,
    /// Members, those included that are being removed.
    pub members: usize,
}

impl PoolState {
    pub(super) fn new(phase: PoolPhase, up: usize, members: usize) -> Self {
        Self { phase, up, members }
    }
}

impl fmt::Display for PoolState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, up, members } = self;
        write!(f, "{phase}: {up} of {members} members up")
    }
}

/// Whether a pool accepts publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PoolPhase {
    /// It accepts publishes, with or without a connection.
    Accepting,
    /// It drains: new publishes are rejected.
    Draining,
    /// It is drained, and holds no publish and no connection.
    Drained,
}

impl fmt::Display for PoolPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accepting => "accepting",
            Self::Draining => "draining",
            Self::Drained => "drained",
        })
    }
}

/// Requests the [`Member`]s of a pool, in the order in which they were added.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<Member>")]
pub struct GetMembers;

/// A member of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Member {
    /// Address of nsqd.
    pub address: Arc<str>,
    /// What it does now.
    pub state: MemberState,
    /// Publishes that it has, queued and in flight.
    pub outstanding: usize,
    /// A nsqlookupd has named it.
    pub is_discovered: bool,
}

impl Member {
    pub(super) fn new(
        address: Arc<str>,
        state: MemberState,
        outstanding: usize,
        is_discovered: bool,
    ) -> Self {
        Self {
            address,
            state,
            outstanding,
            is_discovered,
        }
    }
}

/// What a member of a pool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemberState {
    /// It is connected and gets publishes.
    Up,
    /// It is connected, but slow, or it has failed: it gets one publish per second.
    Suspect,
    /// It is not connected. It connects again with backoff.
    Down,
    /// It is being removed, and gets no publish.
    Leaving,
}

impl MemberState {
    /// Returns the name in snake case, such as `up`. `Display` and `Serialize` use the same text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Leaving => "leaving",
        }
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Requests the [`PoolStats`].
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "PoolStats")]
pub struct GetStats;

/// Statistics of a pool since it started, and what it holds now.
///
/// `published` is always the sum of `ok`, `not_written`, `maybe_written`, `maybe_partial`, and the
/// publishes without a result yet. A member that was removed is still counted.
#[derive(Debug, Clone, MessageResponse, Serialize)]
#[non_exhaustive]
pub struct PoolStats {
    /// Current state.
    pub state: PoolState,
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
    /// Part of `not_written`: rejected by the pool before the queue, because they are invalid,
    /// because an nsqd denied their topic a moment ago, or because the pool is draining.
    pub rejected: u64,
    /// Part of `not_written`: rejected because the pool was full.
    pub rejected_full: u64,
    /// Publishes that timed out.
    pub timed_out: u64,
    /// Publishes that left a member, counted each time.
    pub moved: u64,
    /// Publishes that wait in the pool because no member can take them.
    pub waiting: usize,
    /// Publishes accepted and not answered by nsqd, in the pool and in its members.
    pub held: usize,
    /// Bytes of their bodies.
    pub held_bytes: usize,
    /// Publishes of handles that wait for capacity; they are not accepted yet.
    pub waiting_for_capacity: usize,
    /// Times to `Ok` from acceptance, of the present members.
    pub latency: Latency,
    /// Results by topic, if the option `topic_stats` is set.
    pub topics: Vec<TopicStats>,
    /// The present members.
    pub members: Vec<MemberStats>,
}

impl fmt::Display for PoolStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            state,
            published,
            ok,
            not_written,
            maybe_written,
            maybe_partial,
            moved,
            held,
            ..
        } = self;
        write!(
            f,
            "{state}: {published} published, {ok} ok, {not_written} not written, \
             {maybe_written} maybe written, {maybe_partial} maybe partial, {moved} moved, \
             {held} held"
        )
    }
}

/// Publishes that a member gave back, by the reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MoveCounts {
    /// [`MoveReason::Disconnected`].
    pub disconnected: u64,
    /// [`MoveReason::Rejected`].
    pub rejected: u64,
    /// [`MoveReason::Slow`].
    pub slow: u64,
    /// [`MoveReason::Removed`].
    pub removed: u64,
}

impl MoveCounts {
    pub(super) fn count(&mut self, reason: MoveReason, publishes: u64) {
        *match reason {
            MoveReason::Disconnected => &mut self.disconnected,
            MoveReason::Rejected => &mut self.rejected,
            MoveReason::Slow => &mut self.slow,
            MoveReason::Removed => &mut self.removed,
        } += publishes;
    }

    pub(super) fn by_reason(&self) -> [(MoveReason, u64); 4] {
        [
            (MoveReason::Disconnected, self.disconnected),
            (MoveReason::Rejected, self.rejected),
            (MoveReason::Slow, self.slow),
            (MoveReason::Removed, self.removed),
        ]
    }
}

/// Statistics of a member of a pool.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct MemberStats {
    /// Address of nsqd.
    pub address: Arc<str>,
    /// What the pool does with it.
    pub state: MemberState,
    /// Publishes that the pool gave it.
    pub moved_to: u64,
    /// Publishes that it gave back.
    pub moved_from: u64,
    /// The same, by the reason.
    pub moves: MoveCounts,
    /// Its own statistics. Its `published` are those that it has or has answered.
    pub producer: Stats,
}
