//! Events and statistics agree with the answers and with the broker.

use actix_nsq::{Delivery, ErrorKind};

use super::event_log::EventLog;
use super::fixture::{TOPIC, producer, stats};
use super::load::Load;
use crate::harness::{Scenario, scenarios};
use crate::support::broker::Broker;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![events_and_stats_agree_with_answers_through_outages]
}

/// checklist: 103, 104, 105
async fn events_and_stats_agree_with_answers_through_outages(broker: Broker) {
    let producer = producer(&broker).await;
    let events = EventLog::of(&producer);
    let mut load = Load::start(&producer, 64, TOPIC);
    let outages = 4;
    for outage in 0..outages {
        load.until_more_ok(200).await;
        let now = stats(&producer).await;
        let answered = now.ok + now.not_written + now.maybe_written + now.maybe_partial;
        let outstanding = (now.queued + now.in_flight) as u64;
        assert_eq!(now.published, answered + outstanding, "{now:#?}");
        if outage % 2 == 0 {
            broker.kill().await;
        } else {
            broker.terminate().await;
        }
        broker.restart().await;
    }
    load.until_more_ok(200).await;
    load.stop().await;

    let stats = stats(&producer).await;
    let count = |number: usize| number as u64;
    let ambiguous = stats.maybe_written + stats.maybe_partial;
    assert_eq!(
        (stats.ok, ambiguous),
        (count(load.ok()), count(load.ambiguous())),
        "{stats:#?}"
    );
    let answered = stats.ok + ambiguous + stats.not_written;
    assert_eq!(stats.published, answered, "{stats:#?}");
    assert_eq!((stats.queued, stats.in_flight), (0, 0), "{stats:#?}");
    assert_eq!((stats.connects, stats.disconnects), (outages + 1, outages));
    let (connected, disconnects) = (events.connected().len(), events.disconnects().len());
    assert_eq!(
        (count(connected), count(disconnects)),
        (outages + 1, outages)
    );
    // An nsqd that is terminated may reject publishes, which no lost connection settles.
    let rejected = |certain: bool| {
        let errors = load.errors();
        let rejected = errors.iter().filter(|error| {
            let is_certain = error.delivery() == Delivery::NotWritten;
            matches!(error.kind(), ErrorKind::Rejected(_)) && is_certain == certain
        });
        count(rejected.count())
    };
    assert_eq!(stats.not_written, rejected(true));
    assert_eq!(
        events.settled(),
        (stats.requeued, ambiguous - rejected(false))
    );
    assert!(stats.last_error.is_some());
    let median = stats.latency.quantile(0.5);
    assert!(median.is_some() && median <= stats.latency.max());
    load.audit(&broker).await.assert_clean();
}
