//! Inspecting messages, commands and connections.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use serde_json::Value;

use super::{handle::EmbeddedNsqd, state, topic, upgrade::Compression};

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredMessage {
    /// Message id: 16 hexadecimal digits, unique within the topic.
    pub id: String,
    /// Body of the message.
    pub body: Bytes,
    /// Time at which it was stored, in nanoseconds since 1970.
    pub timestamp: i64,
    /// Delay of a DPUB.
    pub defer: Option<Duration>,
    /// Number of the connection that sent it.
    pub connection: u64,
}

/// A command that was received and executed or rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedCommand {
    /// Name: the first word of the line.
    pub name: String,
    /// Parameters: the other words of the line.
    pub parameters: Vec<String>,
    /// Length of the body in bytes, without its length field; 0 if there is none, or if nsqd
    /// rejected the command before it read the body.
    pub body_length: usize,
    /// Number of the connection that sent it.
    pub connection: u64,
    /// Error response, if it was rejected.
    pub error: Option<String>,
}

/// An open or closed connection. Fields about TLS, compression and AUTH are named as in nsqd's
/// `/stats`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Number of the connection, counted from 1 in the order of acceptance.
    pub number: u64,
    /// Address of the client.
    pub peer: SocketAddr,
    /// JSON of the first accepted IDENTIFY.
    pub identify: Option<Value>,
    /// Whether it uses TLS.
    pub tls: bool,
    /// TLS version, `TLS1.2` or `TLS1.3`; empty without TLS.
    pub tls_version: String,
    /// Whether it is compressed with snappy.
    pub snappy: bool,
    /// Whether it is compressed with deflate.
    pub deflate: bool,
    /// Whether AUTH granted any permission.
    pub authed: bool,
    /// Identity granted by AUTH; empty without one.
    pub auth_identity: String,
    /// Topic and channel of its SUB.
    pub subscription: Option<(String, String)>,
    /// Whether it has sent the magic of the protocol.
    pub magic: bool,
    /// Whether it is open.
    pub open: bool,
}

/// Inspecting. Each method returns a snapshot.
impl EmbeddedNsqd {
    /// Returns all messages stored in a topic, in their order, including delivered ones; empty if
    /// the topic does not exist.
    pub fn messages(&self, topic: &str) -> Vec<StoredMessage> {
        let state = self.shared.state();
        let messages = state
            .topics
            .get(topic)
            .map(|topic| topic.messages.as_slice());
        messages
            .unwrap_or_default()
            .iter()
            .map(StoredMessage::from)
            .collect()
    }

    /// Returns the number of messages stored in a topic, including delivered ones.
    pub fn message_count(&self, topic: &str) -> usize {
        self.shared
            .state()
            .topics
            .get(topic)
            .map_or(0, |topic| topic.messages.len())
    }

    /// Returns the names of all topics, sorted. As in nsqd, a rejected or incomplete MPUB creates
    /// its topic, too.
    pub fn topics(&self) -> Vec<String> {
        self.shared.state().topics.keys().cloned().collect()
    }

    /// Returns the newest 10,000 commands of all connections, in the order of arrival.
    pub fn commands(&self) -> Vec<ReceivedCommand> {
        self.shared
            .state()
            .commands
            .iter()
            .map(ReceivedCommand::from)
            .collect()
    }

    /// Returns the number of all commands received with this name. At most 1,000 names are counted.
    pub fn command_count(&self, name: &str) -> u64 {
        self.shared
            .state()
            .command_counts
            .get(name.as_bytes())
            .copied()
            .unwrap_or(0)
    }

    /// Returns all open connections and the newest 1,000 closed ones, sorted by number.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let state = self.shared.state();
        let info = |(number, connection): (&u64, &state::Connection)| ConnectionInfo {
            number: *number,
            peer: connection.peer,
            identify: connection.identify.clone(),
            tls: connection.tls.is_some(),
            tls_version: connection.tls.unwrap_or_default().to_owned(),
            snappy: connection.compression == Some(Compression::Snappy),
            deflate: matches!(connection.compression, Some(Compression::Deflate(_))),
            authed: connection.auth_identity.is_some(),
            auth_identity: connection.auth_identity.clone().unwrap_or_default(),
            subscription: connection.subscription.as_ref().map(|subscription| {
                let state::Subscription { topic, channel } = subscription.clone();
                (topic, channel)
            }),
            magic: connection.magic,
            open: connection.control.is_some(),
        };
        state.connections.iter().map(info).collect()
    }

    /// Returns the number of bytes received on all sockets, before decryption and decompression.
    pub fn bytes_received(&self) -> u64 {
        self.shared.state().bytes_received
    }
}

impl From<&topic::Message> for StoredMessage {
    fn from(message: &topic::Message) -> Self {
        let topic::Message {
            id,
            body,
            timestamp,
            defer,
            connection,
        } = message;
        Self {
            id: format!("{id:016x}"),
            body: body.clone(),
            timestamp: *timestamp,
            defer: *defer,
            connection: *connection,
        }
    }
}

impl From<&state::Received> for ReceivedCommand {
    fn from(received: &state::Received) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut words = received.line.split(|byte| *byte == b' ').map(text);
        Self {
            name: words.next().unwrap_or_default(),
            parameters: words.collect(),
            body_length: received.body_length,
            connection: received.connection,
            error: received.error.as_deref().map(text),
        }
    }
}
