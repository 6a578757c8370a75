//! Several drains, cancelled drains, and drains of a producer without other addresses.

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture,
};
use actix_nsq::{
    ConnectionEvent, Delivery, Producer, SubscribeEvents,
    producer::{Drain, DrainReport},
};
use futures::future::join_all;
use tokio::time::sleep;

use super::{drain, drained};
use crate::harness::{Network, in_virtual_time, ms, publish, s, timed};

/// contract: 10
/// checklist: 111
#[test]
fn several_drains_end_together_at_the_earliest_timeout() {
    for order in [[9, 4, 6], [4, 9, 6], [6, 9, 4]] {
        in_virtual_time(async |mut network: Network| {
            let (producer, _nsqd) = network.start_connected().await;
            let answer = publish(&producer, "a");
            let drains = order.map(|seconds| timed(drain(&producer, seconds)));
            for (after, report) in join_all(drains).await {
                assert_eq!((after, report.maybe_written), (s(4), 1));
            }
            drained(answer, Delivery::MaybeWritten).await;
        });
    }
}

/// contract: 10
/// checklist: 112
#[test]
fn drain_is_answered_after_the_last_address_is_dropped() {
    for connected in [true, false] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let dial = network.dial().await;
            let mut nsqd = None;
            if connected {
                nsqd.insert(dial.accept()).greet().await;
            } else {
                dial.refuse();
            }
            sleep(ms(1)).await;
            let answer = publish(&producer, "a");
            let report = drain(&producer, 1);
            drop(producer);
            let (after, report) = timed(report).await;
            assert_eq!(after, s(1));
            assert_ne!(report, DrainReport::default());
            let delivery = if connected {
                Delivery::MaybeWritten
            } else {
                Delivery::NotWritten
            };
            drained(answer, delivery).await;
            drop(nsqd);
            while network.next_dial().await.is_some() {}
            assert!(network.elapsed() < s(2));
        });
    }
}

/// An actor that drains its producer in the handler of an event, and then stops.
struct Draining(Addr<Producer>);

impl Actor for Draining {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Draining {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, ctx: &mut Context<Self>) {
        if matches!(event, ConnectionEvent::Connected { .. }) {
            let drain = self.0.send(Drain { timeout: s(9) });
            let stop = |drained: Result<DrainReport, _>, _: &mut Self, ctx: &mut Context<Self>| {
                assert_eq!(drained.expect("a report").ok, 1);
                ctx.stop();
            };
            // It handles no message meanwhile, not even the events of the drain.
            ctx.wait(drain.into_actor(self).map(stop));
        }
    }
}

/// contract: 10
/// checklist: 111, 112
#[test]
fn subscriber_may_wait_for_a_drain_in_its_handler() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let draining = Draining(producer.clone()).start();
        producer.do_send(SubscribeEvents(draining.clone().recipient()));
        let answer = publish(&producer, "a");
        drop(producer);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send_ok().await;
        answer.await.unwrap();
        nsqd.wait_closed().await;
        sleep(ms(1)).await;
        assert!(!draining.connected());
        drop(draining);
        assert!(network.next_dial().await.is_none());
    });
}
