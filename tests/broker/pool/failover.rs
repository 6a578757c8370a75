//! Members that are killed, flap or cannot be connected: the others get their publishes.

use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::{
    DeferredPublish, Delivery, ErrorKind, MultiPublish, ProducerPool, Publish, bytes::Bytes,
    pool::Strategy,
};

use super::fixture::{
    Answer, OpenLoad, addresses, assert_all_ok, assert_answered_within, assert_stored_once, config,
    config_of, count, member, start, stats, stored, three, until, until_load_is_even,
    until_none_up, until_up,
};
use crate::fixture::{LONG, TOPIC, number_of, numbered, numbers, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::chaos::{ChaosProxy, Faults, Way, seed};
use crate::support::scaled;
use crate::support::settings::Tls;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        killed_members_lose_and_repeat_nothing,
        killed_members_lose_no_batch_and_no_deferred_publish,
        killed_primary_keeps_the_order,
        flapping_member_costs_no_publish,
        member_that_cannot_be_connected_costs_no_publish,
        member_that_declines_tls_costs_no_publish,
        publishes_wait_in_the_pool_while_none_is_up,
        pools_reconnect_at_different_times,
    ]
}

/// Kills and terminates each member in turn, under load. Returns when each was not well.
async fn kill_in_turn(load: &OpenLoad, brokers: &[Broker]) -> Vec<(Instant, Instant)> {
    let rounds = scaled(6, 20);
    let pause = scaled(Duration::from_millis(200), Duration::from_millis(1_500));
    let mut kills = Vec::new();
    for round in 0..rounds {
        let broker = &brokers[round % brokers.len()];
        let begin = Instant::now();
        if round / 3 % 2 == 0 {
            broker.kill().await;
        } else {
            broker.terminate().await;
        }
        kills.push((begin, Instant::now() + Duration::from_millis(20)));
        load.goes_on(pause).await;
        broker.restart().await;
        load.goes_on(pause).await;
    }
    kills
}

/// Asserts that the publishes that may be stored were in flight at a kill.
#[track_caller]
fn assert_ambiguous_at_kills(answers: &[Answer], kills: &[(Instant, Instant)]) {
    let ambiguous = answers.iter().filter(|answer| answer.result.is_err());
    for answer in ambiguous {
        let is_at_kill = kills.iter().any(|kill| answer.is_open_in(*kill));
        assert!(is_at_kill, "{answer:?}");
    }
}

/// pool contract: 1, 2, 6
/// fault: D1
/// checklist: 45
async fn killed_members_lose_and_repeat_nothing(broker: Broker) {
    let brokers = three(broker).await;
    let pool = start(config(&brokers).await).await;
    let load = OpenLoad::start(&pool);
    let kills = kill_in_turn(&load, &brokers).await;
    until_up(&pool).await;
    let answers = load.stop().await;
    let stats = stats(&pool).await;
    let slowest = answers.iter().map(|answer| answer.after).max();
    println!("D1: {stats}, slowest {slowest:?}");
    assert_eq!(count(&answers, Some(Delivery::NotWritten)), 0);
    assert_ambiguous_at_kills(&answers, &kills);
    assert_answered_within(&answers, Duration::from_secs(1));
    assert_stored_once(&brokers, &answers).await;
}

/// pool contract: 4, 5
/// fault: D1
/// checklist: 45
async fn killed_primary_keeps_the_order(broker: Broker) {
    let brokers = three(broker).await;
    let config = config(&brokers).await.strategy(Strategy::Primary);
    let pool = start(config.failback_after(Duration::from_millis(50))).await;
    let load = OpenLoad::start(&pool);
    // A member that is lost before it has answered anything is not trusted.
    load.goes_on(Duration::from_millis(300)).await;
    let kills = kill_in_turn(&load, &brokers[..1]).await;
    until_up(&pool).await;
    let answers = load.stop().await;
    println!("D1, primary: {}", stats(&pool).await);
    assert_eq!(count(&answers, Some(Delivery::NotWritten)), 0);
    assert_ambiguous_at_kills(&answers, &kills);
    assert_stored_once(&brokers, &answers).await;
    let mut of_each = Vec::new();
    for broker in &brokers {
        let stored = numbers(&broker.bodies(TOPIC, 0).await);
        assert!(stored.is_sorted(), "{stored:?}");
        of_each.push(stored.len());
    }
    println!("D1, primary: {of_each:?} stored");
    assert!(of_each[0] > 0 && of_each[1] > 0, "{of_each:?}");
}

/// pool contract: 1, 2
/// fault: D11
async fn killed_members_lose_no_batch_and_no_deferred_publish(broker: Broker) {
    let brokers = three(broker).await;
    let pool = start(config(&brokers).await).await;
    // Each batch has the same message twice.
    let load = OpenLoad::start_with(&pool, |number| match number % 3 {
        0 => DeferredPublish::new(topic(TOPIC), Duration::from_millis(1), numbered(number)).into(),
        1 => MultiPublish::new(topic(TOPIC), [numbered(number), numbered(number)]).into(),
        _ => Publish::new(topic(TOPIC), numbered(number)).into(),
    });
    let kills = kill_in_turn(&load, &brokers).await;
    until_up(&pool).await;
    let answers = load.stop().await;
    println!("D11: {}", stats(&pool).await);
    assert_eq!(count(&answers, Some(Delivery::NotWritten)), 0);
    assert_ambiguous_at_kills(&answers, &kills);
    assert_answered_within(&answers, Duration::from_secs(1));
    let mut times = vec![0; answers.len()];
    for body in stored(&brokers).await {
        times[number_of(&body)] += 1;
    }
    for (answer, times) in answers.iter().zip(times) {
        let is_batch = answer.number % 3 == 1;
        let all = 1 + usize::from(is_batch);
        let agrees = match answer.delivery() {
            None => times == all,
            Some(Delivery::MaybePartial) => is_batch && times <= all,
            Some(_) => !is_batch && times <= all,
        };
        assert!(agrees, "{answer:?}, stored {times} times");
    }
}

/// Publishes for a while with one member at `address` that is not well, and two at the others.
/// Returns the pool when everything is answered.
async fn publish_beside(address: String, others: &[Broker]) -> (Addr<ProducerPool>, Vec<Answer>) {
    let mut all = vec![address];
    all.extend(addresses(others).await);
    let pool = ProducerPool::start(config_of(all).build().unwrap());
    until(&pool, "two members are up", |stats| stats.state.up >= 2).await;
    let load = OpenLoad::start(&pool);
    load.goes_on(scaled(Duration::from_millis(600), Duration::from_secs(10)))
        .await;
    (pool, load.stop().await)
}

/// pool contract: 2, 6
/// fault: D3
async fn flapping_member_costs_no_publish(broker: Broker) {
    let brokers = three(broker).await;
    let flaps = Faults {
        cut_every: Some(Duration::from_millis(50)),
        ..Faults::default()
    };
    let proxy = ChaosProxy::start(brokers[0].address().await, flaps, seed()).unwrap();
    let address = proxy.address().to_string();
    let (pool, answers) = publish_beside(address.clone(), &brokers[1..]).await;
    let member = member(&pool, &address).await;
    println!(
        "D3, flaps: {}; {} moved",
        stats(&pool).await,
        member.moved_from
    );
    assert_eq!(count(&answers, Some(Delivery::NotWritten)), 0);
    assert_answered_within(&answers, Duration::from_secs(1));
    assert_stored_once(&brokers, &answers).await;
    // One connection lasts 50 ms, so that twice as many would be a busy loop.
    let seconds = scaled(0.6, 10.0);
    let connects = member.producer.connects as f64;
    assert!(connects < 2.0 * seconds * 20.0 + 5.0, "{connects} connects");
}

/// pool contract: 6
/// fault: D3
async fn member_that_cannot_be_connected_costs_no_publish(broker: Broker) {
    let brokers = three(broker).await;
    // After the magic.
    let closes = Faults {
        up: Way {
            cut: Some(4),
            ..Way::default()
        },
        ..Faults::default()
    };
    let refuses = Faults {
        refuse: true,
        ..Faults::default()
    };
    let mut all = Vec::new();
    for (what, faults) in [
        ("closes", closes),
        ("refuses", refuses),
        ("hangs", Faults::black_hole()),
    ] {
        let proxy = ChaosProxy::start(brokers[0].address().await, faults, seed()).unwrap();
        let address = proxy.address().to_string();
        let (pool, answers) = publish_beside(address.clone(), &brokers[1..]).await;
        let stats = stats(&pool).await;
        let connections = proxy.counts().connections;
        println!("D3, {what}: {stats}; {connections} connections");
        assert_all_ok(&answers);
        assert_eq!((stats.moved, stats.state.up), (0, 2), "{what}");
        // The backoff is at most 200 ms.
        let seconds = scaled(0.6, 10.0);
        assert!(
            (connections as f64) < 20.0 + seconds * 20.0,
            "{what}: {connections}"
        );
        all.push(answers.len());
    }
    assert_eq!(stored(&brokers).await.len(), all.iter().sum::<usize>());
}

/// pool contract: 2, 6
/// fault: D3
async fn member_that_declines_tls_costs_no_publish(broker: Broker) {
    let kind = broker.kind();
    let tls = || Broker::start(kind, Settings::tls(Tls::default()));
    let brokers = [broker, tls().await, tls().await];
    let config = config(&brokers).await;
    let config = config.tls_v1(true).tls_insecure_skip_verify(true);
    let pool = ProducerPool::start(config.build().unwrap());
    until(&pool, "two members are up", |stats| stats.state.up == 2).await;
    let load = OpenLoad::start(&pool);
    load.goes_on(Duration::from_millis(500)).await;
    let answers = load.stop().await;
    assert_all_ok(&answers);
    assert_eq!(stats(&pool).await.moved, 0);
    assert_stored_once(&brokers[1..], &answers).await;
}

/// pool contract: 6, 8
/// fault: D6
async fn publishes_wait_in_the_pool_while_none_is_up(broker: Broker) {
    const PENDING: usize = 500;
    let brokers = three(broker).await;
    let outage = scaled(Duration::from_millis(800), Duration::from_secs(10));
    let config = config(&brokers).await;
    let pool = start(config.max_pending(PENDING).publish_timeout(2 * outage)).await;
    for broker in &brokers {
        broker.kill().await;
    }
    until_none_up(&pool).await;
    let load = OpenLoad::start(&pool);
    load.goes_on(outage).await;
    let during = stats(&pool).await;
    assert_eq!(
        (during.waiting, during.held),
        (PENDING, PENDING),
        "{during}"
    );
    brokers[1].restart().await;
    until(&pool, "one member is up", |stats| stats.state.up == 1).await;
    load.goes_on(outage / 2).await;
    for broker in [&brokers[0], &brokers[2]] {
        broker.restart().await;
    }
    until_up(&pool).await;
    until_load_is_even(&pool).await;
    let answers = load.stop().await;
    println!("D6: {}", stats(&pool).await);
    // Beyond the limit the answer is `Full` at once; what waited is stored.
    for answer in answers.iter().filter(|answer| answer.result.is_err()) {
        let error = answer.result.clone().unwrap_err();
        let is_full = error.kind() == ErrorKind::Full && error.delivery() == Delivery::NotWritten;
        assert!(is_full, "{answer:?}");
        assert!(answer.after < Duration::from_secs(1), "{answer:?}");
    }
    let waited = answers.iter().take(PENDING);
    assert!(waited.clone().all(|answer| answer.result.is_ok()));
    assert_stored_once(&brokers, &answers).await;
}

/// fault: D12
async fn pools_reconnect_at_different_times(broker: Broker) {
    let brokers = three(broker).await;
    let number = match brokers[0].kind() {
        Kind::Embedded => scaled(30, 300),
        Kind::Real => scaled(30, 1_000),
    };
    let config = config(&brokers)
        .await
        .max_reconnect_backoff(Duration::from_secs(1));
    let config = config.build().unwrap();
    let pools: Vec<_> = (0..number)
        .map(|_| ProducerPool::start(config.clone()))
        .collect();
    for pool in &pools {
        until_up(pool).await;
    }
    let before = brokers[0].handshakes().await;
    for broker in &brokers {
        broker.terminate().await;
    }
    for pool in &pools {
        until_none_up(pool).await;
    }
    for broker in &brokers {
        broker.restart().await;
    }
    let began = Instant::now();
    // Poll until each has a member: with backoff, they come one after the other.
    let mut up_after = Vec::new();
    for pool in &pools {
        until_up(pool).await;
        up_after.push(began.elapsed());
    }
    println!("D12: all are up after {:?}", began.elapsed());
    assert!(began.elapsed() < LONG);
    let handshakes = brokers[0].handshakes().await - before;
    assert!(
        handshakes <= 2 * number,
        "{handshakes} handshakes of {number} pools"
    );
    let body = Bytes::from_static(b"after");
    for pool in &pools {
        let answer = pool.send(Publish::new(topic("after"), body.clone())).await;
        answer.unwrap().unwrap();
    }
}
