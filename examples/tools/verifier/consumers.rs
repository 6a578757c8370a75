//! `--consume`: consumers of the crate take the messages while faults are injected.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fmt, io,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_nsq::{
    ConsumerHandle, MessageStream, Subscription,
    actix::spawn,
    bytes::Bytes,
    consumer::{Counters, DrainReport},
};
use tokio::time::sleep;

use crate::{
    options::Options,
    support::{
        flow_check::{self, Checked},
        real_nsqd::RealNsqd,
        record::{self, Audit, Record},
        wire_log::{Id, WireLog},
    },
    violation::Violation,
};

/// Timeout of subscribing and of draining.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Interval at which nsqd is asked for what is left.
const POLL: Duration = Duration::from_millis(100);

/// nsqd counts no message, and none comes for this time: nothing is left.
const CALM: Duration = Duration::from_secs(1);

/// A killed nsqd may count messages wrongly. None comes for this time, which is longer than the
/// message timeout: nothing is left.
const QUIET: Duration = Duration::from_secs(10);

/// A consumer for each topic.
pub(crate) struct Consumers(Vec<Consuming>);

struct Consuming {
    topic: String,
    max_in_flight: usize,
    consumer: ConsumerHandle,
    log: WireLog,
    handled: Rc<RefCell<Handled>>,
}

struct Handled {
    /// Each message of nsqd once, however often it was delivered.
    bodies: HashMap<Id, Bytes>,
    last: Instant,
    /// The next message is finished and not recorded.
    skips: bool,
}

impl Consumers {
    /// Subscribes to nsqd or to the proxy.
    pub(crate) async fn start(options: &Options, address: &str) -> io::Result<Self> {
        let mut consumers = Vec::new();
        for number in 0..options.topics {
            let (topic, log) = (Options::topic(number), WireLog::default());
            let config = options.consumer_config(address).connector(log.clone());
            let config = config.build().map_err(io::Error::other)?;
            let subscription = Subscription::new(topic.as_str(), "verifier");
            let subscription = subscription.map_err(io::Error::other)?;
            let (consumer, messages) = ConsumerHandle::start(config, subscription);
            let handled = Rc::new(RefCell::new(Handled {
                bodies: HashMap::new(),
                last: Instant::now(),
                skips: number == 0 && options.sabotage == Some(Violation::Unhandled),
            }));
            spawn(handle(messages, log.clone(), Rc::clone(&handled)));
            let subscribed = consumer.wait_subscribed(TIMEOUT).await;
            subscribed.map_err(io::Error::other)?;
            consumers.push(Consuming {
                topic,
                max_in_flight: options.max_in_flight,
                consumer,
                log,
                handled,
            });
        }
        Ok(Self(consumers))
    }

    /// Maximum time of [`finish`](Self::finish) without a message.
    pub(crate) fn timeout(&self) -> Duration {
        QUIET + TIMEOUT
    }

    /// Consumes what is left, and drains the consumers.
    pub(crate) async fn finish(self, nsqd: &RealNsqd) -> io::Result<Consumed> {
        let mut topics = Vec::new();
        for it in self.0 {
            loop {
                let silence = it.handled.borrow().last.elapsed();
                let is_empty = nsqd.unfinished(&it.topic)? == 0;
                if silence >= if is_empty { CALM } else { QUIET } {
                    break;
                }
                sleep(POLL).await;
            }
            let stats = it.consumer.stats().await.map_err(io::Error::other)?;
            let report = it.consumer.drain(TIMEOUT).await;
            topics.push(ConsumedTopic {
                report: report.map_err(io::Error::other)?,
                counters: stats.counters,
                bodies: std::mem::take(&mut it.handled.borrow_mut().bodies),
                topic: it.topic,
                max_in_flight: it.max_in_flight,
                log: it.log,
            });
        }
        Ok(Consumed(topics))
    }
}

async fn handle(mut messages: MessageStream, log: WireLog, handled: Rc<RefCell<Handled>>) {
    while let Some(message) = messages.next().await {
        let mut handled = handled.borrow_mut();
        handled.last = Instant::now();
        if !std::mem::take(&mut handled.skips) {
            let id = *message.id().as_bytes();
            handled.bodies.insert(id, message.body().clone());
        }
        log.handled(&message);
        // Fails if the connection is lost: the message comes again.
        let _ = message.finish();
    }
}

/// What the consumers have done.
pub(crate) struct Consumed(Vec<ConsumedTopic>);

struct ConsumedTopic {
    topic: String,
    max_in_flight: usize,
    bodies: HashMap<Id, Bytes>,
    counters: Counters,
    report: DrainReport,
    log: WireLog,
}

/// What the consumers have done, compared with what was published.
#[derive(Default)]
pub(crate) struct Comparison {
    received: u64,
    handled: usize,
    redelivered_elsewhere: u64,
    most_unanswered: usize,
    max_in_flight: usize,
    /// Lost by nsqd: no consumer had received it whole.
    forgotten: usize,
    /// The most that kills and stops of nsqd may lose.
    max_forgotten: usize,
    problems: Vec<String>,
}

impl Consumed {
    /// Compares the results of the publishes with the messages that were handled. nsqd was killed
    /// and stopped this often.
    pub(crate) fn compare(
        self,
        mut record: Record,
        kills: usize,
        stops: usize,
    ) -> (Audit, Comparison) {
        let mut comparison = Comparison::default();
        let mut received = HashSet::new();
        for it in self.0 {
            comparison.add(&it);
            // One more is on its way to the channel, or to a consumer.
            comparison.max_forgotten += kills * (it.max_in_flight + 1) + stops;
            for body in it.bodies.values() {
                record.found(&it.topic, body);
            }
            let messages = it.log.received().into_iter().flatten();
            received.extend(messages.filter_map(|message| record::read(&it.topic, &message.body)));
        }
        let mut audit = record.finish();
        let lost = std::mem::take(&mut audit.lost).into_iter();
        let (lost, forgotten): (Vec<_>, Vec<_>) = lost.partition(|id| received.contains(id));
        comparison.forgotten = forgotten.len();
        audit.lost = lost;
        (audit, comparison)
    }
}

impl Comparison {
    fn add(&mut self, topic: &ConsumedTopic) {
        self.received += topic.counters.received;
        self.redelivered_elsewhere += topic.counters.redelivered_elsewhere;
        self.handled += topic.bodies.len();
        self.max_in_flight = topic.max_in_flight;
        if !topic.report.is_clean() {
            let problem = format!("{}: not drained: {}", topic.topic, topic.report);
            self.problems.push(problem);
        }
        match flow_check::check(topic.max_in_flight, &topic.log.events()) {
            Ok(Checked {
                most_unanswered, ..
            }) => self.most_unanswered = self.most_unanswered.max(most_unanswered),
            Err(problem) => self.problems.push(format!("{}: {problem}", topic.topic)),
        }
        if self.most_unanswered > topic.max_in_flight {
            let most = self.most_unanswered;
            self.problems
                .push(format!("{}: {most} messages were unanswered", topic.topic));
        }
    }

    /// What is wrong.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = self.problems.clone();
        if self.forgotten > self.max_forgotten {
            let (lost, max) = (self.forgotten, self.max_forgotten);
            problems.push(format!(
                "{lost} messages reached no consumer (at most {max})"
            ));
        }
        problems
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "consumed: {} messages in {} deliveries, {} again while a handler had them; at most {} \
             unanswered (of {}); {} lost by nsqd (at most {})",
            self.handled,
            self.received,
            self.redelivered_elsewhere,
            self.most_unanswered,
            self.max_in_flight,
            self.forgotten,
            self.max_forgotten,
        )
    }
}
