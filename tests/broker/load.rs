//! Concurrent callers that publish until they are stopped, with a record of their answers.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::bytes::Bytes;
use actix_nsq::{Delivery, MultiPublish, Producer, Publish, PublishError, Topic};
use actix_rt::task::JoinHandle;

use super::fixture::topic;
use crate::support::broker::Broker;
use crate::support::record::{Audit, Id, Record};
use crate::support::wait;

/// The callers are spread over this number of topics.
const TOPICS: usize = 3;
/// Every caller publishes a batch of three after this number of single messages.
const BATCH_EVERY: usize = 20;
const BATCH: usize = 3;

/// Callers that each publish one message, or now and then a batch, wait for the answer, and
/// publish the next.
pub struct Load {
    shared: Rc<Shared>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    record: RefCell<Record>,
    /// Publishes answered `Ok`. A batch counts once; [`Record`] counts messages.
    ok: Cell<usize>,
    ambiguous: Cell<usize>,
    longest: Cell<Duration>,
    errors: RefCell<Vec<PublishError>>,
    stop: Cell<bool>,
}

impl Load {
    /// Starts callers that publish to the topics `{prefix}_0`, `{prefix}_1` and `{prefix}_2`.
    pub fn start(producer: &Addr<Producer>, callers: usize, prefix: &str) -> Self {
        let shared = Rc::new(Shared::default());
        let spawn = |number: usize| {
            let name = format!("{prefix}_{}", number % TOPICS);
            let publisher = shared.record.borrow_mut().publisher(&name);
            let call = Rc::clone(&shared).call(producer.clone(), topic(&name), publisher);
            actix_rt::spawn(call)
        };
        let callers = (0..callers).map(spawn).collect();
        Self { shared, callers }
    }

    /// Number of publishes answered `Ok`.
    pub fn ok(&self) -> usize {
        self.shared.ok.get()
    }

    /// Number of publishes that may be stored. A batch counts once.
    pub fn ambiguous(&self) -> usize {
        self.shared.ambiguous.get()
    }

    /// The longest time until an `Ok`.
    pub fn longest(&self) -> Duration {
        self.shared.longest.get()
    }

    pub fn errors(&self) -> Ref<'_, Vec<PublishError>> {
        self.shared.errors.borrow()
    }

    /// Waits for this number of further publishes to be answered `Ok`.
    pub async fn until_more_ok(&self, more: usize) {
        let goal = self.ok() + more;
        wait::until("publishes are answered Ok", || self.ok() >= goal).await;
    }

    /// Stops the callers after their current publish.
    pub async fn stop(&mut self) {
        self.shared.stop.set(true);
        for caller in self.callers.drain(..) {
            caller.await.expect("a caller does not panic");
        }
    }

    /// Stops the load and compares the answers with what the broker stored. The broker must be
    /// running without faults.
    pub async fn audit(mut self, broker: &Broker) -> Audit {
        self.stop().await;
        audit(self.shared.record.take(), broker).await
    }
}

/// Compares a record with what the broker stored in the record's topics.
pub async fn audit(mut record: Record, broker: &Broker) -> Audit {
    for topic in record.topics() {
        for body in broker.bodies(&topic, record.ok_in(&topic)).await {
            record.found(&topic, &body);
        }
    }
    record.finish()
}

/// Publishes the next messages of a publisher, as one command, and records the answer.
pub async fn publish_recorded(
    producer: &Addr<Producer>,
    record: &RefCell<Record>,
    (topic, publisher): (&Topic, usize),
    sizes: &[usize],
) -> Result<(), PublishError> {
    let (ids, bodies): (Vec<Id>, Vec<Bytes>) = {
        let mut record = record.borrow_mut();
        let offers = sizes.iter().map(|size| record.offer(publisher, *size));
        offers.unzip()
    };
    let answer = match &bodies[..] {
        [body] => producer.send(Publish::new(topic, body.clone())).await,
        _ => producer.send(MultiPublish::new(topic, bodies)).await,
    };
    let answer = answer.map_err(PublishError::from).and_then(|answer| answer);
    let mut record = record.borrow_mut();
    ids.into_iter().for_each(|id| record.answer(id, &answer));
    answer
}

impl Shared {
    async fn call(self: Rc<Self>, producer: Addr<Producer>, topic: Topic, publisher: usize) {
        let mut number = publisher;
        while !self.stop.get() {
            number += 1;
            // Small messages, and a few larger ones.
            let size = if number.is_multiple_of(50) {
                5_000
            } else {
                number % 97
            };
            let is_batch = number.is_multiple_of(BATCH_EVERY);
            let sizes = &[size; BATCH][..if is_batch { BATCH } else { 1 }];
            let began = Instant::now();
            let to = (&topic, publisher);
            match publish_recorded(&producer, &self.record, to, sizes).await {
                Ok(()) => {
                    self.ok.set(self.ok.get() + 1);
                    self.longest.set(self.longest.get().max(began.elapsed()));
                }
                Err(error) => {
                    let ambiguous = error.delivery() != Delivery::NotWritten;
                    self.ambiguous
                        .set(self.ambiguous.get() + usize::from(ambiguous));
                    self.errors.borrow_mut().push(error);
                }
            }
        }
    }
}
