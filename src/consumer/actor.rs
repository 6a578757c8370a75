//! The consumer actor.

use std::{
    fmt,
    sync::Arc,
    task::Context as TaskContext,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Running, Supervised, Supervisor, fut,
};
use actix_rt::ArbiterHandle;
use log::info;

#[cfg(feature = "lookup")]
use super::discovering::Discovering;
use super::{
    answers::Source,
    connection_key::ConnectionKey,
    drain::DrainReport,
    event::ConsumerEvent,
    flow::Flow,
    handler::{Delivery, MessageHandler},
    messages::Messages,
    nsqds::Nsqds,
    options::{Rules, flow_options},
    session::{Phase, Subscribed, timing},
    stats::{ConsumerState, Counters},
    subscription::Subscription,
};
use crate::{
    config::ConsumerConfig,
    conn::{ConnOptions, Connected},
    error::ConnectionError,
    link::{
        Burst, ConnectionEvent, Connectivity, DrainState, Ended, Link, LinkOwner, LinkState, Pump,
        Pumped, Subscribers, Supervision, Waiters, deadline_after,
    },
};

/// Consumes the messages of a topic and channel from any number of nsqds.
///
/// **Keep the address: when the last one is dropped, the consumer drains itself** with
/// `drain_timeout`, and stops. When the System ends before, for example because `main` returns,
/// nsqd delivers unanswered messages again after their timeout: send a [`Drain`](super::Drain)
/// first.
///
/// The messages go to an actor, an async closure or a stream: see [`MessageHandler`]. Each must be
/// answered: see [`IncomingMessage`](super::IncomingMessage). The consumer reconnects indefinitely,
/// with backoff; a lost connection does not disturb the others.
///
/// It answers nsqd's heartbeats on its arbiter: code that blocks that arbiter for two heartbeat
/// intervals (1 minute by default) loses the connections.
/// [`start_in_arbiter`](Self::start_in_arbiter) gives the consumer an arbiter of its own; then
/// handlers on other arbiters may block.
///
/// ```no_run
/// use actix::prelude::*;
/// use actix_nsq::{Consumer, ConsumerConfig, IncomingMessage, Subscription, consumer::Drain};
///
/// struct Worker;
///
/// impl Actor for Worker {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<IncomingMessage> for Worker {
///     type Result = ();
///
///     fn handle(&mut self, message: IncomingMessage, _: &mut Context<Self>) {
///         let done = std::str::from_utf8(message.body()).map(|text| println!("{text}"));
///         message.settle(done);
///     }
/// }
///
/// #[actix::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let config = ConsumerConfig::builder("127.0.0.1:4150").max_in_flight(200).build()?;
///     let subscription = Subscription::new("orders", "billing")?;
///     let consumer = Consumer::start(config, subscription, Worker.start().recipient());
///     actix_rt::signal::ctrl_c().await?;
///     let report = consumer.send(Drain::new(std::time::Duration::from_secs(10))).await?;
///     println!("{report}");
///     Ok(())
/// }
/// ```
#[doc = include_str!("contract.md")]
pub struct Consumer {
    pub(super) config: ConsumerConfig,
    pub(super) subscription: Subscription,
    pub(super) nsqds: Nsqds,
    pub(super) messages: Messages,
    pub(super) max_in_flight: usize,
    pub(super) is_paused: bool,
    pub(super) waiters: Waiters,
    pub(super) drain: DrainState<DrainReport>,
    pub(super) counters_before_drain: Counters,
    /// Answers of a drain whose execution is not proven.
    not_confirmed: u64,
    pub(super) observers: Observers,
    #[cfg(feature = "lookup")]
    pub(super) discovering: Discovering,
    pub(super) burst: Burst,
    /// Number of the latest connection.
    serials: u32,
    supervision: Supervision<Self>,
}

/// The subscribers to the consumer's events.
#[derive(Default)]
pub(super) struct Observers {
    pub(super) connection: Subscribers<ConnectionEvent>,
    pub(super) consumer: Subscribers<ConsumerEvent>,
}

impl Consumer {
    /// Starts a supervised consumer on the current arbiter.
    ///
    /// # Panics
    ///
    /// Outside of an actix `System` and a tokio `LocalSet`.
    #[must_use = "when the last address is dropped, the consumer stops"]
    #[track_caller]
    pub fn start(
        config: ConsumerConfig,
        subscription: Subscription,
        handler: impl Into<MessageHandler>,
    ) -> Addr<Self> {
        crate::runtime::assert_can_spawn("a Consumer");
        let handler = handler.into();
        Supervisor::start(|ctx| Self::new(config, subscription, handler, None, ctx))
    }

    /// Starts a supervised consumer on `arbiter`, together with its connections. On an arbiter that
    /// has stopped already, every message to the returned address fails with
    /// `MailboxError::Closed`.
    #[must_use = "when the last address is dropped, the consumer stops"]
    pub fn start_in_arbiter(
        arbiter: &ArbiterHandle,
        config: ConsumerConfig,
        subscription: Subscription,
        handler: impl Into<MessageHandler>,
    ) -> Addr<Self> {
        let handler = handler.into();
        Supervisor::start_in_arbiter(arbiter, |ctx| {
            Self::new(config, subscription, handler, None, ctx)
        })
    }

    /// Starts a consumer that drops `guard` when it has stopped for good.
    pub(crate) fn start_with_guard(
        config: ConsumerConfig,
        subscription: Subscription,
        handler: MessageHandler,
        guard: Box<dyn Send>,
    ) -> Addr<Self> {
        Supervisor::start(|ctx| Self::new(config, subscription, handler, Some(guard), ctx))
    }

    fn new(
        config: ConsumerConfig,
        subscription: Subscription,
        handler: MessageHandler,
        guard: Option<Box<dyn Send>>,
        ctx: &mut Context<Self>,
    ) -> Self {
        // Control messages are few.
        ctx.set_mailbox_capacity(0);
        let flow = Flow::new(flow_options(&config));
        let rules = Rules::new(&config, &subscription);
        let delivery = Delivery::new(handler, config.handler_timeout());
        let mut consumer = Self {
            nsqds: Nsqds::default(),
            messages: Messages::new(rules, flow, delivery, config.auto_touch()),
            max_in_flight: config.max_in_flight(),
            is_paused: false,
            waiters: Waiters::default(),
            drain: DrainState::new(),
            counters_before_drain: Counters::default(),
            not_confirmed: 0,
            observers: Observers::default(),
            #[cfg(feature = "lookup")]
            discovering: Discovering::default(),
            burst: Burst::default(),
            serials: 0,
            supervision: Supervision::new(guard),
            subscription,
            config,
        };
        consumer.messages.set_max(consumer.max_in_flight);
        for options in consumer.config.all_conn_options() {
            consumer.add_link(options);
        }
        consumer
    }

    /// Adds an nsqd, and returns its index.
    pub(super) fn add_link(&mut self, options: ConnOptions) -> u32 {
        let connection = self.config.connection();
        let link = Link::new(
            options,
            connection.reconnect_backoff(),
            connection.max_reconnect_backoff(),
        );
        self.nsqds.add(link)
    }

    /// Time for nsqd's responses to SUB and CLS.
    fn response_timeout(&self) -> Duration {
        self.config.connection().handshake_timeout()
    }

    /// Closes a connection because of an error.
    pub(super) fn close_connection(&mut self, index: u32, reason: ConnectionError, now: Instant) {
        if let Some(session) = self.nsqds.get_mut(index).and_then(|it| it.link.up_mut()) {
            self.messages.detach(&mut session.state);
            session.close(reason, now);
        }
    }

    /// Both sides of a connection have closed.
    pub(super) fn on_disconnected(
        &mut self,
        index: u32,
        ended: &Ended,
        answers_in_drain: u64,
        ctx: &mut Context<Self>,
    ) {
        if !ended.is_confirmed {
            self.not_confirmed += answers_in_drain;
        }
        let Some(nsqd) = self.nsqds.get_mut(index) else {
            return;
        };
        if self.drain.has_begun() || nsqd.is_removed {
            return self.close_link(index, ctx);
        }
        #[cfg(feature = "lookup")]
        if self.on_discovered_lost(index, ended, ctx) {
            return;
        }
        let Some(nsqd) = self.nsqds.get_mut(index) else {
            return;
        };
        let delay = nsqd.link.after_end(ended);
        let event = ConnectionEvent::Disconnected {
            address: nsqd.link.shared_address(),
            reason: ended.reason.clone(),
        };
        self.emit(index, event);
        self.connect(index, delay, ctx);
    }

    /// Closes a link for good that has no connection, and forgets it if its nsqd was removed.
    pub(super) fn close_link(&mut self, index: u32, ctx: &mut Context<Self>) {
        let Some(nsqd) = self.nsqds.get_mut(index) else {
            return;
        };
        if nsqd.link.state() == LinkState::Closed {
            return;
        }
        nsqd.link.close(ctx);
        let address = nsqd.link.shared_address();
        let is_removed = nsqd.is_removed;
        self.emit(index, ConnectionEvent::Closed { address });
        if is_removed {
            self.nsqds.remove(index);
        }
    }

    /// Stops consuming from an nsqd: messages that no handler has are returned, and the others are
    /// waited for.
    pub(super) fn leave(&mut self, index: u32, now: Instant, ctx: &mut Context<Self>) {
        let timeout = self.response_timeout();
        let Some(nsqd) = self.nsqds.get_mut(index) else {
            return;
        };
        match nsqd.link.up_mut() {
            Some(session) => {
                self.messages.flow.leave(session.state.key, now);
                session.leave(now, timeout);
            }
            None => self.close_link(index, ctx),
        }
    }

    /// Begins a drain, or shortens it.
    pub(super) fn begin_drain(&mut self, now: Instant, ctx: &mut Context<Self>) {
        if self.drain.has_begun() {
            return;
        }
        self.counters_before_drain = self.messages.counters;
        self.messages.begin_drain();
        #[cfg(feature = "lookup")]
        self.discovering.end();
        self.observers.consumer.emit(&ConsumerEvent::Draining);
        for index in self.nsqds.indexes() {
            self.leave(index, now, ctx);
        }
    }

    /// Closes the connections on which everything is answered that nsqd has sent.
    fn finish_left(&mut self, now: Instant) {
        let messages = &self.messages;
        for session in self.nsqds.sessions_mut() {
            let is_answered = messages.in_flight.held(session.state.key) == 0;
            if session.state.phase == Phase::Settled && is_answered {
                session.finish(ConnectionError::ClosedLocally, now);
            }
        }
    }

    /// Ends a drain for which nothing is waited any more.
    fn check_drain(&mut self, now: Instant, ctx: &mut Context<Self>) {
        if !self.drain.has_begun() || self.drain.report().is_some() {
            return;
        }
        let is_outstanding = self.messages.with_handlers() > 0
            || self
                .nsqds
                .sessions()
                .any(|it| it.state.is_leaving() && !it.is_closing());
        if !self.drain.end_if_over(is_outstanding, now) {
            return;
        }
        self.messages.return_started(None, now);
        self.messages.write_burst(&mut self.nsqds, now);
        for session in self.nsqds.sessions_mut() {
            session.state.source.set_lost();
            session.state.hurry(now);
        }
        self.finish_left(now);
        if self.nsqds.sessions().next().is_none() {
            self.finish_drain(ctx);
        }
    }

    /// Restarts the actor: after the restart it holds no timer and no future, and sends the report.
    fn finish_drain(&mut self, ctx: &mut Context<Self>) {
        let counters = self.messages.counters;
        let report = DrainReport::between(self.counters_before_drain, counters, self.not_confirmed);
        for index in self.nsqds.indexes() {
            self.close_link(index, ctx);
        }
        self.messages.end();
        info!("{}: drained: {report}", self.messages.name());
        self.drain.finish(report);
        self.observers
            .consumer
            .emit(&ConsumerEvent::Drained { report });
        self.forget_subscribers_if_drained();
        ctx.stop();
    }

    /// No event follows `Drained` and `Closed`.
    pub(super) fn forget_subscribers_if_drained(&mut self) {
        if self.drain.report().is_some() {
            self.observers.connection.clear();
            self.observers.consumer.clear();
            #[cfg(feature = "lookup")]
            self.discovering.observers.clear();
        }
    }

    fn emit_events(&mut self) {
        for event in self.messages.events.drain(..) {
            self.observers.consumer.emit(&event);
        }
    }

    /// Answers those who wait for a subscription, if there is one or their deadlines have passed at
    /// `due`.
    fn answer_waiters(&mut self, due: Option<Instant>) {
        if self.waiters.is_empty() {
            return;
        }
        let connectivity = if self.drain.has_begun() {
            Connectivity::Drained
        } else if self.is_subscribed() {
            Connectivity::Connected
        } else {
            let mut errors = self.nsqds.iter().filter_map(|nsqd| nsqd.link.last_error());
            Connectivity::Pending(errors.next())
        };
        self.waiters.answer(&connectivity, due);
    }

    fn is_subscribed(&self) -> bool {
        let mut sessions = self.nsqds.sessions();
        sessions.any(|it| it.state.phase == Phase::Subscribed && !it.is_closing())
    }

    pub(super) fn state(&self) -> ConsumerState {
        if self.drain.report().is_some() {
            ConsumerState::Drained
        } else if self.drain.has_begun() {
            ConsumerState::Draining
        } else if self.messages.is_handler_gone {
            ConsumerState::HandlerGone
        } else if self.is_paused || self.max_in_flight == 0 {
            ConsumerState::Paused
        } else if !self.is_subscribed() {
            ConsumerState::Connecting
        } else if self.messages.flow.backoff_level() > 0 {
            ConsumerState::BackingOff
        } else {
            ConsumerState::Subscribed
        }
    }
}

impl Pumped for Consumer {
    fn burst(&mut self) -> &mut Burst {
        &mut self.burst
    }

    fn flush(&mut self, now: Instant, due: Option<Instant>, ctx: &mut Context<Self>) {
        let timeout = self.response_timeout();
        self.messages.take_answers(now);
        if let Some(due) = due {
            self.messages.judge(due, now);
        }
        for session in self.nsqds.sessions_mut() {
            session.subscribe(now, timeout);
            if let Some(due) = due {
                session.check_subscribing(due, now, timeout);
                session.state.settle(due);
            }
            if session.state.is_leaving() && self.messages.in_flight.waiting() > 0 {
                self.messages.return_waiting(Some(session.state.key), now);
            }
        }
        self.messages.start(now);
        self.messages.write_burst(&mut self.nsqds, now);
        self.finish_left(now);
        self.answer_waiters(due);
        self.emit_events();
        self.check_drain(now, ctx);
        for session in self.nsqds.sessions_mut().filter(|it| !it.is_closing()) {
            session.flush();
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.drain.report().is_some() {
            return None;
        }
        let sessions = self.nsqds.sessions().filter(|it| !it.is_closing());
        let sessions = sessions.filter_map(|it| it.state.deadline());
        let others = [
            self.messages.deadline(),
            self.drain.deadline(),
            self.waiters.deadline(),
        ];
        sessions.chain(others.into_iter().flatten()).min()
    }

    fn is_busy(&self) -> bool {
        self.drain.has_waiters() || !self.waiters.is_empty()
    }

    fn poll_subscribers(&mut self, cx: &mut TaskContext<'_>) {
        self.observers.connection.poll(cx);
        self.observers.consumer.poll(cx);
        #[cfg(feature = "lookup")]
        self.discovering.observers.poll(cx);
        self.messages.poll(cx);
    }

    fn remove_cancelled(&mut self) {}

    /// The last address is dropped: drains, and then stops for good.
    fn stop_unused(&mut self, ctx: &mut Context<Self>) {
        self.supervision.set_unused();
        if self.drain.report().is_some() {
            return ctx.stop();
        }
        if !self.drain.has_begun() {
            let now = self.burst.on_connection_message();
            self.begin_drain(now, ctx);
            let deadline = deadline_after(now, self.config.drain_timeout());
            drop(self.drain.begin(deadline));
            // A new future makes actix poll all of them again, so that the pump writes.
            ctx.spawn(fut::ready(()));
        }
    }
}

/// The consumer has a link per nsqd; the keys are their indexes.
impl LinkOwner for Consumer {
    type Key = u32;
    type Session = Subscribed;

    fn link(&mut self, index: u32) -> Option<&mut Link<Subscribed>> {
        Some(&mut self.nsqds.get_mut(index)?.link)
    }

    fn connection_subscribers(&mut self) -> &mut Subscribers<ConnectionEvent> {
        &mut self.observers.connection
    }

    fn on_connected(&mut self, index: u32, connected: &Connected, _: Instant) -> Subscribed {
        self.serials = self.serials.wrapping_add(1);
        let key = ConnectionKey {
            nsqd: index,
            serial: self.serials,
        };
        let timing = timing(&connected.negotiated, connected.round_trip);
        #[cfg(feature = "lookup")]
        if let Some(nsqd) = self.nsqds.get(index)
            && nsqd.discovered.is_some()
        {
            self.discovering.on_connected(&nsqd.key);
        }
        let address = self.nsqds.get(index).map(|it| it.link.shared_address());
        let source = Source::new(
            address.unwrap_or_default(),
            self.subscription.topic().clone(),
            self.subscription.channel().clone(),
            Arc::clone(&self.messages.answers),
            (timing.timeout, timing.max_timeout),
            self.config.auto_touch(),
        );
        Subscribed {
            largest_max: self.max_in_flight,
            ..Subscribed::new(key, source, timing, connected)
        }
    }

    #[cfg(not(feature = "lookup"))]
    fn on_connect_failed(&mut self, _: u32) {}

    #[cfg(feature = "lookup")]
    fn on_connect_failed(&mut self, index: u32) {
        self.report_unresolvable(index);
    }
}

impl Actor for Consumer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(Pump::default());
        if !self.drain.has_begun() {
            for index in self.nsqds.indexes() {
                self.connect_now(index, ctx);
            }
            #[cfg(feature = "lookup")]
            self.start_discovery(ctx);
        }
    }

    fn stopping(&mut self, ctx: &mut Context<Self>) -> Running {
        self.supervision.on_stopping(ctx);
        Running::Stop
    }
}

impl Supervised for Consumer {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.supervision.on_restarting();
        for nsqd in self.nsqds.iter_mut() {
            nsqd.link.on_restarted();
        }
        self.drain.answer_waiters();
    }
}

/// However the consumer ends, it is the last event.
impl Drop for Consumer {
    fn drop(&mut self) {
        self.messages.end();
        for nsqd in self.nsqds.iter() {
            let address = nsqd.link.shared_address();
            self.observers
                .connection
                .emit(&ConnectionEvent::Closed { address });
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("config", &self.config)
            .field("subscription", &self.subscription)
            .finish_non_exhaustive()
    }
}
