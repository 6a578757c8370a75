//! Publishing without actors: async methods over a producer's address.

use std::time::Duration;

use actix::Addr;
use bytes::Bytes;

use crate::{
    config::ProducerConfig,
    error::{PublishError, WaitError},
    producer::{
        DeferredPublish, Drain, DrainReport, MultiPublish, Patient, Ping, Producer, Publish,
        WaitConnected,
    },
    protocol::{NameError, Topic},
};

/// A producer for those who do not want actors: the same queue and the same contract behind async methods, with one
/// error type. It is cheap to clone, and works from any tokio task on any thread.
///
/// Where a message sent to the address is refused with [`ErrorKind::Full`](crate::ErrorKind::Full) at once, these methods
/// wait for room, as a part of the publish's time. They come in the order in which their futures are first polled, and nothing overtakes them: as long
/// as somebody waits, a message sent to the address is told that there is no room. A [`Drain`] counts those who wait among
/// the outstanding.
///
/// ```no_run
/// use actix_nsq::{ProducerConfig, ProducerHandle};
///
/// # async fn example() -> Result<(), actix_nsq::PublishError> {
/// let nsq = ProducerHandle::start(ProducerConfig::new("127.0.0.1:4150")?);
/// nsq.publish("orders", "an order").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ProducerHandle {
    producer: Addr<Producer>,
}

impl ProducerHandle {
    /// Starts a producer on the current arbiter.
    ///
    /// # Panics
    ///
    /// Outside of an actix `System` or a tokio `LocalSet`; see [`Producer::start`].
    pub fn start(config: ProducerConfig) -> Self {
        Producer::start(config).into()
    }

    /// The producer's address, for the messages that have no method here.
    pub fn address(&self) -> &Addr<Producer> {
        &self.producer
    }

    /// Publishes one message: PUB. The topic is a [`Topic`], or text that is parsed as one.
    ///
    /// # Errors
    ///
    /// As [`Publish`], but never `Full`; [`ErrorKind::InvalidName`](crate::ErrorKind::InvalidName) for a topic that nsqd would refuse;
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), not written, when there was no room in time.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the message was handed to the connection, it is never sent. Later it is sent all the same.
    pub async fn publish<T>(&self, topic: T, body: impl Into<Bytes>) -> Result<(), PublishError>
    where
        T: TryInto<Topic, Error: Into<NameError>>,
    {
        self.patiently(Publish::new(parsed(topic)?, body)).await
    }

    /// Publishes several messages of one topic with one command, MPUB, and one answer for all.
    ///
    /// # Errors
    ///
    /// As [`MultiPublish`]; see [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As [`publish`](Self::publish).
    pub async fn multi_publish<T, B>(
        &self,
        topic: T,
        bodies: impl IntoIterator<Item = B>,
    ) -> Result<(), PublishError>
    where
        T: TryInto<Topic, Error: Into<NameError>>,
        B: Into<Bytes>,
    {
        self.patiently(MultiPublish::new(parsed(topic)?, bodies))
            .await
    }

    /// Publishes one message that nsqd holds back for a while: DPUB.
    ///
    /// # Errors
    ///
    /// As [`DeferredPublish`]; see [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As [`publish`](Self::publish).
    pub async fn deferred_publish<T>(
        &self,
        topic: T,
        delay: Duration,
        body: impl Into<Bytes>,
    ) -> Result<(), PublishError>
    where
        T: TryInto<Topic, Error: Into<NameError>>,
    {
        self.patiently(DeferredPublish::new(parsed(topic)?, delay, body))
            .await
    }

    /// Waits until the producer is connected; see [`WaitConnected`].
    ///
    /// # Errors
    ///
    /// As [`WaitConnected`].
    ///
    /// # Cancel safety
    ///
    /// As [`WaitConnected`].
    pub async fn wait_connected(&self, timeout: Duration) -> Result<(), WaitError> {
        self.producer.send(WaitConnected { timeout }).await?
    }

    /// Asks nsqd for an answer; see [`Ping`].
    ///
    /// # Errors
    ///
    /// As [`Ping`].
    ///
    /// # Cancel safety
    ///
    /// As [`Ping`].
    pub async fn ping(&self, timeout: Duration) -> Result<(), PublishError> {
        self.producer.send(Ping { timeout }).await?
    }

    /// Stops the producer without loss; see [`Drain`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) when the producer is gone.
    ///
    /// # Cancel safety
    ///
    /// Once begun, the drain goes on.
    pub async fn drain(&self, timeout: Duration) -> Result<DrainReport, PublishError> {
        Ok(self.producer.send(Drain { timeout }).await?)
    }

    async fn patiently(&self, message: impl Into<Patient>) -> Result<(), PublishError> {
        self.producer.send(message.into()).await?
    }
}

impl From<Addr<Producer>> for ProducerHandle {
    fn from(producer: Addr<Producer>) -> Self {
        Self { producer }
    }
}

fn parsed<T: TryInto<Topic, Error: Into<NameError>>>(topic: T) -> Result<Topic, PublishError> {
    topic.try_into().map_err(|refused| refused.into().into())
}
