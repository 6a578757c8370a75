//! Publishing without actors.

use std::{io, time::Duration};

use actix::{Actor, Addr, Handler, Message, Recipient};
use actix_rt::ArbiterHandle;
use bytes::Bytes;

use super::{Readiness, publisher::Publisher, sink::PublishSink, thread::start_in_thread};
use crate::{
    config::{PoolConfig, ProducerConfig},
    error::{PublishError, WaitError},
    link::{Reconnect, SubscribeEvents, Unsubscribe, WaitConnected},
    pool::{self, PoolStats, ProducerPool},
    producer::{
        AnyPublish, DeferredPublish, Drain, DrainReport, GetState, GetStats, MultiPublish, Ping,
        Producer, ProducerState, Publish, Stats, SubmissionList, Submissions,
    },
    protocol::{NameError, Topic},
};

/// A [`Producer`], or a [`ProducerPool`], for programs without actors: the same queue and the same
/// guarantees as async methods. It is cheap to clone and works from every thread and runtime.
///
/// Instead of failing with [`ErrorKind::Full`](crate::ErrorKind::Full) its methods apply
/// backpressure: they wait until the queue has capacity, as part of the publish's time. Publishes
/// are accepted in the order in which their futures were first polled; those that wait for
/// capacity, before all that are sent to the actor's address. A [`Drain`] counts those as
/// outstanding whose futures were polled before [`drain`](Self::drain).
///
/// When many tasks publish, a handle takes less than the mailbox of the actor: no allocation for
/// each publish. A publish through a handle may overtake one that was sent to the address and has
/// no result yet.
///
/// The producer stops when the last handle and sink is dropped and everything it accepted is
/// answered.
///
/// ```no_run
/// use actix_nsq::{ProducerConfig, ProducerHandle};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let config = ProducerConfig::new("127.0.0.1:4150")?;
///     let nsq = ProducerHandle::start_in_thread(config)?;
///     nsq.publish("orders", "an order").await?;
///     Ok(())
/// }
/// ```
///
/// `ProducerHandle<ProducerPool>` publishes to several nsqds:
///
/// ```no_run
/// use actix_nsq::{PoolConfig, ProducerHandle};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = PoolConfig::new(["nsqd-1:4150", "nsqd-2:4150"])?;
/// let nsq = ProducerHandle::start_pool_in_thread(config)?;
/// nsq.publish("orders", "an order").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ProducerHandle<A: Actor = Producer> {
    producer: Addr<A>,
    submissions: Submissions,
}

impl<A: Actor> Clone for ProducerHandle<A> {
    fn clone(&self) -> Self {
        Self {
            producer: self.producer.clone(),
            submissions: self.submissions.clone(),
        }
    }
}

impl ProducerHandle {
    /// Starts a producer on the current arbiter.
    ///
    /// # Panics
    ///
    /// Outside of an actix `System` and a tokio `LocalSet`; use
    /// [`start_in_thread`](Self::start_in_thread) there.
    #[track_caller]
    pub fn start(config: ProducerConfig) -> Self {
        let (submissions, list) = submissions();
        Self {
            producer: Producer::start_with(config, list, None),
            submissions,
        }
    }

    /// Starts a producer on `arbiter`, together with its connection; see
    /// [`Producer::start_in_arbiter`].
    pub fn start_in_arbiter(arbiter: &ArbiterHandle, config: ProducerConfig) -> Self {
        let (submissions, list) = submissions();
        Self {
            producer: Producer::start_in_arbiter_with(arbiter, config, list),
            submissions,
        }
    }

    /// Starts a producer in a thread of its own, with an actix `System` of its own, for programs
    /// without one. The thread ends when the producer stops: when the last handle is dropped and
    /// everything it accepted is answered. The process does not wait for this thread: call
    /// [`drain`](Self::drain) before `main` returns.
    ///
    /// # Errors
    ///
    /// The operating system's error if the thread cannot be started, or an error if its `System`
    /// cannot be.
    pub fn start_in_thread(config: ProducerConfig) -> io::Result<Self> {
        let (submissions, list) = submissions();
        let start = |guard| Producer::start_with(config, list, Some(guard));
        Ok(Self {
            producer: start_in_thread(start)?,
            submissions,
        })
    }

    /// Checks that nsqd responds; see [`Ping`].
    ///
    /// # Errors
    ///
    /// As for [`Ping`].
    ///
    /// # Cancel safety
    ///
    /// As for [`Ping`].
    pub async fn ping(&self, timeout: Duration) -> Result<(), PublishError> {
        self.producer.send(Ping { timeout }).await?
    }

    /// Returns how many connections are up: 1 of 1, or 0 of 1 if the producer is not connected,
    /// draining or stopped.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub async fn state(&self) -> Readiness {
        let state = self.producer.send(GetState).await;
        let is_up = state.is_ok_and(|state| state == ProducerState::Connected);
        Readiness::new(usize::from(is_up), 1)
    }

    /// Returns the producer's statistics.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the producer has stopped.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub async fn stats(&self) -> Result<Stats, PublishError> {
        Ok(self.producer.send(GetStats).await?)
    }
}

impl ProducerHandle<ProducerPool> {
    /// Starts a pool of producers on the current arbiter.
    ///
    /// # Panics
    ///
    /// Outside of an actix `System` and a tokio `LocalSet`; use
    /// [`start_pool_in_thread`](Self::start_pool_in_thread) there.
    #[track_caller]
    pub fn start_pool(config: PoolConfig) -> Self {
        let (submissions, list) = submissions();
        Self {
            producer: ProducerPool::start_with(config, list, None),
            submissions,
        }
    }

    /// Starts a pool of producers on `arbiter`, together with its connections; see
    /// [`ProducerPool::start_in_arbiter`].
    pub fn start_pool_in_arbiter(arbiter: &ArbiterHandle, config: PoolConfig) -> Self {
        let (submissions, list) = submissions();
        Self {
            producer: ProducerPool::start_in_arbiter_with(arbiter, config, list),
            submissions,
        }
    }

    /// Starts a pool of producers in a thread of its own; see
    /// [`start_in_thread`](ProducerHandle::start_in_thread).
    ///
    /// # Errors
    ///
    /// The operating system's error if the thread cannot be started, or an error if its `System`
    /// cannot be.
    pub fn start_pool_in_thread(config: PoolConfig) -> io::Result<Self> {
        let (submissions, list) = submissions();
        let start = |guard| ProducerPool::start_with(config, list, Some(guard));
        Ok(Self {
            producer: start_in_thread(start)?,
            submissions,
        })
    }

    /// Returns how many members of the pool are connected; none if the pool has stopped.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub async fn state(&self) -> Readiness {
        let state = self.producer.send(pool::GetState).await;
        state.map_or(Readiness::new(0, 0), |state| {
            Readiness::new(state.up, state.members)
        })
    }

    /// Returns the pool's statistics.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the pool has stopped.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub async fn stats(&self) -> Result<PoolStats, PublishError> {
        Ok(self.producer.send(pool::GetStats).await?)
    }
}

impl<A: Publisher> ProducerHandle<A> {
    /// The address of the producer or pool, for messages that have no method here.
    pub fn address(&self) -> &Addr<A> {
        &self.producer
    }

    /// Publishes one message (PUB). The topic is a [`Topic`] or its name.
    ///
    /// # Errors
    ///
    /// As for [`Publish`], except `Full`; [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) (not
    /// written) if the queue had no capacity in time.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the message is in flight, the message is never sent. Later
    /// it is still sent, and its result is discarded.
    pub async fn publish<T>(&self, topic: T, body: impl Into<Bytes>) -> Result<(), PublishError>
    where
        T: TryInto<Topic, Error: Into<NameError>>,
    {
        self.publish_message(Publish::new(topic, body)).await
    }

    /// Publishes several messages of one topic with one command (MPUB) and one result for all.
    ///
    /// # Errors
    ///
    /// As for [`MultiPublish`] and [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As for [`publish`](Self::publish).
    pub async fn multi_publish<T, B>(
        &self,
        topic: T,
        bodies: impl IntoIterator<Item = B>,
    ) -> Result<(), PublishError>
    where
        T: TryInto<Topic, Error: Into<NameError>>,
        B: Into<Bytes>,
    {
        self.publish_message(MultiPublish::new(topic, bodies)).await
    }

    /// Publishes one message that nsqd delivers after `delay` (DPUB).
    ///
    /// # Errors
    ///
    /// As for [`DeferredPublish`] and [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As for [`publish`](Self::publish).
    pub async fn deferred_publish<T>(
        &self,
        topic: T,
        delay: Duration,
        body: impl Into<Bytes>,
    ) -> Result<(), PublishError>
    where
        T: TryInto<Topic, Error: Into<NameError>>,
    {
        self.publish_message(DeferredPublish::new(topic, delay, body))
            .await
    }

    /// Publishes a message that was made before, for example one with a deadline of its own.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use actix_nsq::{ProducerHandle, Publish};
    ///
    /// # async fn example(nsq: ProducerHandle) -> Result<(), actix_nsq::PublishError> {
    /// let order = Publish::new("orders", "an order").expires_in(Duration::from_secs(2));
    /// nsq.publish_message(order).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As for [`publish`](Self::publish).
    pub async fn publish_message(
        &self,
        message: impl Into<AnyPublish>,
    ) -> Result<(), PublishError> {
        let request = message.into().into_request();
        let mut pending = self.submissions.submit(request, &self.producer);
        let result = (&mut pending).await;
        self.submissions.reuse(pending);
        result
    }

    /// A sink of publishes, which waits when `limit` (at least 1) have no result.
    ///
    /// ```no_run
    /// use actix_nsq::{ProducerHandle, Publish, SinkError};
    /// use futures::SinkExt;
    ///
    /// # async fn example(nsq: ProducerHandle) -> Result<(), SinkError> {
    /// let mut sink = nsq.sink(100);
    /// for number in 0..1_000 {
    ///     // Waits while 100 have no result.
    ///     sink.feed(Publish::new("numbers", number.to_string())).await?;
    /// }
    /// sink.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sink<M: Into<AnyPublish>>(&self, limit: usize) -> PublishSink<M, A> {
        PublishSink::new(self.producer.clone(), self.submissions.clone(), limit)
    }

    /// Waits until the producer is connected; see [`WaitConnected`].
    ///
    /// # Errors
    ///
    /// As for [`WaitConnected`].
    ///
    /// # Cancel safety
    ///
    /// As for [`WaitConnected`].
    pub async fn wait_connected(&self, timeout: Duration) -> Result<(), WaitError> {
        self.producer.send(WaitConnected { timeout }).await?
    }

    /// Replaces the connection; see [`Reconnect`].
    pub fn reconnect(&self) {
        self.producer.do_send(Reconnect);
    }

    /// Sends the events of type `E` to `recipient`, beginning with the current state; see
    /// [`SubscribeEvents`].
    pub fn subscribe<E>(&self, recipient: Recipient<E>)
    where
        A: Handler<SubscribeEvents<E>>,
        E: Message<Result = ()> + Send + 'static,
    {
        self.producer.do_send(SubscribeEvents(recipient));
    }

    /// Ends a subscription; see [`Unsubscribe`].
    pub fn unsubscribe<E>(&self, recipient: Recipient<E>)
    where
        A: Handler<Unsubscribe<E>>,
        E: Message<Result = ()> + Send + 'static,
    {
        self.producer.do_send(Unsubscribe(recipient));
    }

    /// Shuts the producer down gracefully; see [`Drain`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the producer has stopped.
    ///
    /// # Cancel safety
    ///
    /// A drain that has begun goes on.
    pub async fn drain(&self, timeout: Duration) -> Result<DrainReport, PublishError> {
        self.submissions.announce(&self.producer);
        Ok(self.producer.send(Drain { timeout }).await?)
    }
}

/// Both sides of a list of publishes.
fn submissions() -> (Submissions, SubmissionList) {
    let list = SubmissionList::default();
    (list.submissions(), list)
}
