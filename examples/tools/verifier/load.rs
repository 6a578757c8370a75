//! The load: an open loop of callers that publish through several producers.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_nsq::{
    ConnectionEvent, ProducerHandle, PublishError, Topic,
    actix::{Actor, Context, Handler},
    bytes::Bytes,
};
use fastrand::Rng;
use futures::future::join_all;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{
    options::Options,
    support::{record::Id, wait},
    tracker::Tracker,
};

/// Interval at which the messages that are due are published.
const TICK: Duration = Duration::from_millis(1);

/// Maximum backlog that is caught up after a pause of this process.
const MAX_BACKLOG: Duration = Duration::from_secs(1);

/// Number of messages in a batch.
const BATCH: std::ops::RangeInclusive<usize> = 2..=20;

/// Maximum delay of a deferred publish in milliseconds.
const MAX_DELAY_MS: u64 = 200;

/// A publish without a result this long after `publish_timeout` is unanswered.
const GRACE: Duration = Duration::from_secs(1);

/// Timeout of connecting and of draining.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Load {
    tracker: Arc<Tracker>,
    handles: Vec<ProducerHandle>,
    topics: Vec<Topic>,
    options: Options,
    rng: RefCell<Rng>,
    /// Publishes without a result.
    callers: Cell<usize>,
}

impl Load {
    /// Connects the producers to nsqd or to the proxy.
    pub(crate) async fn start(
        options: &Options,
        address: &str,
        tracker: Arc<Tracker>,
        rng: Rng,
    ) -> io::Result<Rc<Self>> {
        let config = options.config(address).map_err(io::Error::other)?;
        let mut handles = Vec::new();
        for number in 0..options.producers {
            let handle = ProducerHandle::start(config.clone());
            let observer = Observer {
                producer: number,
                retries: options.retry_maybe_written,
                tracker: Arc::clone(&tracker),
            };
            handle.subscribe::<ConnectionEvent>(observer.start().recipient());
            let connected = handle.wait_connected(CONNECT_TIMEOUT).await;
            connected.map_err(io::Error::other)?;
            handles.push(handle);
        }
        let topics = (0..options.topics).map(|number| Topic::new(Options::topic(number)));
        Ok(Rc::new(Self {
            tracker,
            handles,
            topics: topics.collect::<Result<_, _>>().map_err(io::Error::other)?,
            options: options.clone(),
            rng: RefCell::new(rng),
            callers: Cell::new(0),
        }))
    }

    /// Publishes messages at the configured rate until it is dropped.
    pub(crate) async fn publish(self: &Rc<Self>) -> ! {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut due = 0.0_f64;
        let mut last = Instant::now();
        let max_callers = self.options.max_callers();
        loop {
            ticks.tick().await;
            let passed = last.elapsed();
            last += passed;
            let free = max_callers.saturating_sub(self.callers.get());
            if let Some(rate) = self.options.offered_rate() {
                let max_due = rate * MAX_BACKLOG.as_secs_f64();
                due = (due + rate * passed.as_secs_f64()).min(max_due);
            } else {
                due = free as f64;
            }
            for _ in 0..free {
                if due < 1.0 {
                    break;
                }
                due -= self.call() as f64;
            }
        }
    }

    /// Waits until every caller has a result, or has waited longer than a result may take.
    pub(crate) async fn settle(&self) {
        let timeout = self.max_latency() + CONNECT_TIMEOUT;
        wait::comes_to_hold(timeout, || self.callers.get() == 0).await;
    }

    /// Drains the producers.
    pub(crate) async fn stop(&self) -> io::Result<()> {
        let handles = self.handles.iter();
        let drains = handles.map(|handle| handle.drain(CONNECT_TIMEOUT));
        for drained in join_all(drains).await {
            let report = drained.map_err(io::Error::other)?;
            self.tracker.log(format_args!("drained: {report}"));
        }
        Ok(())
    }

    /// Time after which a publish without a result is unanswered.
    pub(crate) fn max_latency(&self) -> Duration {
        self.options.publish_timeout + GRACE
    }

    /// Starts a caller with one publish. Returns the number of messages.
    fn call(self: &Rc<Self>) -> usize {
        let mut rng = self.rng.borrow_mut();
        let producer = rng.choice(self.handles.iter().enumerate());
        let topic = rng.choice(self.topics.iter().enumerate());
        let (Some((producer, nsq)), Some((number, topic))) = (producer, topic) else {
            return 1;
        };
        let command = self.random_command(&mut rng);
        let count = match command {
            Command::MultiPublish => rng.usize(BATCH),
            Command::Publish | Command::DeferredPublish(_) => 1,
        };
        let half = self.options.size / 2;
        let mut size = || rng.usize(self.options.size - half..=self.options.size + half);
        let sizes: Vec<usize> = std::iter::repeat_with(&mut size).take(count).collect();
        let offered = self.tracker.offer(producer, number, &sizes);
        let (ids, bodies) = offered.into_iter().unzip();
        let result = publish(nsq.clone(), topic.clone(), command, bodies);
        self.callers.set(self.callers.get() + 1);
        actix_rt::spawn(Rc::clone(self).await_result(producer, ids, result));
        count
    }

    /// Draws a command, so that `--batches` is the share of the messages, not of the commands.
    fn random_command(&self, rng: &mut Rng) -> Command {
        let share = self.options.batches;
        let batch = (BATCH.start() + BATCH.end()) as f64 / 2.0;
        let (single, deferred, several) = (1.0 - share, share / 2.0, share / 2.0 / batch);
        match rng.f64() * (single + deferred + several) {
            drawn if drawn < single => Command::Publish,
            drawn if drawn < single + deferred => {
                Command::DeferredPublish(Duration::from_millis(rng.u64(0..=MAX_DELAY_MS)))
            }
            _ => Command::MultiPublish,
        }
    }

    async fn await_result(
        self: Rc<Self>,
        producer: usize,
        ids: Vec<Id>,
        result: impl Future<Output = Result<(), PublishError>>,
    ) {
        let started = Instant::now();
        match timeout(self.max_latency(), result).await {
            Ok(result) => (self.tracker).completed(producer, &ids, &result, started.elapsed()),
            Err(_) => self.tracker.log(format_args!("unanswered: {ids:?}")),
        }
        self.callers.set(self.callers.get() - 1);
    }
}

async fn publish(
    nsq: ProducerHandle,
    topic: Topic,
    command: Command,
    bodies: Vec<Bytes>,
) -> Result<(), PublishError> {
    match command {
        Command::Publish => nsq.publish(topic, single(bodies)).await,
        Command::MultiPublish => nsq.multi_publish(topic, bodies).await,
        Command::DeferredPublish(delay) => nsq.deferred_publish(topic, delay, single(bodies)).await,
    }
}

fn single(mut bodies: Vec<Bytes>) -> Bytes {
    bodies.pop().unwrap_or_default()
}

#[derive(Debug, Clone, Copy)]
enum Command {
    Publish,
    MultiPublish,
    DeferredPublish(Duration),
}

/// Reports the connection events of a producer to the tracker.
struct Observer {
    producer: usize,
    retries: bool,
    tracker: Arc<Tracker>,
}

impl Actor for Observer {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Observer {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        let producer = self.producer;
        match event {
            ConnectionEvent::Disconnected { reason, .. } => {
                self.tracker.disconnected(producer, self.retries);
                self.tracker
                    .log(format_args!("producer {producer} disconnected: {reason}"));
            }
            ConnectionEvent::Connected { .. } => {
                self.tracker
                    .log(format_args!("producer {producer} connected"));
            }
            _ => {}
        }
    }
}
