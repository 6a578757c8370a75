//! Which nsqds a consumer with discovery is connected to.

use actix_nsq::{
    ConnectionEvent, SubscribeEvents,
    consumer::{AddNsqd, RemoveNsqd},
    lookup::{GetLookupState, Refresh},
};

use super::world::{Answer, World, nodes, producers, state, unknown_topic};
use crate::harness::{Recorder, consumer_stats, drain, in_virtual_time, ms, s};

fn add(address: &str) -> AddNsqd {
    AddNsqd(address.to_owned())
}

fn remove(address: &str) -> RemoveNsqd {
    RemoveNsqd(address.to_owned())
}

/// checklist: 87
#[test]
fn configured_nsqd_is_no_second_connection_and_never_dropped() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["0:0::1", "NSQD"]));
        let consumer = world.start(&["lookupd:4161"], |config| {
            config.addresses(["[::1]:4150", "nsqd:4150"])
        });
        let one = world.subscribed("[::1]:4150").await;
        let _two = world.subscribed("nsqd:4150").await;
        world.expect_no_dial(s(10)).await;
        world.lookupd("lookupd:4161", unknown_topic());
        world.expect_no_dial(s(300)).await;
        // It is connected again, whatever nsqlookupd says.
        drop(one);
        let _one = world.subscribed("[::1]:4150").await;
        assert_eq!(consumer_stats(&consumer).await.nsqds.len(), 2);
    });
}

/// checklist: 90
#[test]
fn added_nsqd_is_kept_after_its_announcement() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let consumer = world.start(&["lookupd:4161"], |config| config);
        let nsqd = world.subscribed("nsqd:4150").await;
        consumer.send(add("NSQD:4150")).await.unwrap().unwrap();
        world.lookupd("lookupd:4161", unknown_topic());
        drop(nsqd);
        let _nsqd = world.subscribed("nsqd:4150").await;
        world.expect_no_dial(s(300)).await;
        assert_eq!(consumer_stats(&consumer).await.nsqds.len(), 1);
    });
}

/// checklist: 90
#[test]
fn nsqd_that_waits_for_lookupd_is_dialled_when_it_is_added() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let consumer = world.start(&["lookupd:4161"], |config| config);
        let nsqd = world.subscribed("nsqd:4150").await;
        world.lookupd("lookupd:4161", Answer::Silent);
        drop(nsqd);
        world.expect_no_dial(s(5)).await;
        consumer.send(add("nsqd:4150")).await.unwrap().unwrap();
        let _nsqd = world.subscribed("nsqd:4150").await;
        assert!(world.elapsed() < s(6));
    });
}

/// checklist: 90
#[test]
fn removed_nsqd_is_not_dialled_before_it_is_added() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let consumer = world.start(&["lookupd:4161"], |config| config);
        let mut nsqd = world.subscribed("nsqd:4150").await;
        nsqd.expect_ready(10).await;
        assert!(consumer.send(remove("nsqd:4150")).await.unwrap());
        nsqd.leave().await;
        nsqd.expect_end().await;
        world.expect_no_dial(s(300)).await;
        assert_eq!(consumer_stats(&consumer).await.nsqds.len(), 0);
        // Added again by the program.
        consumer.send(add("nsqd:4150")).await.unwrap().unwrap();
        let mut nsqd = world.subscribed("nsqd:4150").await;
        nsqd.expect_ready(10).await;
        assert!(consumer.send(remove("nsqd:4150")).await.unwrap());
        nsqd.leave().await;
        nsqd.expect_end().await;
        world.expect_no_dial(s(300)).await;
        // Named no more, and again.
        world.lookupd("lookupd:4161", unknown_topic());
        world.expect_no_dial(s(200)).await;
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        world.expect_no_dial(s(300)).await;
        consumer.send(add("nsqd:4150")).await.unwrap().unwrap();
        let _nsqd = world.subscribed("nsqd:4150").await;
    });
}

/// checklist: 90
/// fault: C10
#[test]
fn filter_decides_which_nodes_are_connected_to() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["evil", "good", "panics"]));
        let consumer = world.start(&["lookupd:4161"], |config| {
            config.node_filter(|node| {
                assert_ne!(node.broadcast_address, "panics", "the filter panics");
                node.broadcast_address == "good"
            })
        });
        let _nsqd = world.subscribed("good:4150").await;
        world.expect_no_dial(s(300)).await;
        let state = state(&consumer).await;
        assert_eq!(state.nodes.len(), 1);
        assert!(state.nodes[0].is_connected);
        assert_eq!(state.lookupds[0].nodes, Some(1));
    });
}

/// checklist: 91
#[test]
fn unreachable_nsqd_does_not_delay_the_others() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["a", "b", "c", "d"]));
        let _consumer = world.start(&["lookupd:4161"], |config| config);
        let mut connected = Vec::new();
        for _ in 0..4 {
            let dial = world.dial().await;
            assert!(world.elapsed() < ms(10), "{:?}", world.elapsed());
            if dial.address == "a:4150" {
                tokio::task::spawn_local(dial.hang());
            } else {
                connected.push(dial.accept());
            }
        }
        // Its attempts go on, with its own backoff.
        for _ in 0..3 {
            let dial = world.dial().await;
            assert_eq!(dial.address, "a:4150");
            dial.refuse();
        }
    });
}

/// checklist: 89
#[test]
fn vanished_address_is_forgotten_while_it_is_dialled() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["gone"]));
        let consumer = world.start(&["lookupd:4161"], |config| config);
        world.dial().await.refuse();
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let mut nsqd = loop {
            let dial = world.dial().await;
            if dial.address == "nsqd:4150" {
                break dial.accept();
            }
            dial.refuse();
        };
        nsqd.greet().await;
        nsqd.expect_sub().await;
        nsqd.send_ok().await;
        world.expect_no_dial(s(300)).await;
        assert_eq!(consumer_stats(&consumer).await.nsqds.len(), 1);
    });
}

/// checklist: 88
#[test]
fn events_tell_of_a_lost_and_forgotten_nsqd() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let (events, recorder) = Recorder::<ConnectionEvent>::start();
        let consumer = world.start(&["lookupd:4161"], |config| config);
        consumer.send(SubscribeEvents(events)).await.unwrap();
        let nsqd = world.subscribed("nsqd:4150").await;
        world.lookupd("lookupd:4161", unknown_topic());
        drop(nsqd);
        world.expect_no_dial(s(2)).await;
        let texts: Vec<_> = recorder.take().iter().map(ToString::to_string).collect();
        assert!(texts[0].ends_with("connecting"), "{texts:?}");
        assert!(texts[1].contains("connected to nsqd"), "{texts:?}");
        assert!(
            texts[2].contains("disconnected: closed by the peer"),
            "{texts:?}"
        );
        assert_eq!(texts[3..], ["nsqd:4150: closed"]);
    });
}

/// checklist: 89
#[test]
fn restarted_lookupd_costs_no_connection() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let consumer = world.start(&["lookupd:4161"], |config| config);
        let mut nsqd = world.subscribed("nsqd:4150").await;
        nsqd.expect_ready(10).await;
        world.lookupd("lookupd:4161", unknown_topic());
        for number in 0..25 {
            consumer.send(Refresh).await.unwrap();
            nsqd.deliver(number).await;
            nsqd.expect_fin(number).await;
            tokio::time::sleep(s(1)).await;
        }
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        world.expect_no_dial(s(300)).await;
        assert_eq!(consumer_stats(&consumer).await.nsqds[0].connects, 1);
    });
}

/// fault: C9
#[test]
fn drain_ends_dials_queries_and_timers_at_once() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd-1:4161", nodes(&["nsqd", "hangs"]));
        world.lookupd("lookupd-2:4161", Answer::Silent);
        world.lookupd("lookupd-3:4161", Answer::Unreachable);
        let lookupds = ["lookupd-1:4161", "lookupd-2:4161", "lookupd-3:4161"];
        let consumer = world.start(&lookupds, |config| config);
        let (one, other) = (world.dial().await, world.dial().await);
        let before = world.elapsed();
        // The list changes while the consumer ends.
        world.lookupd("lookupd-1:4161", nodes(&["another"]));
        consumer.do_send(Refresh);
        let report = drain(&consumer, s(10)).await;
        assert_eq!(world.elapsed(), before, "{report}");
        one.hang().await;
        other.hang().await;
        world.requests();
        world.expect_no_dial(s(600)).await;
        assert_eq!(world.requests().len(), 0);
        let state = consumer.send(GetLookupState).await.unwrap();
        assert_eq!(state, actix_nsq::lookup::LookupState::default());
    });
}

/// fault: C9
#[test]
fn consumer_without_addresses_of_it_ends_its_discovery() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", Answer::Bytes(producers(&["nsqd"]), s(5)));
        let consumer = world.start(&["lookupd:4161"], |config| config);
        tokio::time::sleep(s(1)).await;
        drop(consumer);
        world.expect_no_dial(s(600)).await;
        assert_eq!(world.requests().len(), 1);
    });
}
