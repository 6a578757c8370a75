//! When nsqlookupds are queried, and what an answer changes.

use actix_nsq::lookup::{AddLookupd, Refresh, RemoveLookupd};

use super::world::{Answer, World, http, nodes, now, producers, state, unknown_topic};
use crate::harness::{consumer_stats, drain, in_virtual_time, ms, s};

/// checklist: 81, 87
#[test]
fn nodes_of_all_lookupds_are_united() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd-1:4161", nodes(&["nsqd-1", "10.0.0.1"]));
        world.lookupd(
            "lookupd-2:4161",
            nodes(&["10.0.0.1", "NSQD-1", "::1", "[::1]"]),
        );
        world.lookupd("lookupd-3:4161", Answer::Unreachable);
        let lookupds = ["lookupd-1:4161", "lookupd-2:4161", "lookupd-3:4161"];
        let consumer = world.start(&lookupds, |config| config);
        let mut dialled = Vec::new();
        for _ in 0..3 {
            dialled.push(world.dial().await);
        }
        let mut addresses: Vec<_> = dialled.iter().map(|dial| dial.address.as_str()).collect();
        addresses.sort_unstable();
        assert_eq!(addresses, ["10.0.0.1:4150", "[::1]:4150", "nsqd-1:4150"]);
        assert!(world.elapsed() < s(1), "{:?}", world.elapsed());
        world.expect_no_dial(ms(900)).await;
        assert_eq!(consumer_stats(&consumer).await.nsqds.len(), 3);
    });
}

/// checklist: 82
#[test]
fn first_round_is_at_once_and_others_after_interval_and_jitter() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let _consumer = world.start(&["lookupd:4161"], |config| config);
        let _nsqd = world.subscribed("nsqd:4150").await;
        tokio::time::sleep(s(600)).await;
        let times = world.times("lookupd:4161");
        assert_eq!(times[0], 0);
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (59..=79).contains(gap)), "{times:?}");
        assert!(gaps.iter().any(|gap| *gap != gaps[0]), "{times:?}");
    });
}

/// checklist: 82
#[test]
fn request_without_answer_ends_after_its_timeout() {
    in_virtual_time(async |network| {
        let world = World::new(network);
        world.lookupd("lookupd:4161", Answer::Silent);
        let consumer = world.start(&["lookupd:4161"], |config| {
            config.lookupd_poll_timeout(s(3))
        });
        tokio::time::sleep(ms(3_100)).await;
        let state = state(&consumer).await;
        let error = state.lookupds[0].last_error.as_ref().unwrap().to_string();
        assert_eq!(error, "no complete answer within lookupd_poll_timeout (3s)");
    });
}

/// checklist: 83
#[test]
fn topic_that_appears_later_is_found() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", unknown_topic());
        let _consumer = world.start(&["lookupd:4161"], |config| config);
        world.expect_no_dial(s(200)).await;
        let times = world.times("lookupd:4161");
        assert_eq!(times[..7], [0, 1, 2, 4, 8, 16, 32], "{times:?}");
        assert!((92..=110).contains(&times[7]), "{times:?}");
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let _nsqd = world.subscribed("nsqd:4150").await;
        assert!(world.elapsed() < s(200 + 78));
    });
}

/// checklist: 87, 89
#[test]
fn failed_and_empty_answers_close_no_connection() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let consumer = world.start(&["lookupd:4161"], |config| config);
        let mut nsqd = world.subscribed("nsqd:4150").await;
        nsqd.expect_ready(10).await;
        for answer in [
            unknown_topic(),
            Answer::Refused,
            nodes(&[]),
            Answer::Last(b"HTTP/1.1 500 Internal Server Error\r\n\r\n".to_vec()),
            Answer::Silent,
        ] {
            world.lookupd("lookupd:4161", answer);
            consumer.send(Refresh).await.unwrap();
            nsqd.expect_silence(s(12)).await;
        }
        nsqd.deliver(1).await;
        nsqd.expect_fin(1).await;
        assert!(consumer_stats(&consumer).await.nsqds[0].is_subscribed);
    });
}

/// checklist: 88
#[test]
fn lost_nsqd_is_dialled_again_only_while_it_is_named() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let consumer = world.start(&["lookupd:4161"], |config| config);
        let nsqd = world.subscribed("nsqd:4150").await;
        // Still named: dialled at once.
        tokio::time::sleep(s(10)).await;
        drop(nsqd);
        let nsqd = world.subscribed("nsqd:4150").await;
        assert!(world.elapsed() < s(11));
        // Named no more: forgotten.
        world.lookupd("lookupd:4161", nodes(&[]));
        tokio::time::sleep(s(10)).await;
        drop(nsqd);
        world.expect_no_dial(s(300)).await;
        assert_eq!(consumer_stats(&consumer).await.nsqds.len(), 0);
        assert_eq!(state(&consumer).await.nodes, []);
        // Named again: found.
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let _nsqd = world.subscribed("nsqd:4150").await;
    });
}

/// checklist: 88
#[test]
fn nsqd_that_is_back_after_a_second_is_found_within_two() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let _consumer = world.start(&["lookupd:4161"], |config| config);
        let nsqd = world.subscribed("nsqd:4150").await;
        tokio::time::sleep(s(100)).await;
        // nsqlookupd notices at once that nsqd was killed.
        world.lookupd("lookupd:4161", nodes(&[]));
        drop(nsqd);
        tokio::time::sleep(s(1)).await;
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let back = world.elapsed();
        let _nsqd = world.subscribed("nsqd:4150").await;
        assert!(world.elapsed() - back < s(2), "{:?}", world.elapsed());
    });
}

/// checklist: 88
#[test]
fn lost_nsqd_is_dialled_if_no_lookupd_answers() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd-1:4161", nodes(&["nsqd"]));
        let lookupds = ["lookupd-1:4161", "lookupd-2:4161"];
        let _consumer = world.start(&lookupds, |config| config);
        let nsqd = world.subscribed("nsqd:4150").await;
        tokio::time::sleep(s(10)).await;
        world.lookupd("lookupd-1:4161", Answer::Silent);
        drop(nsqd);
        let _nsqd = world.subscribed("nsqd:4150").await;
        assert!(world.elapsed() < s(22), "{:?}", world.elapsed());
    });
}

/// checklist: 88
#[test]
fn answer_that_began_before_a_loss_is_no_reason_to_dial() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let consumer = world.start(&["lookupd:4161"], |config| config);
        let nsqd = world.subscribed("nsqd:4150").await;
        tokio::time::sleep(s(10)).await;
        // The answer to this request is on its way while the topic is deleted.
        world.lookupd("lookupd:4161", Answer::Bytes(producers(&["nsqd"]), s(5)));
        consumer.send(Refresh).await.unwrap();
        tokio::time::sleep(s(1)).await;
        world.lookupd("lookupd:4161", unknown_topic());
        drop(nsqd);
        world.expect_no_dial(s(300)).await;
    });
}

/// fault: C9
/// checklist: 89
#[test]
fn node_of_two_lookupds_is_dropped_only_when_both_omit_it() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd-1:4161", nodes(&["nsqd"]));
        world.lookupd("lookupd-2:4161", nodes(&["nsqd"]));
        let lookupds = ["lookupd-1:4161", "lookupd-2:4161"];
        let consumer = world.start(&lookupds, |config| config);
        let nsqd = world.subscribed("nsqd:4150").await;
        world.lookupd("lookupd-1:4161", nodes(&[]));
        world.lookupd("lookupd-2:4161", Answer::Refused);
        drop(nsqd);
        world.expect_no_dial(s(300)).await;
        assert_eq!(state(&consumer).await.nodes.len(), 1);
        world.lookupd("lookupd-2:4161", unknown_topic());
        world.expect_no_dial(s(100)).await;
        assert_eq!(state(&consumer).await.nodes.len(), 0);
    });
}

/// fault: C9
#[test]
fn flapping_nsqd_causes_at_most_one_round_per_second() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let _consumer = world.start(&["lookupd:4161"], |config| config);
        while world.elapsed() < s(60) {
            let nsqd = world.subscribed("nsqd:4150").await;
            tokio::time::sleep(ms(50)).await;
            drop(nsqd);
        }
        let times: Vec<_> = world.requests().iter().map(|it| it.at).collect();
        let is_spaced = |pair: &[std::time::Duration]| pair[1] - pair[0] >= ms(999);
        assert!(times.windows(2).all(is_spaced), "{times:?}");
        assert!(times.len() > 20, "{times:?}");
    });
}

/// checklist: 90
#[test]
fn lookupds_are_added_and_removed_at_run_time() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd-1:4161", nodes(&["nsqd-1"]));
        world.lookupd("lookupd-2:4161", nodes(&["nsqd-2"]));
        let consumer = world.start(&[], |config| config);
        let add = |address: &str| AddLookupd(address.to_owned());
        assert!(!consumer.send(Refresh).await.unwrap());
        consumer.send(add("lookupd-1:4161")).await.unwrap().unwrap();
        let _one = world.subscribed("nsqd-1:4150").await;
        consumer
            .send(add("http://LOOKUPD-2:4161/"))
            .await
            .unwrap()
            .unwrap();
        consumer.send(add("lookupd-2:4161")).await.unwrap().unwrap();
        let two = world.subscribed("nsqd-2:4150").await;
        assert_eq!(state(&consumer).await.lookupds.len(), 2);
        let error = consumer.send(add("lookupd-3")).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("no port"), "{error}");

        // What only the removed one has named is forgotten when its connection is lost.
        let remove = |address: &str| RemoveLookupd(address.to_owned());
        assert!(consumer.send(remove("lookupd-2:4161")).await.unwrap());
        assert!(!consumer.send(remove("lookupd-2:4161")).await.unwrap());
        drop(two);
        world.expect_no_dial(s(100)).await;
        assert_eq!(state(&consumer).await.nodes.len(), 1);
        // The last one can be removed, too; connections stay.
        assert!(consumer.send(remove("lookupd-1:4161")).await.unwrap());
        world.requests();
        world.expect_no_dial(s(300)).await;
        assert_eq!(world.requests().len(), 0);
        assert!(consumer_stats(&consumer).await.nsqds[0].is_subscribed);

        drain(&consumer, s(0)).await;
        let error = consumer
            .send(add("lookupd-1:4161"))
            .await
            .unwrap()
            .unwrap_err();
        assert!(error.to_string().starts_with("draining"), "{error}");
    });
}

/// checklist: 90
#[test]
fn connections_to_lookupds_are_reused() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let consumer = world.start(&["lookupd:4161"], |config| config);
        let _nsqd = world.subscribed("nsqd:4150").await;
        world.lookupd("lookupd:4161", unknown_topic());
        tokio::time::sleep(s(400)).await;
        let connections: Vec<_> = world.requests().iter().map(|it| it.connection).collect();
        assert!(connections.len() >= 5);
        assert!(connections.iter().all(|it| *it == 0), "{connections:?}");
        // Closed by nsqlookupd after an answer: the next query connects again.
        let last = http("200 OK", r#"{"channels":[],"producers":[]}"#);
        world.lookupd("lookupd:4161", Answer::Last(last));
        consumer.send(Refresh).await.unwrap();
        tokio::time::sleep(s(1)).await;
        world.lookupd("lookupd:4161", now(http("200 OK", r#"{"producers":[]}"#)));
        consumer.send(Refresh).await.unwrap();
        tokio::time::sleep(s(1)).await;
        let connections: Vec<_> = world.requests().iter().map(|it| it.connection).collect();
        assert_eq!(connections, [0, 1]);
        // Closed between two queries, as by a restart.
        for answer in [Answer::ClosedLater, now] {
            world.lookupd(
                "lookupd:4161",
                answer(http("200 OK", r#"{"producers":[]}"#)),
            );
            consumer.send(Refresh).await.unwrap();
            tokio::time::sleep(s(2)).await;
        }
        let connections: Vec<_> = world.requests().iter().map(|it| it.connection).collect();
        assert_eq!(connections, [1, 2]);
        assert_eq!(state(&consumer).await.lookupds[0].errors, 0);
    });
}
