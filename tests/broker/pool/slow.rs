//! Members that are slow or silent: the others are not delayed.

use std::time::{Duration, Instant};

use actix_nsq::Delivery;

use super::fixture::{
    OpenLoad, addresses, assert_all_ok, assert_answered_within, assert_stored_once, config,
    config_of, count, least_share_in_time, member, start, stats, three, until, until_load_is_even,
};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::Broker;
use crate::support::chaos::{ChaosProxy, Faults, Way, seed};
use crate::support::scaled;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        suspended_member_delays_only_what_is_in_flight_there,
        delayed_member_does_not_delay_the_others,
        member_behind_a_narrow_link_delays_only_what_is_in_flight,
        lost_answers_are_ambiguous_and_not_repeated,
        load_is_even,
    ]
}

/// The share of publishes that must be answered within a second.
const IN_TIME: f64 = 0.8;

/// How long the trouble lasts, in seconds.
fn seconds() -> u32 {
    scaled(2, 30)
}

fn trouble() -> Duration {
    Duration::from_secs(seconds().into()) + Duration::from_millis(500)
}

/// pool contract: 7
/// fault: D2
/// checklist: 45
async fn suspended_member_delays_only_what_is_in_flight_there(broker: Broker) {
    let brokers = three(broker).await;
    let ack_timeout = scaled(Duration::from_millis(1_500), Duration::from_secs(10));
    let pool = start(config(&brokers).await.ack_timeout(ack_timeout)).await;
    let load = OpenLoad::start(&pool);
    load.goes_on(Duration::from_millis(500)).await;
    brokers[0].freeze(true).await;
    let since = Instant::now();
    let slow = brokers[0].address().await;
    let in_flight = load.in_flight_meanwhile(&pool, &slow, trouble()).await;
    brokers[0].freeze(false).await;
    load.goes_on(Duration::from_millis(300)).await;
    let answers = load.stop().await;
    let share = least_share_in_time(&answers, since, seconds());
    let late = answers
        .iter()
        .filter(|answer| answer.after > Duration::from_millis(500));
    let late = late.count();
    println!(
        "D2, suspended: {share:.3} in time, {late} late, {in_flight} in flight; {}",
        stats(&pool).await
    );
    assert!(share >= IN_TIME, "{share} in time");
    // One probe per second, as long as the connection was up.
    let probes = ack_timeout.as_secs() as usize + 1;
    assert!(
        late <= in_flight + probes,
        "{late} late, {in_flight} in flight"
    );
    assert_eq!(count(&answers, Some(Delivery::NotWritten)), 0);
    assert!(count(&answers, Some(Delivery::MaybeWritten)) <= in_flight + probes);
    assert_stored_once(&brokers, &answers).await;
}

/// pool contract: 7
/// fault: D2
async fn delayed_member_does_not_delay_the_others(broker: Broker) {
    let brokers = three(broker).await;
    for delay in [20, 200].map(Duration::from_millis) {
        let faults = Faults {
            down: Way {
                latency: delay,
                ..Way::default()
            },
            ..Faults::default()
        };
        let proxy = ChaosProxy::start(brokers[0].address().await, Faults::default(), seed());
        let proxy = proxy.unwrap();
        let mut all = vec![proxy.address().to_string()];
        all.extend(addresses(&brokers[1..]).await);
        let topic = format!("delayed_{}", delay.as_millis());
        let pool = start(config_of(all)).await;
        let load = OpenLoad::start_with(&pool, move |number| {
            let body = crate::fixture::numbered(number);
            actix_nsq::Publish::new(crate::fixture::topic(&topic), body).into()
        });
        load.goes_on(Duration::from_millis(300)).await;
        proxy.set(faults);
        let since = Instant::now();
        load.goes_on(Duration::from_secs(scaled(1, 30))).await;
        let answers = load.stop().await;
        let share = least_share_in_time(&answers, since, scaled(1, 30));
        let mut times: Vec<_> = answers.iter().map(|answer| answer.after).collect();
        times.sort();
        let median = times[times.len() / 2];
        println!(
            "D2, {delay:?}: {share:.3} in time, median {median:?}; {}",
            stats(&pool).await
        );
        assert_all_ok(&answers);
        assert!(share >= IN_TIME, "{share} in time");
        // Answers of a real nsqd on a busy disk take some milliseconds, too.
        assert!(median < delay.max(Duration::from_millis(50)), "{median:?}");
        // Some may wait there until two measurements, one after the other, show the new round trip.
        assert_answered_within(&answers, Duration::from_millis(500) + 5 * delay);
    }
}

/// pool contract: 2, 7
/// fault: D2
async fn member_behind_a_narrow_link_delays_only_what_is_in_flight(broker: Broker) {
    let brokers = three(broker).await;
    let proxy = ChaosProxy::start(brokers[0].address().await, Faults::default(), seed()).unwrap();
    let mut all = vec![proxy.address().to_string()];
    all.extend(addresses(&brokers[1..]).await);
    let ack_timeout = scaled(Duration::from_millis(1_500), Duration::from_secs(10));
    let pool = start(config_of(all).ack_timeout(ack_timeout)).await;
    let load = OpenLoad::start(&pool);
    load.goes_on(Duration::from_millis(300)).await;
    let narrow = Way {
        bandwidth: Some(1),
        ..Way::default()
    };
    proxy.set(Faults {
        up: narrow,
        down: narrow,
        ..Faults::default()
    });
    let since = Instant::now();
    let slow = proxy.address().to_string();
    let in_flight = load.in_flight_meanwhile(&pool, &slow, trouble()).await;
    let answers = load.stop().await;
    let share = least_share_in_time(&answers, since, seconds());
    let ambiguous = count(&answers, Some(Delivery::MaybeWritten));
    println!(
        "D2, 1 B/s: {share:.3} in time, {ambiguous} ambiguous, {in_flight} in flight; {}",
        stats(&pool).await
    );
    assert!(share >= IN_TIME, "{share} in time");
    assert_eq!(count(&answers, Some(Delivery::NotWritten)), 0);
    assert!(ambiguous <= in_flight + ack_timeout.as_secs() as usize + 1);
    // Before the bodies are counted, the proxy ends: nothing more is stored.
    drop(proxy);
    assert_stored_once(&brokers, &answers).await;
}

/// pool contract: 2
/// fault: D7
async fn lost_answers_are_ambiguous_and_not_repeated(broker: Broker) {
    let brokers = three(broker).await;
    let proxy = ChaosProxy::start(brokers[2].address().await, Faults::default(), seed()).unwrap();
    let mut all = addresses(&brokers[..2]).await;
    all.push(proxy.address().to_string());
    let ack_timeout = Duration::from_millis(500);
    let pool = start(config_of(all).ack_timeout(ack_timeout)).await;
    let load = OpenLoad::start(&pool);
    load.goes_on(Duration::from_millis(300)).await;
    // The publishes arrive, and their answers do not.
    proxy.set(Faults {
        down: Way {
            stall: Some(0),
            ..Way::default()
        },
        ..Faults::default()
    });
    // It waits for the answers, or for that to a probe.
    until(&pool, "publishes may be stored", |stats| {
        stats.maybe_written > 0
    })
    .await;
    load.goes_on(scaled(Duration::from_millis(500), Duration::from_secs(10)))
        .await;
    proxy.set(Faults::default());
    let address = proxy.address().to_string();
    let before = member(&pool, &address).await.producer.ok;
    until(&pool, "the member is used again", |stats| {
        let member = stats.members.iter().find(|it| *it.address == *address);
        member.is_some_and(|member| member.producer.ok > before + 300)
    })
    .await;
    let answers = load.stop().await;
    let ambiguous = count(&answers, Some(Delivery::MaybeWritten));
    println!("D7: {ambiguous} ambiguous; {}", stats(&pool).await);
    assert_eq!(count(&answers, Some(Delivery::NotWritten)), 0);
    assert!(ambiguous > 0, "some were in flight");
    for answer in answers.iter().filter(|answer| answer.result.is_err()) {
        assert!(answer.after >= ack_timeout / 2, "{answer:?}");
    }
    assert_stored_once(&brokers, &answers).await;
}

/// pool contract: 4
/// checklist: 45
async fn load_is_even(broker: Broker) {
    let brokers = three(broker).await;
    let pool = start(config(&brokers).await).await;
    let load = OpenLoad::start(&pool);
    until_load_is_even(&pool).await;
    let answers = load.stop().await;
    assert_all_ok(&answers);
    assert_stored_once(&brokers, &answers).await;
}
