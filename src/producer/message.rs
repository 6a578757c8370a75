//! The messages that publish.

use std::{
    fmt,
    time::{Duration, Instant},
};

use actix::Message;
use bytes::Bytes;
use serde::Serialize;

use super::{
    denied_topics::DeniedTopics,
    payload::{Payload, PayloadRef},
};
use crate::{
    config::ProducerConfig,
    error::{Cause, Delivery, PublishError},
    protocol::{NameError, Topic},
};

/// Publishes one message (nsqd's command PUB).
///
/// The result is `Ok` once nsqd's `OK` for the command with this message was read. A
/// [`PublishError`] says by [`delivery`](PublishError::delivery) whether nsqd may have stored the
/// message all the same.
///
/// Publishes of one topic that are queued at the same moment share MPUBs, unless `auto_batch` is
/// off; a single one is sent at once, unless many commands are in flight.
///
/// # Errors
///
/// Every [`ErrorKind`](crate::ErrorKind). The error does not contain the message: keep a clone to
/// publish it again, which copies no body.
///
/// # Cancel safety
///
/// If the request is dropped before the message is in flight, the message is never sent. Later it
/// is still sent, and its result is discarded; no other result is affected.
///
/// # Discarding the result
///
/// `do_send` and `try_send` return before the message is sent, and discard its result. Failures go
/// to [`SubscribeFailures`](crate::SubscribeFailures) or to the log. Messages that are queued when
/// the program, its System or the producer's arbiter ends are lost without a report: send a
/// [`Drain`](crate::producer::Drain) and await it before that.
///
/// ```no_run
/// use std::time::Duration;
///
/// use actix_nsq::{Delivery, Producer, ProducerConfig, Publish};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::start(ProducerConfig::new("127.0.0.1:4150")?);
/// let order = Publish::new("orders", r#"{"id":1}"#).expires_in(Duration::from_secs(5));
/// match producer.send(order).await? {
///     Ok(()) => println!("stored"),
///     Err(error) if error.delivery() != Delivery::NotWritten => {
///         println!("may be stored, a retry may duplicate it: {error}");
///     }
///     Err(error) if error.is_retryable() => println!("not stored, safe to retry: {error}"),
///     Err(error) => println!("not stored, and a retry would fail again: {error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub struct Publish(pub(super) PublishRequest);

impl Publish {
    /// A message for `topic`, which is a [`Topic`] or its name. An invalid name is reported as
    /// [`ErrorKind::InvalidName`](crate::ErrorKind::InvalidName) when the message is published.
    ///
    /// The body has 1 byte to `max_publish_size` bytes (1 MiB by default); a large one is not
    /// copied.
    pub fn new<T>(topic: T, body: impl Into<Bytes>) -> Self
    where
        T: TryInto<Topic, Error: Into<NameError>>,
    {
        Self(PublishRequest::new(topic, Payload::Publish(body.into())))
    }

    /// A message whose body is `value` as JSON.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Serialize`](crate::ErrorKind::Serialize) if `value` cannot be represented.
    ///
    /// ```
    /// use actix_nsq::Publish;
    ///
    /// let publish = Publish::json("orders", &[1, 2])?;
    /// assert_eq!(publish.bodies(), ["[1,2]"]);
    /// # Ok::<_, actix_nsq::PublishError>(())
    /// ```
    pub fn json<T, V>(topic: T, value: &V) -> Result<Self, PublishError>
    where
        T: TryInto<Topic, Error: Into<NameError>>,
        V: Serialize + ?Sized,
    {
        match serde_json::to_vec(value) {
            Ok(body) => Ok(Self::new(topic, body)),
            Err(error) => Err(PublishError::new(
                Cause::Serialize(error.into()),
                Delivery::NotWritten,
            )),
        }
    }
}

/// Publishes several messages of one topic with one command (MPUB) and one result for all.
///
/// nsqd checks the whole batch before it stores any of it. If its disk fails while it stores the
/// batch, or it is killed, a part may be stored: [`Delivery::MaybePartial`]. See [`Publish`] for
/// results, errors and cancel safety.
///
/// ```no_run
/// # use actix::Addr;
/// use actix_nsq::{MultiPublish, Producer};
///
/// # async fn example(producer: Addr<Producer>) -> Result<(), actix_nsq::PublishError> {
/// producer.send(MultiPublish::new("orders", ["one", "two"])).await??;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub struct MultiPublish(pub(super) PublishRequest);

impl MultiPublish {
    /// A batch for `topic`, which is a [`Topic`] or its name, as for [`Publish::new`].
    ///
    /// It has at least one body, each of 1 byte to `max_publish_size` bytes. All bodies, with 4
    /// bytes for each and 4 for the batch, have at most `max_batch_size` bytes (5 MiB by default).
    pub fn new<T, B>(topic: T, bodies: impl IntoIterator<Item = B>) -> Self
    where
        T: TryInto<Topic, Error: Into<NameError>>,
        B: Into<Bytes>,
    {
        let bodies = bodies.into_iter().map(Into::into).collect();
        Self(PublishRequest::new(topic, Payload::batch(bodies)))
    }
}

/// Publishes one message that nsqd delivers after a delay (DPUB).
///
/// nsqd counts the delay from when it receives the message, and keeps the message in memory: after
/// a restart of nsqd, or when the topic's queue went to disk before it had a channel, the message
/// is delivered at once. See [`Publish`] for results, errors and cancel safety.
///
/// ```no_run
/// # use actix::Addr;
/// use std::time::Duration;
///
/// use actix_nsq::{DeferredPublish, Producer};
///
/// # async fn example(producer: Addr<Producer>) -> Result<(), actix_nsq::PublishError> {
/// let reminder = DeferredPublish::new("reminders", Duration::from_secs(60), "call back");
/// producer.send(reminder).await??;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub struct DeferredPublish(pub(super) PublishRequest);

impl DeferredPublish {
    /// A message for `topic`, which is a [`Topic`] or its name, as for [`Publish::new`].
    ///
    /// The delay is at most `max_req_timeout` (1 hour by default), and rounded down to
    /// milliseconds.
    pub fn new<T>(topic: T, delay: Duration, body: impl Into<Bytes>) -> Self
    where
        T: TryInto<Topic, Error: Into<NameError>>,
    {
        let delay_ms = delay.as_millis().try_into().unwrap_or(u64::MAX);
        let body = body.into();
        Self(PublishRequest::new(
            topic,
            Payload::deferred(body, delay_ms),
        ))
    }

    /// The delay, in whole milliseconds.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.0.payload.delay_ms())
    }
}

macro_rules! publish_messages {
    ($($message:ident)+) => {$(
        impl $message {
            /// The topic.
            ///
            /// # Errors
            ///
            /// What is wrong with the name that the message was made with.
            pub fn topic(&self) -> Result<&Topic, &NameError> {
                self.0.topic.as_ref()
            }

            /// The bodies; only a [`MultiPublish`] has several.
            pub fn bodies(&self) -> &[Bytes] {
                self.0.payload.bodies()
            }

            /// Sets the time until the result: if nsqd has not responded by then, the result is
            /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout). The time starts when the producer
            /// receives the message; the option `publish_timeout` is the upper limit. Deadlines are
            /// checked every 20 ms, and 20 ms less often for each 100,000 publishes outstanding.
            #[must_use]
            pub fn expires_in(mut self, timeout: Duration) -> Self {
                self.0.expires_in = Some(timeout);
                self
            }
        }

        impl From<$message> for AnyPublish {
            fn from(message: $message) -> Self {
                Self::$message(message)
            }
        }
    )+};
}

publish_messages! { Publish MultiPublish DeferredPublish }

/// Any of the messages that publish, for example one that has failed. It can be published again, by
/// sending it to the producer.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), PublishError>")]
#[non_exhaustive]
pub enum AnyPublish {
    /// A [`Publish`].
    Publish(Publish),
    /// A [`MultiPublish`].
    MultiPublish(MultiPublish),
    /// A [`DeferredPublish`].
    DeferredPublish(DeferredPublish),
}

impl AnyPublish {
    /// The topic.
    ///
    /// # Errors
    ///
    /// What is wrong with the name that the message was made with.
    pub fn topic(&self) -> Result<&Topic, &NameError> {
        self.request().topic.as_ref()
    }

    /// The bodies; only a [`MultiPublish`] has several.
    pub fn bodies(&self) -> &[Bytes] {
        self.request().payload.bodies()
    }

    /// Bytes of all bodies.
    pub(super) fn size(&self) -> usize {
        self.request().payload.size()
    }

    fn request(&self) -> &PublishRequest {
        match self {
            Self::Publish(Publish(request))
            | Self::MultiPublish(MultiPublish(request))
            | Self::DeferredPublish(DeferredPublish(request)) => request,
        }
    }

    pub(crate) fn into_request(self) -> PublishRequest {
        match self {
            Self::Publish(Publish(request))
            | Self::MultiPublish(MultiPublish(request))
            | Self::DeferredPublish(DeferredPublish(request)) => request,
        }
    }
}

/// What every message that publishes contains.
#[derive(Clone)]
pub(crate) struct PublishRequest {
    pub(super) topic: Result<Topic, NameError>,
    pub(super) payload: Payload,
    expires_in: Option<Duration>,
}

impl PublishRequest {
    fn new<T>(topic: T, payload: Payload) -> Self
    where
        T: TryInto<Topic, Error: Into<NameError>>,
    {
        Self {
            topic: topic.try_into().map_err(Into::into),
            payload,
            expires_in: None,
        }
    }

    /// Time until the result; `longest` is the option `publish_timeout`.
    pub(crate) fn timeout(&self, longest: Duration) -> Duration {
        self.expires_in
            .map_or(longest, |timeout| timeout.min(longest))
    }

    /// Checks what must not reach nsqd, because nsqd would close the connection.
    #[inline]
    pub(crate) fn check(
        &self,
        config: &ProducerConfig,
        denied_topics: &DeniedTopics,
        now: Instant,
    ) -> Result<(), Cause> {
        let topic = self.topic.as_ref();
        let topic = topic.map_err(|error| Cause::Name(error.clone()))?;
        self.payload.check(config)?;
        denied_topics.check(topic, now)
    }

    pub(super) fn into_any(self) -> AnyPublish {
        match self.payload.as_ref() {
            PayloadRef::Publish(_) => AnyPublish::Publish(Publish(self)),
            PayloadRef::Batch(_) => AnyPublish::MultiPublish(MultiPublish(self)),
            PayloadRef::Deferred { .. } => AnyPublish::DeferredPublish(DeferredPublish(self)),
        }
    }
}

/// Shows no body: bodies may be confidential.
impl fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("PublishRequest");
        match &self.topic {
            Ok(topic) => debug.field("topic", topic),
            Err(error) => debug.field("topic", error),
        };
        debug
            .field("payload", &self.payload)
            .field("expires_in", &self.expires_in)
            .finish()
    }
}
