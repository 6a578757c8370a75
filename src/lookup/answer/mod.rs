//! What an nsqlookupd answers: status, headers and body become nodes or a reason. Pure.

mod body;

pub(crate) use self::body::MAX_NODES;
use self::body::{Body, RawNode};
use crate::{
    conn::{Endpoint, MAX_HOST, canonical_address},
    error::LookupError,
    protocol::{
        Topic,
        node::{Node, NodeTopic, host_and_port},
        one_line,
    },
};

/// Maximum length in bytes of each text of a node: that of a host name.
const MAX_TEXT: usize = MAX_HOST;

/// Maximum number of invalid nodes of one answer that are named. More are counted.
const MAX_NAMED: usize = 10;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Query {
    /// The nsqds of a topic.
    Topic(Topic),
    /// All nsqds.
    Nodes,
}

/// The status and the headers of a response that matter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Whether the header `X-NSQ-Content-Type` is there: the body is not wrapped.
    pub(crate) has_nsq_type: bool,
    pub(crate) location: Option<String>,
}

/// The nodes of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Each address once.
    pub(crate) nodes: Vec<Node>,
    /// Nodes that cannot be used.
    pub(crate) skipped: Vec<Skipped>,
    /// Number of nodes that cannot be used and are not named in `skipped`, or were too many.
    pub(crate) omitted: usize,
    /// nsqlookupd does not know the topic.
    pub(crate) is_unknown_topic: bool,
}

/// A node that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Its address on one line, shortened.
    pub(crate) node: String,
    pub(crate) problem: &'static str,
}

/// Returns the nodes of an answer to a query.
///
/// # Errors
///
/// Why it is not an answer of an nsqlookupd.
pub(crate) fn nodes(query: &Query, head: &Head, body: &[u8]) -> Result<Answer, LookupError> {
    let body = match open(head, body) {
        Ok(body) => body,
        Err(Problem::UnknownTopic) if matches!(query, Query::Topic(_)) => {
            return Ok(Answer {
                is_unknown_topic: true,
                ..Answer::default()
            });
        }
        Err(Problem::UnknownTopic) => return Err(LookupError::NotFound),
        Err(Problem::Other(error)) => return Err(error),
    };
    let producers = body.producers.ok_or_else(|| lacks("producers"))?;
    let mut answer = Answer {
        omitted: producers.omitted,
        ..Answer::default()
    };
    for raw in producers.entries {
        match node(raw) {
            Ok(node) => {
                let mut others = answer.nodes.iter();
                if !others.any(|other| other.address == node.address) {
                    answer.nodes.push(node);
                }
            }
            Err(skipped) if answer.skipped.len() < MAX_NAMED => answer.skipped.push(skipped),
            Err(_) => answer.omitted += 1,
        }
    }
    Ok(answer)
}

/// Returns the topics of an answer to `/topics`. Invalid names are left out.
///
/// # Errors
///
/// Why it is not an answer of an nsqlookupd.
pub(crate) fn topics(head: &Head, body: &[u8]) -> Result<Vec<Topic>, LookupError> {
    let body = open(head, body).map_err(|problem| match problem {
        Problem::UnknownTopic => LookupError::NotFound,
        Problem::Other(error) => error,
    })?;
    let topics = body.topics.ok_or_else(|| lacks("topics"))?;
    let topics = topics.0.iter();
    Ok(topics.filter_map(|name| Topic::new(name).ok()).collect())
}

fn lacks(field: &str) -> LookupError {
    LookupError::Body {
        problem: format!("it has no `{field}`"),
    }
}

enum Problem {
    UnknownTopic,
    Other(LookupError),
}

impl From<LookupError> for Problem {
    fn from(error: LookupError) -> Self {
        Self::Other(error)
    }
}

/// Checks the status and takes the body out of the shape of old versions.
fn open(head: &Head, body: &[u8]) -> Result<Body, Problem> {
    let status = head.status;
    if (300..400).contains(&status) {
        let location = head.location.as_deref().unwrap_or("an unknown address");
        return Err(LookupError::Redirect {
            status,
            location: shown_location(location),
        }
        .into());
    }
    let parsed = serde_json::from_slice::<Body>(body);
    if status != 200 {
        let message = parsed.ok().and_then(Body::into_message);
        return Err(failure(status, message));
    }
    let mut body = parsed.map_err(|error| LookupError::Body {
        // serde_json's text may quote the body.
        problem: format!(
            "invalid JSON at line {}, column {}",
            error.line(),
            error.column()
        ),
    })?;
    if head.has_nsq_type {
        return Ok(body);
    }
    match body.data.take() {
        Some(data) => Ok(*data),
        // An old version reports errors also so.
        None if body.status_code.is_some_and(|code| code != 200) => {
            let status = body.status_code.unwrap_or(status);
            Err(failure(status, body.into_message()))
        }
        None => Ok(body),
    }
}

/// Returns the error for a status. Only a message in nsqlookupd's own form is shown: that of
/// another server could repeat a token of the request.
fn failure(status: u16, message: Option<String>) -> Problem {
    let is_code = |text: &String| {
        let is_part = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
        text.len() <= 64 && text.bytes().all(is_part)
    };
    let message = message.filter(is_code).unwrap_or_default();
    match (status, message.as_str()) {
        (404 | 500, "TOPIC_NOT_FOUND") | (500, "INVALID_ARG_TOPIC") => Problem::UnknownTopic,
        (404, _) => Problem::Other(LookupError::NotFound),
        (_, "") => Problem::Other(LookupError::Status {
            status,
            text: String::new(),
        }),
        (_, message) => Problem::Other(LookupError::Status {
            status,
            text: format!(" ({message})"),
        }),
    }
}

/// Returns an address without what may be secret.
fn shown_location(location: &str) -> String {
    let (place, query) = match location.split_once(['?', '#']) {
        Some((place, _)) => (place, "?***"),
        None => (location, ""),
    };
    if place.contains('@') {
        return "***".into();
    }
    format!("{}{query}", one_line(place.chars(), MAX_TEXT))
}

/// Validates a node.
fn node(raw: RawNode) -> Result<Node, Skipped> {
    let RawNode {
        broadcast_address,
        address,
        tcp_port,
        http_port,
        hostname,
        version,
        remote_address,
        topics,
        tombstones,
    } = raw;
    let skipped = |problem| Skipped {
        node: one_line(
            format!("{}:{}", broadcast_address.shown(), tcp_port.shown()).chars(),
            80,
        ),
        problem,
    };
    let host = broadcast_address.text().or_else(|| address.text());
    let host = match host {
        None | Some("") => return Err(skipped("no broadcast_address")),
        Some(host) if host.len() > MAX_TEXT => return Err(skipped("the address is too long")),
        Some(host) => host,
    };
    let port = tcp_port.port().ok_or_else(|| skipped("invalid tcp_port"))?;
    let address = match Endpoint::parse(&host_and_port(host, port)) {
        Ok(Endpoint::Unix(_)) => return Err(skipped("invalid host name")),
        Ok(endpoint) => canonical_address(&endpoint),
        Err(problem) => return Err(skipped(problem)),
    };
    let tombstones = tombstones.into_iter().chain(std::iter::repeat(false));
    let topics = topics.0.iter().zip(tombstones);
    let topics = topics.filter_map(|(name, is_tombstoned)| {
        let topic = Topic::new(name).ok()?;
        Some(NodeTopic {
            topic,
            is_tombstoned,
        })
    });
    let mut topics: Vec<_> = topics.collect();
    // The order of nsqlookupd is random.
    topics.sort_by(|one, other| one.topic.cmp(&other.topic));
    topics.dedup_by(|one, other| one.topic == other.topic);
    let text = |field: &body::Field| one_line(field.text().unwrap_or_default().chars(), MAX_TEXT);
    Ok(Node {
        address: address.into(),
        broadcast_address: host.to_owned(),
        hostname: text(&hostname),
        tcp_port: port,
        http_port: http_port.port().unwrap_or_default(),
        version: text(&version),
        remote_address: text(&remote_address),
        topics,
    })
}

#[cfg(test)]
mod tests;
