//! What nsqd tells in its `/stats`: how many messages are where, and who consumes them.

use super::{
    EmbeddedNsqd,
    channel::{Channel, Consumer},
    topic::Topic,
};

/// A topic. The names are those of nsqd's `/stats`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its name.
    pub topic_name: String,
    /// How many messages wait in the topic itself: until its first channel is made, or its pause is
    /// over.
    pub depth: usize,
    /// How many messages were published to it.
    pub message_count: usize,
    /// Whether it is paused.
    pub paused: bool,
    /// Its channels, sorted by name.
    pub channels: Vec<ChannelInfo>,
}

/// A channel. The names are those of nsqd's `/stats`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelInfo {
    /// Its name.
    pub channel_name: String,
    /// How many messages wait for a consumer.
    pub depth: usize,
    /// How many were sent to a consumer and are neither answered for nor timed out, those sent to
    /// consumers that are gone too.
    pub in_flight_count: usize,
    /// How many wait for the end of their delay: that of a DPUB or that of a REQ.
    pub deferred_count: usize,
    /// How many it has got from its topic.
    pub message_count: u64,
    /// How many REQs it has carried out.
    pub requeue_count: u64,
    /// How many time-outs it has seen.
    pub timeout_count: u64,
    /// How many consumers it has.
    pub client_count: usize,
    /// Its consumers, by the number of their connection.
    pub clients: Vec<ClientInfo>,
    /// Whether it is paused.
    pub paused: bool,
}

/// A consumer of a channel. The names are those of nsqd's `/stats`, but for the first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The number of its connection.
    pub connection: u64,
    /// The count of its last RDY; 0 after CLS.
    pub ready_count: i64,
    /// How many messages it has not answered for.
    pub in_flight_count: i64,
    /// How many messages were sent to it.
    pub message_count: u64,
    /// How many it has finished.
    pub finish_count: u64,
    /// How many it has requeued.
    pub requeue_count: u64,
}

/// Statistics. What is seen is the state of one moment.
impl EmbeddedNsqd {
    /// A topic and all its channels.
    pub fn topic(&self, topic: &str) -> Option<TopicInfo> {
        let state = self.shared.state();
        let (name, topic) = state.topics.get_key_value(topic)?;
        Some(topic_info(name, topic))
    }

    /// The channels of a topic, sorted by name; none if there is no such topic.
    pub fn channels(&self, topic: &str) -> Vec<ChannelInfo> {
        let topic = self.topic(topic);
        topic.map(|topic| topic.channels).unwrap_or_default()
    }

    /// A channel.
    pub fn channel(&self, topic: &str, channel: &str) -> Option<ChannelInfo> {
        let state = self.shared.state();
        let channels = &state.topics.get(topic)?.channels;
        let (name, channel) = channels.get_key_value(channel)?;
        Some(channel_info(name, channel))
    }
}

fn topic_info(name: &str, topic: &Topic) -> TopicInfo {
    let channels = topic.channels.iter();
    TopicInfo {
        topic_name: name.to_owned(),
        depth: topic.depth(),
        message_count: topic.messages.len(),
        paused: topic.paused,
        channels: channels
            .map(|(name, channel)| channel_info(name, channel))
            .collect(),
    }
}

fn channel_info(name: &str, channel: &Channel) -> ChannelInfo {
    let client_info = |(connection, consumer): (&u64, &Consumer)| ClientInfo {
        connection: *connection,
        ready_count: consumer.ready_count,
        in_flight_count: consumer.in_flight_count,
        message_count: consumer.message_count,
        finish_count: consumer.finish_count,
        requeue_count: consumer.requeue_count,
    };
    ChannelInfo {
        channel_name: name.to_owned(),
        depth: channel.depth(),
        in_flight_count: channel.in_flight_count(),
        deferred_count: channel.deferred_count(),
        message_count: channel.message_count,
        requeue_count: channel.requeue_count,
        timeout_count: channel.timeout_count,
        client_count: channel.consumers.len(),
        clients: channel.consumers.iter().map(client_info).collect(),
        paused: channel.paused,
    }
}
