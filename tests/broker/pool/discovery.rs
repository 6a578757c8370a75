//! Pools whose members an nsqlookupd names, of either kind.

use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::lookup::{
    AddLookupd, AddLookupdError, GetLookupState, LookupState, Refresh, RemoveLookupd,
};
use actix_nsq::pool::{AddMember, GetMembers, MemberState, RemoveMember};
use actix_nsq::producer::Drain;
use actix_nsq::{
    LookupConfig, PoolConfig, PoolConfigBuilder, ProducerPool, Publish, admin, lookup,
};

use super::fixture::stats;
use crate::consume::fixture::until;
use crate::fixture::{LONG, TOPIC, numbered, topic};
use crate::harness::{Scenario, lookupd_scenarios};
use crate::lookupd::{port, registered};
use crate::support::broker::Broker;
use crate::support::lookupd::{Lookupd, LookupdSettings};

/// An address on which nothing listens.
const DEAD: &str = "127.0.0.1:1";

pub fn scenarios() -> Vec<Scenario> {
    let default = LookupdSettings::default;
    lookupd_scenarios![
        named_nsqds_are_members_also_without_topics(default()),
        failing_lookupd_costs_no_member(default()),
        one_of_three_lookupds_is_dead_and_views_are_disjoint(default()),
        tombstoned_topic_is_not_published_at_that_node(LookupdSettings {
            tombstone_lifetime: Duration::from_secs(3),
            ..default()
        }),
        vanished_member_is_removed_once_it_is_down(default()),
        removed_member_is_not_added_while_it_is_named(default()),
        lookupds_are_added_and_removed_at_run_time(default()),
        fixed_address_that_is_named_counts_once(default()),
        filter_decides_which_nodes_are_members(default()),
        full_pool_takes_the_next_node_when_a_member_is_gone(default()),
        drain_ends_the_discovery(default()),
    ]
}

pub fn config(lookupds: &[&str]) -> PoolConfigBuilder {
    quick(PoolConfig::discover(lookupds.iter().copied()))
}

/// Queries and dials often, so that a scenario has many rounds.
fn quick(config: PoolConfigBuilder) -> PoolConfigBuilder {
    config
        .reconnect_backoff(Duration::from_millis(20))
        .max_reconnect_backoff(Duration::from_millis(200))
        .lookupd_poll_interval(Duration::from_millis(50))
        .lookupd_poll_timeout(Duration::from_millis(500))
}

pub fn start(config: PoolConfigBuilder) -> Addr<ProducerPool> {
    ProducerPool::start(config.build().unwrap())
}

pub async fn state(pool: &Addr<ProducerPool>) -> LookupState {
    pool.send(GetLookupState).await.unwrap()
}

/// The addresses of the members, sorted, and whether all are up.
async fn members(pool: &Addr<ProducerPool>) -> (Vec<String>, bool) {
    let members = pool.send(GetMembers).await.unwrap();
    let all_up = members.iter().all(|it| it.state == MemberState::Up);
    let mut addresses: Vec<_> = members.iter().map(|it| it.address.to_string()).collect();
    addresses.sort_unstable();
    (addresses, all_up)
}

pub async fn addresses(brokers: &[&Broker]) -> Vec<String> {
    let mut addresses = Vec::new();
    for broker in brokers {
        addresses.push(broker.address().await);
    }
    addresses.sort_unstable();
    addresses
}

/// Waits until these nsqds are the members, and all are up.
pub async fn until_members(pool: &Addr<ProducerPool>, brokers: &[&Broker]) {
    let expected = (addresses(brokers).await, true);
    until("these are the members", async || {
        members(pool).await == expected
    })
    .await;
}

/// Waits until each nsqlookupd was queried again, at least this often, and has answered or failed.
pub async fn rounds(pool: &Addr<ProducerPool>, rounds: u64) {
    let before = state(pool).await;
    until("more rounds", async || {
        let now = state(pool).await;
        let pairs = before.lookupds.iter().zip(&now.lookupds);
        // One may be under way.
        pairs
            .into_iter()
            .all(|(before, now)| now.queries > before.queries + rounds)
    })
    .await;
}

/// Publishes messages, which must be stored.
pub async fn publish(pool: &Addr<ProducerPool>, messages: usize) {
    for number in 0..messages {
        let publish = Publish::new(topic(TOPIC), numbered(number));
        pool.send(publish).await.unwrap().unwrap();
    }
}

/// Asserts that every member is connected for the first time, and that the pool publishes.
pub async fn assert_undisturbed(pool: &Addr<ProducerPool>, count: usize) {
    publish(pool, 10).await;
    let members = stats(pool).await.members;
    let connects: Vec<_> = members.iter().map(|it| it.producer.connects).collect();
    assert_eq!(connects, vec![1; count], "{members:#?}");
}

/// checklist: 47
async fn named_nsqds_are_members_also_without_topics(lookupd: Lookupd) {
    let first = registered(lookupd.kind(), &lookupd).await;
    let pool = start(config(&[lookupd.http_address()]));
    until_members(&pool, &[&first]).await;
    let second = registered(lookupd.kind(), &lookupd).await;
    pool.send(Refresh).await.unwrap();
    until_members(&pool, &[&first, &second]).await;
    let members = pool.send(GetMembers).await.unwrap();
    assert!(members.iter().all(|it| it.is_discovered), "{members:?}");
    assert_undisturbed(&pool, 2).await;
}

/// checklist: 47
/// fault: D9
async fn failing_lookupd_costs_no_member(lookupd: Lookupd) {
    let brokers = [
        registered(lookupd.kind(), &lookupd).await,
        registered(lookupd.kind(), &lookupd).await,
    ];
    let pool = start(config(&[lookupd.http_address()]));
    until_members(&pool, &[&brokers[0], &brokers[1]]).await;
    lookupd.freeze(true).await;
    rounds(&pool, 2).await;
    assert!(state(&pool).await.lookupds[0].last_error.is_some());
    assert_undisturbed(&pool, 2).await;
    lookupd.freeze(false).await;
    lookupd.kill().await;
    rounds(&pool, 2).await;
    assert_undisturbed(&pool, 2).await;
    // It knows no nsqd until each has connected to it again.
    lookupd.restart().await;
    until("it has answered", async || {
        state(&pool).await.lookupds[0].last_error.is_none()
    })
    .await;
    assert_undisturbed(&pool, 2).await;
}

/// checklist: 47
/// fault: D9
async fn one_of_three_lookupds_is_dead_and_views_are_disjoint(lookupd: Lookupd) {
    let other = Lookupd::start(lookupd.kind(), LookupdSettings::default()).await;
    let brokers = [
        registered(lookupd.kind(), &lookupd).await,
        registered(lookupd.kind(), &other).await,
    ];
    let all = [DEAD, lookupd.http_address(), other.http_address()];
    let pool = start(config(&all));
    until_members(&pool, &[&brokers[0], &brokers[1]]).await;
    rounds(&pool, 3).await;
    assert_undisturbed(&pool, 2).await;
}

/// checklist: 47
async fn tombstoned_topic_is_not_published_at_that_node(lookupd: Lookupd) {
    let brokers = [
        registered(lookupd.kind(), &lookupd).await,
        registered(lookupd.kind(), &lookupd).await,
    ];
    let mut ports = Vec::new();
    for broker in &brokers {
        broker.create_channel(TOPIC, "a").await;
        ports.push(port(broker).await);
    }
    ports.sort_unstable();
    lookupd.until_producers(TOPIC, Some(&ports), LONG).await;
    // Its runs are one publish long.
    let pool = start(config(&[lookupd.http_address()]).auto_batch(false));
    until_members(&pool, &[&brokers[0], &brokers[1]]).await;

    let address = brokers[0].address().await;
    let lookup = LookupConfig::new(lookupd.http_address()).unwrap();
    let nodes = lookup::nodes(&lookup).await.unwrap();
    let node = nodes.iter().find(|node| *node.address == *address).unwrap();
    let admin = admin::Lookupd::new(lookupd.http_address()).unwrap();
    admin.tombstone(&topic(TOPIC), node).await.unwrap();
    let is_tombstoned = async || {
        let state = state(&pool).await;
        let mut nodes = state.nodes.iter().map(|it| &it.node);
        let node = nodes.find(|node| *node.address == *address);
        node.is_some_and(|node| node.topics.iter().any(|it| it.is_tombstoned))
    };
    until("it is tombstoned", &is_tombstoned).await;
    let before = brokers[0].message_count(TOPIC).await;
    publish(&pool, 50).await;
    // On a busy machine its time may have passed.
    if is_tombstoned().await {
        assert_eq!(brokers[0].message_count(TOPIC).await, before);
    }
    until("its time has passed", async || !is_tombstoned().await).await;
    until("it gets publishes", async || {
        publish(&pool, 50).await;
        brokers[0].message_count(TOPIC).await > before
    })
    .await;
    assert_undisturbed(&pool, 2).await;
}

/// checklist: 47
async fn vanished_member_is_removed_once_it_is_down(lookupd: Lookupd) {
    let brokers = [
        registered(lookupd.kind(), &lookupd).await,
        registered(lookupd.kind(), &lookupd).await,
    ];
    let pool = start(config(&[lookupd.http_address()]));
    until_members(&pool, &[&brokers[0], &brokers[1]]).await;
    brokers[0].kill().await;
    until_members(&pool, &[&brokers[1]]).await;
    publish(&pool, 10).await;
    brokers[0].restart().await;
    until_members(&pool, &[&brokers[0], &brokers[1]]).await;
    publish(&pool, 10).await;
}

/// checklist: 47
async fn removed_member_is_not_added_while_it_is_named(lookupd: Lookupd) {
    let brokers = [
        registered(lookupd.kind(), &lookupd).await,
        registered(lookupd.kind(), &lookupd).await,
    ];
    let config = config(&[lookupd.http_address()]).build().unwrap();
    let pool = ProducerPool::start(config.clone());
    until_members(&pool, &[&brokers[0], &brokers[1]]).await;
    let address = brokers[0].address().await;
    let removed = pool.send(RemoveMember::new(&address, LONG)).await;
    assert!(removed.unwrap().is_some());
    rounds(&pool, 3).await;
    until_members(&pool, &[&brokers[1]]).await;
    assert_eq!(brokers[0].sockets_of_ours().await, 0);
    // The program adds it again.
    let member = config.member(&address).unwrap();
    pool.send(AddMember(member)).await.unwrap().unwrap();
    until_members(&pool, &[&brokers[0], &brokers[1]]).await;
}

/// checklist: 47, 90
async fn lookupds_are_added_and_removed_at_run_time(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let none: [String; 0] = [];
    let pool = start(quick(PoolConfig::builder(none)));
    assert!(!pool.send(Refresh).await.unwrap());
    assert_eq!(state(&pool).await, LookupState::default());
    let address = lookupd.http_address().to_owned();
    let invalid = pool.send(AddLookupd("no port".to_owned())).await.unwrap();
    assert!(matches!(invalid, Err(AddLookupdError::Address(_))));
    for _ in 0..2 {
        let added = pool.send(AddLookupd(address.clone())).await.unwrap();
        added.unwrap();
    }
    until_members(&pool, &[&broker]).await;
    assert_eq!(state(&pool).await.lookupds.len(), 1);
    assert!(pool.send(RemoveLookupd(address.clone())).await.unwrap());
    assert!(!pool.send(RemoveLookupd(address)).await.unwrap());
    assert_eq!(state(&pool).await.lookupds.len(), 0);
    assert_undisturbed(&pool, 1).await;
    // No nsqlookupd is left that could say that it has vanished.
    broker.kill().await;
    broker.restart().await;
    until_members(&pool, &[&broker]).await;
}

/// checklist: 47
async fn fixed_address_that_is_named_counts_once(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let fixed = [broker.address().await];
    let pool = start(config(&[lookupd.http_address()]).addresses(fixed));
    until_members(&pool, &[&broker]).await;
    rounds(&pool, 2).await;
    assert_undisturbed(&pool, 1).await;
    // It is not dropped.
    broker.kill().await;
    until("it is named no more", async || {
        lookupd.nodes().await.is_empty()
    })
    .await;
    rounds(&pool, 2).await;
    let members = pool.send(GetMembers).await.unwrap();
    assert_eq!((members.len(), members[0].is_discovered), (1, false));
    broker.restart().await;
    until_members(&pool, &[&broker]).await;
}

/// checklist: 47, 90
async fn filter_decides_which_nodes_are_members(lookupd: Lookupd) {
    let brokers = [
        registered(lookupd.kind(), &lookupd).await,
        registered(lookupd.kind(), &lookupd).await,
    ];
    let accepted = port(&brokers[0]).await;
    let filtered = config(&[lookupd.http_address()]);
    let filtered = filtered.node_filter(move |node| node.tcp_port == accepted);
    let pool = start(filtered);
    until_members(&pool, &[&brokers[0]]).await;
    rounds(&pool, 3).await;
    until_members(&pool, &[&brokers[0]]).await;
    assert_eq!(brokers[1].sockets_of_ours().await, 0);
}

/// checklist: 47
async fn full_pool_takes_the_next_node_when_a_member_is_gone(lookupd: Lookupd) {
    let mut brokers = Vec::new();
    for _ in 0..3 {
        brokers.push(registered(lookupd.kind(), &lookupd).await);
    }
    let pool = start(config(&[lookupd.http_address()]).max_members(2));
    let is_full = async || {
        let (members, all_up) = members(&pool).await;
        members.len() == 2 && all_up
    };
    until("it is full", &is_full).await;
    rounds(&pool, 2).await;
    let (present, _) = members(&pool).await;
    let (mut gone, mut staying) = (Vec::new(), Vec::new());
    for broker in brokers {
        if gone.is_empty() && present.contains(&broker.address().await) {
            gone.push(broker);
        } else {
            staying.push(broker);
        }
    }
    gone[0].kill().await;
    until_members(&pool, &[&staying[0], &staying[1]]).await;
    // The program makes room as well.
    gone[0].restart().await;
    until("the killed nsqd is named again", async || {
        lookupd.nodes().await.len() == 3
    })
    .await;
    rounds(&pool, 2).await;
    let address = staying[0].address().await;
    let removed = pool.send(RemoveMember::new(address, LONG)).await;
    assert!(removed.unwrap().is_some());
    until_members(&pool, &[&gone[0], &staying[1]]).await;
}

/// checklist: 47
async fn drain_ends_the_discovery(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let pool = start(config(&[lookupd.http_address()]));
    until_members(&pool, &[&broker]).await;
    pool.send(Drain::new(LONG)).await.unwrap();
    assert_eq!(state(&pool).await, LookupState::default());
    let address = lookupd.http_address().to_owned();
    let added = pool.send(AddLookupd(address.clone())).await.unwrap();
    assert!(matches!(added, Err(AddLookupdError::Drained)), "{added:?}");
    assert!(!pool.send(RemoveLookupd(address)).await.unwrap());
    assert!(!pool.send(Refresh).await.unwrap());
    assert_eq!(broker.sockets_of_ours().await, 0);
}
