//! Events of connections and of the producer: their order, their content, and their subscribers.

mod failures;

use std::{cell::Cell, rc::Rc};

use actix::{Actor, ActorContext, Addr, Context, Handler, Message, Recipient};
use actix_nsq::{
    ConnectionEvent, Producer, ProducerEvent, Publish, SubscribeEvents, Unsubscribe,
    producer::Drain,
};
use tokio::time::sleep;

use crate::harness::{HOUR, Network, Recorder, in_virtual_time, ms, publish, s, send, topic};
use crate::support::spoken::{error_frame, ok_frame};

/// Subscribes a recorder to one kind of events.
fn subscribe<E>(producer: &Addr<Producer>) -> Recorder<E>
where
    E: Message<Result = ()> + Send + Unpin + 'static,
    Producer: Handler<SubscribeEvents<E>>,
{
    let (recipient, seen) = Recorder::start();
    producer.do_send(SubscribeEvents(recipient));
    seen
}

/// The connection events since the last call, as text without their address and delay.
async fn connection_events(seen: &Recorder<ConnectionEvent>) -> Vec<String> {
    sleep(ms(1)).await;
    let show = |event: ConnectionEvent| {
        assert_eq!(event.address(), "nsqd in memory");
        match event {
            ConnectionEvent::BackingOff { failures, .. } => format!("backing off after {failures}"),
            ConnectionEvent::Connecting { failures, .. } => format!("connecting after {failures}"),
            other => other.to_string().replace("nsqd in memory: ", ""),
        }
    };
    seen.take().into_iter().map(show).collect()
}

/// The producer events since the last call, as text.
async fn producer_events(seen: &Recorder<ProducerEvent>) -> Vec<String> {
    sleep(ms(1)).await;
    let show = |event| match event {
        ProducerEvent::Accepting { .. } => "accepting".to_owned(),
        ProducerEvent::Settled {
            requeued,
            maybe_written,
            ..
        } => format!("settled: {requeued} requeued, {maybe_written} maybe written"),
        ProducerEvent::Draining { .. } => "draining".to_owned(),
        ProducerEvent::Drained { report, .. } => format!("drained: {report}"),
        other => panic!("{other:?}"),
    };
    seen.take().into_iter().map(show).collect()
}

/// checklist: 103, 106
#[test]
fn connection_events_follow_the_connection() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let dial = network.dial().await;
        // The current state comes first.
        assert_eq!(connection_events(&seen).await, ["connecting after 0"]);
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        assert_eq!(connection_events(&seen).await, ["connected to nsqd 1.3.0"]);
        nsqd.fin().await;
        let [disconnected, backing_off] = &connection_events(&seen).await[..] else {
            panic!("two events");
        };
        assert!(disconnected.starts_with("disconnected: "), "{disconnected}");
        assert_eq!(backing_off, "backing off after 1");
        let _hangs = network.dial().await;
        assert_eq!(connection_events(&seen).await, ["connecting after 1"]);
    });
}

/// checklist: 106
#[test]
fn new_subscriber_first_receives_the_current_state() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        let first = subscribe(&producer);
        assert_eq!(connection_events(&first).await, ["idle"]);
        let result = publish(&producer, "x");
        let _nsqd = network.connected().await;
        sleep(ms(1)).await;
        let second = subscribe(&producer);
        assert_eq!(
            connection_events(&second).await,
            ["connected to nsqd 1.3.0"]
        );
        let state = subscribe(&producer);
        assert_eq!(producer_events(&state).await, ["accepting"]);
        let drain = producer.send(Drain { timeout: s(1) });
        let state = subscribe(&producer);
        assert_eq!(producer_events(&state).await, ["draining"]);
        drain.await.unwrap();
        let state = subscribe(&producer);
        let last = "drained: 0 ok, 0 not written, 1 maybe written, 0 maybe partial";
        assert_eq!(producer_events(&state).await, [last]);
        let third = subscribe(&producer);
        assert_eq!(connection_events(&third).await, ["closed"]);
        result.await.unwrap_err();
    });
}

/// checklist: 106
#[test]
fn connected_event_contains_what_was_negotiated() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let _nsqd = network.connected().await;
        sleep(ms(1)).await;
        let event = seen.take().pop();
        let Some(ConnectionEvent::Connected { negotiated, .. }) = event else {
            panic!("{event:?}");
        };
        assert_eq!(negotiated.version, "1.3.0");
        assert_eq!(negotiated.max_rdy_count, 2500);
        assert!(!negotiated.auth_required);
    });
}

/// checklist: 106
#[test]
fn backoff_event_has_the_delay_and_the_number_of_failures() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe::<ConnectionEvent>(&producer);
        let attempts = 12;
        for _ in 0..attempts {
            network.dial().await.refuse();
        }
        let _nsqd = network.connected().await;
        sleep(ms(1)).await;
        let events = seen.take_timed();
        let mut failed = 0;
        for pair in events.windows(2) {
            let [(began, event), (ended, next)] = pair else {
                unreachable!()
            };
            let ConnectionEvent::BackingOff {
                delay, failures, ..
            } = event
            else {
                continue;
            };
            failed += 1;
            assert_eq!(*failures, failed);
            assert!(
                matches!(next, ConnectionEvent::Connecting { failures, .. } if *failures == failed)
            );
            let took = *ended - *began;
            assert!(
                took >= *delay && took <= *delay + ms(2),
                "{delay:?}, {took:?}"
            );
        }
        assert_eq!(failed, attempts);
    });
}

/// checklist: 106
#[test]
fn number_of_failures_restarts_after_a_stable_connection() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        for _ in 0..3 {
            network.dial().await.refuse();
        }
        let nsqd = network.connected().await;
        sleep(s(2)).await;
        connection_events(&seen).await;
        drop(nsqd);
        let _hangs = network.dial().await;
        let events = connection_events(&seen).await;
        assert_eq!(events[1..], ["backing off after 1", "connecting after 1"]);
    });
}

/// checklist: 106
#[test]
fn settled_event_counts_requeued_and_ambiguous_publishes() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        // 11 bytes each: three are wholly accepted, the fourth by half, the others not at all.
        let (mut nsqd, _line) = network.connected_over(40).await;
        let publishes: Vec<_> = ["1", "2", "3", "4", "5", "6"]
            .map(|body| publish(&producer, body))
            .into();
        sleep(ms(1)).await;
        nsqd.fin().await;
        let mut nsqd = network.connected().await;
        let settled = "settled: 3 requeued, 3 maybe written";
        assert_eq!(producer_events(&seen).await, ["accepting", settled]);
        for body in ["4", "5", "6"] {
            nsqd.expect_pub("t", body).await;
            nsqd.send(ok_frame()).await;
        }
        for (number, result) in publishes.into_iter().enumerate() {
            assert_eq!(result.await.is_ok(), number >= 3, "{number}");
        }
    });
}

/// checklist: 106
#[test]
fn settled_event_after_a_rejection_counts_requeued_publishes() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let connection = subscribe(&producer);
        let seen = subscribe(&producer);
        let mut nsqd = network.connected().await;
        let first = publish(&producer, "good");
        nsqd.expect_pub("t", "good").await;
        nsqd.send(ok_frame()).await;
        first.await.unwrap();
        connection_events(&connection).await;
        let bad = publish(&producer, "bad");
        let others = ["1", "2"].map(|body| publish(&producer, body));
        // It times out before the rejection: it has its result, and is not requeued.
        let expired = send(&producer, Publish::new(topic("t"), "h").expires_in(s(1)));
        nsqd.expect_pub("t", "bad").await;
        sleep(s(2)).await;
        expired.await.unwrap_err();
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        nsqd.fin().await;
        bad.await.unwrap_err();
        let mut nsqd = network.connected().await;
        let settled = "settled: 2 requeued, 0 maybe written";
        assert_eq!(producer_events(&seen).await, ["accepting", settled]);
        let events = connection_events(&connection).await;
        assert!(events[0].contains("E_PUB_FAILED PUB failed"), "{events:?}");
        // The connection had served: this is a pause of 20 ms, not a failure.
        assert_eq!(events[1], "backing off after 0");
        for (body, result) in ["1", "2"].into_iter().zip(others) {
            nsqd.expect_pub("t", body).await;
            nsqd.send(ok_frame()).await;
            result.await.unwrap();
        }
    });
}

/// checklist: 106
#[test]
fn drain_events_come_at_its_begin_and_at_its_end() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (seen, connection) = (subscribe(&producer), subscribe(&producer));
        let mut nsqd = network.connected().await;
        let publishes = ["1", "2"].map(|body| publish(&producer, body));
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_pub("t", "2").await;
        producer_events(&seen).await;
        connection_events(&connection).await;
        let timeout = s(5);
        let drain = producer.send(Drain { timeout });
        let again = producer.send(Drain { timeout });
        sleep(ms(1)).await;
        let drain = tokio::task::spawn_local(drain);
        assert_eq!(producer_events(&seen).await, ["draining"]);
        nsqd.send(ok_frame()).await;
        let report = again.await.unwrap();
        assert_eq!(drain.await.unwrap().unwrap(), report);
        let drained = "drained: 1 ok, 0 not written, 1 maybe written, 0 maybe partial";
        assert_eq!(producer_events(&seen).await, [drained]);
        assert_eq!(connection_events(&connection).await, ["closed"]);
        // Nothing follows.
        producer.send(Drain { timeout }).await.unwrap();
        producer.do_send(actix_nsq::Reconnect);
        publish(&producer, "late").await.unwrap_err();
        sleep(HOUR).await;
        assert!(producer_events(&seen).await.is_empty());
        assert!(connection_events(&connection).await.is_empty());
        let [one, two] = publishes;
        one.await.unwrap();
        two.await.unwrap_err();
    });
}

/// checklist: 106
#[test]
fn connection_events_continue_while_a_drain_waits() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (seen, connection) = (subscribe(&producer), subscribe(&producer));
        network.dial().await.refuse();
        let _late = publish(&producer, "a");
        let report = tokio::task::spawn_local(producer.send(Drain { timeout: s(1) }));
        while !report.is_finished() {
            tokio::select! {
                dial = network.dial() => dial.refuse(),
                () = sleep(ms(100)) => {}
            }
        }
        let drained = "drained: 0 ok, 1 not written, 0 maybe written, 0 maybe partial";
        assert_eq!(
            producer_events(&seen).await,
            ["accepting", "draining", drained]
        );
        let events = connection_events(&connection).await;
        let waits = events.iter().filter(|event| event.starts_with("backing"));
        assert!(waits.count() > 1, "{events:?}");
        assert_eq!(events.last().unwrap(), "closed");
    });
}

/// checklist: 106
#[test]
fn subscribers_receive_the_same_events_until_they_unsubscribe() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (first, second) = (subscribe(&producer), subscribe(&producer));
        let (leaves, left) = Recorder::<ConnectionEvent>::start();
        producer.do_send(SubscribeEvents(leaves.clone()));
        let mut nsqd = network.connected().await;
        let connected = "connected to nsqd 1.3.0";
        for seen in [&first, &second, &left] {
            assert_eq!(connection_events(seen).await.last().unwrap(), connected);
        }
        producer.do_send(Unsubscribe(leaves));
        nsqd.fin().await;
        let _hangs = network.dial().await;
        let events = connection_events(&first).await;
        assert_eq!(events.len(), 3);
        assert_eq!(connection_events(&second).await, events);
        assert!(connection_events(&left).await.is_empty());
    });
}

/// checklist: 106
#[test]
fn subscriber_that_has_stopped_is_removed() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let received = Rc::new(Cell::new(0));
        let stopping = Stopping(Rc::clone(&received)).start();
        let recipient: Recipient<ConnectionEvent> = stopping.recipient();
        producer.do_send(SubscribeEvents(recipient));
        let mut nsqd = network.connected().await;
        nsqd.fin().await;
        let _hangs = network.dial().await;
        assert_eq!(received.get(), 1);
    });
}

/// A subscriber that stops at its first event.
struct Stopping(Rc<Cell<u32>>);

impl Actor for Stopping {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Stopping {
    type Result = ();

    fn handle(&mut self, _: ConnectionEvent, ctx: &mut Context<Self>) {
        self.0.set(self.0.get() + 1);
        ctx.stop();
    }
}

/// checklist: 106
#[test]
fn subscriber_does_not_keep_the_producer_running() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let mut nsqd = network.connected().await;
        connection_events(&seen).await;
        let before = network.elapsed();
        drop(producer);
        nsqd.wait_closed().await;
        assert!(network.next_dial().await.is_none());
        assert_eq!(network.elapsed(), before);
    });
}

/// checklist: 106
#[test]
fn subscriber_that_holds_the_address_keeps_the_producer_running() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (recipient, seen) = Recorder::<ConnectionEvent>::start_holding(producer.clone());
        producer.do_send(SubscribeEvents(recipient));
        network.connected().await;
        drop(producer);
        let mut nsqd = network.connected().await;
        let events = connection_events(&seen).await;
        assert!(events.len() >= 4, "{events:?}");
        // The application has to break the circle; a drain leaves it idle.
        nsqd.expect_silence(s(10)).await;
        seen.drop_held();
        nsqd.wait_closed().await;
        assert!(network.next_dial().await.is_none());
    });
}

/// checklist: 106
#[test]
fn drained_producer_releases_its_subscribers() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (recipient, seen) = Recorder::<ConnectionEvent>::start_holding(producer.clone());
        let weak = producer.downgrade();
        producer.do_send(SubscribeEvents(recipient));
        network.connected().await;
        producer.send(Drain { timeout: s(1) }).await.unwrap();
        let (late, current) = Recorder::<ConnectionEvent>::start_holding(producer.clone());
        producer.send(SubscribeEvents(late)).await.unwrap();
        assert!(!seen.take().is_empty());
        assert_eq!(connection_events(&current).await, ["closed"]);
        drop((producer, seen, current));
        sleep(s(1)).await;
        assert!(weak.upgrade().is_none(), "they hold each other");
    });
}
