//! `SubscribeEvents`: the events of a connection, in order, with their numbers.

mod failures;

use actix::{Actor, ActorContext, Addr, Context, Handler};
use actix_nsq::{ConnectionEvent, Drain, Producer, Reconnect, SubscribeEvents};
use tokio::time::sleep;

use crate::harness::{
    HOUR, Network, PUB_FAILED, Recorder, all_ok, in_virtual_time, lost, ms, publish, publish_each,
    publish_within, rejected, s,
};

type Events = Recorder<ConnectionEvent>;

fn subscribe(producer: &Addr<Producer>) -> Events {
    let (recipient, events) = Events::start();
    producer.do_send(SubscribeEvents(recipient));
    events
}

/// Describes an event without its address and delay.
fn describe(event: ConnectionEvent) -> String {
    let (address, text) = match event {
        ConnectionEvent::Connecting { address, failed } => {
            (address, format!("connecting after {failed}"))
        }
        ConnectionEvent::Connected {
            address,
            negotiated,
            auth: None,
        } => (address, format!("connected to {}", negotiated.version)),
        ConnectionEvent::Lost {
            address,
            why,
            resent,
            unknown,
        } => {
            let counts = format!("{resent} retried, {unknown} ambiguous");
            (address, format!("lost: {why}: {counts}"))
        }
        ConnectionEvent::BackingOff {
            address, failed, ..
        } => (address, format!("backing off after {failed}")),
        ConnectionEvent::Draining { address } => (address, "draining".into()),
        ConnectionEvent::Drained { address, report } => {
            let (ok, not, maybe) = (report.ok, report.not_written, report.maybe_written);
            (address, format!("drained: {ok} {not} {maybe}"))
        }
        other => panic!("unknown event: {other:?}"),
    };
    seen.take().into_iter().map(show).collect()
}

/// The events since the last call, once the producer is idle.
async fn take(events: &Events) -> Vec<String> {
    sleep(ms(1)).await;
    events.take().into_iter().map(describe).collect()
}

/// checklist: 106
#[test]
fn events_follow_a_connection_from_its_dial_to_its_loss() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let events = subscribe(&producer);
        let mut nsqd = network.connected().await;
        assert_eq!(take(&events).await.last().unwrap(), "connected to 1.3.0");
        nsqd.fin().await;
        let lost = "lost: closed by the peer: 0 retried, 0 ambiguous";
        assert_eq!(take(&events).await, [lost, "backing off after 1"]);
        let dial = network.dial().await;
        assert_eq!(take(&events).await, ["connecting after 1"]);
        dial.refuse();
        assert_eq!(take(&events).await, ["backing off after 2"]);
        // A connection that worked starts the count anew.
        let nsqd = network.connected().await;
        sleep(s(2)).await;
        take(&events).await;
        drop(nsqd);
        assert_eq!(take(&events).await, [lost, "backing off after 1"]);
    });
}

/// checklist: 106
#[test]
fn backing_off_event_has_the_delay_that_follows() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let events = subscribe(&producer);
        for _ in 0..12 {
            network.dial().await.refuse();
            sleep(ms(1)).await;
            let (began, event) = events.take_timed().pop().unwrap();
            let ConnectionEvent::BackingOff { delay, .. } = event else {
                panic!("{event:?}");
            };
            network.peek_dial().await;
            sleep(ms(0)).await;
            let (ended, event) = events.take_timed().pop().unwrap();
            let expected = matches!(event, ConnectionEvent::Connecting { .. });
            assert!(expected, "{event:?}");
            let took = ended - began;
            assert!(
                took >= delay && took <= delay + ms(2),
                "{delay:?}, took {took:?}"
            );
        }
    });
}

/// checklist: 106
#[test]
fn lost_event_counts_retried_and_ambiguous_publishes() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let events = subscribe(&producer);
        // 11 bytes each: three are written, and half of the fourth.
        let (mut nsqd, _stream) = network.connected_over(40).await;
        let bodies = ["1", "2", "3", "4", "5", "6"];
        let [one, two, three, four, five, six] = publish_each(&producer, bodies);
        take(&events).await;
        nsqd.fin().await;
        for answer in [one, two, three] {
            lost(answer).await;
        }
        let text = "lost: closed by the peer: 3 retried, 3 ambiguous";
        assert_eq!(take(&events).await[0], text);
        let mut nsqd = network.connected().await;
        nsqd.confirm_all(&["4", "5", "6"]).await;
        all_ok([four, five, six]).await;
    });
}

/// checklist: 106
#[test]
fn rejection_is_followed_by_a_backoff_without_a_failure() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let events = subscribe(&producer);
        let mut nsqd = network.connected().await;
        let first = publish(&producer, "good");
        nsqd.confirm("good").await;
        first.await.unwrap();
        take(&events).await;
        let [bad, one, two] = publish_each(&producer, ["bad", "1", "2"]);
        // It is answered before the error response, and not retried.
        let late = publish_within(&producer, s(1), "late");
        nsqd.expect_pub("t", "bad").await;
        late.await.unwrap_err();
        nsqd.reject(PUB_FAILED).await;
        rejected(bad).await;
        let events = take(&events).await;
        let ending = "E_PUB_FAILED PUB failed: 2 retried, 0 ambiguous";
        assert!(events[0].ends_with(ending), "{events:?}");
        assert_eq!(events[1], "backing off after 0");
        let mut nsqd = network.connected().await;
        nsqd.confirm_all(&["1", "2"]).await;
        all_ok([one, two]).await;
    });
}

/// checklist: 106
#[test]
fn drain_is_reported_at_its_beginning_and_end() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let events = subscribe(&producer);
        let mut nsqd = network.connected().await;
        let [one, two] = publish_each(&producer, ["1", "2"]);
        nsqd.expect_pubs(&["1", "2"]).await;
        take(&events).await;
        let timeout = s(5);
        producer.do_send(Drain { timeout });
        let drain = producer.send(Drain { timeout });
        assert_eq!(take(&events).await, ["draining"]);
        nsqd.send_ok().await;
        let report = drain.await.unwrap();
        assert_eq!((report.ok, report.maybe_written), (1, 1));
        assert_eq!(take(&events).await, ["drained: 1 0 1"]);
        one.await.unwrap();
        two.await.unwrap_err();
        // It is the last event.
        producer.send(Drain { timeout }).await.unwrap();
        producer.do_send(Reconnect);
        publish(&producer, "late").await.unwrap_err();
        sleep(HOUR).await;
        assert_eq!(take(&events).await, [""; 0]);
    });
}

/// A subscriber that stops at its first event.
struct StopsAtOnce;

impl Actor for StopsAtOnce {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for StopsAtOnce {
    type Result = ();

    fn handle(&mut self, _: ConnectionEvent, ctx: &mut Context<Self>) {
        assert!(!ctx.state().stopping(), "an event after the stop");
        ctx.stop();
    }
}

/// checklist: 106
#[test]
fn all_subscribers_receive_events_and_stopped_ones_are_removed() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (first, second) = (subscribe(&producer), subscribe(&producer));
        let stopped = StopsAtOnce.start();
        producer.do_send(SubscribeEvents(stopped.clone().recipient()));
        let mut nsqd = network.connected().await;
        nsqd.fin().await;
        let _dial = network.dial().await;
        let events = take(&first).await;
        assert_eq!(events.last().unwrap(), "connecting after 1");
        assert_eq!(take(&second).await, events);
        assert!(!stopped.connected());
    });
}

/// checklist: 106
#[test]
fn subscriber_keeps_the_producer_only_if_it_holds_its_address() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let _events = subscribe(&producer);
        let (recipient, holding) = Events::start_holding(producer.clone());
        producer.do_send(SubscribeEvents(recipient));
        drop(network.connected().await);
        drop(producer);
        let mut nsqd = network.connected().await;
        nsqd.expect_silence(s(10)).await;
        holding.drop_held();
        let before = network.elapsed();
        nsqd.wait_closed().await;
        assert!(network.next_dial().await.is_none());
        assert_eq!(network.elapsed(), before);
    });
}

/// checklist: 106
#[test]
fn drained_producer_and_its_subscribers_release_each_other() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let weak = producer.downgrade();
        let (recipient, _events) = Events::start_holding(producer.clone());
        producer.do_send(SubscribeEvents(recipient));
        network.connected().await;
        producer.send(Drain { timeout: s(1) }).await.unwrap();
        let (recipient, late) = Events::start_holding(producer.clone());
        producer.send(SubscribeEvents(recipient)).await.unwrap();
        assert!(late.take().is_empty());
        drop((producer, _events, late));
        sleep(s(1)).await;
        assert!(weak.upgrade().is_none(), "they hold each other");
    });
}
