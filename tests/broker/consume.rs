//! Consuming: every message is handled, answers are executed, and outages lose nothing.

mod blocked;
mod campaign;
mod channels;
pub mod fixture;
mod flow;

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_nsq::actix::{Actor, Context, Handler};
use actix_nsq::{
    AnswerError, IncomingMessage, IncomingMessages, MessageHandler, Requeue,
    consumer::{Pause, Resume},
};
use tokio::time::sleep;

use self::fixture::{
    CHANNEL, Handled, config, counters, drain, note, start, start_stream, stats, until,
};
use super::compression::Layers;
use super::fixture::{TOPIC, producer, publish, publish_all};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, ChannelState, Kind, Settings};
use crate::support::settings::Tls;

pub fn scenarios() -> Vec<Scenario> {
    let with_tls = || Settings::tls(Tls::default());
    let here = scenarios![
        every_message_is_finished_once_in_every_mode,
        drain_under_load_leaves_nothing_in_flight_in_every_layer.with(with_tls()),
        requeued_message_comes_again_after_its_delay.with(Settings::in_memory()),
        late_finish_answers_the_redelivery.with(Settings::in_memory()),
        auto_touch_keeps_a_slow_handlers_message.with(Settings::in_memory()),
        stopped_nsqd_loses_no_message.only(Kind::Embedded, "see the campaigns"),
        large_messages_arrive_unchanged_in_every_layer.with(with_tls()),
    ];
    let modules = [
        blocked::scenarios(),
        campaign::scenarios(),
        channels::scenarios(),
        flow::scenarios(),
    ];
    here.into_iter()
        .chain(modules.into_iter().flatten())
        .collect()
}

struct Worker(Handled);

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<IncomingMessage> for Worker {
    type Result = ();

    fn handle(&mut self, message: IncomingMessage, _: &mut Context<Self>) {
        note(&self.0, &message);
        message.finish().unwrap();
    }
}

impl Handler<IncomingMessages> for Worker {
    type Result = ();

    fn handle(&mut self, messages: IncomingMessages, _: &mut Context<Self>) {
        for message in messages {
            note(&self.0, &message);
            message.finish().unwrap();
        }
    }
}

/// consumer contract: 1, 2
/// checklist: 61
async fn every_message_is_finished_once_in_every_mode(broker: Broker) {
    const COUNT: usize = 2_000;
    let producer = producer(&broker).await;
    for mode in 0..4 {
        let handled = Handled::default();
        let worker = Worker(Rc::clone(&handled));
        let config = config(&broker).await;
        let consumer = match mode {
            0 => start(config, worker.start().recipient::<IncomingMessage>()).await,
            1 => start(config, worker.start().recipient::<IncomingMessages>()).await,
            2 => {
                let (sender, mut numbers) = tokio::sync::mpsc::unbounded_channel();
                let handled = Rc::clone(&handled);
                actix_rt::spawn(async move {
                    while let Some(message) = numbers.recv().await {
                        note(&handled, &message);
                        message.finish().unwrap();
                    }
                });
                let handler = MessageHandler::from_fn(move |message: IncomingMessage| {
                    let sent = sender.send(message);
                    async move {
                        sleep(Duration::from_millis(1)).await;
                        sent.map_err(|error| error.to_string())
                    }
                });
                start(config, handler).await
            }
            _ => {
                let (consumer, mut messages) = start_stream(config).await;
                let handled = Rc::clone(&handled);
                actix_rt::spawn(async move {
                    while let Some(message) = messages.next().await {
                        note(&handled, &message);
                        message.finish().unwrap();
                    }
                });
                consumer
            }
        };
        publish_all(&producer, 0..COUNT).await.assert_all_ok();
        until("all are handled", async || handled.borrow().len() == COUNT).await;
        let report = drain(&consumer).await;
        assert!(report.is_clean(), "{report}");
        let state = broker.channel(TOPIC, CHANNEL).await;
        assert_eq!(state, ChannelState::default(), "mode {mode}");
        let is_once = handled.borrow().values().all(|times| *times == 1);
        assert!(is_once, "mode {mode}");
        let counters = counters(&consumer).await;
        assert_eq!(counters.finished, COUNT as u64, "mode {mode}");
    }
}

/// Right after the report nsqd has nothing in flight, and as much as was not finished.
/// consumer contract: 11
/// checklist: 109
async fn drain_under_load_leaves_nothing_in_flight_in_every_layer(broker: Broker) {
    const COUNT: usize = 3_000;
    let producer = producer(&broker).await;
    let mut returned = 0;
    for layers in Layers::ALL {
        let config = config(&broker).await.max_in_flight(500).concurrency(50);
        let config = layers.configure_consumer(&broker, config);
        let (consumer, mut messages) = start_stream(config).await;
        consumer.send(Pause).await.unwrap();
        publish_all(&producer, 0..COUNT).await.assert_all_ok();
        until("nsqd moves messages to the channel", async || {
            let state = broker.channel(TOPIC, CHANNEL).await;
            // The pause may come after the first messages.
            state.depth + state.in_flight == COUNT as u64
        })
        .await;
        consumer.send(Resume).await.unwrap();
        let mut finished = 0_u64;
        let mut report = None;
        while let Some(message) = messages.next().await {
            message.finish().unwrap();
            finished += 1;
            if finished == 330 {
                let consumer = consumer.clone();
                report = Some(actix_rt::spawn(async move { drain(&consumer).await }));
            }
        }
        let report = report.unwrap().await.unwrap();
        let state = broker.channel(TOPIC, CHANNEL).await;
        assert!(report.is_clean(), "{layers:?}: {report}");
        let counters = counters(&consumer).await;
        assert_eq!(counters.finished, finished, "{layers:?}");
        let left = COUNT as u64 - finished;
        let expected = ChannelState {
            depth: left,
            in_flight: 0,
            deferred: 0,
        };
        assert_eq!(state, expected, "{layers:?}: {report}");
        returned += report.returned;
        assert_eq!(broker.sockets_of_ours().await, 1, "{layers:?}");
        broker.delete_topic(TOPIC).await;
    }
    // Some messages had been received and not been started.
    assert!(returned > 0);
}

/// checklist: 58
async fn requeued_message_comes_again_after_its_delay(broker: Broker) {
    let producer = producer(&broker).await;
    let (consumer, mut messages) = start_stream(config(&broker).await).await;
    publish(&producer, "again").await.unwrap();
    let first = messages.next().await.unwrap();
    assert_eq!(first.attempts(), 1);
    let delay = Duration::from_millis(300);
    let requeued = Instant::now();
    let requeue = Requeue::after(delay).without_backoff();
    first.requeue(requeue).unwrap();
    let second = messages.next().await.unwrap();
    assert_eq!(
        (second.body().as_ref(), second.attempts()),
        (&b"again"[..], 2)
    );
    assert!(requeued.elapsed() >= delay - Duration::from_millis(5));
    second.finish().unwrap();
    assert!(drain(&consumer).await.is_clean());
    let state = broker.channel(TOPIC, CHANNEL).await;
    assert_eq!(state, ChannelState::default());
}

/// nsqd redelivers a message to the same connection while its handler runs: the handler's answer
/// answers the redelivery.
/// consumer contract: 3
/// checklist: 67
async fn late_finish_answers_the_redelivery(broker: Broker) {
    let producer = producer(&broker).await;
    let config = config(&broker).await.msg_timeout(Duration::from_secs(1));
    let (consumer, mut messages) = start_stream(config).await;
    publish(&producer, "slow").await.unwrap();
    let slow = messages.next().await.unwrap();
    until("nsqd redelivers", async || {
        counters(&consumer).await.attached > 0
    })
    .await;
    assert_eq!(slow.finish(), Err(AnswerError::Expired));
    assert!(drain(&consumer).await.is_clean());
    let state = broker.channel(TOPIC, CHANNEL).await;
    assert_eq!(state, ChannelState::default());
    let counters = counters(&consumer).await;
    assert_eq!((counters.started, counters.finished), (1, 1));
    assert_eq!(counters.answers_failed, 0);
}

/// consumer contract: 7
/// checklist: 60
async fn auto_touch_keeps_a_slow_handlers_message(broker: Broker) {
    let producer = producer(&broker).await;
    let config = config(&broker).await.msg_timeout(Duration::from_secs(1));
    let (consumer, mut messages) = start_stream(config.auto_touch(true)).await;
    publish(&producer, "slow").await.unwrap();
    let slow = messages.next().await.unwrap();
    sleep(Duration::from_secs(3)).await;
    slow.finish().unwrap();
    assert!(drain(&consumer).await.is_clean());
    let counters = counters(&consumer).await;
    assert_eq!((counters.received, counters.finished), (1, 1));
    assert_eq!(counters.answers_failed, 0);
    assert!(counters.touched >= 4, "{counters:?}");
}

/// consumer contract: 2
async fn stopped_nsqd_loses_no_message(broker: Broker) {
    const COUNT: usize = 2_000;
    let publisher = producer(&broker).await;
    let handled = Handled::default();
    let config = config(&broker).await.max_in_flight(20);
    let (consumer, mut messages) = start_stream(config).await;
    publish_all(&publisher, 0..COUNT).await.assert_all_ok();
    let notes = Rc::clone(&handled);
    actix_rt::spawn(async move {
        while let Some(message) = messages.next().await {
            sleep(Duration::from_micros(100)).await;
            note(&notes, &message);
            // Fails if the connection is lost.
            let _ = message.finish();
        }
    });
    for part in 1..=3 {
        until("some are handled", async || {
            handled.borrow().len() >= part * COUNT / 4
        })
        .await;
        broker.terminate().await;
        broker.restart().await;
    }
    until("all are handled", async || handled.borrow().len() == COUNT).await;
    let stats = stats(&consumer).await;
    assert_eq!(stats.nsqds[0].disconnects, 3, "{stats:?}");
    assert!(drain(&consumer).await.is_clean());
}

/// checklist: 98
async fn large_messages_arrive_unchanged_in_every_layer(broker: Broker) {
    let producer = producer(&broker).await;
    for layers in Layers::ALL {
        let config = layers.configure_consumer(&broker, config(&broker).await);
        let (consumer, mut messages) = start_stream(config).await;
        for number in 0..20_u8 {
            // Random bytes cannot be compressed; a single byte repeated can.
            let mut rng = fastrand::Rng::with_seed(number.into());
            let body: Vec<u8> = (0..100_000).map(|_| rng.u8(0..1 + number * 12)).collect();
            publish(&producer, body.clone()).await.unwrap();
            let message = messages.next().await.unwrap();
            assert!(*message.body() == body, "{layers:?}: message {number}");
            message.finish().unwrap();
        }
        assert!(drain(&consumer).await.is_clean(), "{layers:?}");
    }
}
