//! `SubscribeFailures`: failures of publishes whose result no caller awaits.

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Recipient, WrapFuture};
use actix_nsq::{
    AnyPublish, DeferredPublish, Delivery, ErrorKind, MultiPublish, Producer, Publish,
    PublishFailure, SubscribeFailures, producer::Drain, protocol::ErrorCode,
};
use tokio::time::sleep;

use crate::harness::{
    HOUR, Network, Recorder, in_virtual_time, lost, ms, publish, publish_each, s, topic,
};

use crate::support::logs;

type Failures = Recorder<PublishFailure>;

fn subscribe(producer: &Addr<Producer>) -> Failures {
    let (recipient, failures) = Failures::start();
    producer.do_send(SubscribeFailures(recipient));
    failures
}

/// The failures since the last call, once the producer is idle.
async fn take(failures: &Failures) -> Vec<PublishFailure> {
    sleep(ms(1)).await;
    failures.take()
}

async fn kinds(failures: &Failures) -> Vec<ErrorKind> {
    let failures = take(failures).await.into_iter();
    failures.map(|failure| failure.error.kind()).collect()
}

fn send_again(producer: &Addr<Producer>, publish: AnyPublish) {
    match publish {
        AnyPublish::Publish(publish) => producer.do_send(publish),
        AnyPublish::MultiPublish(publish) => producer.do_send(publish),
        AnyPublish::DeferredPublish(publish) => producer.do_send(publish),
        other => producer.do_send(other),
    }
}

/// fault: A5
/// checklist: 106
#[test]
fn failure_has_the_error_and_a_message_that_can_be_sent_again() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let failures = subscribe(&producer);
        producer.do_send(Publish::new(topic("t"), "1"));
        producer.do_send(MultiPublish::new(topic("t"), ["2", "3"]));
        producer.do_send(DeferredPublish::new(topic("t"), s(7), "4"));
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_mpub("t", &["2", "3"]).await;
        nsqd.expect_dpub("t", 7000, "4").await;
        drop(nsqd);
        let mut nsqd = network.connected().await;
        let failed = take(&failures).await;
        let known = failed.iter().map(|failure| failure.error.delivery());
        let expected = [
            Delivery::MaybeWritten,
            Delivery::MaybePartial,
            Delivery::MaybeWritten,
        ];
        assert_eq!(known.collect::<Vec<_>>(), expected);
        let bodies: Vec<_> = failed
            .iter()
            .map(|failure| failure.publish.bodies())
            .collect();
        assert_eq!(bodies, [&["1"][..], &["2", "3"], &["4"]]);
        for failure in failed {
            assert_eq!(failure.error.kind(), ErrorKind::ConnectionLost);
            assert_eq!(failure.publish.topic(), Ok(&topic("t")));
            send_again(&producer, failure.publish);
        }
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_mpub("t", &["2", "3"]).await;
        nsqd.expect_dpub("t", 7000, "4").await;
        nsqd.send_oks(3).await;
        assert!(take(&failures).await.is_empty());
    });
}

/// checklist: 106
#[test]
fn failures_of_every_kind_are_reported() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| config.max_publish_size(10).max_pending(3))
            .await;
        let failures = subscribe(&producer);
        producer.do_send(Publish::new(topic("t"), ""));
        producer.do_send(MultiPublish::new(topic("t"), [""; 0]));
        producer.do_send(Publish::new(topic("t"), "12345678901"));
        producer.do_send(DeferredPublish::new(topic("t"), s(100_000), "a"));
        producer.do_send(Publish::new(topic("t"), "late").expires_in(s(1)));
        producer.do_send(Publish::new(topic("t"), "bad"));
        producer.do_send(Publish::new(topic("u"), "behind"));
        producer.do_send(Publish::new(topic("t"), "full"));
        nsqd.expect_pubs(&["late", "bad"]).await;
        sleep(s(2)).await;
        nsqd.send_ok().await;
        nsqd.reject("E_BAD_TOPIC PUB topic name \"t\" is not valid")
            .await;
        sleep(ms(1)).await;
        producer.send(Drain { timeout: s(0) }).await.unwrap();
        producer.do_send(Publish::new(topic("t"), "after the drain"));
        let expected = [
            ErrorKind::EmptyBody,
            ErrorKind::EmptyBatch,
            ErrorKind::TooLarge,
            ErrorKind::DelayTooLong,
            ErrorKind::Full,
            ErrorKind::Timeout,
            ErrorKind::Rejected(ErrorCode::BadTopic),
            ErrorKind::Drained,
            ErrorKind::Drained,
        ];
        assert_eq!(kinds(&failures).await, expected);
    });
}

/// checklist: 106
#[test]
fn many_failures_at_once_are_all_reported() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let failures = subscribe(&producer);
        let bodies: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        for body in &bodies {
            producer.do_send(Publish::new(topic("t"), body.clone()));
        }
        nsqd.expect_pubs(&bodies).await;
        // Many more than a mailbox holds.
        drop(nsqd);
        let failed = take(&failures).await;
        let failed = failed
            .iter()
            .map(|failure| failure.publish.bodies()[0].clone());
        assert_eq!(failed.collect::<Vec<_>>(), bodies);
    });
}

/// checklist: 106
#[test]
fn results_that_were_requested_are_not_reported() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let failures = subscribe(&producer);
        let [awaited, cancelled] = publish_each(&producer, ["awaited", "cancelled"]);
        nsqd.expect_pubs(&["awaited", "cancelled"]).await;
        drop(cancelled);
        drop(publish(&producer, ""));
        drop(nsqd);
        lost(awaited).await;
        assert!(take(&failures).await.is_empty());
    });
}

/// checklist: 106
#[test]
fn latest_subscriber_replaces_the_one_before() {
    in_virtual_time(async |network: Network| {
        let producer = network.start();
        let (first, second) = (subscribe(&producer), subscribe(&producer));
        producer.do_send(Publish::new(topic("t"), ""));
        assert_eq!(kinds(&second).await, [ErrorKind::EmptyBody]);
        assert!(take(&first).await.is_empty());
    });
}

/// checklist: 106
#[test]
fn failure_after_the_last_address_is_dropped_is_reported() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(s(300)));
        let failures = subscribe(&producer);
        producer.do_send(Publish::new(topic("t"), "a").expires_in(s(3)));
        drop(producer);
        let dial = network.dial().await;
        sleep(s(4)).await;
        assert_eq!(kinds(&failures).await, [ErrorKind::Timeout]);
        drop(dial);
        assert!(network.next_dial().await.is_none());
    });
}

/// Sends each retryable failure again, and stops at another one.
struct SendsAgain(Addr<Producer>);

impl Actor for SendsAgain {
    type Context = Context<Self>;
}

impl Handler<PublishFailure> for SendsAgain {
    type Result = ();

    fn handle(&mut self, failure: PublishFailure, ctx: &mut Context<Self>) {
        if failure.error.is_retryable() {
            send_again(&self.0, failure.publish);
        } else {
            ctx.stop();
        }
    }
}

/// checklist: 106
#[test]
fn subscriber_may_send_failures_again_until_nsqd_is_back() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let subscriber = SendsAgain(producer.clone()).start();
        producer.do_send(SubscribeFailures(subscriber.recipient()));
        producer.do_send(Publish::new(topic("t"), "once").expires_in(s(2)));
        while network.elapsed() < s(21) {
            network.dial().await.refuse();
        }
        let mut nsqd = network.connected().await;
        nsqd.confirm("once").await;
        nsqd.expect_silence(s(10)).await;
        // A failure that is not retryable stops the subscriber.
        producer.send(Drain { timeout: s(1) }).await.unwrap();
        producer.do_send(Publish::new(topic("t"), "last"));
    });
}

/// Handles nothing for an hour.
struct Stuck(Recipient<PublishFailure>);

impl Actor for Stuck {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.wait(sleep(HOUR).into_actor(self));
    }
}

impl Handler<PublishFailure> for Stuck {
    type Result = ();

    fn handle(&mut self, failure: PublishFailure, _: &mut Context<Self>) {
        self.0.do_send(failure);
    }
}

/// contract: 6
#[test]
fn failures_for_a_stuck_subscriber_are_bounded_and_counted() {
    in_virtual_time(async |mut network: Network| {
        logs::capture();
        let producer = network.start_with(|config| {
            let config = config.max_publish_size(500).max_batch_size(5_000);
            config.max_pending_bytes(10_000)
        });
        let _nsqd = network.connected().await;
        let (recipient, failures) = Failures::start();
        producer.do_send(SubscribeFailures(Stuck(recipient).start().recipient()));
        for _ in 0..1_000 {
            producer.do_send(Publish::new(topic("t"), vec![b'x'; 1_000]));
        }
        sleep(2 * HOUR).await;
        // A mailbox of 16, and 10,000 bytes.
        assert_eq!(take(&failures).await.len(), 16 + 10);
        let lines = logs::take_info().into_iter();
        let counts = lines.filter_map(|(_, line)| {
            let (counted, _) = line.split_once(" publishes failed whose result is discarded")?;
            counted.rsplit(' ').next()?.parse::<u32>().ok()
        });
        assert_eq!(counts.sum::<u32>(), 1_000 - 16 - 10);
    });
}
