//! nsqd is killed, terminated or frozen and returns: every answer is true, and the same producer
//! continues.

use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, Producer, ProducerConfigBuilder, Publish, PublishError,
    Reconnect, producer::Stats,
};
use futures::future::join_all;

use super::event_log::EventLog;
use super::fixture::{
    Answers, TOPIC, assert_error, assert_stored, config, numbered, numbers, producer, publish,
    publish_all, start, stats, stats_once, topic,
};
use super::load::Load;
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};
use crate::support::scaled;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        killed_nsqd_has_stored_every_ok,
        terminated_nsqd_has_stored_every_ok,
        long_freeze_gives_true_answers,
        short_freeze_loses_no_connection,
        retry_maybe_written_stores_everything_despite_kills,
        producer_starts_before_nsqd,
        publishes_after_a_restart_succeed_or_are_ambiguous_once,
        publishes_queued_during_a_restart_keep_their_order,
        outage_longer_than_publish_timeout_stores_nothing,
        only_publishes_in_flight_are_ambiguous_after_a_kill,
        reconnect_under_load_loses_and_repeats_nothing,
    ]
}

/// The longest delay before an attempt to connect.
const MAX_BACKOFF: Duration = Duration::from_millis(200);
/// Time from the return of nsqd to a new connection, on a busy machine.
const MAX_RECONNECT: Duration = Duration::from_secs(3);

/// What happens to nsqd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Terminate,
    /// Longer than two heartbeat intervals, after which both sides close the connection.
    LongFreeze,
    ShortFreeze,
}

impl Fault {
    async fn strike(self, broker: &Broker) {
        let freeze = async |milliseconds| {
            broker.freeze(true).await;
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            broker.freeze(false).await;
        };
        match self {
            Self::Kill => {
                broker.kill().await;
                broker.restart().await;
            }
            Self::Terminate => {
                broker.terminate().await;
                broker.restart().await;
            }
            Self::LongFreeze => freeze(2_500).await,
            Self::ShortFreeze => freeze(600).await,
        }
    }
}

/// A kind of producer and its load.
struct Variant {
    name: &'static str,
    window: usize,
    callers: usize,
    batching: bool,
}

const VARIANTS: [Variant; 5] = [
    Variant::new("batches_64", 64, 256, true),
    Variant::new("window_64", 64, 256, false),
    Variant::new("window_1", 1, 64, false),
    Variant::new("batches_1000", 1_000, 3_000, true),
    Variant::new("window_1000", 1_000, 3_000, false),
];

impl Variant {
    const fn new(name: &'static str, window: usize, callers: usize, batching: bool) -> Self {
        Self {
            name,
            window,
            callers,
            batching,
        }
    }

    fn configure(&self, config: ProducerConfigBuilder) -> ProducerConfigBuilder {
        config
            .heartbeat_interval(Duration::from_secs(1))
            .max_reconnect_backoff(MAX_BACKOFF)
            .publish_window(self.window)
            .auto_batch(self.batching)
    }
}

/// contract: 1, 2
/// fault: P21
/// checklist: 18, 19, 37
async fn killed_nsqd_has_stored_every_ok(broker: Broker) {
    strike_under_load(&broker, Fault::Kill, scaled(2, 20)).await;
}

/// contract: 1
/// fault: P22
/// checklist: 18, 19, 37
async fn terminated_nsqd_has_stored_every_ok(broker: Broker) {
    strike_under_load(&broker, Fault::Terminate, scaled(2, 20)).await;
}

/// nsqd executes what is in its socket buffers long after the connection was given up.
/// contract: 1
/// fault: P11, P22
/// checklist: 7, 8
async fn long_freeze_gives_true_answers(broker: Broker) {
    strike_under_load(&broker, Fault::LongFreeze, scaled(1, 20)).await;
}

/// contract: 1
/// fault: P22
async fn short_freeze_loses_no_connection(broker: Broker) {
    strike_under_load(&broker, Fault::ShortFreeze, scaled(1, 20)).await;
}

/// A producer under load.
struct Run {
    variant: &'static Variant,
    producer: Addr<Producer>,
    events: EventLog,
    load: Load,
}

impl Run {
    fn start(config: ProducerConfigBuilder, variant: &'static Variant) -> Self {
        let producer = start(variant.configure(config));
        Self {
            variant,
            events: EventLog::of(&producer),
            load: Load::start(&producer, variant.callers, variant.name),
            producer,
        }
    }

    async fn until_in_flight(&self) {
        self.load.until_more_ok(self.variant.callers).await;
        let in_flight = |stats: &Stats| stats.in_flight > 0;
        stats_once(&self.producer, "publishes are in flight", in_flight).await;
    }

    async fn until_connected(&self, connects: u64) {
        let connected = |stats: &Stats| stats.connects == connects;
        stats_once(&self.producer, "the producer is connected", connected).await;
    }
}

/// Strikes this number of times, while producers of several kinds publish.
async fn strike_under_load(broker: &Broker, fault: Fault, times: usize) {
    let ends_connections = fault != Fault::ShortFreeze;
    let config = config(broker).await;
    let variants = &VARIANTS[..scaled(3, VARIANTS.len())];
    let runs = variants
        .iter()
        .map(|variant| Run::start(config.clone(), variant));
    let mut runs: Vec<_> = runs.collect();
    for strikes in 1..=times {
        join_all(runs.iter().map(Run::until_in_flight)).await;
        let ambiguous = |run: &Run| run.load.ambiguous();
        let before: usize = runs.iter().map(ambiguous).sum();
        fault.strike(broker).await;
        let returned = Instant::now();
        let connects = if ends_connections {
            strikes as u64 + 1
        } else {
            1
        };
        join_all(runs.iter().map(|run| run.until_connected(connects))).await;
        let took = returned.elapsed();
        assert!(
            took < MAX_BACKOFF + MAX_RECONNECT,
            "{fault:?}: reconnected after {took:?}"
        );
        // Before it exits, a terminated nsqd may answer everything that it has received.
        if ends_connections && fault != Fault::Terminate && broker.kind() == Kind::Real {
            assert!(
                runs.iter().map(ambiguous).sum::<usize>() > before,
                "nothing was in flight"
            );
        }
    }
    let mut ends = Vec::new();
    for run in &mut runs {
        run.load.until_more_ok(run.variant.callers).await;
        run.load.stop().await;
        ends.push(stats(&run.producer).await);
    }
    for (run, stats) in runs.into_iter().zip(ends) {
        let Run {
            variant,
            producer: _producer,
            events,
            load,
        } = run;
        let name = format!("{fault:?}, {}", variant.name);
        assert_eq!(stats.batches > 0, variant.batching, "{name}");
        for error in load.errors().iter() {
            assert_ne!(error.kind(), ErrorKind::Timeout, "{name}: {error}");
        }
        let rejected = if fault == Fault::Terminate
            && !broker.kind().version().closes_before_it_exits()
        {
            let exiting = |error: &&PublishError| {
                error.delivery() == Delivery::NotWritten && error.to_string().ends_with("exiting")
            };
            load.errors().iter().filter(exiting).count()
        } else {
            0
        };
        assert!(
            events.longest_backoff() <= MAX_BACKOFF,
            "{name}: {:?}",
            events.backoffs()
        );
        let ambiguous = load.ambiguous();
        if ends_connections {
            assert!(
                ambiguous <= times * variant.window,
                "{name}: {ambiguous} are ambiguous"
            );
        } else {
            // On a busy machine the first attempt to connect may fail.
            assert_eq!((ambiguous, stats.disconnects), (0, 0), "{name}");
        }
        let audit = load.audit(broker).await;
        audit.assert_clean();
        assert_eq!(audit.not_written, rejected, "{name}: {audit}");
    }
}

/// contract: 1, 4
/// fault: P21
async fn retry_maybe_written_stores_everything_despite_kills(broker: Broker) {
    let producer = start(config(&broker).await.retry_maybe_written(true));
    let mut stored = 0;
    for number in 0..3 {
        let batch = stored..stored + 2_000;
        let (answers, ()) = tokio::join!(publish_all(&producer, batch.clone()), async {
            // In the midst of the answers.
            let goal = (2_000 * number + 300) as u64;
            stats_once(&producer, "some are stored", |stats| stats.ok >= goal).await;
            Fault::Kill.strike(&broker).await;
        });
        answers.assert_all_ok();
        stored = batch.end;
    }
    let mut numbers = numbers(&broker.bodies(TOPIC, stored).await);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, Vec::from_iter(0..stored));
}

/// contract: 1
/// fault: P1
/// checklist: 18, 19, 37
async fn producer_starts_before_nsqd(broker: Broker) {
    broker.kill().await;
    let producer = producer(&broker).await;
    let message = Publish::new(topic(TOPIC), "expires").expires_in(Duration::from_millis(200));
    let error = producer.send(message).await.unwrap().unwrap_err();
    assert_error(&error, ErrorKind::Timeout, Delivery::NotWritten);
    let reason = error.connection_error();
    assert!(
        matches!(reason, Some(ConnectionError::Dial { .. })),
        "{error}"
    );

    let (answers, ()) = tokio::join!(publish_all(&producer, 0..500), broker.restart());
    answers.assert_all_ok();
    assert_stored(&broker, 0..500).await;
}

/// contract: 1
/// checklist: 18, 19, 37
async fn publishes_after_a_restart_succeed_or_are_ambiguous_once(broker: Broker) {
    let producer = producer(&broker).await;
    let mut answers = Answers::default();
    for number in (0..12).step_by(3) {
        publish(&producer, numbered(number)).await.unwrap();
        Fault::Kill.strike(&broker).await;
        // The producer may not have noticed yet that its connection is lost.
        let first = publish(&producer, numbered(number + 1)).await;
        if let Err(error) = &first {
            assert_error(error, ErrorKind::ConnectionLost, Delivery::MaybeWritten);
        }
        publish(&producer, numbered(number + 2)).await.unwrap();
        answers.record(number, Ok(()));
        answers.record(number + 1, first);
        answers.record(number + 2, Ok(()));
    }
    answers.assert_agree_with(&broker.bodies(TOPIC, answers.ok()).await);
}

/// contract: 1, 9
async fn publishes_queued_during_a_restart_keep_their_order(broker: Broker) {
    let producer = start(config(&broker).await.publish_window(1_000));
    publish(&producer, numbered(0)).await.unwrap();
    broker.terminate().await;
    let (mut answers, ()) = tokio::join!(publish_all(&producer, 1..3_000), broker.restart());
    answers.record(0, Ok(()));
    // At most one window was written to the old connection.
    assert_eq!(answers.failed(Delivery::NotWritten), 0);
    assert!(answers.ok() >= 2_000, "{} Ok", answers.ok());
    let bodies = broker.bodies(TOPIC, answers.ok()).await;
    assert!(numbers(&bodies).is_sorted(), "not in arrival order");
    answers.assert_agree_with(&bodies);
}

/// contract: 1, 3
async fn outage_longer_than_publish_timeout_stores_nothing(broker: Broker) {
    let config = config(&broker)
        .await
        .publish_timeout(Duration::from_millis(400));
    let producer = start(config);
    publish(&producer, numbered(0)).await.unwrap();
    broker.kill().await;
    stats_once(&producer, "the connection is lost", |stats| {
        stats.disconnects == 1
    })
    .await;

    let answers = publish_all(&producer, 1..500).await;
    assert_eq!(answers.failed(Delivery::NotWritten), 499);
    for error in answers.errors() {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(
            error.is_retryable() && error.connection_error().is_some(),
            "{error}"
        );
    }

    broker.restart().await;
    // The backoff may exceed the timeout.
    while let Err(error) = publish(&producer, numbered(500)).await {
        assert_eq!(error.delivery(), Delivery::NotWritten, "{error}");
    }
    assert_eq!(numbers(&broker.bodies(TOPIC, 2).await), [0, 500]);
}

/// contract: 1, 3
async fn only_publishes_in_flight_are_ambiguous_after_a_kill(broker: Broker) {
    let producer = start(config(&broker).await.publish_window(100));
    publish(&producer, numbered(0)).await.unwrap();
    broker.until_recoverable().await;
    broker.freeze(true).await;
    let kill = async {
        stats_once(&producer, "the window is full", |stats| {
            stats.in_flight == 100
        })
        .await;
        Fault::Kill.strike(&broker).await;
    };
    let (mut answers, ()) = tokio::join!(publish_all(&producer, 1..301), kill);
    assert_eq!(
        (answers.ok(), answers.failed(Delivery::MaybeWritten)),
        (200, 100)
    );
    answers.record(0, Ok(()));
    for error in answers.errors() {
        assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
    }
    answers.assert_agree_with(&broker.bodies(TOPIC, 201).await);
}

async fn reconnect_under_load_loses_and_repeats_nothing(broker: Broker) {
    let producer = producer(&broker).await;
    let mut load = Load::start(&producer, 64, TOPIC);
    let times = 20;
    for _ in 0..times {
        load.until_more_ok(100).await;
        producer.send(Reconnect).await.unwrap();
    }
    load.until_more_ok(100).await;
    load.stop().await;
    let stats = stats(&producer).await;
    assert_eq!(
        (stats.connects, stats.disconnects, stats.requeued),
        (times + 1, times, 0)
    );
    let audit = load.audit(&broker).await;
    audit.assert_clean();
    assert_eq!(audit.ok, audit.offered, "{audit}");
}
