//! An nsqd as nsqlookupd announces it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Serialize;

use super::name::Topic;

/// An nsqd as an nsqlookupd announces it. The values were validated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Node {
    /// Address for connections, `host:port`: the broadcast address and the TCP port. An IPv6
    /// address is in brackets; a name is in lower case.
    pub address: Arc<str>,
    /// What nsqd announces as its host (`--broadcast-address`).
    pub broadcast_address: String,
    /// Name of nsqd's host.
    pub hostname: String,
    /// TCP port, for consumers and producers.
    pub tcp_port: u16,
    /// HTTP port.
    pub http_port: u16,
    /// Version of nsqd.
    pub version: String,
    /// Address from which nsqd is connected to nsqlookupd.
    pub remote_address: String,
    /// The topics of nsqd, in order. Empty in an answer about one topic.
    pub topics: Vec<NodeTopic>,
}

impl Node {
    /// Adds the topics that another answer has for this node. A topic is tombstoned if all answers
    /// with it say so.
    pub(crate) fn add_topics(&mut self, other: &Self) {
        let mut known: BTreeMap<Topic, bool> = self.topics.drain(..).map(NodeTopic::pair).collect();
        for (topic, is_tombstoned) in other.topics.iter().cloned().map(NodeTopic::pair) {
            known
                .entry(topic)
                .and_modify(|known| *known &= is_tombstoned)
                .or_insert(is_tombstoned);
        }
        let topics = known.into_iter();
        self.topics = topics
            .map(|(topic, is_tombstoned)| NodeTopic {
                topic,
                is_tombstoned,
            })
            .collect();
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// Returns `host:port` for a broadcast address: IPv6 addresses are announced without brackets; one
/// pair is tolerated.
pub(crate) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A topic of a [`Node`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NodeTopic {
    /// The topic.
    #[serde(serialize_with = "as_text")]
    pub topic: Topic,
    /// Whether an operator has removed the topic from this nsqd a moment ago: consumers of the
    /// topic do not connect to it.
    pub is_tombstoned: bool,
}

impl NodeTopic {
    fn pair(self) -> (Topic, bool) {
        (self.topic, self.is_tombstoned)
    }
}

fn as_text<S: serde::Serializer>(topic: &Topic, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(topic)
}
