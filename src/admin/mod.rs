//! HTTP requests to nsqd and nsqlookupd: creating, pausing, emptying and deleting topics and
//! channels, and statistics.
//!
//! [`Nsqd`] is for one nsqd, [`Lookupd`] for one nsqlookupd. Both are cheap to clone. A request
//! opens a connection of its own, and is not retried.
//!
//! A channel gets the messages that are published after it exists. So create it at every nsqd
//! before the first publish:
//!
//! ```no_run
//! use actix_nsq::{Channel, LookupConfig, Topic, admin, lookup};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (topic, channel) = (Topic::new("orders")?, Channel::new("billing")?);
//! // nsqds that are new ask nsqlookupd for the channels of a topic.
//! let lookupd = admin::Lookupd::new("lookupd-1:4161")?;
//! lookupd.create_channel(&topic, &channel).await?;
//!
//! let config = LookupConfig::new("lookupd-1:4161")?;
//! for node in lookup::nodes(&config).await? {
//!     let nsqd = admin::Nsqd::of_node(&node)?;
//!     nsqd.create_topic(&topic).await?;
//!     nsqd.create_channel(&topic, &channel).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! An answer has at most 4 MiB, and must be complete within a timeout, by default 10 s. HTTP to
//! nsqd and nsqlookupd needs no AUTH and is not encrypted; for a proxy in front of them an address
//! can be a URL with `https`, a path and a query, as in [`LookupConfig`](crate::LookupConfig).
//! The query is sent with every request, and is never logged.

mod client;
mod lookupd;
mod nsqd;
mod stats;

pub use self::{
    lookupd::Lookupd,
    nsqd::Nsqd,
    stats::{ChannelStats, Stats, TopicStats},
};
pub use crate::error::AdminError;
