//! The producer: it accepts publishes, keeps the transaction queue, and answers each publish.

mod caller;
mod drain;
mod forbidden;
mod link;
mod observe;
mod payload;
mod publish;
mod queue;
mod session;
mod tail;
mod wait;

use std::{
    cell::RefCell,
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Running, Supervised, Supervisor};
use actix_rt::ArbiterHandle;
use log::info;

pub(crate) use self::publish::Patient;
use self::{
    caller::Unheard,
    drain::{Drainage, Draining},
    forbidden::Forbidden,
    link::Link,
    observe::Watched,
    publish::{Desk, Queue},
    queue::{Batch, Limits, Usage},
    tail::{Tail, YieldOnce},
    wait::Waiters,
};
pub use self::{
    caller::{AnyPublish, PublishFailure, SubscribeFailures},
    drain::{Drain, DrainReport},
    observe::{ConnectionEvent, GetState, GetStats, ProducerState, Stats, SubscribeEvents},
    publish::{DeferredPublish, MultiPublish, Publish},
    queue::Latency,
    wait::{Ping, Reconnect, WaitConnected},
};
use crate::{
    backoff::Backoff,
    config::ProducerConfig,
    error::{Cause, ConnectionError},
};

/// So many publishes are accepted before the other tasks of the arbiter have their turn.
const BURST: usize = 256;

/// Dead-lines are looked at no more often than this, since each look goes through all publishes.
const SWEEP: Duration = Duration::from_millis(20);

/// Publishes to one nsqd.
///
/// Start it, keep its address, and send it [`Publish`], [`MultiPublish`], [`DeferredPublish`] and [`Drain`]. The address
/// works from every thread. The producer reconnects for ever, and ends when its last address is dropped and
/// everything that it accepted is answered.
///
/// It answers heartbeats on the arbiter that it runs on: code that blocks that arbiter for two heartbeat intervals
/// loses the connection. [`start_in_arbiter`](Self::start_in_arbiter) gives it one of its own.
///
/// A fork is not survived, as by nothing that has threads: start producers in the child. What the child of a fork drops of its
/// parent's sends nothing.
///
/// ```text
///             first life, or                      handshake
///             first publish                         done
///   Idle ------------------------> Dialling --------------------> Up
///                                    ^   ^ '- failed: backoff -.   |
///                                    |   '---------------------'   | lost, and settled:
///                                    '-----------------------------' the actor restarts
///
///   any, drained and settled: the actor restarts -----------> Drained, for good
/// ```
pub struct Producer {
    config: ProducerConfig,
    desk: Rc<Desk>,
    link: Link,
    backoff: Backoff,
    forbidden: Forbidden,
    /// The delay that the next life begins with.
    delay: Duration,
    /// The body of the IDENTIFY that asks nsqd for nothing but an answer.
    ping: Vec<u8>,
    /// Why there is no connection.
    last: Option<ConnectionError>,
    /// The last connection ended with a refusal, of which its publisher was told: no news for the log, where many may
    /// follow each other closely.
    quiet: bool,
    drainage: Drainage,
    watched: Watched,
    waiters: Waiters,
    /// When dead-lines were last looked at.
    swept: Option<Instant>,
    /// The time of this burst.
    now: Option<Instant>,
    /// Publishes accepted since the arbiter's other tasks had their turn.
    burst: usize,
    /// Messages handled, by which the tail sees that the mailbox is at rest.
    handled: u64,
    /// An address lent to itself while it restarts, since only what has one is restarted.
    keep: Option<Addr<Self>>,
    /// It stops because nobody needs it any more, and is not to be restarted.
    unwanted: bool,
}

impl Producer {
    /// Starts a supervised producer on the current arbiter.
    ///
    /// # Panics
    ///
    /// Outside of an actix `System` or a tokio `LocalSet`, as every actor.
    pub fn start(config: ProducerConfig) -> Addr<Self> {
        Supervisor::start(|ctx| Self::new(config, ctx))
    }

    /// Starts a supervised producer on `arbiter`, with its connection and all that belongs to it. On an arbiter that has
    /// stopped already, every message to the address returned is answered
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    ///
    /// Until the arbiter has come to start it, actix's own mailbox limit of 16 holds: of more `send`s than that, made at once,
    /// those beyond enter the queue in the order in which they are polled. Whoever depends on the order awaits the
    /// first answer.
    pub fn start_in_arbiter(arbiter: &ArbiterHandle, config: ProducerConfig) -> Addr<Self> {
        Supervisor::start_in_arbiter(arbiter, |ctx| Self::new(config, ctx))
    }

    fn new(config: ProducerConfig, ctx: &mut Context<Self>) -> Self {
        // Strictly in the order of the calls, and without parking a caller: the bound is the queue's.
        ctx.set_mailbox_capacity(0);
        let limits = Limits {
            pending: Usage {
                publishes: config.max_pending(),
                bytes: config.max_pending_bytes(),
            },
            window: Usage {
                publishes: config.publish_window(),
                bytes: config.publish_window_bytes(),
            },
            batch: config.auto_batch().then(|| Batch {
                messages: config.auto_batch_messages(),
                bytes: config.auto_batch_bytes().min(config.max_batch_size()),
            }),
            retry_maybe_written: config.retry_maybe_written(),
        };
        let desk = Desk {
            queue: RefCell::new(Queue::new(limits)),
            unheard: Rc::new(Unheard::default()),
        };
        Self {
            desk: Rc::new(desk),
            link: Link::Idle,
            backoff: Backoff::new(config.reconnect_backoff(), config.max_reconnect_backoff()),
            forbidden: Forbidden::default(),
            delay: Duration::ZERO,
            ping: config.identify().names_only().to_json(),
            last: None,
            quiet: false,
            drainage: Drainage::new(),
            watched: Watched::default(),
            waiters: Waiters::default(),
            swept: None,
            now: None,
            burst: 0,
            handled: 0,
            keep: None,
            unwanted: false,
            config,
        }
    }

    /// Takes note of a message, and returns the time of the burst that it came in.
    fn handling(&mut self, ctx: &mut Context<Self>) -> Instant {
        self.handled += 1;
        self.burst += 1;
        if self.burst >= BURST {
            // The mailbox is emptied without a pause otherwise, however fast it is filled.
            self.turn(ctx);
            ctx.wait(YieldOnce::default());
        }
        *self.now.get_or_insert_with(now)
    }

    /// The end of a burst: dead-lines are looked at, and what was accepted is handed over.
    fn turn(&mut self, ctx: &mut Context<Self>) {
        self.burst = 0;
        // A burst is short, and what is due during it is due at its end.
        let now = self.now.take().unwrap_or_else(now);
        self.expire(now);
        self.desk.queue.borrow_mut().admit_waiters();
        self.check_drain(now, ctx);
        if matches!(self.link, Link::Idle) && self.wants_connection() {
            self.dial(Duration::ZERO, ctx);
        }
        self.serve_waiters(now);
        if let Link::Up(session) = &mut self.link {
            let mut queue = self.desk.queue.borrow_mut();
            session.check_stall(&queue, self.config.ack_timeout(), now);
            session.hand_over(&mut queue, &self.ping, now);
        }
        // What was let go of just now may be the last that a drain waited for, and no other turn may come.
        self.check_drain(now, ctx);
        self.desk.unheard.log_if_due(now);
    }

    fn expire(&mut self, now: Instant) {
        let mut queue = self.desk.queue.borrow_mut();
        if self.expiry_due(&queue).is_some_and(|due| due <= now) {
            self.swept = Some(now);
            let last = self
                .last
                .as_ref()
                .filter(|_| !matches!(self.link, Link::Up(_)));
            queue.expire(now, last);
        }
    }

    fn expiry_due(&self, queue: &Queue) -> Option<Instant> {
        let earliest = self.swept.map(|swept| swept + SWEEP);
        queue
            .next_deadline()
            .map(|due| earliest.map_or(due, |earliest| due.max(earliest)))
    }

    /// When the next turn is due at the latest.
    fn due(&self) -> Option<Instant> {
        let queue = self.desk.queue.borrow();
        let stall = match &self.link {
            Link::Up(session) => session.stall_due(&queue, self.config.ack_timeout()),
            _ => None,
        };
        [
            self.expiry_due(&queue),
            stall,
            self.drainage.deadline(),
            self.waiters.due(),
            self.desk.unheard.due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether a producer that is to connect only when it must, must.
    fn wants_connection(&self) -> bool {
        self.is_outstanding() || !self.waiters.is_empty()
    }

    fn is_outstanding(&self) -> bool {
        !self.desk.queue.borrow().is_empty()
    }

    /// Whether someone still has to be answered.
    fn is_busy(&self) -> bool {
        self.is_outstanding() || self.drainage.is_awaited() || !self.waiters.is_empty()
    }

    fn is_draining(&self) -> bool {
        !matches!(self.drainage.state, Draining::No)
    }

    fn check_drain(&mut self, now: Instant, ctx: &mut Context<Self>) {
        if !self.is_draining() || !self.drainage.is_over(self.is_outstanding(), now) {
            return;
        }
        match &mut self.link {
            Link::Up(session) => session.abort(ConnectionError::ClosedLocally, now),
            _ => self.finish_drain(ctx),
        }
    }

    /// The next life holds nothing, and reports.
    fn finish_drain(&mut self, ctx: &mut Context<Self>) {
        let mut queue = self.desk.queue.borrow_mut();
        queue.fail_all(&Cause::Drained);
        let report = self.drainage.finish(queue.counters());
        drop(queue);
        // No timer is left that would do it later.
        self.desk.unheard.log();
        self.link = Link::Drained;
        info!("{}: drained", self.config.address());
        self.tell(|address| ConnectionEvent::Drained { address, report });
        self.watched.forget_subscribers();
        ctx.stop();
    }
}

/// The time as tokio's clock tells it, which tests may hold still.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Actor for Producer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(Tail::default());
        let wanted = self.last.is_some() || self.config.connect_at_start();
        if wanted && !matches!(self.link, Link::Drained) {
            self.dial(self.delay, ctx);
        }
    }

    fn stopping(&mut self, ctx: &mut Context<Self>) -> Running {
        // Whether anyone is left is for the next life's tail to see: a message may wait in the mailbox whose sender has
        // dropped the last address.
        if !self.unwanted {
            self.keep = Some(ctx.address());
        }
        Running::Stop
    }
}

impl Supervised for Producer {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.keep = None;
        self.drainage.report();
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
