//! Inspecting registrations, queries, commands and connections.

use std::time::Instant;

use super::{
    handle::EmbeddedLookupd,
    node::LookupdNode,
    state::{Kind, Query, State},
};
use crate::embedded::inspect::ReceivedCommand;

/// An HTTP request that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LookupdQuery {
    /// Method, such as `GET`.
    pub method: String,
    /// Decoded path, such as `/lookup`.
    pub path: String,
    /// Path and query as they were sent, such as `/lookup?topic=orders%23ephemeral`.
    pub target: String,
    /// Names and values of the headers, in the order of the request.
    pub headers: Vec<(String, String)>,
    /// Number of the connection.
    pub connection: u64,
    /// When it was received, before any delay.
    pub received: Instant,
}

impl LookupdQuery {
    /// Returns the value of the first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(its_name, _)| its_name.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Inspecting. Each method returns a snapshot, and does not count as a query.
impl EmbeddedLookupd {
    /// Returns the newest 10,000 HTTP requests, in the order of arrival. Invalid ones, which get
    /// 400, are left out.
    pub fn queries(&self) -> Vec<LookupdQuery> {
        let state = self.shared.state();
        state.queries.iter().map(LookupdQuery::from).collect()
    }

    /// Returns the number of all HTTP requests with this path.
    pub fn query_count(&self, path: &str) -> u64 {
        let state = self.shared.state();
        state.query_counts.get(path).copied().unwrap_or(0)
    }

    /// Returns the number of all connections to the HTTP port so far.
    pub fn http_connection_count(&self) -> u64 {
        self.shared.state().http_connections
    }

    /// Returns the number of open connections to the HTTP port.
    pub fn open_http_connections(&self) -> usize {
        open(&self.shared.state(), Kind::Http)
    }

    /// Returns the number of open connections to the TCP port.
    pub fn open_tcp_connections(&self) -> usize {
        open(&self.shared.state(), Kind::Tcp)
    }

    /// Returns the newest 10,000 commands of nsqds, in the order of arrival.
    pub fn commands(&self) -> Vec<ReceivedCommand> {
        self.shared.state().commands.iter().cloned().collect()
    }

    /// Returns the number of all commands of nsqds with this name.
    pub fn command_count(&self, name: &str) -> u64 {
        let state = self.shared.state();
        state.command_counts.get(name).copied().unwrap_or(0)
    }

    /// Returns the nodes that `/nodes` lists.
    pub fn nodes(&self) -> Vec<LookupdNode> {
        let state = self.shared.state();
        let lifetimes = self.shared.options.lifetimes;
        let nodes = state.registry.nodes(Instant::now(), lifetimes);
        nodes.iter().map(|listed| listed.node.clone()).collect()
    }

    /// Returns the nodes that `/lookup` lists; `None` if it answers 404.
    pub fn producers(&self, topic: &str) -> Option<Vec<LookupdNode>> {
        let state = self.shared.state();
        let lifetimes = self.shared.options.lifetimes;
        let nodes = state.registry.lookup(topic, Instant::now(), lifetimes)?;
        Some(nodes.into_iter().cloned().collect())
    }

    /// Returns the names of all topics, sorted.
    pub fn topics(&self) -> Vec<String> {
        self.shared.state().registry.topics()
    }

    /// Returns the names of the channels of a topic, sorted; none if it does not exist.
    pub fn channels(&self, topic: &str) -> Vec<String> {
        self.shared.state().registry.channels(topic)
    }
}

fn open(state: &State, kind: Kind) -> usize {
    let connections = state.connections.values();
    connections.filter(|it| it.kind == kind).count()
}

impl From<&Query> for LookupdQuery {
    fn from(query: &Query) -> Self {
        let Query {
            method,
            path,
            target,
            headers,
            connection,
            received,
        } = query.clone();
        Self {
            method,
            path,
            target,
            headers,
            connection,
            received,
        }
    }
}
