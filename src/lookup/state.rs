//! What a discovery knows, and its events.

use std::{fmt, sync::Arc, time::Duration};

use actix::Message;
use serde::Serialize;

use crate::{
    error::{ConnectionError, LookupError},
    link::{Event, optional_seconds},
    protocol::node::Node,
};

/// What a discovery knows: the reply to [`GetLookupState`](super::GetLookupState).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LookupState {
    /// The nsqlookupds.
    pub lookupds: Vec<LookupdState>,
    /// The nsqds that are used, in the order of their addresses.
    pub nodes: Vec<NodeState>,
}

/// What is known of one nsqlookupd.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LookupdState {
    /// Its address, without the query.
    pub address: Arc<str>,
    /// Number of nodes in its last answer that can be used; `None` before the first answer.
    pub nodes: Option<usize>,
    /// Queries since it was added.
    pub queries: u64,
    /// Queries that were answered.
    pub answers: u64,
    /// Queries that failed.
    pub errors: u64,
    /// Queries that failed since the last answer.
    pub failures: u32,
    /// When its last answer arrived, as the time since 1970.
    #[serde(
        rename = "last_answer_timestamp_seconds",
        serialize_with = "optional_seconds"
    )]
    pub last_answer: Option<Duration>,
    /// Why the last query failed, if it did.
    pub last_error: Option<LookupError>,
}

/// The number of answers and the time of the last one are not compared.
impl PartialEq for LookupdState {
    fn eq(&self, other: &Self) -> bool {
        let key = |it: &Self| {
            let error = it.last_error.as_ref().map(ToString::to_string);
            (it.nodes, it.queries, it.errors, it.failures, error)
        };
        self.address == other.address && key(self) == key(other)
    }
}

/// A discovered nsqd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NodeState {
    /// The nsqd.
    pub node: Node,
    /// Whether there is a connection to it.
    pub is_connected: bool,
}

/// A change of a discovery, for those who send
/// [`SubscribeEvents<LookupEvent>`](crate::SubscribeEvents).
#[derive(Debug, Clone, Message, Serialize)]
#[rtype(result = "()")]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LookupEvent {
    /// An nsqlookupd answers: for the first time, or again after failures.
    #[non_exhaustive]
    Answered {
        /// Address of nsqlookupd.
        lookupd: Arc<str>,
        /// Number of nodes in the answer that can be used.
        nodes: usize,
    },
    /// A query failed, in another way than the one before.
    #[non_exhaustive]
    Failed {
        /// Address of nsqlookupd.
        lookupd: Arc<str>,
        /// Why.
        error: LookupError,
        /// Queries that failed since the last answer.
        failures: u32,
    },
    /// An nsqd is named, for the first time or after its connection was lost. It is connected to,
    /// unless the program has removed it or a pool has `max_members`.
    #[non_exhaustive]
    Found {
        /// The nsqd.
        node: Node,
    },
    /// An nsqd is named no more, and its connection is down: it is forgotten.
    #[non_exhaustive]
    Dropped {
        /// Address of nsqd.
        address: Arc<str>,
    },
    /// An nsqlookupd names an nsqd that cannot be connected to. Once per nsqd as long as it is
    /// named.
    #[non_exhaustive]
    Invalid {
        /// Address of nsqlookupd.
        lookupd: Arc<str>,
        /// Address of nsqd, shortened.
        node: Arc<str>,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The host name that an nsqd announces cannot be resolved here. Start that nsqd with a
    /// `--broadcast-address` that can be. Once per nsqd as long as it is named.
    #[non_exhaustive]
    Unresolvable {
        /// Address of nsqd.
        address: Arc<str>,
        /// Why.
        error: ConnectionError,
    },
}

impl Event for LookupEvent {}

impl fmt::Display for LookupEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { lookupd, nodes } => {
                let plural = if *nodes == 1 { "" } else { "s" };
                write!(f, "nsqlookupd {lookupd}: answers with {nodes} node{plural}")
            }
            Self::Failed {
                lookupd,
                error,
                failures,
            } => write!(f, "nsqlookupd {lookupd}: {error}; failures: {failures}"),
            Self::Found { node } => write!(f, "{node}: found by nsqlookupd"),
            Self::Dropped { address } => {
                write!(f, "{address}: named by no nsqlookupd any more, forgotten")
            }
            Self::Invalid {
                lookupd,
                node,
                problem,
            } => write!(f, "nsqlookupd {lookupd}: node {node} is skipped: {problem}"),
            Self::Unresolvable { address, error } => write!(
                f,
                "{address}: {error}; set --broadcast-address of this nsqd to a name or address \
                 that its clients can resolve"
            ),
        }
    }
}
