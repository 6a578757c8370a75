//! One nsqlookupd of a discovery: its address, its connection, and what became of its queries.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use hyper::Method;
use log::{Level, info, log, warn};

use super::{
    answer::{Answer, Query, Skipped, nodes},
    http::{Call, Kept, Response},
    state::{LookupEvent, LookupdState},
};
use crate::{
    config::{LookupConfig, LookupdAddress},
    error::{ConfigError, LookupError},
    protocol::node::Node,
};

/// Consecutive failures from which one is logged as a warning. Fewer are usual: a restart, a lost
/// packet.
const MANY_FAILURES: u32 = 3;

pub(super) struct Peer {
    pub(super) address: LookupdAddress,
    get: Call,
    pub(super) kept: Option<Kept>,
    state: LookupdState,
    /// The level and the text of the last failure that was logged, until the next answer.
    logged: Option<(Level, String)>,
    is_unknown_topic_logged: bool,
    /// The invalid nodes of the last answer.
    skipped: BTreeSet<String>,
    omitted: usize,
}

impl Peer {
    /// # Errors
    ///
    /// The TLS settings cannot be made.
    pub(super) fn new(
        config: &LookupConfig,
        address: LookupdAddress,
        query: &Query,
    ) -> Result<Self, ConfigError> {
        let target = match query {
            Query::Topic(topic) => address.topic_request(topic),
            Query::Nodes => address.request("nodes"),
        };
        Ok(Self {
            get: get(config, &address, target)?,
            kept: None,
            state: LookupdState {
                address: Arc::clone(address.shown()),
                nodes: None,
                queries: 0,
                answers: 0,
                errors: 0,
                failures: 0,
                last_answer: None,
                last_error: None,
            },
            logged: None,
            is_unknown_topic_logged: false,
            skipped: BTreeSet::new(),
            omitted: 0,
            address,
        })
    }

    pub(super) fn state(&self) -> LookupdState {
        self.state.clone()
    }

    /// Begins a query.
    pub(super) fn begin(&mut self) -> (Call, Option<Kept>) {
        self.state.queries += 1;
        (self.get.clone(), self.kept.take())
    }

    /// Takes the result of a query: the nodes that `accepts` accepts, or that it failed. `found`:
    /// whether a node was ever found.
    pub(super) fn end(
        &mut self,
        query: &Query,
        result: Result<Response, LookupError>,
        accepts: impl Fn(&Node) -> bool,
        found: bool,
        events: &mut Vec<LookupEvent>,
    ) -> Result<Vec<Node>, ()> {
        let answer = result.and_then(|it| nodes(query, &it.head, &it.body));
        match answer {
            Ok(answer) => Ok(self.on_answer(answer, accepts, events)),
            Err(error) => {
                self.on_failure(error, found, events);
                Err(())
            }
        }
    }

    fn on_answer(
        &mut self,
        answer: Answer,
        accepts: impl Fn(&Node) -> bool,
        events: &mut Vec<LookupEvent>,
    ) -> Vec<Node> {
        let mut nodes = answer.nodes;
        nodes.retain(accepts);
        let address = &self.state.address;
        let failures = std::mem::take(&mut self.state.failures);
        if failures > 0 {
            info!("nsqlookupd {address}: answers again; failures before: {failures}");
        }
        if failures > 0 || self.state.nodes.is_none() {
            events.push(LookupEvent::Answered {
                lookupd: Arc::clone(address),
                nodes: nodes.len(),
            });
        }
        if answer.is_unknown_topic && !self.is_unknown_topic_logged {
            info!("nsqlookupd {address}: does not know the topic yet");
        }
        self.is_unknown_topic_logged = answer.is_unknown_topic;
        self.state.nodes = Some(nodes.len());
        self.state.answers += 1;
        self.state.last_answer = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        self.state.last_error = None;
        self.logged = None;
        self.on_skipped(answer.skipped, answer.omitted, events);
        nodes
    }

    /// Reports each invalid node once, as long as it is named.
    fn on_skipped(&mut self, skipped: Vec<Skipped>, omitted: usize, events: &mut Vec<LookupEvent>) {
        let address = &self.state.address;
        let mut names = BTreeSet::new();
        for Skipped { node, problem } in skipped {
            if !self.skipped.contains(&node) && !names.contains(&node) {
                let event = LookupEvent::Invalid {
                    lookupd: Arc::clone(address),
                    node: node.as_str().into(),
                    problem,
                };
                warn!("{event}");
                events.push(event);
            }
            names.insert(node);
        }
        self.skipped = names;
        if omitted > 0 && omitted != self.omitted {
            warn!(
                "nsqlookupd {address}: {omitted} more nodes are invalid or too many, and skipped"
            );
        }
        self.omitted = omitted;
    }

    fn on_failure(&mut self, error: LookupError, found: bool, events: &mut Vec<LookupEvent>) {
        self.state.errors += 1;
        self.state.failures = self.state.failures.saturating_add(1);
        let failures = self.state.failures;
        let text = error.to_string();
        let level = if failures >= MANY_FAILURES || !found {
            Level::Warn
        } else {
            Level::Info
        };
        let logged = self.logged.as_ref();
        let is_new = logged.is_none_or(|(_, logged)| *logged != text);
        let is_graver = logged.is_some_and(|(logged, _)| level < *logged);
        let event = LookupEvent::Failed {
            lookupd: Arc::clone(&self.state.address),
            error: error.clone(),
            failures,
        };
        if is_new || is_graver {
            log!(level, "{event}");
            self.logged = Some((level, text));
        }
        if is_new {
            events.push(event);
        }
        self.state.last_error = Some(error);
    }
}

/// Returns a request to an nsqlookupd.
///
/// # Errors
///
/// The TLS settings cannot be made.
pub(super) fn get(
    config: &LookupConfig,
    address: &LookupdAddress,
    target: String,
) -> Result<Call, ConfigError> {
    Ok(Call {
        method: Method::GET,
        stream: config.stream_options(address)?,
        authority: Arc::clone(address.authority()),
        target,
        secret: config.authorization(),
        user_agent: config.connection().user_agent(),
        timeout: config.lookupd_poll_timeout(),
    })
}
