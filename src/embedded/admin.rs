//! Administration, as with nsqd's HTTP API: creating, pausing, emptying and deleting topics and
//! channels.

use std::collections::BTreeSet;

use super::{
    channel::Channel,
    handle::EmbeddedNsqd,
    state::{Control, Shared, State},
    text::valid_name,
    topic::Topic,
};

/// Administration, as with nsqd's HTTP API. Methods that delete wait until the connections of the
/// consumers are closed.
impl EmbeddedNsqd {
    /// Creates a topic, if it does not exist. Returns `false` if the name is invalid.
    pub fn create_topic(&self, topic: &str) -> bool {
        let valid = valid_name(topic.as_bytes()).is_some();
        if valid {
            self.change(|state| {
                state.get_or_create_topic(topic);
            });
        }
        valid
    }

    /// Creates a channel and its topic, if they do not exist. The channel receives a copy of every
    /// message from now on. Returns `false` if a name is invalid.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use actix_nsq::embedded::EmbeddedNsqd;
    /// let nsqd = EmbeddedNsqd::start()?;
    /// assert!(nsqd.create_channel("orders", "billing"));
    /// assert!(nsqd.pause_channel("orders", "billing"));
    /// assert!(nsqd.channels("orders")[0].paused);
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_channel(&self, topic: &str, channel: &str) -> bool {
        let valid = [topic, channel].map(|name| valid_name(name.as_bytes()).is_some());
        if valid != [true; 2] {
            return false;
        }
        self.change(|state| {
            state.get_or_create_channel(topic, channel);
        });
        true
    }

    /// Pauses a topic: new messages stay in the topic and do not reach its channels. Returns
    /// whether the topic exists.
    pub fn pause_topic(&self, topic: &str) -> bool {
        self.change_topic(topic, |topic| topic.pause(true))
    }

    /// Unpauses a topic. Returns whether it exists.
    pub fn unpause_topic(&self, topic: &str) -> bool {
        self.change_topic(topic, |topic| topic.pause(false))
    }

    /// Drops the messages that are queued in a topic itself, not those in its channels. Returns
    /// whether the topic exists. [`messages`](Self::messages) still returns the dropped messages.
    pub fn empty_topic(&self, topic: &str) -> bool {
        self.change_topic(topic, Topic::empty)
    }

    /// Deletes a topic with its messages and channels, and closes the connections of its consumers.
    /// The next publish creates it again. Returns whether it existed.
    pub fn delete_topic(&self, topic: &str) -> bool {
        let deleted = self.change(|state| state.remove_topic(topic));
        let channels = deleted.iter().flat_map(|topic| topic.channels.values());
        self.close_consumers(channels);
        deleted.is_some()
    }

    /// Pauses a channel: its messages are not delivered. Returns whether it exists.
    pub fn pause_channel(&self, topic: &str, channel: &str) -> bool {
        self.change_channel(topic, channel, |channel| channel.pause(true))
    }

    /// Unpauses a channel. Returns whether it exists.
    pub fn unpause_channel(&self, topic: &str, channel: &str) -> bool {
        self.change_channel(topic, channel, |channel| channel.pause(false))
    }

    /// Drops all messages of a channel, including those in flight and deferred ones: a FIN for one
    /// of them fails. Returns whether the channel exists.
    pub fn empty_channel(&self, topic: &str, channel: &str) -> bool {
        self.change_channel(topic, channel, Channel::empty)
    }

    /// Deletes a channel with its messages, and closes the connections of its consumers. The next
    /// SUB creates it again. Returns whether it existed.
    pub fn delete_channel(&self, topic: &str, channel: &str) -> bool {
        let deleted = self.change(|state| state.remove_channel(topic, channel));
        self.close_consumers(deleted.iter());
        deleted.is_some()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.shared.change(change)
    }

    fn change_topic(&self, topic: &str, change: impl FnOnce(&mut Topic)) -> bool {
        self.shared.change_topic(topic, change)
    }

    fn change_channel(
        &self,
        topic: &str,
        channel: &str,
        change: impl FnOnce(&mut Channel),
    ) -> bool {
        self.shared.change_channel(topic, channel, change)
    }

    fn close_consumers<'a>(&self, channels: impl Iterator<Item = &'a Channel>) {
        let consumers: BTreeSet<u64> = channels.flat_map(|c| c.consumers.keys()).copied().collect();
        self.control_some(|number| consumers.contains(&number), Control::Close);
    }
}

/// Administration, for the handle and for the HTTP API.
impl Shared {
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.changes.send_replace(());
        changed
    }

    /// Changes a topic. Returns whether it exists.
    pub(super) fn change_topic(&self, topic: &str, change: impl FnOnce(&mut Topic)) -> bool {
        self.change(|state| {
            let Some(topic) = state.topics.get_mut(topic) else {
                return false;
            };
            change(topic);
            let due = topic.next_due();
            state.schedule_expiry(due);
            true
        })
    }

    /// Changes a channel. Returns whether it exists.
    pub(super) fn change_channel(
        &self,
        topic: &str,
        channel: &str,
        change: impl FnOnce(&mut Channel),
    ) -> bool {
        self.change(|state| {
            let topic = state.topics.get_mut(topic);
            let channel = topic.and_then(|topic| topic.channels.get_mut(channel));
            channel.map(change).is_some()
        })
    }
}
