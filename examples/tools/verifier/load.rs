//! The load: producers, and callers that publish through them in open loop, each awaiting its own answer.

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
    board::Board,
    options::Options,
    support::{record::Id, wait},
};

/// As often as this, as many messages are offered as the rate makes of it.
const TICK: Duration = Duration::from_millis(1);

/// What is behind by more than this is not made up for: the machine stood still.
const MOST_BEHIND: Duration = Duration::from_secs(1);

/// Messages of a batch.
const BATCH: std::ops::RangeInclusive<usize> = 2..=20;

/// The longest delay of a deferred publish.
const MOST_DEFERRED: u64 = 200;

/// A publish whose answer takes so much longer than its time has none.
const GRACE: Duration = Duration::from_secs(1);

/// How long the first connections and the end of the last may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Load {
    board: Arc<Board>,
    handles: Vec<ProducerHandle>,
    topics: Vec<Topic>,
    options: Options,
    rng: RefCell<Rng>,
    /// Publishes that await their answer.
    callers: Cell<usize>,
}

impl Load {
    /// Connects to nsqd, or to the proxy before it.
    pub(crate) async fn start(
        options: &Options,
        address: &str,
        board: Arc<Board>,
        rng: Rng,
    ) -> io::Result<Rc<Self>> {
        let config = options.config(address).map_err(io::Error::other)?;
        let mut handles = Vec::new();
        for number in 0..options.producers {
            let handle = ProducerHandle::start(config.clone());
            let watch = Watch {
                producer: number,
                retries: options.retry_maybe_written,
                board: Arc::clone(&board),
            };
            handle.subscribe::<ConnectionEvent>(watch.start().recipient());
            let connected = handle.wait_connected(PATIENCE).await;
            connected.map_err(io::Error::other)?;
            handles.push(handle);
        }
        let topics = (0..options.topics).map(|number| Topic::new(Options::topic(number)));
        Ok(Rc::new(Self {
            board,
            handles,
            topics: topics.collect::<Result<_, _>>().map_err(io::Error::other)?,
            options: options.clone(),
            rng: RefCell::new(rng),
            callers: Cell::new(0),
        }))
    }

    /// Offers messages at the rate that is asked for. Ends only when dropped.
    pub(crate) async fn publish(self: &Rc<Self>) -> ! {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut balance = 0.0_f64;
        let mut last = Instant::now();
        let most = self.options.most_callers();
        loop {
            ticks.tick().await;
            let passed = last.elapsed();
            last += passed;
            let room = most.saturating_sub(self.callers.get());
            if let Some(rate) = self.options.offered_rate() {
                let most_behind = rate * MOST_BEHIND.as_secs_f64();
                balance = (balance + rate * passed.as_secs_f64()).min(most_behind);
            } else {
                balance = room as f64;
            }
            for _ in 0..room {
                if balance < 1.0 {
                    break;
                }
                balance -= self.call() as f64;
            }
        }
    }

    /// Waits until every caller has an answer, or has waited for longer than any answer may take.
    pub(crate) async fn settle(&self) {
        let longest = self.longest_answer() + PATIENCE;
        wait::comes_to_hold(longest, || self.callers.get() == 0).await;
    }

    /// Ends the producers. Nothing is outstanding any more.
    pub(crate) async fn stop(&self) -> io::Result<()> {
        let drains = self.handles.iter().map(|handle| handle.drain(PATIENCE));
        for drained in join_all(drains).await {
            let report = drained.map_err(io::Error::other)?;
            self.board.note(format_args!("drained: {report:?}"));
        }
        Ok(())
    }

    pub(crate) fn longest_answer(&self) -> Duration {
        self.options.publish_timeout + GRACE
    }

    /// One more publish, somebody's own; says of how many messages.
    fn call(self: &Rc<Self>) -> usize {
        let mut rng = self.rng.borrow_mut();
        let producer = rng.choice(self.handles.iter().enumerate());
        let topic = rng.choice(self.topics.iter().enumerate());
        let (Some((producer, nsq)), Some((number, topic))) = (producer, topic) else {
            return 1;
        };
        let verb = self.draw_verb(&mut rng);
        let count = match verb {
            Verb::MultiPublish => rng.usize(BATCH),
            Verb::Publish | Verb::DeferredPublish(_) => 1,
        };
        let half = self.options.size / 2;
        let mut size = || rng.usize(self.options.size - half..=self.options.size + half);
        let sizes: Vec<usize> = std::iter::repeat_with(&mut size).take(count).collect();
        let offered = self.board.offer(producer, number, &sizes);
        let (ids, bodies) = offered.into_iter().unzip();
        let answer = publish(nsq.clone(), topic.clone(), verb, bodies);
        self.callers.set(self.callers.get() + 1);
        actix_rt::spawn(Rc::clone(self).await_answer(producer, ids, answer));
        count
    }

    /// So that the share is one of messages, and both halves are alike.
    fn draw_verb(&self, rng: &mut Rng) -> Verb {
        let share = self.options.batches;
        let batch = (BATCH.start() + BATCH.end()) as f64 / 2.0;
        let (single, deferred, several) = (1.0 - share, share / 2.0, share / 2.0 / batch);
        match rng.f64() * (single + deferred + several) {
            drawn if drawn < single => Verb::Publish,
            drawn if drawn < single + deferred => {
                Verb::DeferredPublish(Duration::from_millis(rng.u64(0..=MOST_DEFERRED)))
            }
            _ => Verb::MultiPublish,
        }
    }

    async fn await_answer(
        self: Rc<Self>,
        producer: usize,
        ids: Vec<Id>,
        answer: impl Future<Output = Result<(), PublishError>>,
    ) {
        let asked = Instant::now();
        match timeout(self.longest_answer(), answer).await {
            Ok(answer) => (self.board).answered(producer, &ids, &answer, asked.elapsed()),
            Err(_) => self.board.note(format_args!("no answer: {ids:?}")),
        }
        self.callers.set(self.callers.get() - 1);
    }
}

async fn publish(
    nsq: ProducerHandle,
    topic: Topic,
    verb: Verb,
    bodies: Vec<Bytes>,
) -> Result<(), PublishError> {
    match verb {
        Verb::Publish => nsq.publish(topic, only(bodies)).await,
        Verb::MultiPublish => nsq.multi_publish(topic, bodies).await,
        Verb::DeferredPublish(delay) => nsq.deferred_publish(topic, delay, only(bodies)).await,
    }
}

/// The one body; none would be refused as empty.
fn only(mut bodies: Vec<Bytes>) -> Bytes {
    bodies.pop().unwrap_or_default()
}

/// How messages are published.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Publish,
    MultiPublish,
    DeferredPublish(Duration),
}

/// Tells the board of a producer's lost connections.
struct Watch {
    producer: usize,
    retries: bool,
    board: Arc<Board>,
}

impl Actor for Watch {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Watch {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        let producer = self.producer;
        match event {
            ConnectionEvent::Disconnected { reason, .. } => {
                self.board.connection_lost(producer, self.retries);
                self.board.note(format_args!(
                    "producer {producer} lost its connection: {reason}"
                ));
            }
            ConnectionEvent::Connected { .. } => {
                self.board
                    .note(format_args!("producer {producer} is connected"));
            }
            _ => {}
        }
    }
}
