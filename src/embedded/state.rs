//! The state of an embedded nsqd, behind one lock: topics, connections, received commands, faults.

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
    channel::{Channel, Consumer, DeliverySettings},
    command::Line,
    fault_state::FaultState,
    options::Options,
    registration::{Registrar, Starting},
    topic::{Topic, is_ephemeral, unix_time},
    upgrade::Compression,
};

/// Number of commands, closed connections and command names that are kept; bounds the memory of a
/// long run.
const COMMANDS_KEPT: usize = 10_000;
const CLOSED_CONNECTIONS_KEPT: usize = 1_000;
const COMMAND_NAMES_KEPT: usize = 1_000;

/// What the handle and the tasks of the server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    state: Mutex<State>,
    /// Notified on every change that the handle can see.
    pub(super) changes: watch::Sender<()>,
    /// Notified when a fault was switched, and when nsqd was stopped or restarted.
    pub(super) fault_changes: watch::Sender<()>,
}

impl Shared {
    pub(super) fn new(options: Options, registrar: Registrar) -> Arc<Self> {
        let state = State {
            registrar,
            ..State::default()
        };
        Arc::new(Self {
            options,
            state: Mutex::new(state),
            changes: watch::Sender::new(()),
            fault_changes: watch::Sender::new(()),
        })
    }

    /// Ignores a poisoned lock, so that a test can still inspect the messages after a panic.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) registrar: Registrar,
    pub(super) connections: BTreeMap<u64, Connection>,
    /// The newest commands.
    pub(super) commands: VecDeque<Received>,
    /// The number of all commands, by name.
    pub(super) command_counts: BTreeMap<Vec<u8>, u64>,
    pub(super) bytes_received: u64,
    pub(super) faults: FaultState,
    pub(super) stopped: bool,
    /// When nsqd was started or restarted, in seconds since 1970.
    pub(super) started: u64,
    /// The time of the next timeout or deferred message, as the expiry task knows it.
    pub(super) next_due: Option<Instant>,
    /// Wakes the expiry task when `next_due` became earlier.
    pub(super) due_earlier: Arc<Notify>,
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
    /// When it was accepted, in seconds since 1970.
    pub(super) connected: u64,
    pub(super) magic: bool,
    pub(super) identify: Option<Value>,
    /// The TLS version, named as in nsqd's `/stats`.
    pub(super) tls: Option<&'static str>,
    pub(super) compression: Option<Compression>,
    pub(super) auth_identity: Option<String>,
    pub(super) subscription: Option<Subscription>,
    /// Whether it has sent CLS.
    pub(super) closing: bool,
    /// Number of messages that it has published, by topic.
    pub(super) published: BTreeMap<String, u64>,
    /// Controls the task of the connection; `None` once it is closed.
    pub(super) control: Option<UnboundedSender<Control>>,
}

/// Topic and channel of a SUB.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub(super) topic: String,
    pub(super) channel: String,
}

/// A request of the handle to the task of a connection. The handle waits until all senders of the
/// contained channel are dropped: the request is done, or the task has ended.
#[derive(Debug)]
pub(super) enum Control {
    Send(Bytes, mpsc::Sender<()>),
    SendToSocket(Bytes, mpsc::Sender<()>),
    Close(mpsc::Sender<()>),
    Reset(mpsc::Sender<()>),
}

impl State {
    /// Adds a connection and returns its number.
    pub(super) fn add_connection(
        &mut self,
        peer: SocketAddr,
        control: UnboundedSender<Control>,
    ) -> u64 {
        self.last_connection += 1;
        let connection = Connection {
            peer,
            connected: unix_time().as_secs(),
            magic: false,
            identify: None,
            tls: None,
            compression: None,
            auth_identity: None,
            subscription: None,
            closing: false,
            published: BTreeMap::new(),
            control: Some(control),
        };
        self.connections.insert(self.last_connection, connection);
        self.last_connection
    }

    pub(super) fn has_tls(&self, number: u64) -> bool {
        let connection = self.connections.get(&number);
        connection.is_some_and(|connection| connection.tls.is_some())
    }

    /// Marks a connection as closed and ends its subscription.
    pub(super) fn close_connection(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        if connection.control.take().is_none() {
            return;
        }
        if let Some(subscription) = connection.subscription.clone() {
            self.unsubscribe(number, &subscription);
        }
        self.closed_connections += 1;
        if self.closed_connections > CLOSED_CONNECTIONS_KEPT {
            let oldest = self
                .connections
                .iter()
                .find(|(_, connection)| connection.control.is_none());
            if let Some(oldest) = oldest.map(|(number, _)| *number) {
                self.connections.remove(&oldest);
                self.closed_connections -= 1;
            }
        }
    }

    pub(super) fn record_command(
        &mut self,
        connection: u64,
        line: Line<'_>,
        body_length: usize,
        error: Option<&[u8]>,
    ) {
        let name = line.name();
        // Looked up first, because the entry API needs an owned key.
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

    /// Returns the topic, and creates it if necessary.
    pub(super) fn get_or_create_topic(&mut self, name: &str) -> &mut Topic {
        let registrar = &self.registrar;
        let entry = self.topics.entry(name.to_owned());
        entry.or_insert_with(|| Topic::new(registrar.topic_created(name)))
    }

    /// Returns the channel, and creates it and its topic if necessary.
    pub(super) fn get_or_create_channel(&mut self, topic: &str, name: &str) -> &mut Channel {
        self.get_or_create_topic(topic);
        let known = self.topics.get(topic);
        if known.is_none_or(|topic| !topic.channels.contains_key(name)) {
            self.registrar.announce(true, topic, Some(name));
        }
        self.get_or_create_topic(topic).get_or_create_channel(name)
    }

    /// Creates the topic if necessary. Returns whether the connection must wait for its start,
    /// because it has created it.
    pub(super) fn must_wait(&mut self, topic: &str, connection: u64, wake: &Arc<Notify>) -> bool {
        let starting = match self.topics.get_mut(topic) {
            Some(topic) => &mut topic.starting,
            None => {
                let starting = &mut self.get_or_create_topic(topic).starting;
                if let Some(starting) = starting {
                    starting.hold(connection, wake);
                }
                starting
            }
        };
        let starting = starting.as_ref();
        starting.is_some_and(|starting: &Starting| starting.holds(connection))
    }

    /// Starts a topic with these channels, unless it was deleted.
    pub(super) fn start_topic(&mut self, topic: &str, channels: &[String]) {
        if !self.topics.contains_key(topic) {
            return;
        }
        for channel in channels {
            self.get_or_create_channel(topic, channel);
        }
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.start();
            let due = topic.next_due();
            self.schedule_expiry(due);
        }
    }

    /// Removes a topic with its channels.
    pub(super) fn remove_topic(&mut self, name: &str) -> Option<Topic> {
        let topic = self.topics.remove(name)?;
        self.registrar.announce(false, name, None);
        for channel in topic.channels.keys() {
            self.registrar.announce(false, name, Some(channel));
        }
        Some(topic)
    }

    /// Stores published messages.
    pub(super) fn store(
        &mut self,
        topic: &str,
        bodies: &[&[u8]],
        defer: Option<Duration>,
        connection: u64,
    ) {
        let count = u64::try_from(bodies.len()).unwrap_or(u64::MAX);
        if let Some(connection) = self.connections.get_mut(&connection) {
            match connection.published.get_mut(topic) {
                Some(published) => *published += count,
                None => {
                    connection.published.insert(topic.to_owned(), count);
                }
            }
        }
        // Looked up first, because the entry API needs an owned key.
        let topic = match self.topics.get_mut(topic) {
            Some(topic) => topic,
            None => self.get_or_create_topic(topic),
        };
        topic.store(bodies, defer, connection);
        let due = topic.next_due();
        self.schedule_expiry(due);
    }

    /// Subscribes a connection to a channel, and creates topic and channel if necessary. `wake` is
    /// notified when there may be messages for it.
    pub(super) fn subscribe(
        &mut self,
        connection: u64,
        subscription: Subscription,
        wake: &Arc<Notify>,
    ) {
        let channel = self.get_or_create_channel(&subscription.topic, &subscription.channel);
        let consumer = Consumer::new(Arc::clone(wake));
        channel.consumers.insert(connection, consumer);
        let topic = self.topics.get(&subscription.topic);
        let due = topic.and_then(Topic::next_due);
        self.schedule_expiry(due);
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.subscription = Some(subscription);
        }
    }

    /// Returns the channel, unless it was deleted and the connection is about to be closed.
    pub(super) fn channel(&mut self, subscription: &Subscription) -> Option<&mut Channel> {
        let topic = self.topics.get_mut(&subscription.topic)?;
        topic.channels.get_mut(&subscription.channel)
    }

    /// Takes messages for a consumer; see [`Channel::take`].
    pub(super) fn take_messages(
        &mut self,
        connection: u64,
        subscription: &Subscription,
        settings: DeliverySettings,
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(channel) = self.channel(subscription) else {
            return false;
        };
        let more = channel.take(connection, settings, max_bytes, out);
        let due = channel.next_due();
        self.schedule_expiry(due);
        more
    }

    /// Removes a consumer. Its messages stay in flight until they time out. An ephemeral channel is
    /// removed with its last consumer, and an ephemeral topic with its last channel.
    fn unsubscribe(&mut self, connection: u64, subscription: &Subscription) {
        let Some(channel) = self.channel(subscription) else {
            return;
        };
        let removed = channel.consumers.remove(&connection).is_some();
        if removed && channel.consumers.is_empty() && is_ephemeral(&subscription.channel) {
            self.remove_channel(&subscription.topic, &subscription.channel);
        }
    }

    /// Removes a channel, and its topic if that is ephemeral and has no other channel.
    pub(super) fn remove_channel(&mut self, topic: &str, channel: &str) -> Option<Channel> {
        let its_topic = self.topics.get_mut(topic)?;
        let removed = its_topic.channels.remove(channel)?;
        let is_last = its_topic.channels.is_empty();
        self.registrar.announce(false, topic, Some(channel));
        if is_last && is_ephemeral(topic) {
            self.remove_topic(topic);
        }
        Some(removed)
    }

    /// Wakes the expiry task if `due` is earlier than the time it knows.
    pub(super) fn schedule_expiry(&mut self, due: Option<Instant>) {
        if due.is_some() && self.next_due.is_none_or(|known| due < Some(known)) {
            self.next_due = due;
            self.due_earlier.notify_one();
        }
    }

    /// Expires timed-out and deferred messages of all channels. Returns whether there were any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        if self.next_due.is_none_or(|due| due > now) {
            return false;
        }
        let mut any = false;
        for topic in self.topics.values_mut() {
            for channel in topic.channels.values_mut() {
                any |= channel.expire(now);
            }
        }
        self.next_due = self.topics.values().filter_map(Topic::next_due).min();
        any
    }
}
