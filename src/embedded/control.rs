//! What an operator does to nsqd over its HTTP API: make, pause, empty and delete topics and
//! channels.

use std::collections::BTreeSet;

use super::{
    EmbeddedNsqd,
    channel::Channel,
    state::{Order, State},
    text::valid_name,
    topic::Topic,
};

/// What nsqd's HTTP API is there for. It is done when a method returns; those that delete wait for the
/// nsqd's own thread to close the consumers' connections.
impl EmbeddedNsqd {
    /// Makes a topic, as the first publish does. Whether there is one now: not if nsqd refuses the
    /// name.
    pub fn create_topic(&self, topic: &str) -> bool {
        let valid = valid_name(topic.as_bytes()).is_some();
        if valid {
            self.change(|state| {
                state.make_topic(topic);
            });
        }
        valid
    }

    /// Makes a channel, and its topic, as the first SUB does: from now on it gets a copy of every
    /// message. Whether there is one now: not if nsqd refuses a name.
    pub fn create_channel(&self, topic: &str, channel: &str) -> bool {
        let valid = [topic, channel].map(|name| valid_name(name.as_bytes()).is_some());
        if valid != [true; 2] {
            return false;
        }
        self.change(|state| {
            state.make_topic(topic).make_channel(channel);
        });
        true
    }

    /// Keeps the messages of a topic from its channels: they wait in the topic. Whether there is one.
    pub fn pause_topic(&self, topic: &str) -> bool {
        self.change_topic(topic, |topic| topic.pause(true))
    }

    /// Ends the pause of a topic. Whether there is one.
    pub fn unpause_topic(&self, topic: &str) -> bool {
        self.change_topic(topic, |topic| topic.pause(false))
    }

    /// Drops the messages that wait in a topic itself, those for no channel yet. Whether there is
    /// one. ([`messages`](Self::messages) goes on telling what was published.)
    pub fn empty_topic(&self, topic: &str) -> bool {
        self.change_topic(topic, Topic::empty)
    }

    /// Deletes a topic, its messages and its channels; the next publish makes it again. Its
    /// consumers' connections are closed without a word. Whether there was one.
    pub fn delete_topic(&self, topic: &str) -> bool {
        let deleted = self.change(|state| state.topics.remove(topic));
        let channels = deleted.iter().flat_map(|topic| topic.channels.values());
        self.close_consumers(channels);
        deleted.is_some()
    }

    /// Keeps the messages of a channel from its consumers: they wait in the channel. Whether there
    /// is one.
    pub fn pause_channel(&self, topic: &str, channel: &str) -> bool {
        self.change_channel(topic, channel, |channel| channel.pause(true))
    }

    /// Ends the pause of a channel. Whether there is one.
    pub fn unpause_channel(&self, topic: &str, channel: &str) -> bool {
        self.change_channel(topic, channel, |channel| channel.pause(false))
    }

    /// Drops the messages of a channel, those in flight and deferred ones too: to FIN one is an
    /// error now. Whether there is one.
    pub fn empty_channel(&self, topic: &str, channel: &str) -> bool {
        self.change_channel(topic, channel, Channel::empty)
    }

    /// Deletes a channel and its messages; the next SUB makes it again. Its consumers' connections
    /// are closed without a word. Whether there was one.
    pub fn delete_channel(&self, topic: &str, channel: &str) -> bool {
        let deleted = self.change(|state| state.remove_channel(topic, channel));
        self.close_consumers(deleted.iter());
        deleted.is_some()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.shared.state());
        self.shared.news.send_replace(());
        changed
    }

    fn change_topic(&self, topic: &str, change: impl FnOnce(&mut Topic)) -> bool {
        self.change(|state| {
            let Some(topic) = state.topics.get_mut(topic) else {
                return false;
            };
            change(topic);
            let due = topic.next_due();
            state.look_ahead(due);
            true
        })
    }

    fn change_channel(
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

    fn close_consumers<'a>(&self, of: impl Iterator<Item = &'a Channel>) {
        let consumers: BTreeSet<u64> = of.flat_map(|c| c.consumers.keys()).copied().collect();
        self.order_some(|number| consumers.contains(&number), Order::Close);
    }
}
