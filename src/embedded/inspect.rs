//! Looking inside an embedded nsqd, and waiting for what is to be seen there.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use serde_json::Value;

use super::{EmbeddedNsqd, identify::Compression, state, topic};

/// A message that was published and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredMessage {
    /// 16 hexadecimal digits, unique within the topic.
    pub id: String,
    /// What was published.
    pub body: Bytes,
    /// When it was stored, in nanoseconds since 1970.
    pub timestamp: i64,
    /// The delay of a DPUB.
    pub defer: Option<Duration>,
    /// The number of the connection it came from.
    pub connection: u64,
}

/// A command as it was received: whole, or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedCommand {
    /// The first word of the line.
    pub name: String,
    /// The other words.
    pub parameters: Vec<String>,
    /// The length of the body behind its length field; 0 where there is none, or where nsqd refused
    /// to read it.
    pub body_length: usize,
    /// The number of the connection it came from.
    pub connection: u64,
    /// The error it was answered with.
    pub error: Option<String>,
}

/// A connection, open or closed. What is said of TLS, compression and AUTH has the names of nsqd's `/stats`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Counted from 1, in the order they were accepted.
    pub number: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The JSON of the first IDENTIFY that was accepted.
    pub identify: Option<Value>,
    /// Whether it is inside TLS.
    pub tls: bool,
    /// The version of its TLS, `TLS1.2` or `TLS1.3`; empty without TLS.
    pub tls_version: String,
    /// Whether it is compressed by snappy.
    pub snappy: bool,
    /// Whether it is compressed by deflate.
    pub deflate: bool,
    /// Whether its AUTH was granted anything.
    pub authed: bool,
    /// The identity that its AUTH was granted.
    pub auth_identity: String,
    /// Topic and channel of its SUB.
    pub subscription: Option<(String, String)>,
    /// Whether it has sent the protocol's magic.
    pub magic: bool,
    /// Whether it is still open.
    pub open: bool,
}

/// Looking inside. What is seen is the state of one moment.
impl EmbeddedNsqd {
    /// All messages that were published to a topic, in the order they were stored, delivered ones
    /// too; none if there is no such topic.
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

    /// How many messages were published to a topic.
    pub fn message_count(&self, topic: &str) -> usize {
        self.shared
            .state()
            .topics
            .get(topic)
            .map_or(0, |topic| topic.messages.len())
    }

    /// The names of all topics, sorted. As in nsqd a refused MPUB, or half of one, makes its topic,
    /// too.
    pub fn topics(&self) -> Vec<String> {
        self.shared.state().topics.keys().cloned().collect()
    }

    /// The newest 10,000 commands of all connections, in the order they were received.
    pub fn commands(&self) -> Vec<ReceivedCommand> {
        self.shared
            .state()
            .commands
            .iter()
            .map(ReceivedCommand::from)
            .collect()
    }

    /// How many commands of this name were received in all.
    pub fn command_count(&self, name: &str) -> u64 {
        self.shared
            .state()
            .command_counts
            .get(name.as_bytes())
            .copied()
            .unwrap_or(0)
    }

    /// All open connections and the newest 1,000 closed ones, by number.
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
            subscription: connection.subscription.clone(),
            magic: connection.magic,
            open: connection.orders.is_some(),
        };
        state.connections.iter().map(info).collect()
    }

    /// How many bytes were received in all, as they came over the wire.
    pub fn bytes_received(&self) -> u64 {
        self.shared.state().bytes_received
    }
}

/// Waiting. All of these futures run on any runtime, have no time limit of their own, and may be
/// dropped at any point without consequence.
impl EmbeddedNsqd {
    /// Waits until at least `n` messages have been published to a topic, and returns all of them.
    pub async fn wait_for_messages(&self, topic: &str, n: usize) -> Vec<StoredMessage> {
        self.wait_until(|nsqd| nsqd.message_count(topic) >= n).await;
        self.messages(topic)
    }

    /// Waits until exactly `n` connections are open that have sent the magic.
    pub async fn wait_for_connections(&self, n: usize) {
        let serving =
            |connection: &&state::Connection| connection.magic && connection.orders.is_some();
        self.wait_until(|nsqd| {
            nsqd.shared
                .state()
                .connections
                .values()
                .filter(serving)
                .count()
                == n
        })
        .await;
    }

    /// Waits until at least `n` commands of this name have been received in all.
    pub async fn wait_for_command(&self, name: &str, n: u64) {
        self.wait_until(|nsqd| nsqd.command_count(name) >= n).await;
    }

    /// Waits until the condition holds. It is looked at now, and again whenever something has been
    /// received or delivered, a message has timed out, a connection was opened or closed, or a topic
    /// or channel was changed from here.
    pub async fn wait_until(&self, mut condition: impl FnMut(&Self) -> bool) {
        // Subscribed first: what happens while the condition looks is news, and it looks again.
        let mut news = self.shared.news.subscribe();
        while !condition(self) {
            if news.changed().await.is_err() {
                // Impossible: `self` holds the sender. Nothing could ever change again, so look no
                // more.
                std::future::pending::<()>().await;
            }
        }
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
