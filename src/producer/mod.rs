//! Publishing to one nsqd: the [`Producer`] actor and its messages.
//!
//! The messages that every actor of this crate handles, such as
//! [`WaitConnected`](crate::WaitConnected), stand at the root of the crate; those whose result is
//! particular to the producer stand here.

mod actor;
mod denied_topics;
mod drain;
mod failures;
mod handlers;
mod limits;
mod membership;
mod message;
mod payload;
mod ping;
mod publish;
mod publish_ext;
mod queue;
pub(crate) mod samples;
mod session;
mod stats;
mod submissions;
#[cfg(feature = "embedded")]
#[cfg(test)]
mod tests;

pub use self::{
    actor::Producer,
    drain::{Drain, DrainReport},
    failures::{PublishFailure, SubscribeFailures},
    message::{AnyPublish, DeferredPublish, MultiPublish, Publish},
    ping::Ping,
    publish::PublishReply,
    publish_ext::PublishExt,
    stats::{GetState, GetStats, ProducerEvent, ProducerState, Stats, TopicStats},
};
pub(crate) use self::{
    denied_topics::DeniedTopics,
    failures::{FailureSink, ReplyTo},
    limits::{batch_limits, limits},
    membership::{FromMember, GiveBack, MemberId, MemberReport, MemberView, Membership, TakeIn},
    message::PublishRequest,
    publish::{Accept, Shared, accept_after_restart, accept_submitted},
    publish_ext::sealed::Sealed,
    queue::{
        Capacity, Counters, Limits, MemberSet, Moving, Pending, Route, Routed, TransactionQueue,
        Usage, WhenFull,
    },
    samples::{add_results, add_topics},
    submissions::{PendingResult, SubmissionList, Submissions, Submitted},
};
