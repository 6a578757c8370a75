//! Consuming from any number of nsqds: the [`Consumer`] actor and its messages.
//!
//! The messages that every actor of this crate handles, such as
//! [`SubscribeEvents`](crate::SubscribeEvents), stand at the root of the crate; those whose result
//! is particular to the consumer stand here.

mod actor;
mod answered_in_time;
mod answers;
mod backoff;
mod connection_key;
mod control;
#[cfg(feature = "lookup")]
mod discovering;
#[cfg(feature = "lookup")]
mod discovery;
mod drain;
mod event;
mod flow;
mod handler;
mod handlers;
mod in_flight;
mod incoming;
mod log;
mod messages;
mod nsqds;
mod options;
mod requeue;
mod samples;
mod session;
mod stats;
mod stream;
mod subscription;
mod waiting;
mod write;

pub(crate) use self::answers::{Answer, AnswerQueue};
pub use self::{
    actor::Consumer,
    control::{AddNsqd, Pause, RemoveNsqd, Resume, SetMaxInFlight, WaitSubscribed},
    drain::{Drain, DrainReport},
    event::ConsumerEvent,
    handler::MessageHandler,
    incoming::{IncomingMessage, IncomingMessages},
    requeue::Requeue,
    stats::{ConsumerState, Counters, GetState, GetStats, IsStarved, NsqdStats, Stats},
    stream::MessageStream,
    subscription::{DeadLetter, DeadLetterReason, Subscription},
};
