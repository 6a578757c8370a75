//! `ConsumerHandle`, and consumers on arbiters of their own.

use std::{sync::mpsc, thread, time::Duration};

use actix::{Actor, Arbiter, Context, Handler};
use actix_nsq::{
    Consumer, ConsumerConfig, ConsumerHandle, IncomingMessage, ProducerConfig, ProducerHandle,
    WaitError,
    consumer::{GetStats, WaitSubscribed},
    embedded::EmbeddedNsqd,
};

use crate::{
    harness::{Network, in_system, in_virtual_time, s, subscription},
    support::wait::PATIENCE,
};

fn config(nsqd: &EmbeddedNsqd) -> ConsumerConfig {
    let config = ConsumerConfig::builder(nsqd.address().to_string());
    config.max_in_flight(10).build().unwrap()
}

/// Publishes these bodies to the topic `t`.
async fn publish(nsqd: &EmbeddedNsqd, bodies: &[&'static str]) {
    let config = ProducerConfig::new(nsqd.address().to_string()).unwrap();
    let producer = ProducerHandle::start_in_thread(config).unwrap();
    for body in bodies {
        producer.publish("t", *body).await.unwrap();
    }
}

#[test]
fn handle_consumes_in_a_program_without_actors() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async {
        let nsqd = EmbeddedNsqd::start().unwrap();
        publish(&nsqd, &["a", "b"]).await;
        let started = ConsumerHandle::start_in_thread(config(&nsqd), subscription());
        let (consumer, mut messages) = started.unwrap();
        consumer.wait_subscribed(PATIENCE).await.unwrap();
        assert_eq!(consumer.state().await.to_string(), "1 of 1 connections up");
        for body in ["a", "b"] {
            let message = messages.next().await.unwrap();
            assert_eq!(message.body(), body);
            message.finish().unwrap();
        }
        assert!(consumer.add_nsqd("no port").await.is_err());
        assert!(!consumer.remove_nsqd("another:4150").await);
        assert!(!consumer.is_starved().await);
        consumer.set_max_in_flight(3);
        consumer.pause();
        consumer.resume();
        let stats = consumer.stats().await.unwrap();
        assert_eq!(stats.counters.received, 2);
        let stats = serde_json::to_value(stats).unwrap();
        assert_eq!([&stats["topic"], &stats["channel"]], ["t", "c"]);
        let report = consumer.drain(PATIENCE).await.unwrap();
        assert!(report.is_clean());
        assert!(messages.next().await.is_none());
        let channel = nsqd.channel("t", "c").unwrap();
        assert_eq!((channel.depth, channel.in_flight_count), (0, 0));
        let address = consumer.address().clone();
        assert!(!consumer.remove_nsqd("another:4150").await);
        drop(consumer);
        assert!(address.connected());
    });
}

/// Blocks its thread until it is released.
struct Blocking {
    entered: mpsc::Sender<()>,
    release: mpsc::Receiver<()>,
}

impl Actor for Blocking {
    type Context = Context<Self>;
}

impl Handler<IncomingMessage> for Blocking {
    type Result = ();

    fn handle(&mut self, message: IncomingMessage, _: &mut Context<Self>) {
        self.entered.send(()).unwrap();
        self.release.recv_timeout(PATIENCE).unwrap();
        message.finish().unwrap();
    }
}

/// consumer contract: 10
/// checklist: 66
/// fault: C13, G12
#[test]
fn handler_that_blocks_its_arbiter_does_not_disturb_others() {
    in_system(async |_: Network| {
        let nsqd = EmbeddedNsqd::start().unwrap();
        publish(&nsqd, &["a"]).await;
        let (entered, has_entered) = mpsc::channel();
        let (releaser, release) = mpsc::channel();
        let arbiter = Arbiter::new();
        let handler =
            Blocking::start_in_arbiter(&arbiter.handle(), |_| Blocking { entered, release });
        let own = Arbiter::new();
        let config = ConsumerConfig::builder(nsqd.address().to_string());
        let config = config.heartbeat_interval(s(1)).max_in_flight(10).build();
        let consumer = Consumer::start_in_arbiter(
            &own.handle(),
            config.unwrap(),
            subscription(),
            handler.recipient::<IncomingMessage>(),
        );
        while has_entered.try_recv().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Longer than two heartbeat intervals.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let stats = consumer.send(GetStats).await.unwrap();
        assert_eq!(
            (stats.nsqds[0].connects, stats.nsqds[0].disconnects),
            (1, 0)
        );
        assert_eq!(stats.nsqds[0].in_flight, 1);
        thread::spawn(move || releaser.send(()).unwrap());
        let finished = nsqd.wait_for_command("FIN", 1, PATIENCE).await;
        finished.unwrap();
        own.stop();
        arbiter.stop();
    });
}

/// consumer contract: 12
#[test]
fn wait_for_a_subscription_ends_with_it_or_times_out() {
    in_virtual_time(async |mut network: Network| {
        let (handler, _messages) = actix_nsq::MessageHandler::stream();
        let consumer = network.start_consumer_with(|config| config, handler);
        let dial = network.dial().await;
        let waited = consumer.send(WaitSubscribed::new(s(0))).await.unwrap();
        assert!(matches!(waited, Err(WaitError::Timeout { last: None, .. })));
        dial.refuse();
        let request = consumer.send(WaitSubscribed::new(s(10)));
        let waiting = tokio::task::spawn_local(request);
        let mut nsqd = network.connected().await;
        nsqd.expect_sub().await;
        tokio::time::sleep(s(1)).await;
        assert!(!waiting.is_finished());
        nsqd.send_ok().await;
        waiting.await.unwrap().unwrap().unwrap();
    });
}
