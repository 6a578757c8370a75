//! Failures that nobody awaits: told to whoever asked for them, with the message; else logged, and not as a flood.

use actix::{Addr, Handler, Recipient};
use actix_nsq::{
    AnyPublish, DeferredPublish, Delivery, ErrorKind, MultiPublish, Producer, Publish,
    PublishFailure, SubscribeFailures, producer::Drain,
};
use log::Level;
use tokio::time::sleep;

use crate::harness::{Network, Recorder, in_virtual_time, ms, publish, s, topic};
use crate::support::logs;
use crate::support::spoken::{error_frame, ok_frame};

type Failures = Recorder<PublishFailure>;

fn subscribe(producer: &Addr<Producer>) -> Failures {
    let (recipient, seen) = Failures::start();
    producer.do_send(SubscribeFailures(recipient));
    seen
}

async fn told(seen: &Failures) -> Vec<PublishFailure> {
    sleep(ms(1)).await;
    seen.take()
}

/// Sends it once more, whatever it is.
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
fn each_kind_is_told_with_the_message_which_can_be_sent_again() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let (mut nsqd, _line) = network.connected_over(1 << 10).await;
        producer.do_send(Publish::new(topic("t"), "one"));
        producer
            .try_send(MultiPublish::new(topic("t"), ["two", "three"]))
            .unwrap();
        producer.do_send(DeferredPublish::new(topic("t"), s(7), "four"));
        nsqd.expect_pub("t", "one").await;
        nsqd.expect_mpub("t", &["two", "three"]).await;
        nsqd.expect_dpub("t", 7000, "four").await;
        drop(nsqd);
        let mut nsqd = network.connected().await;
        let told = told(&seen).await;
        let known: Vec<_> = told
            .iter()
            .map(|failed| (failed.error.kind(), failed.error.delivery()))
            .collect();
        let lost = |delivery| (ErrorKind::ConnectionLost, delivery);
        let maybe = lost(Delivery::MaybeWritten);
        assert_eq!(known, [maybe, lost(Delivery::MaybePartial), maybe]);
        let bodies: Vec<_> = told.iter().map(|failed| failed.publish.bodies()).collect();
        assert_eq!(bodies, [&["one"][..], &["two", "three"], &["four"]]);
        for failed in told {
            assert_eq!(failed.publish.topic(), Ok(&topic("t")));
            send_again(&producer, failed.publish);
        }
        nsqd.expect_pub("t", "one").await;
        nsqd.expect_mpub("t", &["two", "three"]).await;
        nsqd.expect_dpub("t", 7000, "four").await;
        for _ in 0..3 {
            nsqd.send(ok_frame()).await;
        }
        sleep(ms(1)).await;
        assert!(seen.take().is_empty(), "an Ok is no failure");
    });
}

fn fails_with<M>(message: M, kind: ErrorKind)
where
    M: actix::Message<Result = Result<(), actix_nsq::PublishError>> + Send + 'static,
    Producer: Handler<M>,
{
    in_virtual_time(async |network: Network| {
        let producer = network.start_with(|config| config.max_publish_size(10).max_pending(1));
        let seen = subscribe(&producer);
        let _holds_the_room = publish(&producer, "x");
        producer.do_send(message);
        let told = told(&seen).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].error.kind(), kind);
        assert_eq!(told[0].error.delivery(), Delivery::NotWritten);
    });
}

/// checklist: 106
#[test]
fn what_is_refused_locally_is_told_as_well() {
    fails_with(Publish::new(topic("t"), ""), ErrorKind::EmptyBody);
    let none: [&str; 0] = [];
    fails_with(MultiPublish::new(topic("t"), none), ErrorKind::EmptyBatch);
    fails_with(Publish::new(topic("t"), "12345678901"), ErrorKind::TooLarge);
    let late = DeferredPublish::new(topic("t"), s(100_000), "a");
    fails_with(late, ErrorKind::DelayTooLong);
    fails_with(Publish::new(topic("t"), "a"), ErrorKind::Full);
}

/// checklist: 106
#[test]
fn a_slow_subscriber_hears_of_every_failure() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let mut nsqd = network.connected().await;
        for number in 0..100 {
            producer.do_send(Publish::new(topic("t"), number.to_string()));
        }
        for number in 0..100 {
            nsqd.expect_pub("t", number.to_string()).await;
        }
        // All fail in one moment, many times what a mailbox holds.
        drop(nsqd);
        let told = told(&seen).await;
        let bodies: Vec<_> = told.iter().map(|failed| failed.publish.bodies()).collect();
        let sent: Vec<_> = (0..100).map(|number| [number.to_string()]).collect();
        assert_eq!(bodies, sent);
    });
}

/// checklist: 106
#[test]
fn a_time_out_a_refusal_and_a_drain_are_told() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let mut nsqd = network.connected().await;
        producer.do_send(Publish::new(topic("t"), "hasty").expires_in(s(1)));
        producer.do_send(Publish::new(topic("t"), "bad"));
        nsqd.expect_pub("t", "hasty").await;
        nsqd.expect_pub("t", "bad").await;
        sleep(s(2)).await;
        nsqd.send(ok_frame()).await;
        nsqd.send(error_frame("E_BAD_TOPIC PUB topic name \"t\" is not valid"))
            .await;
        drop(nsqd);
        sleep(ms(1)).await;
        producer.do_send(Publish::new(topic("u"), "outstanding"));
        producer.send(Drain { timeout: s(0) }).await.unwrap();
        producer.do_send(Publish::new(topic("t"), "late"));
        let kinds: Vec<_> = told(&seen)
            .await
            .iter()
            .map(|failed| failed.error.kind())
            .collect();
        let bad_topic = ErrorKind::Rejected(actix_nsq::protocol::ErrorCode::BadTopic);
        let drained = ErrorKind::Drained;
        assert_eq!(kinds, [ErrorKind::Timeout, bad_topic, drained, drained]);
    });
}

/// checklist: 106
#[test]
fn an_answer_that_somebody_awaited_is_told_to_nobody_else() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let mut nsqd = network.connected().await;
        let heard = publish(&producer, "heard");
        let gone = publish(&producer, "gone");
        nsqd.expect_pub("t", "heard").await;
        nsqd.expect_pub("t", "gone").await;
        drop(gone);
        let never_sent = publish(&producer, "");
        drop(never_sent);
        drop(nsqd);
        heard.await.unwrap_err();
        assert!(told(&seen).await.is_empty());
    });
}

/// checklist: 106
#[test]
fn the_latest_subscriber_is_told_and_no_other() {
    in_virtual_time(async |network: Network| {
        let producer = network.start();
        let (first, second) = (subscribe(&producer), subscribe(&producer));
        producer.do_send(Publish::new(topic("t"), ""));
        assert_eq!(told(&second).await.len(), 1);
        assert!(told(&first).await.is_empty());
    });
}

/// checklist: 106
#[test]
fn a_subscriber_keeps_no_producer_alive_and_hears_of_what_was_outstanding() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(s(300)));
        let seen = subscribe(&producer);
        producer.do_send(Publish::new(topic("t"), "a").expires_in(s(3)));
        drop(producer);
        let _hangs = network.dial().await;
        sleep(s(4)).await;
        assert_eq!(told(&seen).await.len(), 1);
        drop(_hangs);
        assert!(network.next_dial().await.is_none());
    });
}

/// checklist: 106
#[test]
fn a_subscriber_that_sends_again_at_once_ends_when_nsqd_is_back() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.retry_maybe_written(false));
        producer.do_send(SubscribeFailures(Again::start(producer.clone())));
        producer.do_send(Publish::new(topic("t"), "once").expires_in(s(2)));
        while network.elapsed() < s(21) {
            tokio::select! {
                dial = network.dial() => dial.refuse(),
                () = sleep(s(1)) => {}
            }
        }
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "once").await;
        nsqd.send(ok_frame()).await;
        nsqd.expect_silence(s(10)).await;
        // It holds the address: the circle ends with the runtime, or by a drain and a last failure.
        producer.send(Drain { timeout: s(1) }).await.unwrap();
        producer.do_send(Publish::new(topic("t"), "the end"));
    });
}

/// Sends whatever failed once more, until the producer is drained.
struct Again(Option<Addr<Producer>>);

impl Again {
    fn start(producer: Addr<Producer>) -> Recipient<PublishFailure> {
        actix::Actor::start(Self(Some(producer))).recipient()
    }
}

impl actix::Actor for Again {
    type Context = actix::Context<Self>;
}

impl Handler<PublishFailure> for Again {
    type Result = ();

    fn handle(&mut self, failed: PublishFailure, _: &mut Self::Context) {
        match &self.0 {
            Some(producer) if failed.error.is_retryable() => send_again(producer, failed.publish),
            _ => self.0 = None,
        }
    }
}

/// checklist: 106
#[test]
fn when_nobody_asked_failures_are_logged_at_most_once_a_second_and_none_is_left_out() {
    in_virtual_time(async |network: Network| {
        logs::capture();
        let producer = network.start();
        for _ in 0..100 {
            for _ in 0..50 {
                producer.do_send(Publish::new(topic("t"), ""));
            }
            sleep(ms(100)).await;
        }
        drop(producer);
        sleep(ms(1)).await;
        let lines = failures_logged();
        assert!((10..=12).contains(&lines.len()), "{lines:#?}");
        let mut counted = 0;
        for line in &lines {
            let (_, rest) = line.split_once("nobody awaits: ").unwrap();
            let (count, latest) = rest.split_once("; the latest ").unwrap();
            assert!(latest.starts_with("(NotWritten): empty body"), "{line}");
            counted += count.parse::<u32>().unwrap();
        }
        assert_eq!(counted, 5_000);
    });
}

fn failures_logged() -> Vec<String> {
    let lines = logs::take_info().into_iter();
    lines
        .filter(|(_, line)| line.contains("nobody awaits"))
        .map(|(level, line)| {
            assert_eq!(level, Level::Warn);
            line
        })
        .collect()
}

/// checklist: 106
#[test]
fn what_is_told_is_not_logged_and_what_nobody_is_there_to_be_told_is() {
    in_virtual_time(async |network: Network| {
        logs::capture();
        let producer = network.start();
        let (recipient, seen) = Failures::start();
        producer.do_send(SubscribeFailures(recipient));
        producer.do_send(Publish::new(topic("t"), ""));
        assert_eq!(told(&seen).await.len(), 1);
        assert!(failures_logged().is_empty());
        // One that stops at its first failure.
        producer.do_send(SubscribeFailures(Once::start()));
        producer.do_send(Publish::new(topic("t"), ""));
        sleep(ms(1)).await;
        assert!(failures_logged().is_empty());
        producer.do_send(Publish::new(topic("t"), ""));
        sleep(ms(1)).await;
        assert_eq!(failures_logged().len(), 1);
    });
}

struct Once;

impl Once {
    fn start() -> Recipient<PublishFailure> {
        actix::Actor::start(Self).recipient()
    }
}

impl actix::Actor for Once {
    type Context = actix::Context<Self>;
}

impl Handler<PublishFailure> for Once {
    type Result = ();

    fn handle(&mut self, _: PublishFailure, ctx: &mut Self::Context) {
        actix::ActorContext::stop(ctx);
    }
}

/// checklist: 106
#[test]
fn the_log_tells_a_connections_life_and_never_a_body() {
    in_virtual_time(async |mut network: Network| {
        logs::capture();
        let producer = network.start();
        network.dial().await.refuse();
        let mut nsqd = network.connected().await;
        for _ in 0..100 {
            let answer = publish(&producer, "a secret");
            nsqd.expect_pub("t", "a secret").await;
            nsqd.send(ok_frame()).await;
            answer.await.unwrap();
        }
        let lost = publish(&producer, "a secret");
        nsqd.expect_pub("t", "a secret").await;
        drop(nsqd);
        lost.await.unwrap_err();
        let _nsqd = network.connected().await;
        sleep(ms(1)).await;
        producer.send(Drain { timeout: s(1) }).await.unwrap();
        let lines = logs::take();
        let all = format!("{lines:?}");
        assert!(
            !all.contains("a secret") && !all.contains("97, 32, 115"),
            "{all}"
        );
        let news: Vec<_> = lines
            .iter()
            .filter(|(level, _)| *level <= Level::Info)
            .collect();
        for (_, line) in &news {
            assert!(line.starts_with("nsqd in memory: "), "{line}");
        }
        // Refused, connected, lost, connected, drained; the publishes are no news.
        let levels: Vec<_> = news.iter().map(|(level, _)| *level).collect();
        let (warn, info) = (Level::Warn, Level::Info);
        assert_eq!(levels, [warn, info, warn, info, info], "{news:#?}");
    });
}

/// checklist: 106
#[test]
fn refusals_in_a_row_do_not_flood_the_log() {
    in_virtual_time(async |mut network: Network| {
        logs::capture();
        let producer = network.start();
        for _ in 0..100 {
            let mut nsqd = network.connected().await;
            let answer = publish(&producer, "a");
            nsqd.expect_pub("t", "a").await;
            nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
            nsqd.fin().await;
            answer.await.unwrap_err();
        }
        let news = logs::take_info();
        assert!(news.len() <= 2, "{news:#?}");
    });
}
