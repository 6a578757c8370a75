//! What a producer tells of itself under load and through outages agrees with what its callers were told and with what the
//! broker has; and what can be asked of it costs nobody anything.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_nsq::actix::{Actor, Addr, Context, Handler};
use actix_nsq::{
    ConnectionEvent, Delivery, Ping, Producer, ProducerEvent, ProducerHandle, PublishError,
    Reconnect, SubscribeEvents, WaitConnected, WaitError, producer::GetStats, producer::Stats,
};

use super::load::{
    Answers, Load, TOPIC, config, numbered, numbers, producer, publish, publish_all, start,
};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::Broker;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        a_ping_is_answered,
        a_ping_leaves_no_message_and_changes_no_connection,
        pings_among_64_publishers_are_all_answered,
        a_ping_to_a_frozen_broker_times_out,
        waiting_for_a_connection_lasts_as_long_as_the_outage,
        events_and_statistics_agree_with_callers_and_broker_through_outages,
        reconnecting_under_load_loses_nothing_and_repeats_nothing,
        five_thousand_publishes_by_a_handle_are_stored_before_the_drain_ends,
        callers_of_a_handle_wait_out_an_outage_in_little_room,
    ]
}

const LONG: Duration = Duration::from_secs(30);

async fn ping(producer: &Addr<Producer>, timeout: Duration) -> Result<(), PublishError> {
    producer.send(Ping { timeout }).await?
}

async fn stats(producer: &Addr<Producer>) -> Stats {
    producer.send(GetStats).await.expect("a producer answers")
}

/// What was answered, as the callers have it.
#[track_caller]
fn assert_agree(stats: &Stats, answers: &Answers) {
    let count = |number: u64| usize::try_from(number).unwrap();
    let told = (
        answers.len(),
        answers.ok(),
        answers.failed(Delivery::NotWritten),
        answers.failed(Delivery::MaybeWritten),
    );
    let counted = (
        count(stats.published),
        count(stats.ok),
        count(stats.not_written),
        count(stats.maybe_written),
    );
    assert_eq!(counted, told, "{stats:#?}");
    assert_eq!((stats.queued, stats.in_flight), (0, 0), "{stats:#?}");
}

/// checklist: 44
async fn a_ping_is_answered(broker: Broker) {
    let producer = producer(&broker).await;
    for _ in 0..10 {
        ping(&producer, LONG).await.unwrap();
    }
    publish(&producer, numbered(0)).await.unwrap();
    ping(&producer, LONG).await.unwrap();
    assert_eq!(stats(&producer).await.connects, 1);
}

/// checklist: 44
async fn a_ping_leaves_no_message_and_changes_no_connection(broker: Broker) {
    let producer = start(config(&broker).await.client_id("me").user_agent("test/1"));
    publish(&producer, numbered(0)).await.unwrap();
    let before = broker.clients().await;
    ping(&producer, LONG).await.unwrap();
    publish(&producer, numbered(1)).await.unwrap();
    let after = broker.clients().await;
    for name in ["client_id", "hostname", "user_agent"] {
        assert_eq!(before[0][name], after[0][name], "{name}");
    }
    assert_eq!(numbers(&broker.bodies(TOPIC, 2).await), [0, 1]);
}

/// checklist: 44
async fn pings_among_64_publishers_are_all_answered(broker: Broker) {
    let producer = producer(&broker).await;
    let load = Load::start(&producer, 64);
    for _ in 0..20 {
        load.until_more_ok(100).await;
        let pings = (0..10).map(|_| ping(&producer, LONG));
        for answer in futures::future::join_all(pings).await {
            answer.unwrap();
        }
    }
    let answers = load.stop().await;
    answers.assert_all_ok();
    let stats = stats(&producer).await;
    assert_agree(&stats, &answers);
    assert_eq!((stats.connects, stats.requeued), (1, 0));
    answers.assert_true_of(&broker.bodies(TOPIC, answers.ok()).await);
}

/// checklist: 44
async fn a_ping_to_a_frozen_broker_times_out(broker: Broker) {
    let producer = producer(&broker).await;
    ping(&producer, LONG).await.unwrap();
    broker.freeze(true).await;
    let (begun, timeout) = (Instant::now(), Duration::from_millis(200));
    ping(&producer, timeout).await.unwrap_err();
    let took = begun.elapsed();
    assert!(took >= timeout && took < 10 * timeout, "{took:?}");
    broker.freeze(false).await;
    ping(&producer, LONG).await.unwrap();
    assert_eq!(stats(&producer).await.connects, 1);
}

async fn waiting_for_a_connection_lasts_as_long_as_the_outage(broker: Broker) {
    broker.kill().await;
    let producer = producer(&broker).await;
    let timeout = Duration::from_millis(300);
    let waited = producer.send(WaitConnected { timeout }).await.unwrap();
    assert!(matches!(
        waited,
        Err(WaitError::Timeout { last: Some(_), .. })
    ));
    let wait = producer.send(WaitConnected { timeout: LONG });
    let (waited, ()) = tokio::join!(wait, broker.restart());
    waited.unwrap().unwrap();
    publish(&producer, numbered(0)).await.unwrap();
}

/// Collects the events of a producer.
#[derive(Default)]
struct Events {
    connection: Vec<ConnectionEvent>,
    requeued: u64,
    maybe_written: u64,
}

struct Watcher(Rc<RefCell<Events>>);

impl Watcher {
    fn of(producer: &Addr<Producer>) -> Rc<RefCell<Events>> {
        let events = Rc::default();
        let watcher = Self(Rc::clone(&events)).start();
        producer.do_send(SubscribeEvents::<ConnectionEvent>(
            watcher.clone().recipient(),
        ));
        producer.do_send(SubscribeEvents::<ProducerEvent>(watcher.recipient()));
        events
    }
}

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        self.0.borrow_mut().connection.push(event);
    }
}

impl Handler<ProducerEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: ProducerEvent, _: &mut Context<Self>) {
        if let ProducerEvent::Settled {
            requeued,
            maybe_written,
            ..
        } = event
        {
            let mut events = self.0.borrow_mut();
            events.requeued += requeued as u64;
            events.maybe_written += maybe_written as u64;
        }
    }
}

/// What the events add up to; they must come in an order that makes sense.
#[derive(Debug, Default)]
struct Sum {
    connected: u64,
    lost: u64,
    resent: u64,
    unknown: u64,
}

impl Sum {
    fn of(events: &Events) -> Self {
        let mut sum = Self {
            resent: events.requeued,
            unknown: events.maybe_written,
            ..Self::default()
        };
        let mut last: Option<&ConnectionEvent> = None;
        for event in &events.connection {
            match (last, event) {
                (
                    None
                    | Some(ConnectionEvent::BackingOff { .. } | ConnectionEvent::Disconnected { .. }),
                    ConnectionEvent::Connecting { .. },
                ) => {}
                (
                    None | Some(ConnectionEvent::Connecting { .. }),
                    ConnectionEvent::Connected { .. },
                ) => sum.connected += 1,
                (Some(ConnectionEvent::Connected { .. }), ConnectionEvent::Disconnected { .. }) => {
                    sum.lost += 1
                }
                (
                    None
                    | Some(ConnectionEvent::Disconnected { .. } | ConnectionEvent::Connecting { .. }),
                    ConnectionEvent::BackingOff { .. },
                ) => {}
                (last, event) => panic!("{event:?} after {last:?}"),
            }
            last = Some(event);
        }
        sum
    }
}

/// checklist: 103, 104, 105
async fn events_and_statistics_agree_with_callers_and_broker_through_outages(broker: Broker) {
    let producer = producer(&broker).await;
    let events = Watcher::of(&producer);
    let load = Load::start(&producer, 64);
    let outages = 5;
    for outage in 0..outages {
        load.until_more_ok(200).await;
        // In the midst of it the sums hold as well.
        let now = stats(&producer).await;
        let answered = now.ok + now.not_written + now.maybe_written + now.maybe_partial;
        let held = (now.queued + now.in_flight) as u64;
        assert_eq!(now.published, answered + held, "{now:#?}");
        match outage % 2 {
            0 => broker.kill().await,
            _ => broker.terminate().await,
        }
        broker.restart().await;
    }
    load.until_more_ok(200).await;
    let answers = load.stop().await;
    let stats = stats(&producer).await;
    assert_agree(&stats, &answers);
    let sum = Sum::of(&events.borrow());
    assert_eq!((stats.connects, stats.disconnects), (outages + 1, outages));
    assert_eq!((sum.connected, sum.lost), (outages + 1, outages));
    assert_eq!(
        (sum.unknown, sum.resent),
        (stats.maybe_written, stats.requeued)
    );
    assert!(stats.last_error.is_some());
    let median = stats.latency.quantile(0.5);
    assert!(median.is_some() && median <= stats.latency.max());
    let bodies = broker.bodies(TOPIC, answers.ok()).await;
    answers.assert_true_of(&bodies);
}

async fn reconnecting_under_load_loses_nothing_and_repeats_nothing(broker: Broker) {
    let producer = producer(&broker).await;
    let load = Load::start(&producer, 64);
    let times = 20;
    for _ in 0..times {
        load.until_more_ok(100).await;
        producer.send(Reconnect).await.unwrap();
    }
    load.until_more_ok(100).await;
    let answers = load.stop().await;
    answers.assert_all_ok();
    let stats = stats(&producer).await;
    assert_agree(&stats, &answers);
    assert_eq!((stats.connects, stats.disconnects), (times + 1, times));
    assert_eq!(stats.requeued, 0);
    answers.assert_true_of(&broker.bodies(TOPIC, answers.ok()).await);
}

/// Publishes these numbers by as many concurrent calls.
async fn call(handle: &ProducerHandle, numbers: std::ops::Range<usize>) -> Answers {
    let calls = numbers.map(|number| async move {
        let answer = handle.publish(TOPIC, numbered(number)).await;
        (number, answer)
    });
    let mut answers = Answers::default();
    for (number, answer) in futures::future::join_all(calls).await {
        answers.note(number, answer);
    }
    answers
}

/// contract: 10
async fn five_thousand_publishes_by_a_handle_are_stored_before_the_drain_ends(broker: Broker) {
    let handle = ProducerHandle::start(config(&broker).await.max_pending(100).build().unwrap());
    let producer = handle.address().clone();
    let (answers, report) = tokio::join!(call(&handle, 0..5_000), handle.drain(LONG));
    let report = report.unwrap();
    answers.assert_all_ok();
    assert!(report.is_clean() && report.ok == 5_000, "{report:?}");
    let stored = numbers(&broker.bodies(TOPIC, 5_000).await);
    assert_eq!(stored, Vec::from_iter(0..5_000));
    let stats = stats(&producer).await;
    assert_agree(&stats, &answers);
    assert_eq!(stats.rejected_full, 0);
}

/// checklist: 33
async fn callers_of_a_handle_wait_out_an_outage_in_little_room(broker: Broker) {
    let handle = ProducerHandle::start(config(&broker).await.max_pending(10).build().unwrap());
    let producer = handle.address().clone();
    publish_all(&producer, 0..5).await.assert_all_ok();
    broker.kill().await;
    let (answers, ()) = tokio::join!(call(&handle, 5..2_000), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        broker.restart().await;
    });
    // Those in flight when it was not known yet that the broker was gone.
    assert!(answers.failed(Delivery::MaybeWritten) <= 10);
    assert_eq!(answers.failed(Delivery::NotWritten), 0);
    let mut bodies = broker.bodies(TOPIC, answers.ok() + 5).await;
    bodies.drain(..5);
    assert!(numbers(&bodies).is_sorted());
    answers.assert_true_of(&bodies);
}
