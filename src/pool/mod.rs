//! Publishing to several nsqds: the [`ProducerPool`] actor and its messages.
//!
//! It handles the messages of a [`Producer`](crate::Producer), such as
//! [`Publish`](crate::Publish) and [`Drain`](crate::producer::Drain); those whose result is
//! particular to the pool stand here.

mod actor;
#[cfg(feature = "lookup")]
mod discovering;
#[cfg(feature = "lookup")]
mod discovery;
mod event;
mod handlers;
mod health;
mod member;
mod membership;
mod publish_ext;
mod route;
mod samples;
mod stats;

pub use self::{
    actor::ProducerPool,
    event::{MoveReason, PoolEvent},
    membership::{AddMember, AddMemberError, RemoveMember},
    stats::{
        GetMembers, GetState, GetStats, Member, MemberState, MemberStats, MoveCounts, PoolPhase,
        PoolState, PoolStats,
    },
};
pub use crate::config::Strategy;
