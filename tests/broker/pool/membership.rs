//! Members that are added and removed, and the end of a pool.

use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::pool::{AddMember, AddMemberError, GetMembers, RemoveMember};
use actix_nsq::producer::{Drain, DrainReport};
use actix_nsq::{Delivery, PoolConfig, ProducerPool};

use super::fixture::{
    OpenLoad, addresses, assert_all_ok, assert_stored_once, config, count, start, stats, stored,
    three, until, until_up,
};
use crate::fixture::{LONG, TOPIC, numbered, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::Broker;
use crate::support::scaled;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        members_change_under_load,
        member_is_removed_while_it_is_down,
        drain_ends_with_a_dead_and_a_suspended_member,
        pool_without_addresses_answers_everything_and_ends,
    ]
}

async fn remove(pool: &Addr<ProducerPool>, address: &str) -> Option<DrainReport> {
    pool.send(RemoveMember::new(address, LONG)).await.unwrap()
}

/// The publishes that were outstanding when a drain began.
fn all_of(report: &DrainReport) -> u64 {
    report.ok + report.not_written + report.maybe_written + report.maybe_partial
}

async fn add(
    pool: &Addr<ProducerPool>,
    config: &PoolConfig,
    address: &str,
) -> Result<(), AddMemberError> {
    let member = config.member(address).unwrap();
    pool.send(AddMember(member)).await.unwrap()
}

/// pool contract: 9
/// fault: D8
async fn members_change_under_load(broker: Broker) {
    let brokers = three(broker).await;
    let all = addresses(&brokers).await;
    let config = config(&brokers[..2]).await.build().unwrap();
    let pool = ProducerPool::start(config.clone());
    until_up(&pool).await;
    let load = OpenLoad::start(&pool);
    for _ in 0..scaled(3, 20) {
        add(&pool, &config, &all[2]).await.unwrap();
        let twice = add(&pool, &config, &all[2]).await;
        assert!(
            matches!(twice, Err(AddMemberError::AlreadyMember { .. })),
            "{twice:?}"
        );
        until_up(&pool).await;
        load.goes_on(Duration::from_millis(200)).await;
        let report = remove(&pool, &all[2]).await.expect("a member");
        assert_eq!(report.ok, all_of(&report), "{report}");
        assert_eq!(brokers[2].sockets_of_ours().await, 0);
        assert_eq!(pool.send(GetMembers).await.unwrap().len(), 2);
        assert!(remove(&pool, &all[2]).await.is_none());
    }
    // Added again while it still leaves.
    add(&pool, &config, &all[2]).await.unwrap();
    let removal = pool.send(RemoveMember::new(&all[2], LONG));
    add(&pool, &config, &all[2]).await.unwrap();
    assert!(removal.await.unwrap().is_some());
    until_up(&pool).await;
    let answers = load.stop().await;
    assert_all_ok(&answers);
    assert_stored_once(&brokers, &answers).await;
    let stats = stats(&pool).await;
    assert_eq!(
        (stats.published, stats.ok),
        (answers.len() as u64, answers.len() as u64)
    );
    assert_eq!((stats.held, stats.held_bytes), (0, 0));
}

/// pool contract: 9
/// fault: D8
async fn member_is_removed_while_it_is_down(broker: Broker) {
    let brokers = three(broker).await;
    let all = addresses(&brokers).await;
    let pool = start(config(&brokers).await).await;
    let load = OpenLoad::start(&pool);
    load.goes_on(Duration::from_millis(200)).await;
    brokers[0].kill().await;
    until(&pool, "it is down", |stats| stats.state.up == 2).await;
    remove(&pool, &all[0]).await.expect("a member");
    load.goes_on(Duration::from_millis(200)).await;
    let answers = load.stop().await;
    brokers[0].restart().await;
    assert_eq!(brokers[0].sockets_of_ours().await, 0);
    assert_eq!(count(&answers, Some(Delivery::NotWritten)), 0);
    assert_stored_once(&brokers, &answers).await;
    let stats = stats(&pool).await;
    assert_eq!(stats.published, stats.ok + stats.maybe_written, "{stats}");
}

/// pool contract: 1, 10
/// fault: D10
async fn drain_ends_with_a_dead_and_a_suspended_member(broker: Broker) {
    let brokers = three(broker).await;
    let pool = start(config(&brokers).await).await;
    let load = OpenLoad::start(&pool);
    load.goes_on(Duration::from_millis(300)).await;
    brokers[0].kill().await;
    brokers[1].freeze(true).await;
    load.goes_on(Duration::from_millis(200)).await;
    let began = Instant::now();
    let timeout = Duration::from_millis(800);
    let report = pool.send(Drain::new(timeout)).await.unwrap();
    let took = began.elapsed();
    assert!(took < timeout + Duration::from_millis(700), "{took:?}");
    let answers = load.stop().await;
    println!("D10: {report} after {took:?}; {}", stats(&pool).await);
    // What came after the drain had begun was rejected.
    let failed = |answer: &&super::fixture::Answer| answer.sent < began;
    let before: Vec<_> = answers.iter().filter(failed).cloned().collect();
    assert_eq!(count(&before, Some(Delivery::NotWritten)), 0);
    let at_drain = before
        .iter()
        .filter(|it| it.sent + it.after >= began)
        .count() as u64;
    assert!(all_of(&report) <= at_drain, "{report}, {at_drain}");
    brokers[1].freeze(false).await;
    for broker in &brokers[1..] {
        assert_eq!(broker.sockets_of_ours().await, 0);
    }
    brokers[0].restart().await;
    brokers[1].until_no_client_is_left().await;
    assert_stored_once(&brokers, &answers).await;
}

/// pool contract: 1
/// fault: D10
async fn pool_without_addresses_answers_everything_and_ends(broker: Broker) {
    let brokers = three(broker).await;
    let pool = start(config(&brokers).await).await;
    let numbers = 0..3_000;
    let answers = numbers.clone().map(|number| {
        let publish = actix_nsq::Publish::new(topic(TOPIC), numbered(number));
        pool.send(publish)
    });
    let answers: Vec<_> = answers.collect();
    drop(pool);
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(stored(&brokers).await.len(), numbers.len());
    for broker in &brokers {
        broker.until_no_client_is_left().await;
        assert_eq!(broker.sockets_of_ours().await, 0);
    }
}
