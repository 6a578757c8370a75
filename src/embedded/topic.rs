//! A topic: the log of what was published to it, and the channels that get a copy of each message.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use super::channel::{Channel, Queued};

#[derive(Debug, Default)]
pub(super) struct Topic {
    /// Everything that was published, in stored order. It stays when it has been delivered, so that
    /// it can be looked at.
    pub(super) messages: Vec<Message>,
    pub(super) channels: BTreeMap<String, Channel>,
    pub(super) paused: bool,
    /// So many of the messages have left: they went to the channels, or the topic was emptied.
    passed: usize,
    /// The delays of so many of the messages are forgotten: nsqd has no place on its disk for them.
    undeferred: usize,
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
    pub(super) fn store(&mut self, bodies: &[&[u8]], defer: Option<Duration>, connection: u64) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let timestamp = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        for body in bodies {
            self.last_id = next_id(self.last_id, timestamp);
            // Copied: a slice of the read buffer would keep 64 KiB alive for a message of ten
            // bytes.
            let body = Bytes::copy_from_slice(body);
            self.messages.push(Message {
                id: self.last_id,
                body,
                timestamp,
                defer,
                connection,
            });
        }
        self.pass_on();
    }

    /// The channel, made if it is not there yet. The first one gets what has waited in the topic;
    /// later ones only what comes from now on.
    pub(super) fn make_channel(&mut self, name: &str) -> &mut Channel {
        if !self.channels.contains_key(name) {
            self.channels.insert(name.to_owned(), Channel::default());
            self.pass_on();
        }
        self.channels.entry(name.to_owned()).or_default()
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.pass_on();
    }

    /// How many messages wait in the topic itself, for a channel or for the end of a pause.
    pub(super) fn depth(&self) -> usize {
        self.messages.len() - self.passed
    }

    /// Drops what waits in the topic itself. (The log keeps it.)
    pub(super) fn empty(&mut self) {
        self.passed = self.messages.len();
    }

    /// What an nsqd that ends writes to its disk has neither an owner nor a delay when it is back.
    pub(super) fn flush(&mut self) {
        self.undeferred = self.messages.len();
        for channel in self.channels.values_mut() {
            channel.flush();
        }
    }

    /// When there is next something to do for one of the channels.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.channels.values().filter_map(Channel::next_due).min()
    }

    /// Gives each channel its copy of every message that waits. The delay of a DPUB starts here.
    fn pass_on(&mut self) {
        if self.paused || self.channels.is_empty() {
            return;
        }
        let waiting = self.messages.iter().enumerate().skip(self.passed);
        for (index, message) in waiting {
            let defer = message
                .defer
                .filter(|delay| !delay.is_zero() && index >= self.undeferred);
            for channel in self.channels.values_mut() {
                let copy = Queued::new(message.id, message.timestamp, message.body.clone());
                channel.put(copy, defer);
            }
        }
        self.passed = self.messages.len();
        for channel in self.channels.values_mut() {
            channel.wake();
        }
    }
}

/// Like nsqd's: a time, a node, a sequence; ever growing, and unique within the topic only.
fn next_id(last: u64, timestamp: i64) -> u64 {
    const EPOCH: i64 = 1_288_834_974_288;
    let time = ((timestamp >> 20) - EPOCH).max(0).cast_unsigned() << 22;
    time.max(last.wrapping_add(1))
}

/// An ephemeral topic or channel goes with its last channel or consumer.
pub(super) fn is_ephemeral(name: &str) -> bool {
    name.ends_with("#ephemeral")
}
