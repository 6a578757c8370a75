//! The HTTP API of one nsqd.

use std::time::Duration;

use super::client::Client;
use super::stats::{Stats, TopicStats};
use crate::{
    config::{ConnectionConfig, nsqd_http_address},
    error::{AdminError, ConfigError},
    protocol::{
        Channel, Topic,
        node::{Node, host_and_port},
    },
};

/// The HTTP API of an nsqd.
///
/// ```no_run
/// use actix_nsq::{Channel, Topic, admin::Nsqd};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let nsqd = Nsqd::new("127.0.0.1:4151")?;
/// let (topic, channel) = (Topic::new("orders")?, Channel::new("billing")?);
/// nsqd.create_topic(&topic).await?;
/// nsqd.create_channel(&topic, &channel).await?;
/// for topic in nsqd.stats().await?.topics {
///     println!("{}: {} messages wait for a channel", topic.topic_name, topic.depth);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Nsqd {
    client: Client,
}

impl Nsqd {
    /// Returns the nsqd at this address: `host:port`, usually with port 4151, or a URL.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the address is invalid.
    pub fn new(address: impl AsRef<str>) -> Result<Self, ConfigError> {
        let address = nsqd_http_address(address.as_ref())?;
        let client = Client::new(address, None)?;
        Ok(Self { client })
    }

    /// Returns the nsqd at this address, with these options for connections: `dial_timeout`,
    /// `local_addr`, `tcp_keepalive`, the connector, and for `https` the `tls_*` options.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the address is invalid, or the files of TLS cannot be read.
    pub fn with_connection(
        address: impl AsRef<str>,
        connection: ConnectionConfig,
    ) -> Result<Self, ConfigError> {
        let address = nsqd_http_address(address.as_ref())?;
        let client = Client::new(address, Some(connection))?;
        Ok(Self { client })
    }

    /// Returns an nsqd that an nsqlookupd announces: its broadcast address and its HTTP port.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it announces no HTTP port.
    pub fn of_node(node: &Node) -> Result<Self, ConfigError> {
        Self::new(host_and_port(&node.broadcast_address, node.http_port))
    }

    /// Sets the time for a request, from connecting to the end of the answer. Default: 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.client.set_timeout(timeout);
        self
    }

    /// Succeeds if nsqd answers and is healthy: it could write to its disk.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if not; [`Rejected`](AdminError::Rejected) has the reason of an unhealthy
    /// nsqd.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub async fn ping(&self) -> Result<(), AdminError> {
        self.client.get("ping", &[]).await.map(drop)
    }

    /// Creates a topic. Succeeds if it exists.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if the server did not confirm it.
    ///
    /// # Cancel safety
    ///
    /// The server may execute the request even if the future is dropped.
    ///
    /// ```no_run
    /// use actix_nsq::{Topic, admin::Nsqd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let nsqd = Nsqd::new("nsqd-1:4151")?;
    /// nsqd.create_topic(&Topic::new("orders")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_topic(&self, topic: &Topic) -> Result<(), AdminError> {
        self.client.post_topic("topic/create", topic).await
    }

    /// Deletes a topic, its channels and all their messages, and closes the connections of its
    /// consumers. The next publish or subscription creates it again.
    ///
    /// nsqlookupd keeps the topic; see [`Lookupd::delete_topic`](super::Lookupd::delete_topic).
    ///
    /// # Errors
    ///
    /// [`AdminError`] if the server did not confirm it; [`is_not_found`](AdminError::is_not_found)
    /// if there is no such topic.
    ///
    /// # Cancel safety
    ///
    /// The server may execute the request even if the future is dropped.
    ///
    /// ```no_run
    /// use actix_nsq::{Topic, admin::Nsqd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let nsqd = Nsqd::new("nsqd-1:4151")?;
    /// // At nsqlookupd first: consumers that lose their connection do not find the nsqd again.
    /// let lookupd = actix_nsq::admin::Lookupd::new("lookupd-1:4161")?;
    /// let topic = Topic::new("orders")?;
    /// lookupd.delete_topic(&topic).await?;
    /// match nsqd.delete_topic(&topic).await {
    ///     Err(error) if !error.is_not_found() => return Err(error.into()),
    ///     _ => {}
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_topic(&self, topic: &Topic) -> Result<(), AdminError> {
        self.client.post_topic("topic/delete", topic).await
    }

    /// Drops the messages that wait in a topic itself for its first channel or its end of a pause,
    /// not those in its channels.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if the server did not confirm it; [`is_not_found`](AdminError::is_not_found)
    /// if there is no such topic.
    ///
    /// # Cancel safety
    ///
    /// The server may execute the request even if the future is dropped.
    ///
    /// ```no_run
    /// use actix_nsq::{Topic, admin::Nsqd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let nsqd = Nsqd::new("nsqd-1:4151")?;
    /// nsqd.empty_topic(&Topic::new("orders")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn empty_topic(&self, topic: &Topic) -> Result<(), AdminError> {
        self.client.post_topic("topic/empty", topic).await
    }

    /// Pauses a topic: what is published is stored, and reaches no channel. Succeeds if it is
    /// paused.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if the server did not confirm it; [`is_not_found`](AdminError::is_not_found)
    /// if there is no such topic.
    ///
    /// # Cancel safety
    ///
    /// The server may execute the request even if the future is dropped.
    ///
    /// ```no_run
    /// use actix_nsq::{Topic, admin::Nsqd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let nsqd = Nsqd::new("nsqd-1:4151")?;
    /// let topic = Topic::new("orders")?;
    /// nsqd.pause_topic(&topic).await?;
    /// // Messages wait in the topic.
    /// nsqd.unpause_topic(&topic).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pause_topic(&self, topic: &Topic) -> Result<(), AdminError> {
        self.client.post_topic("topic/pause", topic).await
    }

    /// Ends the pause of a topic, as shown at [`pause_topic`](Self::pause_topic). Succeeds if it is
    /// not paused.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if the server did not confirm it; [`is_not_found`](AdminError::is_not_found)
    /// if there is no such topic.
    ///
    /// # Cancel safety
    ///
    /// The server may execute the request even if the future is dropped.
    pub async fn unpause_topic(&self, topic: &Topic) -> Result<(), AdminError> {
        self.client.post_topic("topic/unpause", topic).await
    }

    /// Creates a channel of a topic that exists. Succeeds if the channel exists.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if the server did not confirm it; [`is_not_found`](AdminError::is_not_found)
    /// if there is no such topic.
    ///
    /// # Cancel safety
    ///
    /// The server may execute the request even if the future is dropped.
    ///
    /// ```no_run
    /// use actix_nsq::{Channel, Topic, admin::Nsqd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let nsqd = Nsqd::new("nsqd-1:4151")?;
    /// let topic = Topic::new("orders")?;
    /// nsqd.create_topic(&topic).await?;
    /// nsqd.create_channel(&topic, &Channel::new("billing")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_channel(&self, topic: &Topic, channel: &Channel) -> Result<(), AdminError> {
        self.client
            .post_channel("channel/create", topic, channel)
            .await
    }

    /// Deletes a channel and its messages, and closes the connections of its consumers. The next
    /// subscription creates it again.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if the server did not confirm it; [`is_not_found`](AdminError::is_not_found)
    /// if there is no such topic or channel.
    ///
    /// # Cancel safety
    ///
    /// The server may execute the request even if the future is dropped.
    ///
    /// ```no_run
    /// use actix_nsq::{Channel, Topic, admin::Nsqd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let nsqd = Nsqd::new("nsqd-1:4151")?;
    /// nsqd.delete_channel(&Topic::new("orders")?, &Channel::new("billing")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_channel(&self, topic: &Topic, channel: &Channel) -> Result<(), AdminError> {
        self.client
            .post_channel("channel/delete", topic, channel)
            .await
    }

    /// Drops all messages of a channel, also those in flight and deferred ones: their answers fail.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if the server did not confirm it; [`is_not_found`](AdminError::is_not_found)
    /// if there is no such topic or channel.
    ///
    /// # Cancel safety
    ///
    /// The server may execute the request even if the future is dropped.
    ///
    /// ```no_run
    /// use actix_nsq::{Channel, Topic, admin::Nsqd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let nsqd = Nsqd::new("nsqd-1:4151")?;
    /// nsqd.empty_channel(&Topic::new("orders")?, &Channel::new("billing")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn empty_channel(&self, topic: &Topic, channel: &Channel) -> Result<(), AdminError> {
        self.client
            .post_channel("channel/empty", topic, channel)
            .await
    }

    /// Pauses a channel: it receives messages, and delivers none. Succeeds if it is paused.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if the server did not confirm it; [`is_not_found`](AdminError::is_not_found)
    /// if there is no such topic or channel.
    ///
    /// # Cancel safety
    ///
    /// The server may execute the request even if the future is dropped.
    ///
    /// ```no_run
    /// use actix_nsq::{Channel, Topic, admin::Nsqd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let nsqd = Nsqd::new("nsqd-1:4151")?;
    /// let (topic, channel) = (Topic::new("orders")?, Channel::new("billing")?);
    /// nsqd.pause_channel(&topic, &channel).await?;
    /// // Messages wait in the channel.
    /// nsqd.unpause_channel(&topic, &channel).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pause_channel(&self, topic: &Topic, channel: &Channel) -> Result<(), AdminError> {
        self.client
            .post_channel("channel/pause", topic, channel)
            .await
    }

    /// Ends the pause of a channel, as shown at [`pause_channel`](Self::pause_channel). Succeeds if
    /// it is not paused.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if the server did not confirm it; [`is_not_found`](AdminError::is_not_found)
    /// if there is no such topic or channel.
    ///
    /// # Cancel safety
    ///
    /// The server may execute the request even if the future is dropped.
    pub async fn unpause_channel(
        &self,
        topic: &Topic,
        channel: &Channel,
    ) -> Result<(), AdminError> {
        self.client
            .post_channel("channel/unpause", topic, channel)
            .await
    }

    /// Returns a snapshot of all topics and channels, without their clients.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if nsqd sent none; [`TooLarge`](AdminError::TooLarge) from about 10,000
    /// channels on: use [`topic_stats`](Self::topic_stats).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    ///
    /// ```no_run
    /// use actix_nsq::admin::Nsqd;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let stats = Nsqd::new("nsqd-1:4151")?.stats().await?;
    /// for channel in stats.topics.iter().flat_map(|topic| &topic.channels) {
    ///     if channel.client_count == 0 && channel.depth > 1_000 {
    ///         println!("{}: {} messages, no consumer", channel.channel_name, channel.depth);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stats(&self) -> Result<Stats, AdminError> {
        let body = self.client.get("stats", &Self::STATS).await?;
        Stats::parse(&body)
    }

    /// Returns a snapshot of a topic; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// As for [`stats`](Self::stats).
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    ///
    /// ```no_run
    /// use actix_nsq::{Topic, admin::Nsqd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let nsqd = Nsqd::new("nsqd-1:4151")?;
    /// let stats = nsqd.topic_stats(&Topic::new("orders")?).await?;
    /// let has_channel = stats.is_some_and(|topic| !topic.channels.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn topic_stats(&self, topic: &Topic) -> Result<Option<TopicStats>, AdminError> {
        let [format, clients, memory] = Self::STATS;
        let parameters = [format, clients, memory, ("topic", topic.as_str())];
        let body = self.client.get("stats", &parameters).await?;
        let topics = Stats::parse(&body)?.topics.into_iter();
        Ok(topics
            .into_iter()
            .find(|it| it.topic_name == topic.as_str()))
    }

    /// JSON, without clients and the statistics of Go's memory.
    const STATS: [(&'static str, &'static str); 3] = [
        ("format", "json"),
        ("include_clients", "false"),
        ("include_mem", "false"),
    ];
}
