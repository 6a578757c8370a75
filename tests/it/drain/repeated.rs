//! Several drains, dropped drains, and drains of a producer that nobody else holds.

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture,
};
use actix_nsq::{
    ConnectionEvent, Delivery, ErrorKind, Producer, SubscribeEvents, producer::Drain,
    producer::DrainReport,
};
use tokio::time::sleep;

use crate::harness::{HOUR, Network, assert_error, in_virtual_time, ms, publish, s, timed};
use crate::support::spoken::ok_frame;

/// contract: 10
/// checklist: 22, 111, 112
#[test]
fn several_drains_are_answered_together_and_the_earliest_dead_line_counts() {
    for order in [[9, 4, 6], [4, 9, 6], [6, 9, 4]] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let _nsqd = network.connected().await;
            let publish = publish(&producer, "a");
            let drains = order.map(|seconds| {
                let request = producer.send(Drain {
                    timeout: s(seconds),
                });
                timed(async { request.await.unwrap() })
            });
            for (after, report) in futures::future::join_all(drains).await {
                assert_eq!((after, report.maybe_written), (s(4), 1));
            }
            assert_error(publish.await, ErrorKind::Drained, Delivery::MaybeWritten);
        });
    }
}

/// contract: 10
/// checklist: 22, 111, 112
#[test]
fn a_drain_that_was_dropped_goes_on() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let outstanding = publish(&producer, "a");
        let drain = producer.send(Drain { timeout: s(9) });
        nsqd.expect_pub("t", "a").await;
        drop(drain);
        let late = publish(&producer, "late").await;
        assert_error(late, ErrorKind::Drained, Delivery::NotWritten);
        nsqd.send(ok_frame()).await;
        outstanding.await.unwrap();
        nsqd.wait_closed().await;
        let report = producer.send(Drain { timeout: s(0) }).await.unwrap();
        assert_eq!(report.ok, 1, "the report of the drain that was dropped");
        network.expect_no_dial(HOUR).await;
    });
}

/// contract: 10
/// checklist: 22, 111, 112
#[test]
fn a_drain_that_nobody_awaits_drains() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        producer.do_send(Drain { timeout: s(9) });
        let (after, _) = timed(nsqd.wait_closed()).await;
        assert_eq!(after, s(0));
        assert_error(
            publish(&producer, "a").await,
            ErrorKind::Drained,
            Delivery::NotWritten,
        );
        network.expect_no_dial(HOUR).await;
    });
}

/// contract: 10
/// checklist: 22, 111, 112
#[test]
fn a_drain_without_any_time_answers_at_once() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let sent = publish(&producer, "sent");
        nsqd.expect_pub("t", "sent").await;
        let unsent = publish(&producer, "unsent");
        let (after, report) = timed(producer.send(Drain { timeout: s(0) })).await;
        assert_eq!(after, s(0));
        assert_error(sent.await, ErrorKind::Drained, Delivery::MaybeWritten);
        assert_error(unsent.await, ErrorKind::Drained, Delivery::NotWritten);
        let report = report.unwrap();
        assert_eq!((report.maybe_written, report.not_written), (1, 1));
        assert_eq!(nsqd.wait_closed().await, b"");
    });
}

/// contract: 10
/// checklist: 22, 111, 112
#[test]
fn a_drain_for_ever_is_possible() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let outstanding = publish(&producer, "a");
        let drain = producer.send(Drain {
            timeout: std::time::Duration::MAX,
        });
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        outstanding.await.unwrap();
        assert!(drain.await.unwrap().is_clean());
    });
}

/// contract: 10
/// checklist: 22, 111, 112
#[test]
fn a_drain_is_answered_though_the_last_address_is_dropped() {
    for connected in [true, false] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let dial = network.dial().await;
            let nsqd = if connected {
                let mut nsqd = dial.accept();
                nsqd.greet().await;
                Some(nsqd)
            } else {
                dial.refuse();
                None
            };
            sleep(ms(1)).await;
            let outstanding = publish(&producer, "a");
            let drain = producer.send(Drain { timeout: s(1) });
            drop(producer);
            let (after, report) = timed(drain).await;
            assert_eq!(after, s(1));
            assert_ne!(report.unwrap(), DrainReport::default());
            assert_error(
                outstanding.await,
                ErrorKind::Drained,
                if connected {
                    Delivery::MaybeWritten
                } else {
                    Delivery::NotWritten
                },
            );
            drop(nsqd);
            while network.next_dial().await.is_some() {}
            assert!(network.elapsed() < s(2));
        });
    }
}

/// A user's actor that drains its producer from inside a handler, and stops when that is done.
struct Draining(Addr<Producer>);

impl Actor for Draining {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Draining {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, ctx: &mut Context<Self>) {
        if matches!(event, ConnectionEvent::Connected { .. }) {
            let drain = self.0.send(Drain { timeout: s(9) });
            // It handles nothing meanwhile, not even the events of the drain.
            let then = |drained: Result<DrainReport, _>, _: &mut Self, ctx: &mut Context<Self>| {
                assert_eq!(drained.expect("it lives").ok, 1);
                ctx.stop();
            };
            ctx.wait(drain.into_actor(self).map(then));
        }
    }
}

/// contract: 10
/// checklist: 22, 111, 112
#[test]
fn a_drain_may_be_awaited_from_inside_a_handler_of_the_producers_own_events() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let draining = Draining(producer.clone()).start();
        producer.do_send(SubscribeEvents(draining.clone().recipient()));
        let publish = publish(&producer, "a");
        drop(producer);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
        nsqd.wait_closed().await;
        sleep(ms(1)).await;
        assert!(!draining.connected());
        drop(draining);
        assert!(network.next_dial().await.is_none());
    });
}

/// contract: 10
/// checklist: 22, 111, 112
#[test]
fn a_drain_during_a_wait_to_connect_and_one_during_a_dial_may_be_repeated() {
    in_virtual_time(async |mut network: Network| {
        for refused in [true, false] {
            let producer = network.start_with(|config| {
                let config = config.dial_timeout(s(300));
                config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR)
            });
            let outstanding = publish(&producer, "a");
            let dial = network.dial().await;
            let hangs = if refused {
                dial.refuse();
                None
            } else {
                Some(dial)
            };
            sleep(ms(1)).await;
            for _ in 0..3 {
                producer.do_send(Drain { timeout: s(5) });
            }
            let (after, report) = timed(producer.send(Drain { timeout: s(5) })).await;
            assert_eq!((after, report.unwrap().not_written), (s(5), 1));
            assert_error(outstanding.await, ErrorKind::Drained, Delivery::NotWritten);
            drop(hangs);
        }
    });
}
