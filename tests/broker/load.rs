//! Numbered publishes, what was answered to each, and whether the broker's messages bear the answers out.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::bytes::Bytes;
use actix_nsq::{
    Delivery, Producer, ProducerConfig, ProducerConfigBuilder, Publish, PublishError, Topic,
};
use actix_rt::task::JoinHandle;

use crate::support::broker::Broker;
use crate::support::wait;

/// The topic of a scenario that needs only one.
pub const TOPIC: &str = "scenario";

pub fn topic(name: &str) -> Topic {
    name.parse().expect("a scenario's topic has a good name")
}

/// What a scenario's producer is configured with, for it to change: nsqd's address, and a short first backoff.
pub async fn config(broker: &Broker) -> ProducerConfigBuilder {
    ProducerConfig::builder(broker.address().await).reconnect_backoff(Duration::from_millis(20))
}

/// A producer for this broker.
pub async fn producer(broker: &Broker) -> Addr<Producer> {
    start(config(broker).await)
}

pub fn start(config: ProducerConfigBuilder) -> Addr<Producer> {
    Producer::start(config.build().expect("a scenario's configuration is valid"))
}

/// Publishes one message; its answer, with what actix has to say folded in.
pub async fn publish(
    producer: &Addr<Producer>,
    body: impl Into<Bytes>,
) -> Result<(), PublishError> {
    producer.send(Publish::new(topic(TOPIC), body)).await?
}

/// The body of the message of this number, with a checksum.
pub fn numbered(number: usize) -> Bytes {
    format!("{number:08} {:016x}", checksum(number)).into()
}

/// The number of a message that was published with [`numbered`]; panics when it was not, or is damaged.
#[track_caller]
pub fn number_of(body: &[u8]) -> usize {
    let text = String::from_utf8_lossy(body);
    let number = text.split(' ').next().and_then(|word| word.parse().ok());
    match number {
        Some(number) if numbered(number) == body => number,
        _ => panic!("a message that nobody published: {text:.100}"),
    }
}

fn checksum(number: usize) -> u64 {
    (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The numbers of messages, in the order the broker gave them out.
#[track_caller]
pub fn numbers(bodies: &[Vec<u8>]) -> Vec<usize> {
    bodies.iter().map(|body| number_of(body)).collect()
}

/// Publishes the messages of these numbers in one breath, and waits for all their answers.
pub async fn publish_all(producer: &Addr<Producer>, numbers: Range<usize>) -> Answers {
    let topic = topic(TOPIC);
    let sent: Vec<_> = numbers
        .map(|number| {
            let message = Publish::new(topic.clone(), numbered(number));
            (number, producer.send(message))
        })
        .collect();
    let mut answers = Answers::default();
    for (number, answer) in sent {
        answers.note(
            number,
            answer
                .await
                .map_err(PublishError::from)
                .and_then(|answer| answer),
        );
    }
    answers
}

/// What was answered to each publish, by number.
#[derive(Debug, Default)]
pub struct Answers(BTreeMap<usize, Result<(), PublishError>>);

impl Answers {
    #[track_caller]
    pub fn note(&mut self, number: usize, answer: Result<(), PublishError>) {
        let earlier = self.0.insert(number, answer);
        assert!(
            earlier.is_none(),
            "{number} was answered twice: {earlier:?}"
        );
    }

    /// Takes in the answers to other publishes.
    pub fn merge(&mut self, others: Answers) {
        for (number, answer) in others.0 {
            self.note(number, answer);
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn ok(&self) -> usize {
        self.0.values().filter(|answer| answer.is_ok()).count()
    }

    /// How many failed with nothing stored, or perhaps stored.
    pub fn failed(&self, delivery: Delivery) -> usize {
        self.errors()
            .filter(|error| error.delivery() == delivery)
            .count()
    }

    pub fn errors(&self) -> impl Iterator<Item = &PublishError> {
        self.0.values().filter_map(|answer| answer.as_ref().err())
    }

    #[track_caller]
    pub fn assert_all_ok(&self) {
        let failed: Vec<_> = self
            .0
            .iter()
            .filter(|(_, answer)| answer.is_err())
            .collect();
        let some = failed.iter().take(3).collect::<Vec<_>>();
        assert!(
            failed.is_empty(),
            "{} of {} failed: {some:?}",
            failed.len(),
            self.len()
        );
    }

    /// Every `Ok` is stored, nothing is stored twice, what is `NotWritten` is not stored, and nothing else is there.
    #[track_caller]
    pub fn assert_true_of(&self, bodies: &[Vec<u8>]) {
        let mut stored = BTreeMap::<usize, usize>::new();
        for body in bodies {
            *stored.entry(number_of(body)).or_default() += 1;
        }
        for (number, answer) in &self.0 {
            let times = stored.remove(number).unwrap_or(0);
            let is_true = match answer {
                Ok(()) => times == 1,
                Err(error) if error.delivery() == Delivery::NotWritten => times == 0,
                Err(_) => times <= 1,
            };
            assert!(
                is_true,
                "message {number} was answered {answer:?} and is stored {times} times"
            );
        }
        assert!(stored.is_empty(), "stored, but never answered: {stored:?}");
    }
}

/// Callers that each publish one message after the other, until they are told to stop.
pub struct Load {
    shared: Rc<Shared>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    answers: RefCell<Answers>,
    ok: Cell<usize>,
    next: Cell<usize>,
    over: Cell<bool>,
}

impl Load {
    pub fn start(producer: &Addr<Producer>, callers: usize) -> Self {
        let shared = Rc::new(Shared::default());
        let call = |_| actix_rt::spawn(Rc::clone(&shared).call(producer.clone()));
        let callers = (0..callers).map(call).collect();
        Self { shared, callers }
    }

    /// How many publishes were answered `Ok` so far.
    pub fn ok(&self) -> usize {
        self.shared.ok.get()
    }

    /// Waits until so many more are answered `Ok`.
    pub async fn until_more_ok(&self, more: usize) {
        let goal = self.ok() + more;
        wait::until("the publishes are answered Ok", || self.ok() >= goal).await;
    }

    /// Waits for the answers still due, and returns all.
    pub async fn stop(self) -> Answers {
        self.shared.over.set(true);
        for caller in self.callers {
            caller.await.expect("a caller does not panic");
        }
        let answers = self.shared.answers.take();
        assert_eq!(
            answers.len(),
            self.shared.next.get(),
            "every publish is answered"
        );
        answers
    }
}

impl Shared {
    async fn call(self: Rc<Self>, producer: Addr<Producer>) {
        while !self.over.get() {
            let number = self.next.replace(self.next.get() + 1);
            let answer = publish(&producer, numbered(number)).await;
            self.ok.set(self.ok.get() + usize::from(answer.is_ok()));
            self.answers.borrow_mut().note(number, answer);
        }
    }
}
