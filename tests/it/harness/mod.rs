//! A scripted nsqd in memory, and virtual time: a test accepts each connection itself, and an hour
//! passes in a moment.
//!
//! ```ignore
//! in_virtual_time(async |mut network: Network| {
//!     let (producer, mut nsqd) = network.start_connected().await;
//!     let answer = publish(&producer, "hello");
//!     nsqd.expect_pub("t", "hello").await;
//!     nsqd.send_ok().await;
//!     answer.await.unwrap();
//! });
//! ```
//!
//! Each such test also checks that its producers leave no task behind: see [`in_virtual_time`].

mod consume;
mod peer;
mod pool;
mod publish;
mod recorder;

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::RecvTimeoutError,
    },
    time::Duration,
};

use actix::Addr;
use actix_nsq::{
    ConnectFuture, ConnectTarget, Connector, Producer, ProducerConfig, ProducerConfigBuilder,
    ProducerHandle, Transport,
};
use futures::FutureExt;
use tokio::{
    io::DuplexStream,
    runtime::Runtime,
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::{Instant, advance, timeout},
};

pub(crate) use self::{
    consume::{consumer_stats, drain, subscription},
    pool::{events_of, pool_members, pool_stats, primary, remove_member},
    publish::{
        Answer, PUB_FAILED, all_ok, assert_error, is_pending, lost, never_sent, publish,
        publish_each, publish_numbers, publish_within, rejected, send, timed, topic, yield_once,
    },
    recorder::Recorder,
};
use crate::support::{
    conversation::Conversation,
    faulty_stream::{FaultyStream, StreamControl},
    wait::PATIENCE,
};

/// nsqd's side of a connection in memory.
pub(crate) type Peer = Conversation<DuplexStream>;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Runs a test with a clock that stands still while any task can run, and then jumps to the next
/// timer.
///
/// All tasks that the test started must end within a day of virtual time after it, or they have
/// leaked. A test that waits for an event that cannot happen fails at once, since only the timer
/// that reports it is left.
#[track_caller]
pub(crate) fn in_virtual_time(test: impl AsyncFnOnce(Network)) {
    let _running = watchdog();
    let (runtime, steps) = paused_runtime();
    let tasks = LocalSet::new();
    with_deadline(&runtime, &tasks, async {
        test(Network::new(2 * HOUR, steps)).await;
    });
    runtime.block_on(async {
        let ended = timeout(24 * HOUR, tasks).await;
        ended.expect("a task of the test or of a dropped producer does not end");
    });
}

/// Runs a test in an actix System, with arbiters and real time.
pub(crate) fn in_system<T>(test: impl AsyncFnOnce(Network) -> T) -> T {
    let _running = watchdog();
    actix::System::new().block_on(async {
        let test = test(Network::new(PATIENCE, Arc::default()));
        let ended = timeout(4 * PATIENCE, test).await;
        ended.expect("the test waits for an event that does not happen")
    })
}

/// Blocks the arbiter in virtual time: no task runs meanwhile.
pub(crate) fn block(time: Duration) {
    let _ = advance(time).now_or_never();
}

/// Aborts all tests if this one runs for ten minutes of real time: a task that never yields keeps
/// every other timeout from firing. The test has ended when the value is dropped.
fn watchdog() -> impl Sized {
    const LIMIT: Duration = Duration::from_secs(600);
    let (running, ended) = std::sync::mpsc::channel::<()>();
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    std::thread::spawn(move || {
        if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{test} still runs after {LIMIT:?}");
            std::process::abort();
        }
    });
    running
}

/// Connects producers to the test. Dials wait until the test takes them; after the network is
/// dropped they are refused.
#[derive(Debug)]
pub(crate) struct Network {
    dials: mpsc::UnboundedReceiver<Dial>,
    /// Seen by `peek_dial`, and not taken yet.
    seen: Option<Dial>,
    connector: InMemory,
    patience: Duration,
    began: Instant,
    steps: Arc<AtomicUsize>,
}

impl Network {
    fn new(patience: Duration, steps: Arc<AtomicUsize>) -> Self {
        let (sender, dials) = mpsc::unbounded_channel();
        let open = Arc::default();
        Self {
            dials,
            seen: None,
            connector: InMemory {
                dials: sender,
                open,
                patience,
            },
            patience,
            began: Instant::now(),
            steps,
        }
    }

    /// Without automatic batching, so that each publish is one command.
    pub(crate) fn config(&self) -> ProducerConfigBuilder {
        ProducerConfig::builder("nsqd in memory")
            .connector(self.connector.clone())
            .auto_batch(false)
    }

    pub(crate) fn start(&self) -> Addr<Producer> {
        self.start_with(|config| config)
    }

    pub(crate) fn start_with(
        &self,
        options: impl FnOnce(ProducerConfigBuilder) -> ProducerConfigBuilder,
    ) -> Addr<Producer> {
        Producer::start(
            options(self.config())
                .build()
                .expect("a valid configuration"),
        )
    }

    /// Dials reach the test, as those of [`config`](Self::config).
    pub(crate) fn connector(&self) -> impl Connector {
        self.connector.clone()
    }

    /// Starts a producer with a handle.
    pub(crate) fn start_handle_with(
        &self,
        options: impl FnOnce(ProducerConfigBuilder) -> ProducerConfigBuilder,
    ) -> ProducerHandle {
        let config = options(self.config()).build();
        ProducerHandle::start(config.expect("a valid configuration"))
    }

    /// Starts a producer and accepts its connection.
    pub(crate) async fn start_connected(&mut self) -> (Addr<Producer>, Peer) {
        self.start_connected_with(|config| config).await
    }

    pub(crate) async fn start_connected_with(
        &mut self,
        options: impl FnOnce(ProducerConfigBuilder) -> ProducerConfigBuilder,
    ) -> (Addr<Producer>, Peer) {
        let producer = self.start_with(options);
        (producer, self.connected().await)
    }

    /// The next dial, to be accepted or refused, or to time out.
    pub(crate) async fn dial(&mut self) -> Dial {
        if let Some(dial) = self.seen.take() {
            return dial;
        }
        let dial = timeout(self.patience, self.dials.recv()).await;
        dial.expect("a dial")
            .expect("the network holds a sender itself")
    }

    /// Waits for the next dial without taking it, and returns its time.
    pub(crate) async fn peek_dial(&mut self) -> Instant {
        let dial = self.dial().await;
        self.seen.insert(dial).at
    }

    /// The next dial; `None` when all producers have ended. No producer can be started afterwards.
    pub(crate) async fn next_dial(&mut self) -> Option<Dial> {
        let (closed, _) = mpsc::unbounded_channel();
        self.connector.dials = closed;
        self.dials.recv().await
    }

    /// Accepts the next dial.
    pub(crate) async fn accept(&mut self) -> Peer {
        self.dial().await.accept()
    }

    /// Accepts the next dial and completes the handshake.
    pub(crate) async fn connected(&mut self) -> Peer {
        let mut peer = self.accept().await;
        peer.greet().await;
        peer
    }

    /// The same over a stream that buffers `capacity` bytes each way, and that the test can
    /// disturb.
    pub(crate) async fn connected_over(&mut self, capacity: usize) -> (Peer, StreamControl) {
        let (mut peer, stream) = self.dial().await.accept_over(capacity);
        peer.greet().await;
        (peer, stream)
    }

    pub(crate) async fn expect_no_dial(&mut self, duration: Duration) {
        let dial = timeout(duration, self.dials.recv()).await;
        assert!(dial.is_err(), "the producer dials within {duration:?}");
    }

    /// Time since the test began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The number of connections that clients hold open.
    pub(crate) fn open_connections(&self) -> usize {
        self.connector.open.load(Ordering::SeqCst)
    }

    /// Counts the connections that clients hold open, when the network is no longer at hand.
    pub(crate) fn open_counter(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.connector.open)
    }

    /// Expects that only the test has a timer: the virtual clock does not stop for an hour.
    pub(crate) async fn expect_no_timer_for_an_hour(&self) {
        let elapsed = self.elapsed();
        let before = self.steps.load(Ordering::Relaxed);
        tokio::time::sleep(HOUR).await;
        let steps = self.steps.load(Ordering::Relaxed) - before;
        // tokio's timer wheel turns at fixed times; a runtime without a producer shows how often.
        let bare = std::thread::spawn(move || {
            let (runtime, steps) = paused_runtime();
            let mut bare = 0;
            with_deadline(&runtime, &LocalSet::new(), async {
                tokio::time::sleep(elapsed).await;
                let before = steps.load(Ordering::Relaxed);
                tokio::time::sleep(HOUR).await;
                bare = steps.load(Ordering::Relaxed) - before;
            });
            bare
        });
        let bare = bare.join().expect("a runtime without a producer");
        assert_eq!(steps, bare, "timers are left");
    }
}

/// Runs a test's future with a deadline far beyond all timeouts of client and peer.
fn with_deadline(runtime: &Runtime, tasks: &LocalSet, test: impl Future<Output = ()>) {
    runtime.block_on(tasks.run_until(async {
        let ended = timeout(24 * 365 * HOUR, test).await;
        ended.expect("the test waits for an event that does not happen");
    }));
}

/// A runtime with a paused clock, and a counter of the distinct times at which the clock stopped.
fn paused_runtime() -> (Runtime, Arc<AtomicUsize>) {
    let steps = Arc::new(AtomicUsize::new(0));
    let step = Arc::clone(&steps);
    let last = Mutex::new(None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .on_thread_park(move || {
            let now = Some(Instant::now());
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::replace(&mut *last, now) != now {
                step.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build()
        .expect("a small runtime");
    (runtime, steps)
}

#[derive(Clone, Debug)]
struct InMemory {
    dials: mpsc::UnboundedSender<Dial>,
    open: Arc<AtomicUsize>,
    patience: Duration,
}

impl Connector for InMemory {
    fn connect(&self, target: &ConnectTarget) -> ConnectFuture {
        let (answer, answered) = oneshot::channel();
        // Fails when the network is dropped; then the dial is refused.
        let _ = self.dials.send(Dial {
            address: target.address().to_owned(),
            at: Instant::now(),
            answer,
            open: Arc::clone(&self.open),
            patience: self.patience,
        });
        Box::pin(async move {
            let refused = || Err(io::ErrorKind::ConnectionRefused.into());
            Ok(Transport::new(
                answered.await.unwrap_or_else(|_| refused())?,
            ))
        })
    }
}

/// A client that waits for its connection. Dropping it refuses the connection.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) address: String,
    pub(crate) at: Instant,
    answer: oneshot::Sender<io::Result<FaultyStream>>,
    open: Arc<AtomicUsize>,
    patience: Duration,
}

impl Dial {
    pub(crate) fn accept(self) -> Peer {
        self.accept_over(64 << 10).0
    }

    /// Accepts over a stream that buffers `capacity` bytes each way, and that the test can disturb.
    pub(crate) fn accept_over(self, capacity: usize) -> (Peer, StreamControl) {
        let (ours, pipe) = tokio::io::duplex(capacity);
        let control = StreamControl::default();
        let stream = FaultyStream::new(pipe, control.clone(), self.open);
        let accepted = self.answer.send(Ok(stream));
        assert!(accepted.is_ok(), "the dial has ended");
        (
            Conversation::over(ours).with_patience(self.patience),
            control,
        )
    }

    pub(crate) fn refuse(self) {
        drop(self);
    }

    /// Waits until the client abandons the dial.
    pub(crate) async fn hang(mut self) {
        let given_up = timeout(self.patience, self.answer.closed()).await;
        given_up.expect("the client does not abandon the dial");
    }
}
