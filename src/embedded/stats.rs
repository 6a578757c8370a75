//! Statistics, as in nsqd's `/stats`.

use super::{
    channel::{Channel, Consumer},
    handle::EmbeddedNsqd,
    topic::Topic,
};

/// Statistics of a topic, named as in nsqd's `/stats`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its name.
    pub topic_name: String,
    /// Number of messages queued in the topic itself, until its first channel is created or it is
    /// unpaused.
    pub depth: usize,
    /// Number of messages published to it.
    pub message_count: usize,
    /// Total size of their bodies in bytes.
    pub message_bytes: u64,
    /// Whether it is paused.
    pub paused: bool,
    /// Its channels, sorted by name.
    pub channels: Vec<ChannelInfo>,
}

/// Statistics of a channel, named as in nsqd's `/stats`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelInfo {
    /// Its name.
    pub channel_name: String,
    /// Number of queued messages.
    pub depth: usize,
    /// Number of messages that were sent to a consumer and neither finished nor requeued, including
    /// those of closed connections.
    pub in_flight_count: usize,
    /// Number of messages deferred by a DPUB or a REQ.
    pub deferred_count: usize,
    /// Number of messages received from the topic.
    pub message_count: u64,
    /// Number of messages requeued by REQ.
    pub requeue_count: u64,
    /// Number of messages that timed out.
    pub timeout_count: u64,
    /// Number of consumers.
    pub client_count: usize,
    /// Its consumers, sorted by the number of their connection.
    pub clients: Vec<ClientInfo>,
    /// Whether it is paused.
    pub paused: bool,
}

/// Statistics of a consumer of a channel, named as in nsqd's `/stats`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// Number of its connection, as in [`ConnectionInfo`](super::ConnectionInfo).
    pub connection: u64,
    /// Count of its last RDY; 0 after CLS.
    pub ready_count: i64,
    /// Number of messages in flight.
    pub in_flight_count: i64,
    /// Number of messages sent to it.
    pub message_count: u64,
    /// Number of messages finished by FIN.
    pub finish_count: u64,
    /// Number of messages requeued by REQ.
    pub requeue_count: u64,
}

/// Statistics. Each method returns a snapshot.
impl EmbeddedNsqd {
    /// Returns the statistics of a topic and its channels.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use actix_nsq::embedded::EmbeddedNsqd;
    /// let nsqd = EmbeddedNsqd::start()?;
    /// nsqd.create_channel("orders", "billing");
    /// let topic = nsqd.topic("orders").expect("the topic exists");
    /// assert_eq!((topic.message_count, topic.channels.len()), (0, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn topic(&self, topic: &str) -> Option<TopicInfo> {
        let state = self.shared.state();
        let (name, topic) = state.topics.get_key_value(topic)?;
        Some(topic_info(name, topic))
    }

    /// Returns the channels of a topic, sorted by name; empty if the topic does not exist.
    pub fn channels(&self, topic: &str) -> Vec<ChannelInfo> {
        let topic = self.topic(topic);
        topic.map(|topic| topic.channels).unwrap_or_default()
    }

    /// Returns the statistics of a channel.
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
        message_bytes: topic.message_bytes,
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
