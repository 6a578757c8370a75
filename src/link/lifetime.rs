//! The lifetime of the connection to one nsqd.
//!
//! ```text
//!            connect              handshake done             close            both sides closed
//!   Idle ------------> Connecting ---------------> Up (open) -----> Up (closing) ----------> Idle
//!                       ^      |                                                              |
//!                 delay |      | failed                        owner calls connect with delay |
//!                 over  |      v                                                              |
//!                      BackingOff <-----------------------------------------------------------'
//!
//!   any state, owner drained ---------> Closed, for good
//! ```
//!
//! A [`Link`] is plain data inside its owner, an actor that implements [`LinkOwner`]. What takes
//! time runs as futures of that actor; [`retry`] decides the delays.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, SpawnHandle, WrapFuture, fut};
use log::{Level, log};
use tokio::time::sleep;

use super::{
    clock::now,
    event::{ConnectionEvent, Subscribers, rounded},
    log_limit::LogLimit,
    pump::Pumped,
    retry::{EndCause, Retry},
    session::{Ended, Session},
};
use crate::{
    conn::{Closed, Conn, ConnId, ConnOptions, Connected, Frames, connect},
    error::ConnectionError,
    protocol::{IdentifyResponse, one_line},
};

/// An actor that holds links.
pub(crate) trait LinkOwner: Pumped + Handler<Frames> + Handler<Closed> {
    /// Tells the owner's links apart.
    type Key: Copy + 'static;
    /// What the owner keeps for a connection as long as it is up.
    type Session: 'static;

    /// The link with this key; `None` if the owner has dropped it meanwhile.
    fn link(&mut self, key: Self::Key) -> Option<&mut Link<Self::Session>>;

    /// The subscribers to the events of all links.
    fn connection_subscribers(&mut self) -> &mut Subscribers<ConnectionEvent>;

    /// A connection is up.
    fn on_connected(
        &mut self,
        key: Self::Key,
        connected: &Connected,
        now: Instant,
    ) -> Self::Session;

    /// A link has changed.
    fn on_event(&mut self, _event: &ConnectionEvent) {}

    /// An attempt to connect failed; the link backs off and tries again.
    fn on_connect_failed(&mut self, key: Self::Key);

    /// Connects after `delay`, if the link is idle.
    fn connect(&mut self, key: Self::Key, delay: Duration, ctx: &mut Context<Self>) {
        if delay.is_zero() {
            return self.connect_now(key, ctx);
        }
        let id = AttemptId::next();
        let wait = sleep(delay)
            .into_actor(self)
            .map(move |(), owner: &mut Self, ctx| {
                if owner.link(key).is_some_and(|link| link.is_attempt(id)) {
                    owner.connect_now(key, ctx);
                }
            });
        let Some(link) = self.link(key).filter(|link| link.is_idle()) else {
            return;
        };
        let task = ctx.spawn(wait);
        link.state = State::BackingOff(Attempt { id, task });
        let event = ConnectionEvent::BackingOff {
            address: link.shared_address(),
            reason: link.last_error.clone(),
            delay,
            failures: link.retry.failures(),
        };
        self.emit(key, event);
    }

    /// Connects without waiting for the end of a backoff.
    fn connect_now(&mut self, key: Self::Key, ctx: &mut Context<Self>) {
        let Some(link) = self.link(key) else { return };
        match link.state {
            State::Idle => {}
            State::BackingOff(Attempt { task, .. }) => {
                ctx.cancel_future(task);
            }
            State::Connecting(_) | State::Up(_) | State::Closed => return,
        }
        let options = Arc::clone(&link.options);
        let event = ConnectionEvent::Connecting {
            address: link.shared_address(),
            failures: link.retry.failures(),
        };
        let id = AttemptId::next();
        let attempt = async move { connect(&options).await };
        let task = attempt
            .into_actor(self)
            .map(move |result, owner: &mut Self, ctx| owner.on_attempt(key, id, result, ctx));
        if let Some(link) = self.link(key) {
            let task = ctx.spawn(task);
            link.state = State::Connecting(Attempt { id, task });
        }
        self.emit(key, event);
    }

    /// Takes the result of an attempt to connect.
    fn on_attempt(
        &mut self,
        key: Self::Key,
        id: AttemptId,
        result: Result<Connected, ConnectionError>,
        ctx: &mut Context<Self>,
    ) {
        let Some(link) = self.link(key).filter(|link| link.is_attempt(id)) else {
            return;
        };
        match result {
            Ok(connected) => self.on_handshake(key, connected, ctx),
            Err(error) => {
                let delay = link
                    .retry
                    .after_failure(error.is_lasting(), fastrand::f64());
                let failures = link.retry.failures();
                let delay_text = rounded(delay);
                link.log_trouble(&format!(
                    "{error}; failures: {failures}, connecting again in {delay_text:?}"
                ));
                link.last_error = Some(error);
                link.state = State::Idle;
                self.on_connect_failed(key);
                self.connect(key, delay, ctx);
            }
        }
    }

    /// Starts the actors of an established connection.
    fn on_handshake(&mut self, key: Self::Key, connected: Connected, ctx: &mut Context<Self>) {
        let now = now();
        let state = self.on_connected(key, &connected, now);
        let reads = self.burst().reads_sent.clone();
        let Some(link) = self.link(key) else { return };
        let (negotiated, auth) = (connected.negotiated.clone(), connected.auth.clone());
        link.log_connected(&describe(&negotiated));
        let conn = Conn::open(connected, &link.options, reads, ctx);
        link.state = State::Up(Box::new(Session::new(conn, state, now)));
        link.connects += 1;
        let event = ConnectionEvent::Connected {
            address: link.shared_address(),
            negotiated,
            auth,
        };
        self.emit(key, event);
        // The pump was polled before this future. A new future makes actix poll all of them again,
        // so that the pump hands over what is queued and sets its timer.
        ctx.spawn(fut::ready(()));
    }

    /// Replaces the connection: at once where none is up, else when nothing is in flight.
    fn reconnect(&mut self, key: Self::Key, ctx: &mut Context<Self>) {
        let Some(link) = self.link(key) else { return };
        match &mut link.state {
            State::Up(session) => session.close_when_idle(),
            _ => self.connect_now(key, ctx),
        }
    }

    /// Emits the event of a link, and keeps it as its current state.
    fn emit(&mut self, key: Self::Key, event: ConnectionEvent) {
        self.connection_subscribers().emit(&event);
        self.on_event(&event);
        if let Some(link) = self.link(key) {
            link.event = event;
        }
    }
}

/// One connection to one nsqd over its lifetime.
pub(crate) struct Link<S> {
    options: Arc<ConnOptions>,
    state: State<S>,
    retry: Retry,
    /// Why there is no connection, or why the one before was lost.
    last_error: Option<ConnectionError>,
    /// The latest event, which describes the current state.
    event: ConnectionEvent,
    connects: u64,
    disconnects: u64,
    /// Bytes that the sockets of earlier connections have accepted.
    bytes_written: u64,
    trouble_limit: LogLimit,
    connected_limit: LogLimit,
}

enum State<S> {
    Idle,
    BackingOff(Attempt),
    Connecting(Attempt),
    Up(Box<Session<S>>),
    Closed,
}

/// An attempt to connect, or the delay before it.
#[derive(Clone, Copy)]
struct Attempt {
    id: AttemptId,
    task: SpawnHandle,
}

/// Tells the attempts of a process apart: a key may be used for another link later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttemptId(u64);

impl AttemptId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The state of a link as its owner reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkState {
    Idle,
    BackingOff,
    Connecting,
    Connected,
    Closing,
    Closed,
}

impl<S> Link<S> {
    /// `initial_backoff` and `max_backoff` bound the delays between attempts to connect.
    pub(crate) fn new(
        options: ConnOptions,
        initial_backoff: Duration,
        max_backoff: Duration,
    ) -> Self {
        Self {
            state: State::Idle,
            retry: Retry::new(initial_backoff, max_backoff),
            last_error: None,
            event: ConnectionEvent::Idle {
                address: Arc::clone(&options.address),
            },
            connects: 0,
            disconnects: 0,
            bytes_written: 0,
            trouble_limit: LogLimit::default(),
            connected_limit: LogLimit::default(),
            options: Arc::new(options),
        }
    }

    pub(crate) fn shared_address(&self) -> Arc<str> {
        Arc::clone(&self.options.address)
    }

    pub(crate) fn state(&self) -> LinkState {
        match &self.state {
            State::Idle => LinkState::Idle,
            State::BackingOff(_) => LinkState::BackingOff,
            State::Connecting(_) => LinkState::Connecting,
            State::Up(session) if session.is_closing() || session.closes_when_idle() => {
                LinkState::Closing
            }
            State::Up(_) => LinkState::Connected,
            State::Closed => LinkState::Closed,
        }
    }

    /// The event that describes the current state, for a new subscriber.
    pub(crate) fn current_event(&self) -> ConnectionEvent {
        self.event.clone()
    }

    /// Whether a connection is up that is to stay.
    pub(crate) fn is_connected(&self) -> bool {
        self.state() == LinkState::Connected
    }

    fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether the link is waiting for this attempt, or for the end of the delay before it.
    fn is_attempt(&self, id: AttemptId) -> bool {
        match self.state {
            State::BackingOff(attempt) | State::Connecting(attempt) => attempt.id == id,
            State::Idle | State::Up(_) | State::Closed => false,
        }
    }

    /// Whether a connection is up, or one is replaced that was not lost.
    pub(crate) fn is_available(&self) -> bool {
        match &self.state {
            State::Up(session) => session.is_available(),
            State::Idle | State::BackingOff(_) | State::Connecting(_) => self.retry.is_replacing(),
            State::Closed => false,
        }
    }

    /// Why there is no connection, or why the one before was lost.
    pub(crate) fn last_error(&self) -> Option<&ConnectionError> {
        self.last_error.as_ref()
    }

    /// Connections made.
    pub(crate) fn connects(&self) -> u64 {
        self.connects
    }

    /// Connections lost or replaced.
    pub(crate) fn disconnects(&self) -> u64 {
        self.disconnects
    }

    /// Bytes of commands that sockets have accepted, those of the current connection included.
    pub(crate) fn bytes_written(&self) -> u64 {
        let current = self.up().map_or(0, Session::bytes_written);
        self.bytes_written + current
    }

    /// The connection that is up or closing.
    pub(crate) fn up(&self) -> Option<&Session<S>> {
        match &self.state {
            State::Up(session) => Some(session),
            _ => None,
        }
    }

    pub(crate) fn up_mut(&mut self) -> Option<&mut Session<S>> {
        match &mut self.state {
            State::Up(session) => Some(session),
            _ => None,
        }
    }

    /// The connection `id`. Messages of an earlier connection are late and have none.
    pub(crate) fn session(&mut self, id: ConnId) -> Option<&mut Session<S>> {
        self.up_mut().filter(|session| session.id() == id)
    }

    /// Notes that one side of a connection has closed. When both have, the link is idle, and the
    /// owner settles what was in flight on the connection and decides whether to connect again.
    pub(crate) fn on_closed(&mut self, closed: Closed, now: Instant) -> Option<Ended> {
        let session = self.session(closed.id)?;
        if !session.on_closed(closed, now) {
            return None;
        }
        let State::Up(session) = std::mem::replace(&mut self.state, State::Idle) else {
            return None;
        };
        let ended = session.end();
        self.bytes_written += ended.bytes_written;
        Some(ended)
    }

    /// Notes that a connection has ended that is to be replaced; returns the delay of the next
    /// attempt.
    pub(crate) fn after_end(&mut self, ended: &Ended) -> Duration {
        self.note_end(ended, |delay| {
            format!("connecting again in {:?}", rounded(delay))
        })
    }

    /// Notes that a connection has ended whose nsqd was discovered: whether it is replaced is
    /// decided by nsqlookupd. Returns the delay of the next attempt.
    #[cfg(feature = "lookup")]
    pub(crate) fn after_end_of_discovered(&mut self, ended: &Ended) -> Duration {
        self.note_end(ended, |_| "asking nsqlookupd".into())
    }

    fn note_end(&mut self, ended: &Ended, next: impl FnOnce(Duration) -> String) -> Duration {
        self.disconnects += 1;
        let delay = self.retry.after_end(ended.end, fastrand::f64());
        let reason = &ended.reason;
        if ended.end.cause == EndCause::Requested {
            self.log(Level::Info, "connection closed for a reconnect");
        } else {
            let next = next(delay);
            self.log_trouble(&format!("connection lost: {reason}; {next}"));
        }
        self.last_error = Some(reason.clone());
        delay
    }

    /// Notes that the owner was restarted, which has ended an attempt to connect or a backoff.
    pub(crate) fn on_restarted(&mut self) {
        if let State::BackingOff(_) | State::Connecting(_) = self.state {
            self.state = State::Idle;
        }
    }

    /// Closes the link for good. The owner has closed its connection before.
    pub(crate) fn close<A>(&mut self, ctx: &mut Context<A>)
    where
        A: Actor<Context = Context<A>>,
    {
        if let State::BackingOff(attempt) | State::Connecting(attempt) = self.state {
            ctx.cancel_future(attempt.task);
        }
        self.state = State::Closed;
    }

    /// Logs that a connection was lost or could not be made.
    fn log_trouble(&mut self, message: &str) {
        let (level, message) = self
            .trouble_limit
            .apply(Level::Warn, message.to_owned(), now());
        self.log(level, &message);
    }

    fn log_connected(&mut self, message: &str) {
        let (level, message) = self
            .connected_limit
            .apply(Level::Info, message.to_owned(), now());
        self.log(level, &message);
    }

    /// Logs a message about this link, at a lower level while rejections follow one another. It has
    /// the address once.
    fn log(&self, level: Level, message: &str) {
        let level = self.retry.level(level);
        let address = &*self.options.address;
        if message.contains(address) {
            log!(level, "{message}");
        } else {
            log!(level, "{address}: {message}");
        }
    }
}

/// What is connected, and through which layers.
fn describe(negotiated: &IdentifyResponse) -> String {
    // The version is the peer's text.
    let version = one_line(negotiated.version.chars(), 64);
    let layers: Vec<_> = [
        (negotiated.tls_v1, "TLS"),
        (negotiated.snappy, "snappy"),
        (negotiated.deflate, "deflate"),
    ]
    .into_iter()
    .filter_map(|(is_used, layer)| is_used.then_some(layer))
    .collect();
    if layers.is_empty() {
        format!("connected to nsqd {version}")
    } else {
        format!("connected to nsqd {version}, {}", layers.join(" and "))
    }
}
