//! Callers who note in a [`Record`] what they offer and what they hear, while faults strike.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_nsq::actix::{Actor, Addr, Context, Handler};
use actix_nsq::{
    ConnectionEvent, Delivery, ErrorKind, MultiPublish, Producer, Publish, PublishError,
    SubscribeEvents, Topic, producer::GetStats, producer::Stats,
};
use actix_rt::task::JoinHandle;

use super::load::topic;
use crate::support::broker::Broker;
use crate::support::record::{Record, Verdict};
use crate::support::wait;

/// Over so many topics the callers are spread.
const TOPICS: usize = 3;
/// Each so many messages a caller publishes a batch.
const BATCH_EVERY: usize = 20;
const BATCH: usize = 3;

/// Callers that each publish one thing after the other, until they are told to stop.
pub struct RecordedLoad {
    shared: Rc<Shared>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    record: RefCell<Record>,
    /// Publishes, where [`Record`] counts messages.
    ok: Cell<usize>,
    maybe: Cell<usize>,
    longest: Cell<Duration>,
    errors: RefCell<Vec<PublishError>>,
    over: Cell<bool>,
}

impl RecordedLoad {
    /// They publish messages of these sizes, by number, to topics whose names begin like this.
    pub fn start(
        producer: &Addr<Producer>,
        callers: usize,
        topics: &str,
        size: fn(usize) -> usize,
    ) -> Self {
        let shared = Rc::new(Shared::default());
        let call = |number: usize| {
            let name = format!("{topics}_{}", number % TOPICS);
            let publisher = shared.record.borrow_mut().publisher(&name);
            let call = Rc::clone(&shared).call(producer.clone(), topic(&name), publisher, size);
            actix_rt::spawn(call)
        };
        let callers = (0..callers).map(call).collect();
        Self { shared, callers }
    }

    /// How many publishes were answered `Ok` so far.
    pub fn ok(&self) -> usize {
        self.shared.ok.get()
    }

    /// How many publishes may be written, a batch counted as one.
    pub fn maybe(&self) -> usize {
        self.shared.maybe.get()
    }

    /// The longest time that an answer took, of those that were `Ok`.
    pub fn longest(&self) -> Duration {
        self.shared.longest.get()
    }

    /// How many messages are offered and not answered.
    pub fn outstanding(&self) -> usize {
        self.shared.record.borrow().outstanding()
    }

    pub fn errors(&self) -> Ref<'_, Vec<PublishError>> {
        self.shared.errors.borrow()
    }

    /// Waits until so many more are answered `Ok`.
    pub async fn until_more_ok(&self, more: usize) {
        let goal = self.ok() + more;
        wait::until("the publishes are answered Ok", || self.ok() >= goal).await;
    }

    /// No more is offered; waits for the answers that are still due.
    pub async fn cease(&mut self) {
        self.shared.over.set(true);
        for caller in self.callers.drain(..) {
            caller.await.expect("a caller does not panic");
        }
    }

    /// Ends the load, empties the broker, and holds what was answered against it. The faults must be over.
    pub async fn judge(mut self, broker: &Broker) -> Verdict {
        self.cease().await;
        let record = self.shared.record.take();
        let mut found = Vec::new();
        for topic in record.topics() {
            let bodies = broker.bodies(&topic, record.ok_in(&topic)).await;
            found.extend(bodies.into_iter().map(|body| (topic.clone(), body)));
        }
        record.judge(found.iter().map(|(topic, body)| (&topic[..], &body[..])))
    }
}

impl Shared {
    async fn call(
        self: Rc<Self>,
        producer: Addr<Producer>,
        topic: Topic,
        publisher: usize,
        size: fn(usize) -> usize,
    ) {
        let mut number = publisher;
        while !self.over.get() {
            number += 1;
            let count = if number.is_multiple_of(BATCH_EVERY) {
                BATCH
            } else {
                1
            };
            let offers =
                (0..count).map(|_| self.record.borrow_mut().offer(publisher, size(number)));
            let (ids, mut bodies): (Vec<_>, Vec<_>) = offers.unzip();
            let asked = Instant::now();
            let answer = match (count, bodies.pop()) {
                (1, Some(body)) => producer.send(Publish::new(&topic, body)).await,
                (_, last) => {
                    let bodies = bodies.into_iter().chain(last);
                    let batch = MultiPublish::new(&topic, bodies.collect::<Vec<_>>());
                    producer.send(batch).await
                }
            };
            let answer = answer.map_err(PublishError::from).and_then(|answer| answer);
            for id in ids {
                self.record.borrow_mut().answer(id, &answer);
            }
            self.note(answer, asked.elapsed());
        }
    }

    fn note(&self, answer: Result<(), PublishError>, took: Duration) {
        match answer {
            Ok(()) => {
                self.ok.set(self.ok.get() + 1);
                self.longest.set(self.longest.get().max(took));
            }
            Err(error) => {
                let maybe = error.delivery() != Delivery::NotWritten;
                self.maybe.set(self.maybe.get() + usize::from(maybe));
                self.errors.borrow_mut().push(error);
            }
        }
    }
}

/// Small sizes, and a few larger ones.
pub fn of_many_sizes(number: usize) -> usize {
    match number.is_multiple_of(50) {
        true => 5_000,
        false => number % 97,
    }
}

/// Whether a publish ended by its time: something has hung.
pub fn is_time_out(error: &PublishError) -> bool {
    error.kind() == ErrorKind::Timeout
}

/// What a producer counts, as soon as it is like this.
pub async fn stats_once(
    producer: &Addr<Producer>,
    what: &str,
    holds: impl Fn(&Stats) -> bool,
) -> Stats {
    let end = Instant::now() + wait::PATIENCE;
    loop {
        let stats = producer.send(GetStats).await.expect("a producer answers");
        if holds(&stats) {
            return stats;
        }
        assert!(Instant::now() < end, "waited in vain: {what}: {stats:#?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// How long a producer waited before each attempt to connect again.
#[derive(Clone, Default)]
pub struct Waits(Rc<RefCell<Vec<Duration>>>);

impl Waits {
    pub async fn of(producer: &Addr<Producer>) -> Self {
        let waits = Self::default();
        let recipient = waits.clone().start().recipient();
        let subscribed = producer.send(SubscribeEvents(recipient)).await;
        subscribed.expect("a producer takes subscribers");
        waits
    }

    pub fn count(&self) -> usize {
        self.0.borrow().len()
    }

    pub fn longest(&self) -> Duration {
        self.0.borrow().iter().copied().max().unwrap_or_default()
    }
}

impl Actor for Waits {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Waits {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        if let ConnectionEvent::BackingOff { delay, .. } = event {
            self.0.borrow_mut().push(delay);
        }
    }
}
