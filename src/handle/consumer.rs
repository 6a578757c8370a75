//! Consuming without actors.

use std::{io, time::Duration};

use actix::{Addr, Recipient};
use actix_rt::ArbiterHandle;

use super::{Readiness, thread::start_in_thread};
use crate::{
    config::ConsumerConfig,
    consumer::{
        AddNsqd, Consumer, ConsumerEvent, Drain, DrainReport, GetStats, IsStarved, MessageHandler,
        MessageStream, Pause, RemoveNsqd, Resume, SetMaxInFlight, Stats, Subscription,
        WaitSubscribed,
    },
    error::{AddNsqdError, WaitError},
    link::{ConnectionEvent, SubscribeEvents},
};
#[cfg(feature = "lookup")]
use crate::{
    error::AddLookupdError,
    lookup::{AddLookupd, GetLookupState, LookupEvent, LookupState, Refresh, RemoveLookupd},
};

/// A [`Consumer`] for programs without actors: the same guarantees as async methods, and the
/// messages as a stream. It is cheap to clone and works from every thread and runtime.
///
/// **Keep it: when the last handle is dropped, the consumer drains itself** with `drain_timeout`,
/// and stops.
///
/// ```no_run
/// use std::time::Duration;
///
/// use actix_nsq::{ConsumerConfig, ConsumerHandle, Subscription};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let config = ConsumerConfig::new("127.0.0.1:4150")?;
///     let subscription = Subscription::new("orders", "billing")?;
///     let (consumer, mut messages) = ConsumerHandle::start_in_thread(config, subscription)?;
///     for _ in 0..100 {
///         let message = messages.next().await.ok_or("the consumer has ended")?;
///         println!("{} bytes", message.body().len());
///         message.finish()?;
///     }
///     consumer.drain(Duration::from_secs(10)).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
#[must_use = "when the last handle is dropped, the consumer stops"]
pub struct ConsumerHandle {
    consumer: Addr<Consumer>,
}

impl ConsumerHandle {
    /// Starts a consumer on the current arbiter.
    ///
    /// # Panics
    ///
    /// Outside of an actix `System` and a tokio `LocalSet`; use
    /// [`start_in_thread`](Self::start_in_thread) there.
    #[track_caller]
    pub fn start(config: ConsumerConfig, subscription: Subscription) -> (Self, MessageStream) {
        let (handler, messages) = MessageHandler::stream();
        let consumer = Consumer::start(config, subscription, handler);
        (Self { consumer }, messages)
    }

    /// Starts a consumer on the current arbiter, with a handler instead of a stream.
    ///
    /// ```no_run
    /// # use actix_nsq::{
    /// #     ConsumerConfig, ConsumerHandle, IncomingMessage, MessageHandler, Subscription,
    /// # };
    /// # fn example(config: ConsumerConfig, subscription: Subscription) {
    /// async fn handle(message: IncomingMessage) -> Result<(), std::str::Utf8Error> {
    ///     println!("{}", std::str::from_utf8(message.body())?);
    ///     Ok(())
    /// }
    ///
    /// let handler = MessageHandler::from_fn(handle);
    /// let consumer = ConsumerHandle::start_with(config, subscription, handler);
    /// # drop(consumer);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As for [`start`](Self::start).
    #[track_caller]
    pub fn start_with(
        config: ConsumerConfig,
        subscription: Subscription,
        handler: MessageHandler,
    ) -> Self {
        let consumer = Consumer::start(config, subscription, handler);
        Self { consumer }
    }

    /// Starts a consumer on `arbiter`, together with its connections; see
    /// [`Consumer::start_in_arbiter`].
    pub fn start_in_arbiter(
        arbiter: &ArbiterHandle,
        config: ConsumerConfig,
        subscription: Subscription,
    ) -> (Self, MessageStream) {
        let (handler, messages) = MessageHandler::stream();
        let consumer = Consumer::start_in_arbiter(arbiter, config, subscription, handler);
        (Self { consumer }, messages)
    }

    /// Starts a consumer in a thread of its own, with an actix `System` of its own, for programs
    /// without one. The thread ends when the consumer stops. The process does not wait for this
    /// thread: call [`drain`](Self::drain) before `main` returns.
    ///
    /// # Errors
    ///
    /// The operating system's error if the thread cannot be started, or an error if its `System`
    /// cannot be.
    pub fn start_in_thread(
        config: ConsumerConfig,
        subscription: Subscription,
    ) -> io::Result<(Self, MessageStream)> {
        let (handler, messages) = MessageHandler::stream();
        let consumer = start_in_thread(move |guard| {
            Consumer::start_with_guard(config, subscription, handler, guard)
        })?;
        Ok((Self { consumer }, messages))
    }

    /// The consumer's address, for messages that have no method here.
    pub fn address(&self) -> &Addr<Consumer> {
        &self.consumer
    }

    /// Waits until the consumer is subscribed at one nsqd at least; see [`WaitSubscribed`].
    ///
    /// # Errors
    ///
    /// As for [`WaitSubscribed`].
    ///
    /// # Cancel safety
    ///
    /// As for [`WaitSubscribed`].
    pub async fn wait_subscribed(&self, timeout: Duration) -> Result<(), WaitError> {
        self.consumer.send(WaitSubscribed { timeout }).await?
    }

    /// Changes `max_in_flight`. 0 pauses the consumer.
    pub fn set_max_in_flight(&self, max: usize) {
        self.consumer.do_send(SetMaxInFlight(max));
    }

    /// Requests no more messages until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.consumer.do_send(Pause);
    }

    /// Requests messages again.
    pub fn resume(&self) {
        self.consumer.do_send(Resume);
    }

    /// Consumes from one more nsqd; see [`AddNsqd`].
    ///
    /// # Errors
    ///
    /// As for [`AddNsqd`].
    ///
    /// # Cancel safety
    ///
    /// As for [`AddNsqd`].
    pub async fn add_nsqd(&self, address: impl Into<String>) -> Result<(), AddNsqdError> {
        self.consumer.send(AddNsqd(address.into())).await?
    }

    /// Consumes no more from an nsqd; see [`RemoveNsqd`]. Returns whether the nsqd was there.
    ///
    /// # Cancel safety
    ///
    /// The nsqd is removed nevertheless.
    pub async fn remove_nsqd(&self, address: impl Into<String>) -> bool {
        let removed = self.consumer.send(RemoveNsqd(address.into())).await;
        removed.unwrap_or(false)
    }

    /// Queries one more nsqlookupd; see [`AddLookupd`].
    ///
    /// # Errors
    ///
    /// As for [`AddLookupd`].
    ///
    /// # Cancel safety
    ///
    /// As for [`AddLookupd`].
    #[cfg(feature = "lookup")]
    #[cfg_attr(docsrs, doc(cfg(feature = "lookup")))]
    pub async fn add_lookupd(&self, address: impl Into<String>) -> Result<(), AddLookupdError> {
        self.consumer.send(AddLookupd(address.into())).await?
    }

    /// Queries an nsqlookupd no more; see [`RemoveLookupd`]. Returns whether it was there.
    ///
    /// # Cancel safety
    ///
    /// The nsqlookupd is removed nevertheless.
    #[cfg(feature = "lookup")]
    #[cfg_attr(docsrs, doc(cfg(feature = "lookup")))]
    pub async fn remove_lookupd(&self, address: impl Into<String>) -> bool {
        let removed = self.consumer.send(RemoveLookupd(address.into())).await;
        removed.unwrap_or(false)
    }

    /// Queries all nsqlookupds now; see [`Refresh`]. Returns whether there are any.
    ///
    /// # Cancel safety
    ///
    /// They are queried nevertheless.
    #[cfg(feature = "lookup")]
    #[cfg_attr(docsrs, doc(cfg(feature = "lookup")))]
    pub async fn refresh_lookupds(&self) -> bool {
        self.consumer.send(Refresh).await.unwrap_or(false)
    }

    /// Returns what is known of the nsqlookupds, and the nsqds that they name; see
    /// [`GetLookupState`].
    ///
    /// # Errors
    ///
    /// [`WaitError::Closed`] if the consumer has stopped.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    #[cfg(feature = "lookup")]
    #[cfg_attr(docsrs, doc(cfg(feature = "lookup")))]
    pub async fn lookup_state(&self) -> Result<LookupState, WaitError> {
        Ok(self.consumer.send(GetLookupState).await?)
    }

    /// Sends the events of the discovery to `recipient`; see [`SubscribeEvents`].
    #[cfg(feature = "lookup")]
    #[cfg_attr(docsrs, doc(cfg(feature = "lookup")))]
    pub fn subscribe_lookup(&self, recipient: Recipient<LookupEvent>) {
        self.consumer.do_send(SubscribeEvents(recipient));
    }

    /// Returns whether messages that were collected should be answered now; see [`IsStarved`].
    /// `false` if the consumer has stopped.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub async fn is_starved(&self) -> bool {
        self.consumer.send(IsStarved).await.unwrap_or(false)
    }

    /// Returns how many of the nsqds the consumer is subscribed at: 0 of 0 if it has stopped.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub async fn state(&self) -> Readiness {
        let nsqds = self.consumer.send(GetStats).await;
        let nsqds = nsqds.map(|stats| stats.nsqds).unwrap_or_default();
        let up = nsqds.iter().filter(|nsqd| nsqd.is_subscribed).count();
        Readiness::new(up, nsqds.len())
    }

    /// Returns the consumer's statistics.
    ///
    /// # Errors
    ///
    /// [`WaitError::Closed`] if the consumer has stopped.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub async fn stats(&self) -> Result<Stats, WaitError> {
        Ok(self.consumer.send(GetStats).await?)
    }

    /// Sends the events of the consumer to `recipient`, beginning with its state; see
    /// [`SubscribeEvents`].
    pub fn subscribe(&self, recipient: Recipient<ConsumerEvent>) {
        self.consumer.do_send(SubscribeEvents(recipient));
    }

    /// Sends the events of the connections to `recipient`, beginning with their states; see
    /// [`SubscribeEvents`].
    pub fn subscribe_connections(&self, recipient: Recipient<ConnectionEvent>) {
        self.consumer.do_send(SubscribeEvents(recipient));
    }

    /// Shuts the consumer down gracefully; see [`Drain`].
    ///
    /// # Errors
    ///
    /// [`WaitError::Closed`] if the consumer has stopped.
    ///
    /// # Cancel safety
    ///
    /// A drain that has begun goes on.
    pub async fn drain(&self, timeout: Duration) -> Result<DrainReport, WaitError> {
        Ok(self.consumer.send(Drain { timeout }).await?)
    }
}
