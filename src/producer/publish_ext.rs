//! Async methods that publish, for the address of a producer.

use std::time::Duration;

use actix::Addr;
use bytes::Bytes;

use super::{
    actor::Producer,
    message::{AnyPublish, DeferredPublish, MultiPublish, Publish},
};
use crate::{
    error::PublishError,
    protocol::{NameError, Topic},
};

/// Publishes through the address of a producer or pool, with one `?` where
/// `addr.send(message).await??` has two.
///
/// As with `send`, the message enters the actor's mailbox when the method is called, and if the
/// queue is full, the result is [`ErrorKind::Full`](crate::ErrorKind::Full) at once. See
/// [`Publish`] for results, errors and cancel safety.
///
/// It is implemented for `Addr<Producer>` and `Addr<ProducerPool>`. Code that is tested with a mock
/// sends [`Publish`] to a `Recipient<Publish>`; see [`testing`](crate::testing).
///
/// ```no_run
/// # use actix::Addr;
/// use std::time::Duration;
///
/// use actix_nsq::{Producer, Publish, PublishExt, Topic};
///
/// const ORDERS: Topic = Topic::from_static("orders");
///
/// # async fn example(producer: Addr<Producer>) -> Result<(), actix_nsq::PublishError> {
/// producer.publish(&ORDERS, "an order").await?;
///
/// let urgent = Publish::new(&ORDERS, "an urgent order").expires_in(Duration::from_secs(2));
/// producer.publish_message(urgent).await?;
/// # Ok(())
/// # }
/// ```
pub trait PublishExt: sealed::Sealed {
    /// Publishes one message; see [`Publish`].
    fn publish<T>(
        &self,
        topic: T,
        body: impl Into<Bytes>,
    ) -> impl Future<Output = Result<(), PublishError>> + Send
    where
        T: TryInto<Topic, Error: Into<NameError>>,
    {
        self.publish_message(Publish::new(topic, body))
    }

    /// Publishes several messages of one topic with one command; see [`MultiPublish`].
    fn multi_publish<T, B>(
        &self,
        topic: T,
        bodies: impl IntoIterator<Item = B>,
    ) -> impl Future<Output = Result<(), PublishError>> + Send
    where
        T: TryInto<Topic, Error: Into<NameError>>,
        B: Into<Bytes>,
    {
        self.publish_message(MultiPublish::new(topic, bodies))
    }

    /// Publishes one message that nsqd delivers after `delay`; see [`DeferredPublish`].
    fn deferred_publish<T>(
        &self,
        topic: T,
        delay: Duration,
        body: impl Into<Bytes>,
    ) -> impl Future<Output = Result<(), PublishError>> + Send
    where
        T: TryInto<Topic, Error: Into<NameError>>,
    {
        self.publish_message(DeferredPublish::new(topic, delay, body))
    }

    /// Publishes a message that was made before, for example one with a deadline of its own
    /// ([`Publish::expires_in`]) or one that has failed.
    fn publish_message(
        &self,
        message: impl Into<AnyPublish>,
    ) -> impl Future<Output = Result<(), PublishError>> + Send;
}

impl PublishExt for Addr<Producer> {
    fn publish_message(
        &self,
        message: impl Into<AnyPublish>,
    ) -> impl Future<Output = Result<(), PublishError>> + Send {
        let request = self.send(message.into());
        async move { request.await? }
    }
}

pub(crate) mod sealed {
    pub trait Sealed {}

    impl Sealed for actix::Addr<crate::producer::Producer> {}
}
