//! The log: what is written, and that neither users nor peers can flood it.

use actix::{Actor, ActorContext, Context, Handler};
use actix_nsq::{
    ConnectionEvent, ConsumerConfigBuilder, IncomingMessage, MessageHandler, Publish,
    PublishFailure, SubscribeEvents, SubscribeFailures, producer::Drain,
};
use log::Level;
use tokio::time::sleep;

use crate::harness::{
    HOUR, Network, PUB_FAILED, Recorder, in_virtual_time, lost, ms, primary, publish, rejected, s,
    topic,
};
use crate::support::{
    logs,
    spoken::{heartbeat_frame, response_frame},
};

/// The count of each line about failures whose result is discarded, since the last call.
fn failures_logged() -> Vec<u32> {
    let lines = logs::take_info().into_iter();
    let lines = lines.filter(|(_, line)| line.contains("result is discarded"));
    lines
        .map(|(level, line)| {
            assert_eq!(level, Level::Warn);
            let (_, count) = line.split_once(": ").unwrap();
            count.split(' ').next().unwrap().parse().unwrap()
        })
        .collect()
}

/// fault: A5
/// checklist: 106
#[test]
fn discarded_failures_are_logged_at_most_once_per_second() {
    in_virtual_time(async |mut network: Network| {
        logs::capture();
        let (producer, _nsqd) = network.start_connected().await;
        let fail = |times: usize| {
            for _ in 0..times {
                producer.do_send(Publish::new(topic("t"), ""));
            }
        };
        fail(100);
        sleep(ms(1)).await;
        assert_eq!(failures_logged(), [100]);
        fail(50);
        sleep(ms(500)).await;
        fail(60);
        assert_eq!(failures_logged(), [0; 0]);
        // Nothing else wakes the producer.
        sleep(ms(501)).await;
        assert_eq!(failures_logged(), [110]);
        sleep(s(5)).await;
        fail(7);
        drop(producer);
        sleep(ms(1)).await;
        assert_eq!(failures_logged(), [7]);
    });
}

/// A subscriber that stops at its first failure.
struct StopsAtOnce;

impl Actor for StopsAtOnce {
    type Context = Context<Self>;
}

impl Handler<PublishFailure> for StopsAtOnce {
    type Result = ();

    fn handle(&mut self, _: PublishFailure, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// checklist: 106
#[test]
fn failures_are_logged_only_without_a_subscriber() {
    in_virtual_time(async |network: Network| {
        logs::capture();
        let producer = network.start();
        let (recipient, failures) = Recorder::<PublishFailure>::start();
        producer.do_send(SubscribeFailures(recipient));
        producer.do_send(Publish::new(topic("t"), ""));
        sleep(ms(1)).await;
        assert_eq!(failures.take().len(), 1);
        producer.do_send(SubscribeFailures(StopsAtOnce.start().recipient()));
        producer.do_send(Publish::new(topic("t"), ""));
        sleep(ms(1)).await;
        assert_eq!(failures_logged(), [0; 0]);
        producer.do_send(Publish::new(topic("t"), ""));
        sleep(ms(1)).await;
        assert_eq!(failures_logged(), [1]);
    });
}

/// checklist: 106
#[test]
fn log_has_the_events_of_a_connection_and_no_body() {
    in_virtual_time(async |mut network: Network| {
        logs::capture();
        let producer = network.start();
        network.dial().await.refuse();
        let mut nsqd = network.connected().await;
        for _ in 0..100 {
            let answer = publish(&producer, "private");
            nsqd.confirm("private").await;
            answer.await.unwrap();
        }
        let in_flight = publish(&producer, "private");
        nsqd.expect_pub("t", "private").await;
        drop(nsqd);
        lost(in_flight).await;
        let _nsqd = network.connected().await;
        sleep(ms(1)).await;
        producer.send(Drain { timeout: s(1) }).await.unwrap();
        let mut lines = logs::take();
        let all = format!("{lines:?}");
        assert!(
            !all.contains("private") && !all.contains("112, 114"),
            "{all}"
        );
        lines.retain(|(level, _)| *level <= Level::Info);
        for (_, line) in &lines {
            assert_eq!(line.matches("nsqd in memory").count(), 1, "{line}");
        }
        // Refused, connected, lost, connected, drained.
        let levels: Vec<_> = lines.iter().map(|(level, _)| *level).collect();
        let (warn, info) = (Level::Warn, Level::Info);
        assert_eq!(levels, [warn, info, warn, info, info], "{lines:#?}");
    });
}

/// checklist: 106
#[test]
fn repeated_rejections_do_not_flood_the_log() {
    in_virtual_time(async |mut network: Network| {
        logs::capture();
        let producer = network.start();
        for _ in 0..100 {
            let mut nsqd = network.connected().await;
            let answer = publish(&producer, "a");
            nsqd.expect_pub("t", "a").await;
            nsqd.reject(PUB_FAILED).await;
            rejected(answer).await;
        }
        let lines = logs::take_info();
        assert!(lines.len() <= 2, "{lines:#?}");
    });
}

/// checklist: 106
#[test]
fn failures_held_back_are_logged_at_the_end_of_a_drain() {
    in_virtual_time(async |mut network: Network| {
        logs::capture();
        let (producer, _nsqd) = network.start_connected().await;
        producer.do_send(Publish::new(topic("t"), ""));
        sleep(ms(1)).await;
        assert_eq!(failures_logged(), [1]);
        for _ in 0..5 {
            producer.do_send(Publish::new(topic("t"), ""));
        }
        producer.send(Drain { timeout: s(1) }).await.unwrap();
        assert_eq!(failures_logged(), [5]);
    });
}

/// checklist: 106
#[test]
fn long_outage_is_logged_once_a_minute_with_a_count() {
    in_virtual_time(async |mut network: Network| {
        logs::capture();
        let _producer = network.start_with(|config| config.max_reconnect_backoff(s(1)));
        while network.elapsed() < HOUR {
            network.dial().await.refuse();
        }
        let lines = logs::take_info();
        assert!((60..=70).contains(&lines.len()), "{} lines", lines.len());
        let (_, last) = lines.last().unwrap();
        assert!(
            last.ends_with(" records like this were suppressed)"),
            "{last}"
        );
    });
}

/// checklist: 106
#[test]
fn version_of_a_peer_is_shown_on_one_short_line() {
    in_virtual_time(async |mut network: Network| {
        logs::capture();
        let producer = network.start();
        let (recipient, events) = Recorder::<ConnectionEvent>::start();
        producer.do_send(SubscribeEvents(recipient));
        let mut nsqd = network.accept().await;
        nsqd.identify().await;
        let version = "1\\nERROR".repeat(10_000);
        nsqd.send(response_frame(format!(r#"{{"version":"{version}"}}"#)))
            .await;
        sleep(ms(1)).await;
        let lines = logs::take_info();
        assert!(lines.len() == 1, "{lines:?}");
        let event = events.take().pop().unwrap().to_string();
        for line in [&lines[0].1, &event] {
            assert!(line.contains("connected to nsqd 1"), "{line}");
            assert!(line.len() < 200 && !line.contains('\n'), "{line}");
        }
    });
}

/// checklist: 106
#[test]
fn failures_of_handlers_are_logged_with_a_limit() {
    in_virtual_time(async |mut network: Network| {
        logs::capture();
        let handler = MessageHandler::from_fn(async |message: IncomingMessage| {
            assert_ne!(message.body(), "1", "panics");
            Err::<(), _>("no database")
        });
        let options =
            |config: ConsumerConfigBuilder| config.max_in_flight(1_000).max_backoff_duration(s(0));
        let _consumer = network.start_consumer_with(options, handler);
        let mut nsqd = network.subscribed(1_000).await;
        nsqd.deliver_all(1..=500).await;
        for number in 1..=500 {
            nsqd.expect_req(number, 90_000).await;
        }
        let failures = warnings("failed: ");
        assert_eq!(failures.len(), 10);
        assert!(failures[0].contains("message 0000000000000001 failed: the handler panicked"));
        assert!(failures[1].contains("message 0000000000000002 failed: no database"));
    });
}

/// checklist: 106
#[test]
fn backoff_and_slow_handlers_are_logged() {
    in_virtual_time(async |mut network: Network| {
        logs::capture();
        let options = |config: ConsumerConfigBuilder| config.backoff_multiplier(s(1));
        let (_consumer, mut messages, mut nsqd) = network.start_consuming_with(options).await;
        nsqd.deliver(1).await;
        drop(messages.next().await);
        nsqd.expect_ready(0).await;
        nsqd.expect_req(1, 90_000).await;
        let backoff = warnings("t/c: handlers fail: no messages for 2s (backoff level 1)");
        assert_eq!(backoff.len(), 1);
        nsqd.expect_ready(1).await;
        nsqd.deliver(2).await;
        let slow = messages.next().await.unwrap();
        for _ in 0..3 {
            nsqd.send(heartbeat_frame()).await;
            nsqd.expect_nop().await;
            sleep(s(30)).await;
        }
        assert_eq!(
            warnings("t/c: a handler took longer than the timeout").len(),
            1
        );
        drop(slow);
    });
}

/// The warnings with this text since the last call.
fn warnings(text: &str) -> Vec<String> {
    let lines = logs::take_info().into_iter();
    let warnings = lines.filter(|(level, line)| *level == Level::Warn && line.contains(text));
    warnings.map(|(_, line)| line).collect()
}

/// pool contract: 10
#[test]
fn pool_logs_when_no_member_is_up_and_when_one_is_again() {
    in_virtual_time(async |mut network: Network| {
        logs::capture();
        let (_pool, [mut a]) = network.start_pool(primary).await;
        sleep(ms(1)).await;
        let of_pool = || {
            let lines = logs::take_info().into_iter();
            let lines = lines.map(|(_, line)| line);
            lines
                .filter(|line| line.contains("pool ("))
                .collect::<Vec<_>>()
        };
        assert!(
            of_pool().is_empty(),
            "the first connection is not another one"
        );
        a.fin().await;
        let _a = network.connected().await;
        sleep(ms(1)).await;
        let lines = of_pool();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].contains("pool (a:1): no member is connected"),
            "{lines:?}"
        );
        assert!(
            lines[1].contains("a member is connected again"),
            "{lines:?}"
        );
    });
}
