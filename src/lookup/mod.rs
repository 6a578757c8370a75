//! Discovery of nsqds by nsqlookupd.
//!
//! A [`Consumer`](crate::Consumer) with [`lookupds`](crate::ConsumerConfigBuilder::lookupds) finds
//! the nsqds of its topic by itself. A [`ProducerPool`](crate::ProducerPool) with
//! [`lookupds`](crate::PoolConfigBuilder::lookupds) finds all nsqds. Both handle these messages:
//!
//! | to | send |
//! |---|---|
//! | add or remove an nsqlookupd | [`AddLookupd`], [`RemoveLookupd`] |
//! | query all of them now | [`Refresh`] |
//! | see what they have answered | [`GetLookupState`] |
//! | observe | [`SubscribeEvents<LookupEvent>`](crate::SubscribeEvents) |
//!
//! [`nodes`], [`topics`] and [`lookup`] are single queries, for tools:
//!
//! ```no_run
//! use actix_nsq::{LookupConfig, lookup};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = LookupConfig::builder(["lookupd-1:4161", "lookupd-2:4161"]).build()?;
//! for node in lookup::nodes(&config).await? {
//!     println!("{} (nsqd {}): {} topics", node.address, node.version, node.topics.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! 1. Each round queries every nsqlookupd at the same time, each within `lookupd_poll_timeout`.
//!    Each answer counts as soon as it arrives. The nodes are the union of all answers by address
//!    and port.
//! 2. The first round starts at once, each further one after `lookupd_poll_interval` and a random
//!    part of it, `lookupd_poll_jitter`.
//! 3. Early rounds run after a connection is lost, or while no node is found: after 0, 1, 2, 4 s
//!    and so on, up to the interval; at most one per second.
//! 4. An answer without nodes, an unknown topic, a failed query and a missing node close no
//!    connection. A node is dropped when its connection is down and every nsqlookupd that named it
//!    has answered its last query without it.
//! 5. After a lost connection a node is dialled again only if an answer to a query that began after
//!    the loss names it, or if no nsqlookupd answered. So a deleted topic is not created again from
//!    an old answer.
//! 6. Nodes are dialled concurrently, each with its own backoff. An invalid node is skipped and
//!    reported; the others are used, at most 1,000.
//! 7. A body has at most 4 MiB. No input of a peer causes a panic or an allocation beyond that
//!    order.

mod answer;
mod control;
mod discovery;
mod functions;
mod http;
mod peer;
mod rounds;
mod samples;
mod state;

pub(crate) use self::{
    answer::Query,
    control::handle_lookup_messages,
    discovery::{Change, Discovered, Discovery},
    http::{Call, Response},
};
pub use self::{
    control::{AddLookupd, GetLookupState, Refresh, RemoveLookupd},
    functions::{lookup, nodes, topics},
    state::{LookupEvent, LookupState, LookupdState, NodeState},
};
pub use crate::{
    error::{AddLookupdError, LookupError},
    protocol::node::{Node, NodeTopic},
};
