//! A topic: the log of its messages and the channels that receive a copy of each.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use super::{
    channel::{Channel, QueuedMessage},
    registration::Starting,
};

#[derive(Debug, Default)]
pub(super) struct Topic {
    /// All messages in stored order. Kept after delivery, for inspection.
    pub(super) messages: Vec<Message>,
    pub(super) channels: BTreeMap<String, Channel>,
    pub(super) paused: bool,
    /// Set until its channels are known.
    pub(super) starting: Option<Starting>,
    /// Total size of the bodies of all messages.
    pub(super) message_bytes: u64,
    /// Number of messages at the front of the log that were distributed to the channels or dropped.
    distributed: usize,
    /// Number of messages at the front of the log whose delay was lost in a restart: nsqd does not
    /// write it to disk.
    without_delay: usize,
    last_id: u64,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) body: Bytes,
    pub(super) timestamp: i64,
    pub(super) defer: Option<Duration>,
    pub(super) connection: u64,
}

impl Topic {
    /// Creates a topic. If it is starting, [`start`](Self::start) must follow.
    pub(super) fn new(starting: Option<Starting>) -> Self {
        Self {
            starting,
            ..Self::default()
        }
    }

    pub(super) fn store(&mut self, bodies: &[&[u8]], defer: Option<Duration>, connection: u64) {
        let now = unix_time();
        let timestamp = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        for body in bodies {
            self.message_bytes += u64::try_from(body.len()).unwrap_or(u64::MAX);
            self.last_id = next_id(self.last_id, timestamp);
            // A slice would keep the whole 64 KiB read buffer allocated.
            let body = Bytes::copy_from_slice(body);
            self.messages.push(Message {
                id: self.last_id,
                body,
                timestamp,
                defer,
                connection,
            });
        }
        self.distribute();
    }

    /// Returns the channel, and creates it if necessary. The first channel receives the messages
    /// queued in the topic; later ones only new messages.
    pub(super) fn get_or_create_channel(&mut self, name: &str) -> &mut Channel {
        if !self.channels.contains_key(name) {
            self.channels.insert(name.to_owned(), Channel::default());
            self.distribute();
        }
        self.channels.entry(name.to_owned()).or_default()
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.distribute();
    }

    /// Distributes messages from now on.
    pub(super) fn start(&mut self) {
        self.starting = None;
        self.distribute();
    }

    /// Number of messages queued in the topic itself, until it has a channel or is unpaused.
    pub(super) fn depth(&self) -> usize {
        self.messages.len() - self.distributed
    }

    /// Drops the messages queued in the topic itself. The log keeps them.
    pub(super) fn empty(&mut self) {
        self.distributed = self.messages.len();
    }

    /// Requeues all messages without delay, as after a restart of nsqd.
    pub(super) fn flush(&mut self) {
        self.without_delay = self.messages.len();
        for channel in self.channels.values_mut() {
            channel.flush();
        }
    }

    /// The time of the next timeout or deferred message in any channel.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.channels.values().filter_map(Channel::next_due).min()
    }

    /// Copies every queued message to every channel. The delay of a DPUB starts here.
    fn distribute(&mut self) {
        if self.paused || self.starting.is_some() || self.channels.is_empty() {
            return;
        }
        let queued = self.messages.iter().enumerate().skip(self.distributed);
        for (index, message) in queued {
            let defer = message
                .defer
                .filter(|delay| !delay.is_zero() && index >= self.without_delay);
            for channel in self.channels.values_mut() {
                let copy = QueuedMessage::new(message.id, message.timestamp, message.body.clone());
                channel.put(copy, defer);
            }
        }
        self.distributed = self.messages.len();
        for channel in self.channels.values_mut() {
            channel.wake();
        }
    }
}

/// Returns the time since 1970.
pub(super) fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Returns the next message id. As in nsqd it is based on the time, increases, and is unique within
/// the topic.
fn next_id(last: u64, timestamp: i64) -> u64 {
    const EPOCH: i64 = 1_288_834_974_288;
    let time = ((timestamp >> 20) - EPOCH).max(0).cast_unsigned() << 22;
    time.max(last.wrapping_add(1))
}

/// Whether a topic or channel is removed with its last channel or consumer.
pub(super) fn is_ephemeral(name: &str) -> bool {
    name.ends_with("#ephemeral")
}
