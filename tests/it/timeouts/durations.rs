//! Times of every length, and recipients that are gone, in every message that takes one.

use std::time::Duration;

use actix::{Actor, ActorContext, Addr, Context, Handler};
use actix_nsq::{
    ConnectionEvent, Delivery, ErrorKind, Ping, Producer, ProducerHandle, ProducerState, Publish,
    PublishError, PublishFailure, Reconnect, SubscribeEvents, SubscribeFailures, WaitConnected,
    producer::Drain, producer::GetState,
};

use crate::config::{one_short_line, touches_nobody};
use crate::harness::{Network, assert_error, in_virtual_time, publish, s, send, topic};
use crate::support::spoken::ok_frame;

/// The longest time that this clock can tell from now on, to the nanosecond.
fn longest() -> Duration {
    let now = tokio::time::Instant::now();
    let (mut fits, mut too_long) = (0, u128::from(u64::MAX) * 1_000_000_000);
    while too_long - fits > 1 {
        let middle = (fits + too_long) / 2;
        match now.checked_add(nanoseconds(middle)) {
            Some(_) => fits = middle,
            None => too_long = middle,
        }
    }
    nanoseconds(fits)
}

fn nanoseconds(nanoseconds: u128) -> Duration {
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    Duration::new(seconds.try_into().unwrap(), rest.try_into().unwrap())
}

fn durations() -> Vec<Duration> {
    let longest = longest();
    vec![
        Duration::ZERO,
        Duration::from_nanos(1),
        s(1 << 30),
        s(1 << 40),
        longest - s(1),
        longest - Duration::from_nanos(1),
        longest,
        longest.saturating_add(Duration::from_nanos(1)),
        Duration::MAX,
    ]
}

/// Whom nothing reaches any more.
struct Gone;

impl Actor for Gone {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<ConnectionEvent> for Gone {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        panic!("{event:?} reached one who is gone");
    }
}

impl Handler<PublishFailure> for Gone {
    type Result = ();

    fn handle(&mut self, failed: PublishFailure, _: &mut Context<Self>) {
        panic!("{failed:?} reached one who is gone");
    }
}

async fn alive(producer: &Addr<Producer>) {
    producer.send(GetState).await.expect("the producer lives");
}

/// fault: P25
#[test]
fn waiting_for_a_connection_takes_any_time() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        for timeout in durations() {
            let mut waiting = send(&producer, WaitConnected { timeout });
            alive(&producer).await;
            if timeout < s(1) {
                let error = waiting.as_mut().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
                assert!(one_short_line(&error).contains(&format!("{timeout:?}")));
            }
        }
        let nsqd = network.connected().await;
        let timeout = s(1);
        send(&producer, WaitConnected { timeout }).await.unwrap();
        for timeout in durations() {
            send(&producer, WaitConnected { timeout }).await.unwrap();
        }
        drop(nsqd);
    });
}

/// fault: P25
#[test]
fn a_ping_takes_any_time() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        for timeout in durations() {
            let ping = send(&producer, Ping { timeout });
            alive(&producer).await;
            if timeout.is_zero() {
                assert_error(ping.await, ErrorKind::Timeout, Delivery::NotWritten);
                continue;
            }
            nsqd.expect_identify().await;
            nsqd.send(ok_frame()).await;
            ping.await.unwrap();
        }
    });
}

/// fault: P25
#[test]
fn a_drain_takes_any_time() {
    for place in 0..9 {
        in_virtual_time(async |mut network: Network| {
            let deadline = durations()[place];
            let producer = network.start();
            let mut nsqd = network.connected().await;
            let outstanding = publish(&producer, "x");
            alive(&producer).await;
            let drain = producer.send(Drain { timeout: deadline });
            // A second one, of which the earlier dead-line counts.
            producer.do_send(Drain {
                timeout: Duration::MAX,
            });
            alive(&producer).await;
            if deadline > s(1) {
                nsqd.expect_pub("t", "x").await;
                nsqd.send(ok_frame()).await;
            }
            let report = drain.await.unwrap();
            let answer = outstanding.await;
            assert_eq!(report.ok == 1, answer.is_ok(), "{report:?} {answer:?}");
            assert_eq!(answer.is_ok(), deadline > s(1), "{deadline:?}: {answer:?}");
            let state = producer.send(GetState).await.unwrap();
            assert_eq!(state, ProducerState::Drained);
        });
    }
}

/// fault: P25
#[test]
fn a_publish_takes_any_time_and_a_handle_any_for_its_own_methods() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config);
        let producer = handle.address().clone();
        let mut nsqd = network.connected().await;
        for timeout in durations() {
            let message = Publish::new(topic("t"), "x").expires_in(timeout);
            let answer = send(&producer, message);
            if timeout.is_zero() {
                assert_error(answer.await, ErrorKind::Timeout, Delivery::NotWritten);
                continue;
            }
            nsqd.expect_pub("t", "x").await;
            nsqd.send(ok_frame()).await;
            answer.await.unwrap();
        }
        for timeout in durations() {
            handle.wait_connected(timeout).await.unwrap();
        }
        handle.drain(Duration::MAX).await.unwrap();
        let after: PublishError = handle.ping(Duration::MAX).await.unwrap_err();
        assert_eq!(after.kind(), ErrorKind::Drained);
    });
}

#[test]
fn recipients_that_are_gone_and_questions_without_an_answer_touch_nobody() {
    touches_nobody(async |handle| {
        let producer = handle.address();
        for _ in 0..100 {
            let gone = Gone.start();
            let events = gone.clone().recipient::<ConnectionEvent>();
            let failures = gone.clone().recipient();
            while gone.connected() {
                tokio::task::yield_now().await;
            }
            producer.send(SubscribeEvents(events)).await.unwrap();
            producer.send(SubscribeFailures(failures)).await.unwrap();
            producer.do_send(Publish::new(topic("t"), ""));
            producer.do_send(WaitConnected {
                timeout: Duration::MAX,
            });
            producer.do_send(Ping {
                timeout: Duration::MAX,
            });
            drop(producer.send(Ping {
                timeout: Duration::MAX,
            }));
            producer.do_send(GetState);
        }
        alive(producer).await;
    });
}

#[test]
fn a_thousand_wishes_to_reconnect_are_one() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let first = network.connected().await;
        for _ in 0..1_000 {
            producer.do_send(Reconnect);
        }
        let mut nsqd = network.connected().await;
        let answer = publish(&producer, "x");
        nsqd.expect_pub("t", "x").await;
        nsqd.send(ok_frame()).await;
        answer.await.unwrap();
        network.expect_no_dial(s(10)).await;
        drop(first);
    });
}
