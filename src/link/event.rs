//! Events of connections, and the subscribers that receive them.

use std::{fmt, sync::Arc, task::Context as TaskContext, time::Duration};

use actix::{Message, Recipient};
use log::warn;
use serde::Serialize;

use super::feed::Feed;
use crate::{
    error::ConnectionError,
    protocol::{AuthResponse, IdentifyResponse, one_line},
};

/// A change of a connection to one nsqd. Each event names the address of nsqd as it was configured,
/// so that one recipient can serve several actors and connections.
///
/// Every owner of connections handles [`SubscribeEvents<ConnectionEvent>`](SubscribeEvents).
#[derive(Debug, Clone, Message, Serialize)]
#[rtype(result = "()")]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// No connection is needed yet: with `connect_at_start` off, the first publish, `Ping` or
    /// `WaitConnected` begins to connect.
    #[non_exhaustive]
    Idle {
        /// Address of nsqd.
        address: Arc<str>,
    },
    /// An attempt to connect begins.
    #[non_exhaustive]
    Connecting {
        /// Address of nsqd.
        address: Arc<str>,
        /// Consecutive failures before this attempt: connections lost and attempts failed since the
        /// last stable connection.
        failures: u32,
    },
    /// The handshake succeeded; messages flow.
    #[non_exhaustive]
    Connected {
        /// Address of nsqd.
        address: Arc<str>,
        /// nsqd's version, and what was negotiated.
        negotiated: IdentifyResponse,
        /// The identity that nsqd's auth server knows this client by, if nsqd requires AUTH.
        auth: Option<AuthResponse>,
    },
    /// The connection was lost or closed, and everything in flight on it is settled.
    #[non_exhaustive]
    Disconnected {
        /// Address of nsqd.
        address: Arc<str>,
        /// Why it ended.
        reason: ConnectionError,
    },
    /// The next attempt to connect is delayed.
    #[non_exhaustive]
    BackingOff {
        /// Address of nsqd.
        address: Arc<str>,
        /// Why the last attempt failed, or why the connection was lost.
        reason: Option<ConnectionError>,
        /// Time until the next attempt.
        #[serde(rename = "delay_seconds", serialize_with = "seconds")]
        delay: Duration,
        /// Consecutive failures so far, including the one that led to this delay.
        failures: u32,
    },
    /// The connection is closed for good: its owner was drained or has ended. The last event of a
    /// connection.
    #[non_exhaustive]
    Closed {
        /// Address of nsqd.
        address: Arc<str>,
    },
}

impl ConnectionEvent {
    /// Address of nsqd, as it was configured.
    pub fn address(&self) -> &str {
        match self {
            Self::Idle { address }
            | Self::Connecting { address, .. }
            | Self::Connected { address, .. }
            | Self::Disconnected { address, .. }
            | Self::BackingOff { address, .. }
            | Self::Closed { address } => address,
        }
    }
}

impl fmt::Display for ConnectionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle { address } => write!(f, "{address}: idle"),
            Self::Connecting { address, .. } => write!(f, "{address}: connecting"),
            Self::Connected {
                address,
                negotiated,
                ..
            } => {
                // The version is the peer's text.
                let version = one_line(negotiated.version.chars(), 64);
                write!(f, "{address}: connected to nsqd {version}")
            }
            Self::Disconnected { address, reason } => {
                write!(f, "{address}: disconnected: {reason}")
            }
            Self::BackingOff {
                address,
                reason,
                delay,
                failures,
            } => {
                let delay = rounded(*delay);
                let plural = if *failures == 1 { "" } else { "s" };
                write!(
                    f,
                    "{address}: connecting in {delay:?} after {failures} failure{plural}"
                )?;
                match reason {
                    Some(reason) => write!(f, ": {reason}"),
                    None => Ok(()),
                }
            }
            Self::Closed { address } => write!(f, "{address}: closed"),
        }
    }
}

/// A delay as people read it: in whole milliseconds.
pub(super) fn rounded(delay: Duration) -> Duration {
    Duration::from_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
}

/// Serializes a duration as a number of seconds.
pub(crate) fn seconds<S: serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Serializes a duration as a number of seconds, or null.
pub(crate) fn optional_seconds<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

/// Sends every event of type `E` to the recipient, beginning with the current state, until the
/// recipient's actor stops or [`Unsubscribe`] is sent.
///
/// A recipient that holds the address of the actor it observes keeps that actor running, as any
/// other address does. A recipient that is subscribed twice receives each event twice. Events that
/// do not fit into the recipient's mailbox wait, at most 1,024; if there are more, the oldest are
/// dropped, counted and logged.
///
/// ```no_run
/// use actix::prelude::*;
/// use actix_nsq::{ConnectionEvent, Producer, ProducerConfig, SubscribeEvents};
///
/// struct Watcher;
///
/// impl Actor for Watcher {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<ConnectionEvent> for Watcher {
///     type Result = ();
///
///     fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
///         println!("{event}");
///     }
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::start(ProducerConfig::new("127.0.0.1:4150")?);
/// producer.do_send(SubscribeEvents::<ConnectionEvent>(Watcher.start().recipient()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeEvents<E>(pub Recipient<E>)
where
    E: Message<Result = ()> + Send + 'static;

/// Ends a subscription to messages of type `E`. A recipient that is not subscribed is ignored.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Unsubscribe<E>(pub Recipient<E>)
where
    E: Message<Result = ()> + Send + 'static;

/// Maximum number of events that wait for a subscriber: those of some hundred reconnects. If there
/// are more, the oldest are dropped.
const MAX_WAITING: usize = 1_024;

/// Maximum number of bytes of message bodies in the events that wait for a subscriber.
const MAX_WAITING_BYTES: usize = 16 << 20;

/// What [`SubscribeEvents`] subscribes to.
pub(crate) trait Event: Message<Result = ()> + Send + Clone + 'static {
    /// Size of a message body in it.
    fn body_size(&self) -> usize {
        0
    }
}

impl Event for ConnectionEvent {}

/// The subscribers to events of type `E`.
pub(crate) struct Subscribers<E: Event>(Vec<Subscriber<E>>);

struct Subscriber<E: Event> {
    feed: Feed<E>,
    /// Events dropped since it last had none to handle.
    dropped: u64,
}

impl<E: Event> Subscriber<E> {
    fn send(&mut self, mut event: E) {
        let size = event.body_size();
        // A single event always fits.
        while let Err(rejected) = self.feed.send(event, size) {
            if self.dropped == 0 {
                warn!("a subscriber has not handled its events for long: the oldest are dropped");
            }
            self.dropped += 1;
            self.feed.drop_oldest();
            event = rejected;
        }
    }

    fn poll(&mut self, cx: &mut TaskContext<'_>) {
        self.feed.poll(cx);
        if self.dropped > 0 && self.feed.is_empty() {
            let dropped = std::mem::take(&mut self.dropped);
            warn!("{dropped} events of a slow subscriber were dropped");
        }
    }
}

impl<E: Event> Subscribers<E> {
    /// Adds a recipient and sends it the events that describe the current state.
    pub(crate) fn add(&mut self, to: Recipient<E>, current: impl IntoIterator<Item = E>) {
        let mut subscriber = Subscriber {
            feed: Feed::new(to, MAX_WAITING, MAX_WAITING_BYTES),
            dropped: 0,
        };
        for event in current {
            subscriber.send(event);
        }
        // Events may be rare, and subscribers come and go: those that stopped are removed here,
        // too.
        self.remove_stopped();
        self.0.push(subscriber);
    }

    pub(crate) fn remove(&mut self, to: &Recipient<E>) {
        self.0
            .retain(|subscriber| subscriber.feed.recipient() != to);
    }

    fn remove_stopped(&mut self) {
        self.0.retain(|subscriber| subscriber.feed.is_connected());
    }

    pub(crate) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    pub(crate) fn emit(&mut self, event: &E) {
        for subscriber in &mut self.0 {
            subscriber.send(event.clone());
        }
        self.remove_stopped();
    }

    /// Passes events on that waited.
    pub(crate) fn poll(&mut self, cx: &mut TaskContext<'_>) {
        for subscriber in &mut self.0 {
            subscriber.poll(cx);
        }
    }
}

impl<E: Event> Default for Subscribers<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, ActorContext, AsyncContext, Context, Handler, WrapFuture};
    use tokio::task::yield_now;

    use super::*;

    /// Stops at once.
    struct Subscriber;

    impl Actor for Subscriber {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Context<Self>) {
            ctx.stop();
        }
    }

    impl Handler<ConnectionEvent> for Subscriber {
        type Result = ();

        fn handle(&mut self, _: ConnectionEvent, _: &mut Context<Self>) {}
    }

    /// A message with a body of a mebibyte.
    #[derive(Debug, Clone, Message)]
    #[rtype(result = "()")]
    struct Large;

    impl Event for Large {
        fn body_size(&self) -> usize {
            1 << 20
        }
    }

    /// Handles nothing.
    struct Stuck;

    impl Actor for Stuck {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Context<Self>) {
            ctx.wait(std::future::pending::<()>().into_actor(self));
        }
    }

    impl Handler<Large> for Stuck {
        type Result = ();

        fn handle(&mut self, _: Large, _: &mut Context<Self>) {}
    }

    /// consumer contract: 10
    #[actix::test]
    async fn bodies_that_wait_for_a_subscriber_are_bounded() {
        let mut subscribers = Subscribers::default();
        subscribers.add(Stuck.start().recipient(), None);
        yield_now().await;
        for _ in 0..200 {
            subscribers.emit(&Large);
        }
        // Those in the mailbox are not counted: it has 16 places, and one for the sender.
        let dropped = subscribers.0[0].dropped;
        assert!((165..=170).contains(&dropped), "{dropped}");
    }

    #[actix::test]
    async fn stopped_subscribers_do_not_accumulate() {
        let mut subscribers = Subscribers::default();
        for _ in 0..10 {
            let to = Subscriber.start().recipient();
            subscribers.add(to.clone(), None);
            assert_eq!(subscribers.0.len(), 1);
            while to.connected() {
                yield_now().await;
            }
        }
        let address = "nsqd".into();
        subscribers.emit(&ConnectionEvent::Idle { address });
        assert_eq!(subscribers.0.len(), 0);
    }
}
