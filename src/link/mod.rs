//! One connection to one nsqd over its lifetime, for any owner: the producer has one, a consumer
//! one per nsqd.

mod clock;
mod drain;
mod event;
mod feed;
mod lifetime;
mod log_limit;
mod pump;
mod reply;
mod retry;
mod session;
mod supervision;
#[cfg(feature = "embedded")]
#[cfg(test)]
mod tests;
mod waiters;

pub(crate) use self::{
    clock::{deadline_after, now},
    drain::DrainState,
    event::{Event, Subscribers, optional_seconds, seconds},
    feed::Feed,
    lifetime::{Link, LinkOwner, LinkState},
    log_limit::LogLimit,
    pump::{BURST, Burst, Pump, Pumped, flush, work},
    session::{Ended, FrameDisposition, Session},
    supervision::Supervision,
    waiters::{Connectivity, Waiters},
};
pub use self::{
    event::{ConnectionEvent, SubscribeEvents, Unsubscribe},
    reply::DeferredReply,
    waiters::{Reconnect, WaitConnected},
};
