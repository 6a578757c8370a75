//! A connection of an nsqd without its socket: bytes in, responses out.

use std::{net::SocketAddr, time::Instant};

use serde_json::Value;

use super::{
    node::LookupdNode,
    state::{Options, State},
};
use crate::embedded::{
    inspect::ReceivedCommand,
    text::{go_json, valid_name},
};

/// Maximum size of an unfinished command in bytes. nsqlookupd has no limit; this bounds the memory.
const MAX_COMMAND: usize = 16 * 1024 * 1024;

/// The first bytes of a connection.
const MAGIC: &[u8] = b"  V1";

#[derive(Debug)]
pub(super) struct Session {
    /// Number of the connection.
    number: u64,
    peer: SocketAddr,
    ports: Ports,
    input: Vec<u8>,
    has_magic: bool,
    ended: bool,
}

/// The ports that nsqlookupd announces to nsqds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) tcp: u16,
    pub(super) http: u16,
}

/// A rejected command. nsqlookupd closes the connection after each.
type Failure = String;

impl Session {
    pub(super) fn new(number: u64, peer: SocketAddr, ports: Ports) -> Self {
        Self {
            number,
            peer,
            ports,
            input: Vec::new(),
            has_magic: false,
            ended: false,
        }
    }

    /// Number of bytes to read before anything else, as nsqlookupd does with the magic; `None`: as
    /// many as there are.
    pub(super) fn missing_magic(&self) -> Option<usize> {
        (!self.has_magic).then(|| MAGIC.len().saturating_sub(self.input.len()))
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Whether the connection is to be closed.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Executes the received commands and returns the responses. At the end of the input,
    /// an incomplete IDENTIFY gets an error.
    pub(super) fn advance(
        &mut self,
        state: &mut State,
        options: &Options,
        input_ended: bool,
    ) -> Vec<u8> {
        let mut responses = Vec::new();
        if !self.has_magic {
            if self.input.len() < MAGIC.len() {
                self.ended = input_ended;
                return responses;
            }
            if !self.input.starts_with(MAGIC) {
                self.ended = true;
                respond(&mut responses, b"E_BAD_PROTOCOL");
                return responses;
            }
            self.input.drain(..MAGIC.len());
            self.has_magic = true;
        }
        while !self.ended {
            let Some((command, result)) = self.execute(state, options, input_ended) else {
                self.ended = input_ended || self.input.len() > MAX_COMMAND;
                break;
            };
            let error = result.as_ref().err().cloned();
            self.ended = error.is_some();
            state.record_command(ReceivedCommand { error, ..command });
            match result {
                Ok(response) => respond(&mut responses, response.as_bytes()),
                Err(error) => respond(&mut responses, error.as_bytes()),
            }
        }
        responses
    }

    /// Takes and executes one command, if it is complete.
    fn execute(
        &mut self,
        state: &mut State,
        options: &Options,
        input_ended: bool,
    ) -> Option<(ReceivedCommand, Result<String, Failure>)> {
        let end = self.input.iter().position(|byte| *byte == b'\n')?;
        let line = String::from_utf8_lossy(self.input.get(..end)?).into_owned();
        let mut words = line.trim().split(' ').map(str::to_owned);
        let mut command = ReceivedCommand {
            name: words.next().unwrap_or_default(),
            parameters: words.collect(),
            body_length: 0,
            connection: self.number,
            error: None,
        };
        let identified = self.identified(state);
        if command.name == "IDENTIFY" && identified.is_none() {
            let (used, body) = match self.body(end + 1) {
                Some((used, body)) => (used, Ok(body)),
                None if input_ended => (self.input.len(), Err(self.incomplete_body(end + 1))),
                None => return None,
            };
            let body = body.map(<[u8]>::to_vec);
            self.input.drain(..used);
            command.body_length = body.as_ref().map_or(0, Vec::len);
            let result = body.and_then(|body| self.identify(&body, state, options));
            return Some((command, result));
        }
        self.input.drain(..=end);
        let result = match command.name.as_str() {
            "PING" => {
                if let Some(peer) = identified {
                    state.registry.ping(peer, Instant::now());
                }
                Ok("OK".to_owned())
            }
            "IDENTIFY" => Err("E_INVALID cannot IDENTIFY again".to_owned()),
            "REGISTER" | "UNREGISTER" => register(&command, identified, state),
            name => Err(format!("E_INVALID invalid command {name}")),
        };
        Some((command, result))
    }

    fn identified(&self, state: &State) -> Option<u64> {
        state.connections.get(&self.number)?.peer
    }

    /// Returns the end of the body that begins here, and the body, if it is complete.
    fn body(&self, start: usize) -> Option<(usize, &[u8])> {
        let size = self.input.get(start..start + 4)?;
        let size = u32::from_be_bytes(size.try_into().ok()?);
        let end = (start + 4).checked_add(usize::try_from(size).ok()?)?;
        Some((end, self.input.get(start + 4..end)?))
    }

    fn incomplete_body(&self, start: usize) -> Failure {
        let what = match self.input.get(start..start + 4) {
            Some(_) => "body",
            None => "body size",
        };
        format!("E_BAD_BODY IDENTIFY failed to read {what}")
    }

    fn identify(
        &self,
        body: &[u8],
        state: &mut State,
        options: &Options,
    ) -> Result<String, Failure> {
        let mut node = read_node(body).ok_or("E_BAD_BODY IDENTIFY failed to decode JSON body")?;
        let is_missing = node.broadcast_address.is_empty()
            || node.version.is_empty()
            || node.tcp_port == 0
            || node.http_port == 0;
        if is_missing {
            return Err("E_BAD_BODY IDENTIFY missing fields".to_owned());
        }
        node.remote_address = self.peer.to_string();
        let peer = state.registry.connect(node, Instant::now());
        if let Some(connection) = state.connections.get_mut(&self.number) {
            connection.peer = Some(peer);
        }
        let hostname = hostname::get().unwrap_or_default();
        Ok(format!(
            "{{\"broadcast_address\":{},\"hostname\":{},\"http_port\":{},\"tcp_port\":{},\
             \"version\":{}}}",
            go_json(&options.broadcast_address),
            go_json(&hostname.to_string_lossy()),
            self.ports.http,
            self.ports.tcp,
            go_json(&options.version),
        ))
    }
}

/// Reads what an nsqd sends with IDENTIFY, as Go does: names of fields in any case, `null` changes
/// nothing, and a value of a wrong type is an error.
fn read_node(body: &[u8]) -> Option<LookupdNode> {
    // Go replaces invalid UTF-8; serde_json would reject it.
    let json = serde_json::from_str(&String::from_utf8_lossy(body)).ok()?;
    let mut node = LookupdNode {
        remote_address: String::new(),
        hostname: String::new(),
        broadcast_address: String::new(),
        tcp_port: 0,
        http_port: 0,
        version: String::new(),
    };
    let fields = match json {
        Value::Object(fields) => fields,
        Value::Null => return Some(node),
        _ => return None,
    };
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let text = || value.as_str().map(str::to_owned);
        match name.to_ascii_lowercase().as_str() {
            "remote_address" => node.remote_address = text()?,
            "hostname" => node.hostname = text()?,
            "broadcast_address" => node.broadcast_address = text()?,
            "version" => node.version = text()?,
            "tcp_port" => node.tcp_port = value.as_i64()?,
            "http_port" => node.http_port = value.as_i64()?,
            _ => {}
        }
    }
    Some(node)
}

fn register(
    command: &ReceivedCommand,
    identified: Option<u64>,
    state: &mut State,
) -> Result<String, Failure> {
    let name = &command.name;
    let number = identified.ok_or("E_INVALID client must IDENTIFY")?;
    let mut parameters = command.parameters.iter();
    let topic = parameters
        .next()
        .ok_or_else(|| format!("E_INVALID {name} insufficient number of params"))?;
    let channel = parameters.next().filter(|channel| !channel.is_empty());
    let valid = |text: &str| valid_name(text.as_bytes()).is_some();
    if !valid(topic) {
        let error = format!("E_BAD_TOPIC {name} topic name '{topic}' is not valid");
        return Err(error);
    }
    if let Some(channel) = channel.filter(|channel| !valid(channel)) {
        let error = format!("E_BAD_CHANNEL {name} channel name '{channel}' is not valid");
        return Err(error);
    }
    let channel = channel.map(String::as_str);
    if name == "REGISTER" {
        state.registry.register(number, topic, channel);
    } else {
        state.registry.unregister(number, topic, channel);
    }
    Ok("OK".to_owned())
}

/// Appends a response: its size and its bytes.
fn respond(out: &mut Vec<u8>, response: &[u8]) {
    let size = u32::try_from(response.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(response);
}
