//! Events of connections, and the subscribers that receive them.

use std::{fmt, sync::Arc, time::Duration};

use actix::{Message, Recipient};
use serde::Serialize;

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
                delay,
                failures,
            } => {
                let delay = rounded(*delay);
                let plural = if *failures == 1 { "" } else { "s" };
                write!(
                    f,
                    "{address}: connecting in {delay:?} after {failures} failure{plural}"
                )
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

/// Sends every event of type `E` to the recipient, beginning with the current state, until the
/// recipient's actor stops or [`Unsubscribe`] is sent.
///
/// A recipient that holds the address of the actor it observes keeps that actor running, as any
/// other address does. A recipient that is subscribed twice receives each event twice.
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

/// The recipients that are subscribed to events of type `E`.
#[derive(Debug)]
pub(crate) struct Subscribers<E: Message<Result = ()> + Send + 'static>(Vec<Recipient<E>>);

impl<E: Message<Result = ()> + Send + Clone + 'static> Subscribers<E> {
    /// Adds a recipient and sends it the events that describe the current state.
    pub(crate) fn add(&mut self, to: Recipient<E>, current: impl IntoIterator<Item = E>) {
        for event in current {
            to.do_send(event);
        }
        // Events may be rare, and subscribers come and go: those that stopped are removed here,
        // too.
        self.0.retain(Recipient::connected);
        self.0.push(to);
    }

    pub(crate) fn remove(&mut self, to: &Recipient<E>) {
        self.0.retain(|subscriber| subscriber != to);
    }

    pub(crate) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    pub(crate) fn emit(&mut self, event: &E) {
        self.0.retain(|subscriber| {
            subscriber.do_send(event.clone());
            subscriber.connected()
        });
    }
}

impl<E: Message<Result = ()> + Send + 'static> Default for Subscribers<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}
