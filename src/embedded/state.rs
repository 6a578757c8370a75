//! All that an embedded nsqd knows, behind one lock: topics, connections, what was received, which
//! faults are on.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{Notify, mpsc::UnboundedSender, watch};

use super::{
    builder::Options, identify::Compression, misbehaviour::Misbehaviour, parser::Line, topic::Topic,
};

/// How many commands, how many closed connections and how many names of commands are remembered.
const COMMANDS_KEPT: usize = 10_000;
const CLOSED_CONNECTIONS_KEPT: usize = 1_000;
const COMMAND_NAMES_KEPT: usize = 1_000;

/// What the handle and the tasks of the server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    state: Mutex<State>,
    /// Ticks when there is something new to see; those who wait for something look then.
    pub(super) news: watch::Sender<()>,
    /// Ticks when a fault was switched; the connections look then.
    pub(super) switched: watch::Sender<()>,
}

impl Shared {
    pub(super) fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            options,
            state: Mutex::default(),
            news: watch::Sender::new(()),
            switched: watch::Sender::new(()),
        })
    }

    /// A panic elsewhere must not hide from a test what was stored, so a poisoned lock is opened
    /// all the same.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) connections: BTreeMap<u64, Connection>,
    /// The newest commands, and how many of each name there were in all.
    pub(super) commands: VecDeque<Received>,
    pub(super) command_counts: BTreeMap<Vec<u8>, u64>,
    pub(super) bytes_received: u64,
    pub(super) misbehaviour: Misbehaviour,
    pub(super) stopped: bool,
    /// Wakes the timekeeper when something is due sooner than it knows.
    pub(super) sooner: Arc<Notify>,
    pub(super) next_due: Option<Instant>,
    last_connection: u64,
    closed_connections: usize,
}

#[derive(Debug)]
pub(super) struct Received {
    pub(super) line: Vec<u8>,
    pub(super) body_length: usize,
    pub(super) connection: u64,
    pub(super) error: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) magic: bool,
    pub(super) identify: Option<Value>,
    /// Its version, as in `/stats`.
    pub(super) tls: Option<&'static str>,
    pub(super) compression: Option<Compression>,
    /// Whom AUTH has found it to be.
    pub(super) auth_identity: Option<String>,
    /// Topic and channel of its SUB.
    pub(super) subscription: Option<(String, String)>,
    /// The way to the task that serves it; `None` when it is closed.
    pub(super) orders: Option<UnboundedSender<Order>>,
}

/// What the handle can tell the task of a connection. The acknowledgement is the end of the channel
/// in it: the handle waits until nobody holds its sender any more, which also holds true when the
/// task has ended before.
#[derive(Debug)]
pub(super) enum Order {
    Send(Bytes, mpsc::Sender<()>),
    SendPastLayers(Bytes, mpsc::Sender<()>),
    Close(mpsc::Sender<()>),
    Reset(mpsc::Sender<()>),
}

impl State {
    pub(super) fn opened(&mut self, peer: SocketAddr, orders: UnboundedSender<Order>) -> u64 {
        self.last_connection += 1;
        let connection = Connection {
            peer,
            magic: false,
            identify: None,
            tls: None,
            compression: None,
            auth_identity: None,
            subscription: None,
            orders: Some(orders),
        };
        self.connections.insert(self.last_connection, connection);
        self.last_connection
    }

    pub(super) fn has_tls(&self, number: u64) -> bool {
        let connection = self.connections.get(&number);
        connection.is_some_and(|connection| connection.tls.is_some())
    }

    pub(super) fn closed(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        if connection.orders.take().is_none() {
            return;
        }
        if let Some((topic, channel)) = connection.subscription.clone() {
            self.unsubscribe(&topic, &channel, number);
        }
        self.closed_connections += 1;
        if self.closed_connections > CLOSED_CONNECTIONS_KEPT {
            let oldest = self
                .connections
                .iter()
                .find(|(_, connection)| connection.orders.is_none());
            if let Some(oldest) = oldest.map(|(number, _)| *number) {
                self.connections.remove(&oldest);
                self.closed_connections -= 1;
            }
        }
    }

    pub(super) fn record(
        &mut self,
        connection: u64,
        line: Line<'_>,
        body_length: usize,
        error: Option<&[u8]>,
    ) {
        let name = line.name();
        // A lookup first: a name is only copied when it is new.
        if let Some(count) = self.command_counts.get_mut(name) {
            *count += 1;
        } else if self.command_counts.len() < COMMAND_NAMES_KEPT {
            self.command_counts.insert(name.to_vec(), 1);
        }
        if self.commands.len() == COMMANDS_KEPT {
            self.commands.pop_front();
        }
        let error = error.map(<[u8]>::to_vec);
        self.commands.push_back(Received {
            line: line.0.to_vec(),
            body_length,
            connection,
            error,
        });
    }

    /// The topic, made if it is not there yet.
    pub(super) fn make_topic(&mut self, name: &str) -> &mut Topic {
        if !self.topics.contains_key(name) {
            self.topics.insert(name.to_owned(), Topic::default());
        }
        self.topics.entry(name.to_owned()).or_default()
    }

    pub(super) fn store(
        &mut self,
        topic: &str,
        bodies: &[&[u8]],
        defer: Option<Duration>,
        connection: u64,
    ) {
        // A lookup first: a name is only copied when it is new.
        let topic = match self.topics.get_mut(topic) {
            Some(topic) => topic,
            None => self.make_topic(topic),
        };
        topic.store(bodies, defer, connection);
        let due = topic.next_due();
        self.look_ahead(due);
    }
}
