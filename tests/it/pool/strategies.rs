//! Which member gets a publish, and in which order.

use actix_nsq::{Publish, pool::Strategy};
use tokio::time::sleep;

use crate::harness::{
    Network, all_ok, in_virtual_time, lost, ms, primary, publish, publish_each, s, send, topic,
};

/// pool contract: 4
/// checklist: 45
#[test]
fn spread_gives_runs_to_members_in_turn() {
    in_virtual_time(async |mut network: Network| {
        let runs =
            |config: actix_nsq::PoolConfigBuilder| config.auto_batch(true).auto_batch_messages(2);
        let (pool, [mut a, mut b, mut c]) = network.start_pool(runs).await;
        let answers = publish_each(&pool, ["1", "2", "3", "4", "5", "6"]);
        b.expect_mpub("t", &["1", "2"]).await;
        c.expect_mpub("t", &["3", "4"]).await;
        a.expect_mpub("t", &["5", "6"]).await;
        for peer in [&mut a, &mut b, &mut c] {
            peer.send_ok().await;
        }
        all_ok(answers).await;
    });
}

/// pool contract: 4, 5
/// checklist: 45
#[test]
fn primary_fails_over_and_back() {
    in_virtual_time(async |mut network: Network| {
        let failback = |config| primary(config).failback_after(s(5));
        let (pool, [mut a, mut b]) = network.start_pool(failback).await;
        let answers = publish_each(&pool, ["1", "2"]);
        a.confirm_all(&["1", "2"]).await;
        all_ok(answers).await;
        a.fin().await;
        sleep(ms(1)).await;
        let answer = publish(&pool, "3");
        b.confirm("3").await;
        answer.await.unwrap();
        let mut a = network.member_connected("a:1").await;
        sleep(ms(4_900)).await;
        let answer = publish(&pool, "4");
        b.confirm("4").await;
        answer.await.unwrap();
        sleep(ms(200)).await;
        let answer = publish(&pool, "5");
        a.confirm("5").await;
        answer.await.unwrap();
    });
}

/// pool contract: 4
#[test]
fn per_topic_gives_a_topic_to_one_member() {
    in_virtual_time(async |mut network: Network| {
        let per_topic = |config: actix_nsq::PoolConfigBuilder| config.strategy(Strategy::PerTopic);
        let (pool, [mut a, mut b]) = network.start_pool(per_topic).await;
        let names = ["orders", "payments", "mails", "logs"];
        let mut members = Vec::new();
        for round in 0..3 {
            for (index, name) in names.into_iter().enumerate() {
                let answer = send(&pool, Publish::new(topic(name), "1"));
                let member = tokio::select! {
                    () = a.expect_pub(name, "1") => "a",
                    () = b.expect_pub(name, "1") => "b",
                };
                match member {
                    "a" => a.send_ok().await,
                    _ => b.send_ok().await,
                }
                answer.await.unwrap();
                if round == 0 {
                    members.push(member);
                }
                assert_eq!(members[index], member, "{name}");
            }
        }
        assert!(
            members.contains(&"a") && members.contains(&"b"),
            "{members:?}"
        );
    });
}

/// pool contract: 5
#[test]
fn moved_publishes_precede_younger_ones_at_their_new_member() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(|config| config.publish_window(1)).await;
        // A run has 256 publishes: the first member gets all of these.
        let [first, second, third] = publish_each(&pool, ["1", "2", "3"]);
        b.expect_pub("t", "1").await;
        sleep(ms(1)).await;
        b.fin().await;
        lost(first).await;
        // They moved, and those that follow do not overtake them.
        let [fourth, fifth] = publish_each(&pool, ["4", "5"]);
        for body in ["2", "3", "4", "5"] {
            a.confirm(body).await;
        }
        all_ok([second, third, fourth, fifth]).await;
    });
}

/// pool contract: 5
#[test]
fn primary_keeps_the_order_while_a_connection_is_replaced() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(primary).await;
        let first = publish(&pool, "0");
        a.confirm("0").await;
        first.await.unwrap();
        let [invalid, second] = publish_each(&pool, ["1", "2"]);
        a.expect_pubs(&["1", "2"]).await;
        a.reject("E_BAD_MESSAGE no").await;
        invalid.await.unwrap_err();
        let third = publish(&pool, "3");
        let mut a = network.member_connected("a:1").await;
        a.confirm_all(&["2", "3"]).await;
        all_ok([second, third]).await;
        b.expect_silence(ms(10)).await;
    });
}

/// pool contract: 5
#[test]
fn primary_keeps_the_order_when_its_member_is_lost() {
    in_virtual_time(async |mut network: Network| {
        let window = |config| primary(config).publish_window(1);
        let (pool, [mut a, mut b]) = network.start_pool(window).await;
        let [first, second, third] = publish_each(&pool, ["1", "2", "3"]);
        a.expect_pub("t", "1").await;
        a.fin().await;
        let fourth = publish(&pool, "4");
        lost(first).await;
        let fifth = publish(&pool, "5");
        for body in ["2", "3", "4", "5"] {
            b.confirm(body).await;
        }
        all_ok([second, third, fourth, fifth]).await;
    });
}
