//! The HTTP API of one nsqlookupd.

use std::time::Duration;

use super::client::Client;
use crate::{
    config::{ConnectionConfig, lookupd_address},
    error::{AdminError, ConfigError},
    protocol::{Channel, Topic, node::Node},
};

/// The HTTP API of an nsqlookupd, as far as it changes something. What it knows is in
/// [`lookup`](crate::lookup).
///
/// ```no_run
/// use actix_nsq::{Channel, Topic, admin::Lookupd};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let lookupd = Lookupd::new("127.0.0.1:4161")?;
/// lookupd.create_channel(&Topic::new("orders")?, &Channel::new("billing")?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Lookupd {
    client: Client,
}

impl Lookupd {
    /// Returns the nsqlookupd at this address: `host:port`, usually with port 4161, or a URL.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the address is invalid.
    pub fn new(address: impl AsRef<str>) -> Result<Self, ConfigError> {
        let address = lookupd_address(address.as_ref())?;
        let client = Client::new(address, None)?;
        Ok(Self { client })
    }

    /// Returns the nsqlookupd at this address, with these options for connections: `dial_timeout`,
    /// `local_addr`, `tcp_keepalive`, the connector, and for `https` the `tls_*` options.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the address is invalid, or the files of TLS cannot be read.
    pub fn with_connection(
        address: impl AsRef<str>,
        connection: ConnectionConfig,
    ) -> Result<Self, ConfigError> {
        let address = lookupd_address(address.as_ref())?;
        let client = Client::new(address, Some(connection))?;
        Ok(Self { client })
    }

    /// Sets the time for a request, from connecting to the end of the answer. Default: 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.client.set_timeout(timeout);
        self
    }

    /// Succeeds if nsqlookupd answers.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if not.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub async fn ping(&self) -> Result<(), AdminError> {
        self.client.get("ping", &[]).await.map(drop)
    }

    /// Makes a topic known, at no nsqd. Succeeds if it is known.
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
    /// use actix_nsq::{Topic, admin::Lookupd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let lookupd = Lookupd::new("lookupd-1:4161")?;
    /// lookupd.create_topic(&Topic::new("orders")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_topic(&self, topic: &Topic) -> Result<(), AdminError> {
        self.client.post_topic("topic/create", topic).await
    }

    /// Forgets a topic and its channels. Succeeds if it is unknown. No nsqd deletes it, and it
    /// returns with the next connection of an nsqd that has it.
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
    /// use actix_nsq::{Topic, admin::Lookupd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let lookupd = Lookupd::new("lookupd-1:4161")?;
    /// lookupd.delete_topic(&Topic::new("orders")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_topic(&self, topic: &Topic) -> Result<(), AdminError> {
        self.client.post_topic("topic/delete", topic).await
    }

    /// Makes a channel and its topic known. An nsqd creates the known channels of a topic, except
    /// ephemeral ones, when it creates the topic itself. So the first message reaches them.
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
    /// use actix_nsq::{Channel, Topic, admin::Lookupd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let lookupd = Lookupd::new("lookupd-1:4161")?;
    /// lookupd.create_channel(&Topic::new("orders")?, &Channel::new("billing")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_channel(&self, topic: &Topic, channel: &Channel) -> Result<(), AdminError> {
        self.client
            .post_channel("channel/create", topic, channel)
            .await
    }

    /// Forgets a channel. No nsqd deletes it.
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
    /// use actix_nsq::{Channel, Topic, admin::Lookupd};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let lookupd = Lookupd::new("lookupd-1:4161")?;
    /// lookupd.delete_channel(&Topic::new("orders")?, &Channel::new("billing")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_channel(&self, topic: &Topic, channel: &Channel) -> Result<(), AdminError> {
        self.client
            .post_channel("channel/delete", topic, channel)
            .await
    }

    /// Hides a topic of an nsqd for a while (nsqlookupd's `--tombstone-lifetime`, 45 s): consumers
    /// do not find the nsqd for this topic, and pools do not publish the topic there. Connections
    /// stay. It prepares the deletion of the topic at that nsqd.
    ///
    /// Succeeds also if the nsqd or the topic is unknown, without an effect.
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
    /// use actix_nsq::{LookupConfig, Topic, admin::{Lookupd, Nsqd}, lookup};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// // Removes a topic from one nsqd.
    /// let topic = Topic::new("orders")?;
    /// let nodes = lookup::nodes(&LookupConfig::new("lookupd-1:4161")?).await?;
    /// if let Some(node) = nodes.iter().find(|node| node.hostname == "nsqd-3") {
    ///     Lookupd::new("lookupd-1:4161")?.tombstone(&topic, node).await?;
    ///     Nsqd::of_node(node)?.delete_topic(&topic).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn tombstone(&self, topic: &Topic, node: &Node) -> Result<(), AdminError> {
        // As it was announced: nsqlookupd compares it with that text.
        let node = format!("{}:{}", node.broadcast_address, node.http_port);
        let parameters = [("topic", topic.as_str()), ("node", &node)];
        self.client.post("topic/tombstone", &parameters).await
    }
}
