//! Events of connections and of the producer: their order, their content, and their subscribers.

mod failures;

use actix::{Actor, ActorContext, Addr, Context, Handler, Message};
use actix_nsq::{
    ConnectionEvent, Producer, ProducerEvent, Reconnect, SubscribeEvents, Unsubscribe,
    producer::Drain,
};
use tokio::time::sleep;

use crate::harness::{
    HOUR, Network, PUB_FAILED, Recorder, all_ok, in_virtual_time, lost, ms, publish, publish_each,
    publish_within, rejected, s,
};

/// Subscribes a recorder to one kind of events.
fn subscribe<E>(producer: &Addr<Producer>) -> Recorder<E>
where
    E: Message<Result = ()> + Send + Unpin + 'static,
    Producer: Handler<SubscribeEvents<E>>,
{
    let (recipient, events) = Recorder::start();
    producer.do_send(SubscribeEvents(recipient));
    events
}

/// The connection events since the last call, as text without their address and delay.
async fn connection_events(events: &Recorder<ConnectionEvent>) -> Vec<String> {
    sleep(ms(1)).await;
    let describe = |event: ConnectionEvent| {
        assert_eq!(event.address(), "nsqd in memory");
        match event {
            ConnectionEvent::BackingOff { failures, .. } => format!("backing off after {failures}"),
            ConnectionEvent::Connecting { failures, .. } => format!("connecting after {failures}"),
            other => other.to_string().replace("nsqd in memory: ", ""),
        }
    };
    events.take().into_iter().map(describe).collect()
}

/// The producer events since the last call, as text.
async fn producer_events(events: &Recorder<ProducerEvent>) -> Vec<String> {
    sleep(ms(1)).await;
    let describe = |event| match event {
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
    events.take().into_iter().map(describe).collect()
}

const CONNECTED: &str = "connected to nsqd 1.3.0";

/// checklist: 103, 106
#[test]
fn connection_events_follow_the_connection() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let events = subscribe(&producer);
        let dial = network.dial().await;
        assert_eq!(connection_events(&events).await, ["connecting after 0"]);
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        assert_eq!(connection_events(&events).await, [CONNECTED]);
        nsqd.fin().await;
        let [disconnected, backing_off] = &connection_events(&events).await[..] else {
            panic!("two events");
        };
        assert!(disconnected.starts_with("disconnected: "), "{disconnected}");
        assert_eq!(backing_off, "backing off after 1");
        let dial = network.dial().await;
        assert_eq!(connection_events(&events).await, ["connecting after 1"]);
        dial.refuse();
        assert_eq!(connection_events(&events).await, ["backing off after 2"]);
        // A stable connection starts the count anew.
        let nsqd = network.connected().await;
        sleep(s(2)).await;
        connection_events(&events).await;
        drop(nsqd);
        let events = connection_events(&events).await;
        assert_eq!(events[1..], ["backing off after 1"]);
    });
}

/// checklist: 106
#[test]
fn new_subscriber_first_receives_the_current_state() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        let events = subscribe(&producer);
        assert_eq!(connection_events(&events).await, ["idle"]);
        let answer = publish(&producer, "x");
        let _nsqd = network.connected().await;
        sleep(ms(1)).await;
        let events = subscribe(&producer);
        assert_eq!(connection_events(&events).await, [CONNECTED]);
        let events = subscribe(&producer);
        assert_eq!(producer_events(&events).await, ["accepting"]);
        let drain = producer.send(Drain { timeout: s(1) });
        let events = subscribe(&producer);
        assert_eq!(producer_events(&events).await, ["draining"]);
        drain.await.unwrap();
        let events = subscribe(&producer);
        let drained = "drained: 0 ok, 0 not written, 1 maybe written, 0 maybe partial";
        assert_eq!(producer_events(&events).await, [drained]);
        let events = subscribe(&producer);
        assert_eq!(connection_events(&events).await, ["closed"]);
        answer.await.unwrap_err();
    });
}

/// checklist: 106
#[test]
fn connected_event_contains_what_was_negotiated() {
    in_virtual_time(async |mut network: Network| {
        let (producer, _nsqd) = network.start_connected().await;
        sleep(ms(1)).await;
        let events = subscribe(&producer);
        sleep(ms(1)).await;
        let event = events.take().pop();
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
fn backoff_event_has_the_delay_until_the_next_attempt() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let events = subscribe::<ConnectionEvent>(&producer);
        for _ in 0..12 {
            network.dial().await.refuse();
        }
        network.peek_dial().await;
        sleep(ms(1)).await;
        let mut delays = 0;
        for pair in events.take_timed().windows(2) {
            let [
                (began, ConnectionEvent::BackingOff { delay, .. }),
                (ended, next),
            ] = pair
            else {
                continue;
            };
            delays += 1;
            assert!(
                matches!(next, ConnectionEvent::Connecting { .. }),
                "{next:?}"
            );
            let took = *ended - *began;
            let expected = *delay..=*delay + ms(2);
            assert!(expected.contains(&took), "{delay:?}, {took:?}");
        }
        assert_eq!(delays, 12);
    });
}

/// checklist: 106
#[test]
fn settled_event_counts_requeued_and_ambiguous_publishes() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let events = subscribe(&producer);
        // 11 bytes each: three are written, and half of the fourth.
        let (mut nsqd, _stream) = network.connected_over(40).await;
        let bodies = ["1", "2", "3", "4", "5", "6"];
        let [one, two, three, four, five, six] = publish_each(&producer, bodies);
        sleep(ms(1)).await;
        nsqd.fin().await;
        for answer in [one, two, three] {
            lost(answer).await;
        }
        let settled = "settled: 3 requeued, 3 maybe written";
        assert_eq!(producer_events(&events).await, ["accepting", settled]);
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
        let (connection, settled) = (subscribe(&producer), subscribe(&producer));
        let mut nsqd = network.connected().await;
        let first = publish(&producer, "good");
        nsqd.confirm("good").await;
        first.await.unwrap();
        connection_events(&connection).await;
        let [bad, one, two] = publish_each(&producer, ["bad", "1", "2"]);
        // It is answered before the error response, and not requeued.
        let expired = publish_within(&producer, s(1), "expired");
        nsqd.expect_pub("t", "bad").await;
        expired.await.unwrap_err();
        nsqd.reject(PUB_FAILED).await;
        rejected(bad).await;
        let expected = "settled: 2 requeued, 0 maybe written";
        assert_eq!(producer_events(&settled).await, ["accepting", expected]);
        let events = connection_events(&connection).await;
        assert!(events[0].contains(PUB_FAILED), "{events:?}");
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
        let (events, connection) = (subscribe(&producer), subscribe(&producer));
        network.dial().await.refuse();
        let mut nsqd = network.connected().await;
        let [one, two] = publish_each(&producer, ["1", "2"]);
        nsqd.expect_pubs(&["1", "2"]).await;
        producer_events(&events).await;
        let timeout = s(5);
        producer.do_send(Drain { timeout });
        let drain = producer.send(Drain { timeout });
        assert_eq!(producer_events(&events).await, ["draining"]);
        // Connection events continue meanwhile.
        connection_events(&connection).await;
        nsqd.send_ok().await;
        one.await.unwrap();
        drop(nsqd);
        lost(two).await;
        drain.await.unwrap();
        let settled = "settled: 0 requeued, 1 maybe written";
        let drained = "drained: 1 ok, 0 not written, 1 maybe written, 0 maybe partial";
        assert_eq!(producer_events(&events).await, [settled, drained]);
        let closing = connection_events(&connection).await;
        assert!(closing[0].starts_with("disconnected: "), "{closing:?}");
        assert_eq!(closing.last().unwrap(), "closed");
        // Nothing follows.
        producer.send(Drain { timeout }).await.unwrap();
        producer.do_send(Reconnect);
        publish(&producer, "late").await.unwrap_err();
        sleep(HOUR).await;
        assert!(producer_events(&events).await.is_empty());
        assert!(connection_events(&connection).await.is_empty());
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
        ctx.stop();
    }
}

/// checklist: 106
#[test]
fn subscribers_receive_events_until_they_stop_or_unsubscribe() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (first, second) = (subscribe(&producer), subscribe(&producer));
        let (recipient, leaving) = Recorder::<ConnectionEvent>::start();
        producer.do_send(SubscribeEvents(recipient.clone()));
        let stopped = StopsAtOnce.start();
        producer.do_send(SubscribeEvents::<ConnectionEvent>(
            stopped.clone().recipient(),
        ));
        let mut nsqd = network.connected().await;
        for events in [&first, &second, &leaving] {
            assert_eq!(connection_events(events).await.last().unwrap(), CONNECTED);
        }
        assert!(!stopped.connected());
        producer.do_send(Unsubscribe(recipient));
        nsqd.fin().await;
        let _dial = network.dial().await;
        let events = connection_events(&first).await;
        assert_eq!(events.len(), 3);
        assert_eq!(connection_events(&second).await, events);
        assert!(connection_events(&leaving).await.is_empty());
    });
}

/// checklist: 106
#[test]
fn subscriber_keeps_the_producer_only_if_it_holds_its_address() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let _events: Recorder<ConnectionEvent> = subscribe(&producer);
        let (recipient, holding) = Recorder::<ConnectionEvent>::start_holding(producer.clone());
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
fn last_event_of_a_producer_without_address_is_closed() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let events: Recorder<ConnectionEvent> = subscribe(&producer);
        let mut nsqd = network.connected().await;
        connection_events(&events).await;
        drop(producer);
        nsqd.wait_closed().await;
        assert_eq!(connection_events(&events).await, ["closed"]);
    });
}

/// checklist: 106
#[test]
fn drained_producer_releases_its_subscribers() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let weak = producer.downgrade();
        let (recipient, early) = Recorder::<ConnectionEvent>::start_holding(producer.clone());
        producer.do_send(SubscribeEvents(recipient));
        network.connected().await;
        producer.send(Drain { timeout: s(1) }).await.unwrap();
        let (recipient, late) = Recorder::<ConnectionEvent>::start_holding(producer.clone());
        producer.send(SubscribeEvents(recipient)).await.unwrap();
        assert_eq!(connection_events(&late).await, ["closed"]);
        drop((producer, early, late));
        sleep(s(1)).await;
        assert!(weak.upgrade().is_none(), "they hold each other");
    });
}
