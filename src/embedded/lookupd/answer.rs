//! The answers to HTTP requests, as nsqlookupd and its router give them.

use std::time::Instant;

use super::{
    node::LookupdNode,
    registry::Listed,
    response::Answer,
    state::{Format, Options, State},
};
use crate::embedded::{
    http::Request,
    text::{go_json, valid_name},
};

/// The paths with GET and with POST.
const GET: &[&str] = &[
    "/ping",
    "/info",
    "/lookup",
    "/topics",
    "/channels",
    "/nodes",
];
const POST: &[&str] = &[
    "/topic/create",
    "/topic/delete",
    "/topic/tombstone",
    "/channel/create",
    "/channel/delete",
];

/// The media type with which a client asks for answers that are not wrapped.
const ACCEPT: &str = "application/vnd.nsq; version=1.0";

/// The status and text of an error.
type Failure = (u16, &'static str);

/// Answers a request.
pub(super) fn answer(request: &Request, state: &mut State, options: &Options) -> Answer {
    let path = request.path.as_str();
    let known = match request.method.as_str() {
        "GET" => GET,
        "POST" => POST,
        _ => &[],
    };
    if known.contains(&path) {
        return match path {
            "/ping" => Answer::text("OK"),
            _ => serve(request, state, options),
        };
    }
    let corrected = corrected(path).filter(|corrected| known.contains(&corrected.as_str()));
    if let Some(corrected) = corrected {
        let query = request.target.split_once('?').map(|(_, query)| query);
        let location = match query {
            Some(query) => format!("{corrected}?{query}"),
            None => corrected,
        };
        let status = if request.method == "GET" { 301 } else { 308 };
        return Answer::redirect(status, &location, request.method == "GET");
    }
    let allow = match path {
        _ if GET.contains(&path) => "GET, OPTIONS",
        _ if POST.contains(&path) => "OPTIONS, POST",
        _ => return Answer::error(404, "NOT_FOUND"),
    };
    let answer = match request.method.as_str() {
        "OPTIONS" => Answer::empty(200),
        _ => Answer::error(405, "METHOD_NOT_ALLOWED"),
    };
    answer.with_header("Allow", allow)
}

/// Returns the path to which the router redirects: cleaned, in lower case, without a slash at the
/// end.
fn corrected(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    (path != "/").then(|| format!("/{}", parts.join("/")).to_ascii_lowercase())
}

fn serve(request: &Request, state: &mut State, options: &Options) -> Answer {
    let only_plain = request.method == "POST";
    let accepted = |(name, value): &(String, String)| {
        name.eq_ignore_ascii_case("accept") && value.as_str() == ACCEPT
    };
    let wrapped = match state.format {
        Format::Plain => false,
        Format::Negotiated => !only_plain && !request.headers.iter().any(accepted),
        Format::Wrapped { .. } => true,
    };
    let result = execute(request, state, options);
    match result {
        Ok(Some(json)) if wrapped => Answer::wrapped(200, "OK", &json),
        Ok(None) if wrapped => Answer::wrapped(200, "OK", "null"),
        Ok(Some(json)) => Answer::json(200, json),
        Ok(None) => Answer::empty(200).with_nsq_type(),
        Err((_, text)) if wrapped => Answer::wrapped(500, text, "null"),
        Err((status, text)) => Answer::error(status, text),
    }
}

/// Executes a request, and returns its JSON, if any.
fn execute(
    request: &Request,
    state: &mut State,
    options: &Options,
) -> Result<Option<String>, Failure> {
    let now = Instant::now();
    match request.path.as_str() {
        "/info" => {
            return Ok(Some(format!(
                "{{\"version\":{}}}",
                go_json(&options.version)
            )));
        }
        "/topics" => {
            return Ok(Some(format!(
                "{{\"topics\":{}}}",
                names(&state.registry.topics())
            )));
        }
        "/nodes" => {
            let with_address = has_address(state.format);
            let nodes = state.registry.nodes(now, options.lifetimes);
            let nodes: Vec<_> = nodes
                .iter()
                .map(|node| listed(node, with_address))
                .collect();
            return Ok(Some(format!("{{\"producers\":[{}]}}", nodes.join(","))));
        }
        _ => {}
    }
    if has_invalid_query(&request.target) {
        return Err((400, "INVALID_REQUEST"));
    }
    let topic = request.given_parameter("topic");
    let topic = topic.ok_or((400, "MISSING_ARG_TOPIC"))?;
    match request.path.as_str() {
        "/channels" => {
            let channels = names(&state.registry.channels(topic));
            Ok(Some(format!("{{\"channels\":{channels}}}")))
        }
        "/lookup" => lookup(topic, state, options, now).map(Some),
        "/topic/tombstone" => {
            let node = request.given_parameter("node");
            let node = node.ok_or((400, "MISSING_ARG_NODE"))?;
            state.registry.tombstone(topic, node, now);
            Ok(None)
        }
        "/topic/delete" => {
            state.registry.delete_topic(topic);
            Ok(None)
        }
        path => change(path, topic, request, state).map(|()| None),
    }
}

fn change(path: &str, topic: &str, request: &Request, state: &mut State) -> Result<(), Failure> {
    valid_name(topic.as_bytes()).ok_or((400, "INVALID_ARG_TOPIC"))?;
    if path == "/topic/create" {
        state.registry.create_topic(topic);
        return Ok(());
    }
    let channel = request.given_parameter("channel");
    let channel = channel.ok_or((400, "MISSING_ARG_CHANNEL"))?;
    valid_name(channel.as_bytes()).ok_or((400, "INVALID_ARG_CHANNEL"))?;
    if path == "/channel/create" {
        state.registry.create_channel(topic, channel);
        return Ok(());
    }
    let existed = state.registry.delete_channel(topic, channel);
    existed.then_some(()).ok_or((404, "CHANNEL_NOT_FOUND"))
}

fn lookup(topic: &str, state: &State, options: &Options, now: Instant) -> Result<String, Failure> {
    let nodes = state.registry.lookup(topic, now, options.lifetimes);
    let nodes = nodes.ok_or(match state.format {
        Format::Wrapped { .. } => (500, "INVALID_ARG_TOPIC"),
        _ => (404, "TOPIC_NOT_FOUND"),
    })?;
    let with_address = has_address(state.format);
    let json = |node: &&LookupdNode| format!("{{{}}}", node.json_fields(with_address));
    let nodes: Vec<_> = nodes.iter().map(json).collect();
    let channels = names(&state.registry.channels(topic));
    Ok(format!(
        "{{\"channels\":{channels},\"producers\":[{}]}}",
        nodes.join(",")
    ))
}

fn listed(listed: &Listed<'_>, with_address: bool) -> String {
    let (topics, tombstones): (Vec<_>, Vec<_>) = listed
        .topics
        .iter()
        .map(|(topic, tombstone)| (go_json(topic), tombstone.to_string()))
        .unzip();
    format!(
        "{{{},\"tombstones\":[{}],\"topics\":[{}]}}",
        listed.node.json_fields(with_address),
        tombstones.join(","),
        topics.join(",")
    )
}

fn names(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| go_json(name)).collect();
    format!("[{}]", names.join(","))
}

fn has_address(format: Format) -> bool {
    format == Format::Wrapped { with_address: true }
}

/// Whether Go rejects the query: a semicolon, or a percent sign without two hexadecimal digits.
fn has_invalid_query(target: &str) -> bool {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let is_escape = |text: &str| {
        let mut digits = text.bytes();
        let mut is_digit = || digits.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        is_digit() && is_digit()
    };
    query.contains(';') || query.split('%').skip(1).any(|rest| !is_escape(rest))
}
