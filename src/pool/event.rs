//! The events of a pool.

use std::{fmt, sync::Arc};

use actix::Message;
use serde::Serialize;

use crate::{link::Event, producer::DrainReport};

/// A change of a pool. The pool handles [`SubscribeEvents<PoolEvent>`](crate::SubscribeEvents);
/// changes of its connections are [`ConnectionEvent`](crate::ConnectionEvent)s.
#[derive(Debug, Clone, Message, Serialize)]
#[rtype(result = "()")]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PoolEvent {
    /// A member was added. Sent to a new subscriber for each member, too.
    #[non_exhaustive]
    Added {
        /// Address of nsqd.
        address: Arc<str>,
    },
    /// A member was removed: it holds no publish and no connection.
    #[non_exhaustive]
    Removed {
        /// Address of nsqd.
        address: Arc<str>,
    },
    /// Publishes left a member, and go to others.
    #[non_exhaustive]
    Moved {
        /// Address of the nsqd that they left.
        address: Arc<str>,
        /// Number of publishes.
        publishes: usize,
        /// Why they left.
        reason: MoveReason,
    },
    /// A member is slow, or has failed: it gets one publish per second until it has recovered.
    #[non_exhaustive]
    Suspect {
        /// Address of nsqd.
        address: Arc<str>,
    },
    /// A member is no longer suspect.
    #[non_exhaustive]
    Recovered {
        /// Address of nsqd.
        address: Arc<str>,
    },
    /// No member is connected: publishes wait in the pool.
    NoneUp,
    /// A member is connected, and none was before.
    UpAgain,
    /// A [`Drain`](crate::producer::Drain) has begun: new publishes are rejected.
    Draining,
    /// The drain has ended: the pool holds no publish and no connection. The last event.
    #[non_exhaustive]
    Drained {
        /// How the publishes that were outstanding when it began were answered.
        report: DrainReport,
    },
}

impl Event for PoolEvent {}

impl fmt::Display for PoolEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { address } => write!(f, "{address}: added to the pool"),
            Self::Removed { address } => write!(f, "{address}: removed from the pool"),
            Self::Moved {
                address,
                publishes,
                reason,
            } => write!(f, "{address}: {publishes} publishes moved: {reason}"),
            Self::Suspect { address } => write!(f, "{address}: suspect"),
            Self::Recovered { address } => write!(f, "{address}: recovered"),
            Self::NoneUp => f.write_str("no member of the pool is connected"),
            Self::UpAgain => f.write_str("a member of the pool is connected"),
            Self::Draining => f.write_str("the pool is draining"),
            Self::Drained { report } => write!(f, "the pool is drained: {report}"),
        }
    }
}

/// Why publishes left a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MoveReason {
    /// Its connection was lost, or could not be made.
    Disconnected,
    /// Its nsqd rejected publishes because of its own state, such as a full disk.
    Rejected,
    /// It did not respond in its usual time.
    Slow,
    /// It is removed.
    Removed,
}

impl MoveReason {
    /// Returns the name in snake case, such as `disconnected`. `Display` and `Serialize` use the
    /// same text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Rejected => "rejected",
            Self::Slow => "slow",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for MoveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
