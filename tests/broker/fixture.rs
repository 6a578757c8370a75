//! Producers for scenarios, numbered messages, and the answers to them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::bytes::Bytes;
use actix_nsq::{
    Consumer, ConsumerConfigBuilder, Delivery, ErrorKind, MessageHandler, MessageStream, Producer,
    ProducerConfig, ProducerConfigBuilder, Publish, PublishError, Subscription, Topic,
    producer::GetStats, producer::Stats,
};

use crate::support::broker::Broker;
use crate::support::wait::PATIENCE;

/// The topic of scenarios that need only one.
pub const TOPIC: &str = "scenario";

/// A timeout that no step of a scenario reaches.
pub const LONG: Duration = Duration::from_secs(30);

pub fn topic(name: &str) -> Topic {
    name.parse().expect("a valid topic name")
}

/// Configuration of a scenario's producer: the broker's address and a short first backoff.
pub async fn config(broker: &Broker) -> ProducerConfigBuilder {
    ProducerConfig::builder(broker.address().await).reconnect_backoff(Duration::from_millis(20))
}

pub fn start(config: ProducerConfigBuilder) -> Addr<Producer> {
    Producer::start(config.build().expect("a valid configuration"))
}

pub async fn producer(broker: &Broker) -> Addr<Producer> {
    start(config(broker).await)
}

/// Starts a consumer whose messages are a stream.
pub fn consumer(
    config: ConsumerConfigBuilder,
    topic: &str,
    channel: &str,
) -> (Addr<Consumer>, MessageStream) {
    let config = config.build().expect("a valid configuration");
    let subscription = Subscription::new(topic, channel).expect("valid names");
    let (handler, messages) = MessageHandler::stream();
    (Consumer::start(config, subscription, handler), messages)
}

/// Publishes one message to [`TOPIC`].
pub async fn publish(
    producer: &Addr<Producer>,
    body: impl Into<Bytes>,
) -> Result<(), PublishError> {
    producer.send(Publish::new(topic(TOPIC), body)).await?
}

pub async fn stats(producer: &Addr<Producer>) -> Stats {
    producer.send(GetStats).await.expect("the producer answers")
}

/// Polls the statistics until `holds`.
pub async fn stats_once(
    producer: &Addr<Producer>,
    what: &str,
    holds: impl Fn(&Stats) -> bool,
) -> Stats {
    let end = Instant::now() + PATIENCE;
    loop {
        let stats = stats(producer).await;
        if holds(&stats) {
            return stats;
        }
        assert!(
            Instant::now() < end,
            "{what} within {PATIENCE:?}: {stats:#?}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The body of the message with this number, with a checksum.
pub fn numbered(number: usize) -> Bytes {
    let checksum = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{number:08} {checksum:016x}").into()
}

/// The number of a [`numbered`] message. Panics if the message is damaged or not numbered.
#[track_caller]
pub fn number_of(body: &[u8]) -> usize {
    let text = String::from_utf8_lossy(body);
    let number = text.split(' ').next().and_then(|word| word.parse().ok());
    match number {
        Some(number) if numbered(number) == body => number,
        _ => panic!("not a message of this scenario: {text:.100}"),
    }
}

#[track_caller]
pub fn numbers(bodies: &[Vec<u8>]) -> Vec<usize> {
    bodies.iter().map(|body| number_of(body)).collect()
}

/// Asserts that [`TOPIC`] holds the messages with these numbers, each once and in order.
pub async fn assert_stored(broker: &Broker, expected: Range<usize>) {
    let bodies = broker.bodies(TOPIC, expected.len()).await;
    assert_eq!(numbers(&bodies), Vec::from_iter(expected));
}

/// Sends the messages with these numbers at once, and waits for all answers.
pub async fn publish_all(producer: &Addr<Producer>, numbers: Range<usize>) -> Answers {
    let topic = topic(TOPIC);
    let sent: Vec<_> = numbers
        .map(|number| {
            (
                number,
                producer.send(Publish::new(topic.clone(), numbered(number))),
            )
        })
        .collect();
    let mut answers = Answers::default();
    for (number, answer) in sent {
        let answer = answer.await.map_err(PublishError::from);
        answers.record(number, answer.and_then(|answer| answer));
    }
    answers
}

#[track_caller]
pub fn assert_error(error: &PublishError, kind: ErrorKind, delivery: Delivery) {
    assert_eq!(
        (error.kind(), error.delivery()),
        (kind, delivery),
        "{error}"
    );
}

/// The answers to numbered messages.
#[derive(Debug, Default)]
pub struct Answers(BTreeMap<usize, Result<(), PublishError>>);

impl Answers {
    #[track_caller]
    pub fn record(&mut self, number: usize, answer: Result<(), PublishError>) {
        let earlier = self.0.insert(number, answer);
        assert!(earlier.is_none(), "second answer to {number}: {earlier:?}");
    }

    pub fn merge(&mut self, others: Answers) {
        for (number, answer) in others.0 {
            self.record(number, answer);
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Number of publishes answered `Ok`.
    pub fn ok(&self) -> usize {
        self.0.values().filter(|answer| answer.is_ok()).count()
    }

    /// Number of errors with this delivery.
    pub fn failed(&self, delivery: Delivery) -> usize {
        let has_it = |error: &&PublishError| error.delivery() == delivery;
        self.errors().filter(has_it).count()
    }

    pub fn errors(&self) -> impl Iterator<Item = &PublishError> {
        self.0.values().filter_map(|answer| answer.as_ref().err())
    }

    #[track_caller]
    pub fn assert_all_ok(&self) {
        let (failed, first) = (self.len() - self.ok(), self.errors().next());
        assert_eq!(
            failed,
            0,
            "of {} publishes; the first error: {first:?}",
            self.len()
        );
    }

    /// Asserts that the stored messages agree with the answers: `Ok` is stored once, `NotWritten`
    /// is not stored, any other error at most once, and nothing else is stored.
    #[track_caller]
    pub fn assert_agree_with(&self, bodies: &[Vec<u8>]) {
        let mut stored = BTreeMap::<usize, usize>::new();
        for number in numbers(bodies) {
            *stored.entry(number).or_default() += 1;
        }
        for (number, answer) in &self.0 {
            let times = stored.remove(number).unwrap_or(0);
            let agrees = match answer {
                Ok(()) => times == 1,
                Err(error) if error.delivery() == Delivery::NotWritten => times == 0,
                Err(_) => times <= 1,
            };
            assert!(
                agrees,
                "message {number}: answered {answer:?}, stored {times} times"
            );
        }
        assert!(stored.is_empty(), "stored and never published: {stored:?}");
    }
}
