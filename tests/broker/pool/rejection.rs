//! Publishes that nsqd rejects: because of its own state, or because of the message.

use std::time::Duration;

use actix_nsq::protocol::ErrorCode;
use actix_nsq::{Delivery, ErrorKind, ErrorScope, Publish};

use super::fixture::{
    OpenLoad, assert_all_ok, assert_stored_once, config, count, member, start, stats, three, until,
};
use crate::fixture::{TOPIC, numbered, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::{scaled, small_disk};

pub fn scenarios() -> Vec<Scenario> {
    let small_disk = Settings {
        disk: Some(64 << 20),
        ..Settings::default()
    };
    let small_bodies = Settings {
        max_msg_size: 1_000,
        ..Settings::default()
    };
    scenarios![
        full_disk_moves_publishes_and_its_member_is_used_again
            .only(Kind::Real, "it needs a real disk")
            .unless(small_disk::problem)
            .with(small_disk.clone()),
        full_disk_makes_batches_ambiguous
            .only(Kind::Real, "it needs a real disk")
            .unless(small_disk::problem)
            .with(small_disk),
        failing_member_moves_publishes.only(Kind::Embedded, "it fails on request"),
        invalid_publish_fails_alone_and_once.with(small_bodies),
    ]
}

async fn fill_disk(broker: &Broker) {
    let filled = broker.real().with_nsqd(|nsqd| nsqd.fill_disk()).await;
    filled.expect("the disk can be filled");
}

async fn free_disk(broker: &Broker) {
    let freed = broker.real().with_nsqd(|nsqd| nsqd.free_disk()).await;
    freed.expect("the disk can be freed");
}

/// pool contract: 2
/// fault: D4
/// checklist: 45, 48
async fn full_disk_moves_publishes_and_its_member_is_used_again(broker: Broker) {
    let brokers = three(broker).await;
    let address = brokers[0].address().await;
    let pool = start(config(&brokers).await.auto_batch(false)).await;
    let load = OpenLoad::start(&pool);
    load.goes_on(Duration::from_millis(300)).await;
    fill_disk(&brokers[0]).await;
    until(&pool, "publishes are rejected", |stats| stats.moved > 0).await;
    load.goes_on(scaled(Duration::from_millis(500), Duration::from_secs(10)))
        .await;
    free_disk(&brokers[0]).await;
    let before = member(&pool, &address).await.producer.ok;
    until(&pool, "the member is used again", |stats| {
        let member = stats.members.iter().find(|it| *it.address == *address);
        member.is_some_and(|member| member.producer.ok > before + 300)
    })
    .await;
    let answers = load.stop().await;
    let slowest = answers.iter().map(|answer| answer.after).max();
    println!("D4: {}, slowest {slowest:?}", stats(&pool).await);
    assert_all_ok(&answers);
    assert_stored_once(&brokers, &answers).await;
}

/// pool contract: 2
/// fault: D4
async fn full_disk_makes_batches_ambiguous(broker: Broker) {
    let brokers = three(broker).await;
    let pool = start(config(&brokers).await).await;
    let load = OpenLoad::start(&pool);
    load.goes_on(Duration::from_millis(300)).await;
    fill_disk(&brokers[0]).await;
    load.goes_on(scaled(
        Duration::from_millis(1_500),
        Duration::from_secs(10),
    ))
    .await;
    free_disk(&brokers[0]).await;
    load.goes_on(Duration::from_millis(300)).await;
    let answers = load.stop().await;
    let ambiguous = count(&answers, Some(Delivery::MaybeWritten));
    println!("D4, batches: {ambiguous} ambiguous; {}", stats(&pool).await);
    assert_eq!(count(&answers, Some(Delivery::NotWritten)), 0);
    for answer in answers.iter().filter(|answer| answer.result.is_err()) {
        let kind = answer.result.clone().unwrap_err().kind();
        assert_eq!(
            kind,
            ErrorKind::Rejected(ErrorCode::MpubFailed),
            "{answer:?}"
        );
    }
    assert_stored_once(&brokers, &answers).await;
}

/// pool contract: 2, 10
/// fault: D4
/// checklist: 48
async fn failing_member_moves_publishes(broker: Broker) {
    let brokers = three(broker).await;
    let pool = start(config(&brokers).await.auto_batch(false)).await;
    let load = OpenLoad::start(&pool);
    for _ in 0..scaled(5, 50) {
        load.goes_on(Duration::from_millis(100)).await;
        let faults = brokers[0].embedded().faults();
        faults.fail_next("PUB", "E_PUB_FAILED PUB failed no space left on device");
    }
    load.goes_on(Duration::from_millis(100)).await;
    let answers = load.stop().await;
    let stats = stats(&pool).await;
    println!("D4, on request: {stats}");
    assert_all_ok(&answers);
    assert!(stats.moved > 0);
    assert_stored_once(&brokers, &answers).await;
}

/// pool contract: 3
/// fault: D5
async fn invalid_publish_fails_alone_and_once(broker: Broker) {
    const EVERY: usize = 250;
    let brokers = {
        let kind = broker.kind();
        let start = || {
            let settings = Settings {
                max_msg_size: 1_000,
                ..Settings::default()
            };
            Broker::start(kind, settings)
        };
        [broker, start().await, start().await]
    };
    let pool = start(config(&brokers).await).await;
    // The client does not know nsqd's limit before nsqd has named it.
    let load = OpenLoad::start_with(&pool, |number| match number % EVERY {
        100 => Publish::new(topic(TOPIC), vec![b'x'; 1_001]).into(),
        200 => Publish::new("not a topic!", numbered(number)).into(),
        _ => Publish::new(topic(TOPIC), numbered(number)).into(),
    });
    load.goes_on(scaled(Duration::from_secs(1), Duration::from_secs(20)))
        .await;
    let answers = load.stop().await;
    let stats = stats(&pool).await;
    let (invalid, valid): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|answer| [100, 200].contains(&(answer.number % EVERY)));
    let disconnects: u64 = stats.members.iter().map(|it| it.producer.disconnects).sum();
    println!(
        "D5: {} invalid, {disconnects} disconnects; {stats}",
        invalid.len()
    );
    for answer in &invalid {
        let error = answer.result.clone().unwrap_err();
        assert_eq!(error.delivery(), Delivery::NotWritten, "{answer:?}");
        assert_ne!(error.scope(), ErrorScope::Server, "{answer:?}");
    }
    assert!(disconnects <= invalid.len() as u64);
    assert_all_ok(&valid);
    assert_stored_once(&brokers, &valid).await;
}
