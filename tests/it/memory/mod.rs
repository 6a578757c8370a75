//! An nsqd in memory and a clock that jumps: the test takes every dial by hand, and an hour passes in a moment.
//!
//! ```ignore
//! in_virtual_time(async |mut network: Network| {
//!     let producer = network.start();
//!     let publish = publish(&producer, "hello");
//!     let mut nsqd = network.connected().await;
//!     nsqd.expect_pub("t", "hello").await;
//!     nsqd.send(ok_frame()).await;
//!     publish.await.unwrap();
//! });
//! ```
//!
//! Each such test also proves that nothing of its producers outlives them: see [`in_virtual_time`].

mod caller;
mod line;
mod recorder;

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::Addr;
use actix_nsq::{
    ConnectFuture, Connector, Producer, ProducerConfig, ProducerConfigBuilder, Transport,
};
use tokio::{
    io::DuplexStream,
    runtime::Runtime,
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::{Instant, timeout},
};

use self::line::End;
pub(crate) use self::{
    caller::{Answer, failure, is_waiting, one_turn_of_the_others, publish, send, timed, topic},
    line::Line,
    recorder::Seen,
};
use crate::support::{conversation::Conversation, wait::PATIENCE};

/// The conversation with a client in memory.
pub(crate) type Peer = Conversation<DuplexStream>;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Runs a test on a clock that stands still while anything can be done, and then jumps to the next timer.
///
/// Whatever the test started and dropped must come to its end within a day of virtual time, or it has leaked; and a test that
/// waits for what cannot happen fails at once, as no timer is left but the one that says so.
#[track_caller]
pub(crate) fn in_virtual_time(test: impl AsyncFnOnce(Network)) {
    let (runtime, steps) = paused_runtime();
    let tasks = LocalSet::new();
    patiently(&runtime, &tasks, async {
        test(Network::new(2 * HOUR, steps)).await;
    });
    runtime.block_on(async {
        let ended = timeout(24 * HOUR, tasks).await;
        ended.expect("a task of the test, or of a producer that was dropped, goes on for ever");
    });
}

/// Runs a test with actix's System, arbiters, and the clock of the world.
pub(crate) fn in_a_system<T>(test: impl AsyncFnOnce(Network) -> T) -> T {
    actix::System::new().block_on(async {
        let test = test(Network::new(PATIENCE, Arc::default()));
        let ended = timeout(4 * PATIENCE, test).await;
        ended.expect("the test waits for what never comes")
    })
}

/// What a producer dials into. Dials wait until the test takes them; once it is dropped, all are refused.
#[derive(Debug)]
pub(crate) struct Network {
    dials: mpsc::UnboundedReceiver<Dial>,
    /// Come, and not taken yet.
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

    /// Each publish is a command of its own, which is what most transcripts are made of; `batching` is about the others.
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
        Producer::start(options(self.config()).build().expect("a valid Config"))
    }

    /// The next dial, to be accepted, refused, or left hanging.
    pub(crate) async fn dial(&mut self) -> Dial {
        if let Some(dial) = self.seen.take() {
            return dial;
        }
        let dial = timeout(self.patience, self.dials.recv()).await;
        dial.expect("a dial")
            .expect("the network holds a sender itself")
    }

    /// When the next dial comes; it still has to be taken.
    pub(crate) async fn peek_dial(&mut self) -> Instant {
        let dial = self.dial().await;
        self.seen.insert(dial).at
    }

    /// The next dial whenever it comes; `None` when every producer is gone.
    pub(crate) async fn next_dial(&mut self) -> Option<Dial> {
        let (closed, _) = mpsc::unbounded_channel();
        self.connector.dials = closed;
        self.dials.recv().await
    }

    /// Accepts the next dial.
    pub(crate) async fn accept(&mut self) -> Peer {
        self.dial().await.accept()
    }

    /// Accepts the next dial, and shakes hands as nsqd does.
    pub(crate) async fn connected(&mut self) -> Peer {
        let mut peer = self.accept().await;
        peer.greet().await;
        peer
    }

    /// The same over a line that holds so many bytes on their way, and that the test can disturb.
    pub(crate) async fn connected_by(&mut self, capacity: usize) -> (Peer, Line) {
        let (mut peer, line) = self.dial().await.accept_by(capacity);
        peer.greet().await;
        (peer, line)
    }

    pub(crate) async fn expect_no_dial(&mut self, duration: Duration) {
        let dial = timeout(duration, self.dials.recv()).await;
        assert!(dial.is_err(), "dialled within {duration:?}");
    }

    /// Time since the test began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// How many connections the clients still hold.
    pub(crate) fn open_lines(&self) -> usize {
        self.connector.open.load(Ordering::SeqCst)
    }

    /// An hour passes, in which the virtual clock stops nowhere: nobody but the test holds a timer.
    pub(crate) async fn expect_no_timer_in_an_hour(&self) {
        let elapsed = self.elapsed();
        let before = self.steps.load(Ordering::Relaxed);
        tokio::time::sleep(HOUR).await;
        let steps = self.steps.load(Ordering::Relaxed) - before;
        // tokio's timers move up in steps of their own, the same ones at the same time of any run.
        let bare = std::thread::spawn(move || {
            let (runtime, steps) = paused_runtime();
            let mut bare = 0;
            patiently(&runtime, &LocalSet::new(), async {
                tokio::time::sleep(elapsed).await;
                let before = steps.load(Ordering::Relaxed);
                tokio::time::sleep(HOUR).await;
                bare = steps.load(Ordering::Relaxed) - before;
            });
            bare
        });
        let bare = bare.join().expect("an hour passes");
        assert_eq!(steps, bare, "timers are left");
    }
}

/// Runs a test's future, for far longer than any time-out of client and peer, and than any test that goes on by itself.
fn patiently(runtime: &Runtime, tasks: &LocalSet, test: impl Future<Output = ()>) {
    runtime.block_on(tasks.run_until(async {
        let ended = timeout(24 * 365 * HOUR, test).await;
        ended.expect("the test waits for what never comes");
    }));
}

/// A runtime on a paused clock, and at how many times it was out of work: from each of them the clock jumps to the next.
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
    fn connect(&self, _: &ProducerConfig) -> ConnectFuture {
        let (answer, answered) = oneshot::channel();
        // Without a network nobody takes the dial, and its answer comes at once.
        let _ = self.dials.send(Dial {
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

/// A client that waits for its connection. Dropped, it is refused.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) at: Instant,
    answer: oneshot::Sender<io::Result<End>>,
    open: Arc<AtomicUsize>,
    patience: Duration,
}

impl Dial {
    pub(crate) fn accept(self) -> Peer {
        self.accept_by(64 << 10).0
    }

    /// Accepts over a line that holds so many bytes on their way, and that the test can disturb.
    pub(crate) fn accept_by(self, capacity: usize) -> (Peer, Line) {
        let (ours, pipe) = tokio::io::duplex(capacity);
        let line = Line::default();
        let end = End::new(pipe, line.clone(), self.open);
        assert!(self.answer.send(Ok(end)).is_ok(), "the client has given up");
        (Conversation::over(ours).with_patience(self.patience), line)
    }

    pub(crate) fn refuse(self) {
        drop(self);
    }

    /// Leaves the client waiting until it gives up.
    pub(crate) async fn hang(mut self) {
        let given_up = timeout(self.patience, self.answer.closed()).await;
        given_up.expect("the client waits for ever");
    }
}
