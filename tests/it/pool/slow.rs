//! Slow members: the others are not delayed.

use actix_nsq::{
    PoolConfigBuilder,
    pool::{MemberState, MoveReason, PoolEvent},
};
use tokio::time::sleep;

use crate::harness::{
    Network, all_ok, block, events_of, in_virtual_time, is_pending, lost, ms, pool_members,
    pool_stats, publish, publish_each, s,
};

/// A member has one publish in flight at most.
fn narrow(config: PoolConfigBuilder) -> PoolConfigBuilder {
    config.publish_window(1)
}

/// pool contract: 7
#[test]
fn queued_publishes_leave_a_slow_member() {
    in_virtual_time(async |mut network: Network| {
        let options = |config| narrow(config).ack_timeout(s(5));
        let (pool, [mut a, mut b]) = network.start_pool(options).await;
        let events = events_of(&pool);
        let [mut first, second, third] = publish_each(&pool, ["1", "2", "3"]);
        b.expect_pub("t", "1").await;
        a.expect_silence(ms(15)).await;
        a.confirm("2").await;
        a.confirm("3").await;
        all_ok([second, third]).await;
        assert!(is_pending(&mut first));
        let members = pool_members(&pool).await;
        let states: Vec<_> = members
            .iter()
            .map(|it| (it.state, it.outstanding))
            .collect();
        assert_eq!(states, [(MemberState::Up, 0), (MemberState::Suspect, 1)]);
        lost(first).await;
        let took = network.elapsed();
        assert!(took > s(4) && took < s(6), "{took:?}");
        let events = events.take();
        assert!(events.iter().any(|event| matches!(
            event,
            PoolEvent::Moved {
                publishes: 2,
                reason: MoveReason::Slow,
                ..
            }
        )));
        assert!(
            events
                .iter()
                .any(|event| matches!(event, PoolEvent::Suspect { .. }))
        );
    });
}

/// pool contract: 7
#[test]
fn slow_member_gets_one_probe_at_a_time() {
    in_virtual_time(async |mut network: Network| {
        let options = |config: PoolConfigBuilder| config.ack_timeout(s(60)).publish_timeout(s(200));
        let (pool, [mut a, mut b]) = network.start_pool(options).await;
        let events = events_of(&pool);
        let slow = publish(&pool, "slow");
        b.expect_pub("t", "slow").await;
        sleep(ms(100)).await;
        // It is answered late: still suspect.
        b.send_ok().await;
        slow.await.unwrap();
        // It has answered everything: it is probed at once, and answers late again.
        let probe = publish(&pool, "late");
        b.expect_pub("t", "late").await;
        sleep(ms(900)).await;
        b.send_ok().await;
        probe.await.unwrap();
        let answer = publish(&pool, "0");
        a.confirm("0").await;
        answer.await.unwrap();
        sleep(ms(100)).await;
        // A second has passed since the last probe.
        let probe = publish(&pool, "probe");
        b.expect_pub("t", "probe").await;
        let others = publish_each(&pool, ["x", "y", "z"]);
        a.confirm_all(&["x", "y", "z"]).await;
        all_ok(others).await;
        for _ in 0..20 {
            sleep(s(1)).await;
            let answer = publish(&pool, "other");
            a.confirm("other").await;
            answer.await.unwrap();
        }
        b.send_ok().await;
        probe.await.unwrap();
        // The next probe is answered at once.
        sleep(s(1)).await;
        let probe = publish(&pool, "again");
        b.confirm("again").await;
        probe.await.unwrap();
        sleep(ms(1)).await;
        // The pool looks at its members when something is published.
        let _next = publish(&pool, "next");
        sleep(ms(1)).await;
        assert_eq!(pool_members(&pool).await[1].state, MemberState::Up);
        let events = events.take();
        assert!(
            events
                .iter()
                .any(|event| matches!(event, PoolEvent::Recovered { .. }))
        );
    });
}

/// pool contract: 7
#[test]
fn if_all_members_are_slow_they_are_used() {
    in_virtual_time(async |mut network: Network| {
        let options = |config: PoolConfigBuilder| config.publish_timeout(s(200));
        let (pool, [mut a, mut b]) = network.start_pool(options).await;
        let first = publish(&pool, "1");
        b.expect_pub("t", "1").await;
        sleep(ms(30)).await;
        let second = publish(&pool, "2");
        a.expect_pub("t", "2").await;
        sleep(ms(30)).await;
        let third = publish(&pool, "3");
        let fourth = publish(&pool, "4");
        // Whichever it is, they are sent at once.
        let (mut bodies, end) = (Vec::new(), sleep(ms(5)));
        tokio::pin!(end);
        loop {
            tokio::select! {
                command = a.next_command() => bodies.push(format!("{command:?}")),
                command = b.next_command() => bodies.push(format!("{command:?}")),
                () = &mut end => break,
            }
        }
        assert_eq!(bodies.len(), 2, "{bodies:?}");
        drop((first, second, third, fourth));
    });
}

/// pool contract: 7
#[test]
fn queued_publishes_leave_a_slow_member_when_another_recovers() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(narrow).await;
        let first = publish(&pool, "1");
        b.expect_pub("t", "1").await;
        sleep(ms(30)).await;
        let mut second = publish(&pool, "2");
        a.expect_pub("t", "2").await;
        sleep(ms(30)).await;
        // Both are slow. These wait at one of them.
        let [third, fourth] = publish_each(&pool, ["3", "4"]);
        sleep(ms(1)).await;
        b.send_ok().await;
        all_ok([first]).await;
        let fifth = publish(&pool, "5");
        for body in ["5", "3", "4"] {
            b.confirm(body).await;
        }
        all_ok([fifth, third, fourth]).await;
        assert!(is_pending(&mut second));
    });
}

/// pool contract: 7
#[test]
fn slow_member_keeps_its_publishes_if_no_other_is_better() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut only]) = network.start_pool(narrow).await;
        let [first, second] = publish_each(&pool, ["1", "2"]);
        only.expect_pub("t", "1").await;
        sleep(ms(50)).await;
        let before = network.elapsed();
        only.send_ok().await;
        only.confirm("2").await;
        all_ok([first, second]).await;
        let took = network.elapsed() - before;
        assert!(took < ms(100), "{took:?}");
    });
}

/// pool contract: 7
#[test]
fn slow_members_publish_in_flight_counts_when_it_is_answered() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(narrow).await;
        let [first, second] = publish_each(&pool, ["1", "2"]);
        b.expect_pub("t", "1").await;
        a.confirm("2").await;
        second.await.unwrap();
        sleep(s(3)).await;
        b.send_ok().await;
        first.await.unwrap();
        let stats = pool_stats(&pool).await;
        assert_eq!((stats.ok, stats.moved), (2, 1));
        let slow = stats.members.iter().map(|it| it.moves.slow);
        assert_eq!(slow.sum::<u64>(), 1);
    });
}

/// pool contract: 7
#[test]
fn blocked_arbiter_makes_no_member_slow() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [_a, mut b]) = network.start_pool(narrow).await;
        let events = events_of(&pool);
        let [first, second] = publish_each(&pool, ["1", "2"]);
        b.expect_pub("t", "1").await;
        // The answer is in the socket when the arbiter goes on.
        b.send_ok().await;
        block(s(1));
        first.await.unwrap();
        b.confirm("2").await;
        second.await.unwrap();
        let suspects = events.take().into_iter();
        let suspects = suspects.filter(|event| matches!(event, PoolEvent::Suspect { .. }));
        assert_eq!(suspects.count(), 0);
    });
}
