//! The end of a pool: drains, and the last address.

use std::panic;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::thread;

use actix::{Recipient, System};
use actix_nsq::{
    Delivery, ErrorKind, PoolConfig, ProducerPool, Publish, WaitConnected,
    pool::{AddMember, AddMemberError, GetState, PoolEvent, PoolPhase},
    producer::Drain,
};
use futures::future::join_all;
use tokio::time::sleep;

use crate::harness::{
    Network, all_ok, assert_error, events_of, in_virtual_time, ms, pool_stats, primary, publish,
    publish_each, s, timed, topic,
};

/// pool contract: 10
#[test]
fn drain_ends_all_members_with_one_summed_report() {
    in_virtual_time(async |mut network: Network| {
        let runs =
            |config: actix_nsq::PoolConfigBuilder| config.auto_batch(true).auto_batch_messages(2);
        let (pool, [mut a, mut b]) = network.start_pool(runs).await;
        let events = events_of(&pool);
        let answers = publish_each(&pool, ["1", "2", "3", "4"]);
        b.expect_mpub("t", &["1", "2"]).await;
        a.expect_mpub("t", &["3", "4"]).await;
        let peers = async {
            sleep(s(1)).await;
            assert_error(
                publish(&pool, "5").await,
                ErrorKind::Drained,
                Delivery::NotWritten,
            );
            let config = network.pool_config(3).build().unwrap();
            let member = config.member("c:1").unwrap();
            let added = pool.send(AddMember(member)).await.unwrap();
            assert!(matches!(added, Err(AddMemberError::Drained)));
            a.send_ok().await;
            sleep(s(1)).await;
            b.send_ok().await;
        };
        let (drained, ()) = tokio::join!(timed(pool.send(Drain::new(s(5)))), peers);
        let (took, report) = (drained.0, drained.1.unwrap());
        assert!(took >= s(2) && took < s(3), "{took:?}");
        assert_eq!((report.ok, report.is_clean()), (4, true));
        all_ok(answers).await;
        assert_eq!(network.open_connections(), 0);
        let state = pool.send(GetState).await.unwrap();
        assert_eq!((state.phase, state.members), (PoolPhase::Drained, 0));
        let events = events.take();
        assert!(
            matches!(events.last(), Some(PoolEvent::Drained { .. })),
            "{events:?}"
        );
        network.expect_no_timer_for_an_hour().await;
    });
}

/// pool contract: 10
/// fault: D10
#[test]
fn drain_keeps_its_deadline_with_dead_and_silent_members() {
    in_virtual_time(async |mut network: Network| {
        let pool = network.start_pool_with(3, |config| config.publish_window(1));
        let mut peers = Vec::new();
        while peers.len() < 2 {
            let dial = network.dial().await;
            if dial.address == "a:1" {
                dial.refuse();
                continue;
            }
            let mut peer = dial.accept();
            peer.greet().await;
            peers.push(peer);
        }
        let answers = publish_each(&pool, ["1", "2", "3"]);
        let (took, report) = timed(pool.send(Drain::new(s(3)))).await;
        let report = report.unwrap();
        assert!(took >= s(3) && took < s(4), "{took:?}");
        let all = report.ok + report.not_written + report.maybe_written;
        assert_eq!((report.ok, all), (0, 3), "{report}");
        for answer in join_all(answers).await {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Drained);
        }
        drop(peers);
        network.expect_no_timer_for_an_hour().await;
    });
}

/// pool contract: 10
#[test]
fn drain_without_time_answers_a_long_queue_at_once() {
    in_virtual_time(async |mut network: Network| {
        const MANY: usize = 20_000;
        let pool = network.start_pool_with(2, primary);
        let answers: Vec<_> = (0..MANY).map(|it| publish(&pool, it.to_string())).collect();
        sleep(ms(1)).await;
        // A member connects, and the pool is drained before it has passed on all of them.
        let mut a = network.connected().await;
        let reads = async {
            a.wait_closed().await;
            a.fin().await;
        };
        let drain = timed(pool.send(Drain::new(ms(0))));
        let ((took, report), ()) = tokio::join!(drain, reads);
        let report = report.unwrap();
        assert!(took < s(2), "{took:?}");
        let (took, answers) = timed(join_all(answers)).await;
        assert!(took < s(2), "{took:?}");
        assert!(answers.iter().all(Result::is_err));
        let all = report.not_written + report.maybe_written;
        assert_eq!(all, MANY as u64, "{report}");
        assert_eq!(pool_stats(&pool).await.held, 0);
    });
}

/// pool contract: 10
#[test]
fn second_drain_gets_the_same_report() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [_a, mut b]) = network.start_pool(|config| config).await;
        let answer = publish(&pool, "1");
        b.expect_pub("t", "1").await;
        let first = pool.send(Drain::new(s(9)));
        let second = pool.send(Drain::new(s(1)));
        let (first, second) = tokio::join!(first, second);
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first, second);
        assert_eq!(first.maybe_written, 1);
        answer.await.unwrap_err();
        let third = pool.send(Drain::new(s(1))).await.unwrap();
        assert_eq!(third, first);
    });
}

/// pool contract: 1
/// fault: D10
#[test]
fn pool_without_addresses_answers_what_it_holds_and_ends() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(primary).await;
        let [first, second] = publish_each(&pool, ["1", "2"]);
        drop(pool);
        a.expect_pubs(&["1", "2"]).await;
        sleep(s(1)).await;
        a.send_oks(2).await;
        all_ok([first, second]).await;
        assert_eq!(a.wait_closed().await, b"");
        assert_eq!(b.wait_closed().await, b"");
    });
}

/// pool contract: 1
#[test]
fn pool_whose_callers_have_left_ends_soon() {
    in_virtual_time(async |mut network: Network| {
        let pool = network.start_pool_with(2, primary);
        let answers = publish_each(&pool, ["1", "2"]);
        sleep(ms(1)).await;
        drop(answers);
        drop(pool);
        let (took, dials) = timed(async {
            let mut dials = 0;
            while let Some(dial) = network.next_dial().await {
                dial.refuse();
                dials += 1;
            }
            dials
        })
        .await;
        assert!(took < s(1), "{took:?}, {dials} dials");
    });
}

/// pool contract: 6
#[test]
fn wait_connected_of_a_pool_waits_for_any_member() {
    in_virtual_time(async |mut network: Network| {
        let pool = network.start_pool_with(2, primary);
        let early = pool.send(WaitConnected::new(ms(500))).await.unwrap();
        early.unwrap_err();
        let waits = pool.send(WaitConnected::new(s(60)));
        let connects = async {
            network.dial().await.refuse();
            network.connected().await
        };
        let (waited, _peer) = tokio::join!(waits, connects);
        waited.unwrap().unwrap();
    });
}

/// pool contract: 1
#[test]
fn pool_is_a_recipient_of_publishes() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, _b]) = network.start_pool(primary).await;
        let recipient: Recipient<Publish> = pool.recipient();
        let answer = recipient.send(Publish::new(topic("t"), "1"));
        a.confirm("1").await;
        answer.await.unwrap().unwrap();
    });
}

#[test]
fn system_that_ends_at_once_causes_no_panic() {
    let panicked = Arc::new(AtomicBool::new(false));
    let (seen, own, before) = (
        Arc::clone(&panicked),
        thread::current().id(),
        panic::take_hook(),
    );
    // Tokio catches a panic of a task.
    panic::set_hook(Box::new(move |info| {
        if thread::current().id() == own {
            seen.store(true, Ordering::Relaxed);
        } else {
            before(info);
        }
    }));
    let config = PoolConfig::discover(["127.0.0.1:9"]).build().unwrap();
    System::new().block_on(async { ProducerPool::start(config) });
    assert!(!panicked.load(Ordering::Relaxed));
}
