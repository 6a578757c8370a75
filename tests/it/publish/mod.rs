//! What a publish looks like on the wire, and how answers are read from it, however they are cut.

mod mixtures;
mod names;
mod validation;

use actix::Recipient;
use actix_nsq::{DeferredPublish, MultiPublish, Publish};
use bytes::Bytes;

use crate::harness::{Network, in_virtual_time, is_pending, ms, publish, s, send, topic};
use crate::support::spoken::{Command, heartbeat_frame, ok_frame};

#[test]
fn a_publish_is_a_pub() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "hello");
        let mut nsqd = network.connected().await;
        nsqd.expect(b"PUB t\n\x00\x00\x00\x05hello").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
        nsqd.expect_silence(s(20)).await;
    });
}

#[test]
fn a_multi_publish_is_one_mpub() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let batch = send(&producer, MultiPublish::new(topic("t"), ["a", "bc"]));
        let mut nsqd = network.connected().await;
        nsqd.expect(b"MPUB t\n\x00\x00\x00\x0f\x00\x00\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x02bc")
            .await;
        nsqd.send(ok_frame()).await;
        batch.await.unwrap();
        nsqd.expect_silence(s(20)).await;
    });
}

#[test]
fn a_deferred_publish_is_a_dpub_in_whole_milliseconds() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let delay = ms(1500) + std::time::Duration::from_micros(999);
        let deferred = send(
            &producer,
            DeferredPublish::new(topic("t#ephemeral"), delay, "later"),
        );
        let mut nsqd = network.connected().await;
        nsqd.expect(b"DPUB t#ephemeral 1500\n\x00\x00\x00\x05later")
            .await;
        nsqd.send(ok_frame()).await;
        deferred.await.unwrap();
        nsqd.expect_silence(s(20)).await;
    });
}

#[test]
fn a_body_is_any_bytes() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let body: Vec<u8> = b"\n\x00OK\r\n  V2\xff\xfe"
            .iter()
            .copied()
            .chain(0..=255)
            .collect();
        let publish = publish(&producer, body.clone());
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", body).await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// contract: 9
/// checklist: 39
#[test]
fn publishes_sent_together_leave_together_and_in_the_order_of_the_calls() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (mut nsqd, line) = network.connected_over(64 << 10).await;
        // The handshake's last byte is read, and the producer at rest.
        nsqd.expect_silence(s(1)).await;
        let before = line.writes();
        let recipient: Recipient<Publish> = producer.clone().recipient();
        let to = |body: &'static str| Publish::new(topic("t"), body);
        producer.do_send(to("1"));
        let second = send(&producer, to("2"));
        producer.try_send(to("3")).unwrap();
        recipient.do_send(to("4"));
        let fifth = recipient.send(to("5"));
        recipient.try_send(to("6")).unwrap();
        let seventh = send(&producer, DeferredPublish::new(topic("t"), ms(1), "7"));
        let eighth = send(&producer, MultiPublish::new(topic("t"), ["8"]));
        producer.clone().do_send(to("9"));
        for body in ["1", "2", "3", "4", "5", "6"] {
            nsqd.expect_pub("t", body).await;
        }
        nsqd.expect_dpub("t", 1, "7").await;
        nsqd.expect_mpub("t", &["8"]).await;
        nsqd.expect_pub("t", "9").await;
        assert_eq!(line.writes() - before, 1, "one write for all");
        nsqd.send(ok_frame().repeat(9)).await;
        fifth.await.unwrap().unwrap();
        for each in [second, seventh, eighth] {
            each.await.unwrap();
        }
    });
}

#[test]
fn a_large_body_arrives_whole() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let body = |seed: usize, length: usize| -> Bytes {
            (0..length).map(|at| (at * seed % 251) as u8).collect()
        };
        let large = body(7, 1 << 20);
        let parts: Vec<_> = (1..=5).map(|seed| body(seed, (1 << 20) - 5)).collect();
        let publish = publish(&producer, large.clone());
        let batch = send(&producer, MultiPublish::new(topic("t"), parts.clone()));
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", large).await;
        nsqd.expect_mpub("t", &parts).await;
        nsqd.send(ok_frame().repeat(2)).await;
        publish.await.unwrap();
        batch.await.unwrap();
    });
}

/// contract: 2
/// fault: P8
/// checklist: 12
#[test]
fn answers_that_come_in_one_piece_are_all_read() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publishes = ["a", "b", "c"].map(|body| publish(&producer, body));
        let mut nsqd = network.connected().await;
        for body in ["a", "b", "c"] {
            nsqd.expect_pub("t", body).await;
        }
        nsqd.send([ok_frame(), heartbeat_frame(), ok_frame(), ok_frame()].concat())
            .await;
        for each in publishes {
            each.await.unwrap();
        }
        nsqd.expect_nop().await;
    });
}

/// contract: 2
/// fault: P8
/// checklist: 12
#[test]
fn answers_may_be_split_at_every_byte() {
    let frames = [ok_frame(), heartbeat_frame(), ok_frame()].concat();
    let second = ok_frame().len() + heartbeat_frame().len();
    for cut in 1..frames.len() {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let (mut one, mut two) = (publish(&producer, "1"), publish(&producer, "2"));
            let mut nsqd = network.connected().await;
            nsqd.expect_pub("t", "1").await;
            nsqd.expect_pub("t", "2").await;
            nsqd.send(&frames[..cut]).await;
            tokio::time::sleep(ms(1)).await;
            let waiting = is_pending(&mut one);
            assert_eq!(waiting, cut < ok_frame().len(), "cut at {cut}");
            assert!(is_pending(&mut two), "cut at {cut} > {second}");
            nsqd.send(&frames[cut..]).await;
            if waiting {
                one.await.unwrap();
            }
            two.await.unwrap();
            nsqd.expect_nop().await;
        });
    }
}

/// contract: 2
#[test]
fn a_heartbeat_is_never_an_answer() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut publish = publish(&producer, "a");
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
        nsqd.expect_silence(s(5)).await;
        assert!(is_pending(&mut publish), "answered by a heartbeat");
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// contract: 12
#[test]
fn a_burst_of_heartbeats_is_answered_once() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let mut nsqd = network.connected().await;
        nsqd.send(heartbeat_frame().repeat(1000)).await;
        nsqd.expect_nop().await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
    });
}

/// checklist: 9
#[test]
fn a_heartbeat_is_answered_between_commands_and_never_inside_one() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let body = vec![b'x'; 100_000];
        let (mut nsqd, _line) = network.connected_over(1000).await;
        let publishes = [(); 3].map(|()| publish(&producer, body.clone()));
        nsqd.send(heartbeat_frame()).await;
        tokio::time::sleep(ms(1)).await;
        let mut commands = Vec::new();
        for _ in 0..4 {
            commands.push(nsqd.next_command().await);
        }
        let nops = commands.iter().filter(|&command| *command == Command::Nop);
        assert_eq!(nops.count(), 1);
        commands.retain(|command| *command != Command::Nop);
        let (topic, body) = ("t".to_owned(), body);
        assert_eq!(
            commands,
            [(); 3].map(|()| Command::Pub {
                topic: topic.clone(),
                body: body.clone()
            })
        );
        nsqd.send(ok_frame().repeat(3)).await;
        for each in publishes {
            each.await.unwrap();
        }
    });
}

/// checklist: 38
#[test]
fn one_process_can_hold_several_producers() {
    in_virtual_time(async |mut network: Network| {
        let one = network.start();
        let mut nsqd_of_one = network.connected().await;
        let two = network.start();
        let mut nsqd_of_two = network.connected().await;
        let (publish_one, publish_two) = (publish(&one, "1"), publish(&two, "2"));
        nsqd_of_one.expect_pub("t", "1").await;
        nsqd_of_two.expect_pub("t", "2").await;
        nsqd_of_two.send(ok_frame()).await;
        publish_two.await.unwrap();
        nsqd_of_one.send(ok_frame()).await;
        publish_one.await.unwrap();
    });
}

/// fault: P8
#[test]
fn a_line_that_carries_a_byte_at_a_time_changes_nothing() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (mut nsqd, _line) = network.connected_over(1).await;
        nsqd.chunk(1);
        let single = publish(&producer, "1");
        let batch = send(&producer, MultiPublish::new(topic("t"), ["2", "3"]));
        let large = publish(&producer, vec![b'x'; 5000]);
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_mpub("t", &["2", "3"]).await;
        nsqd.send([heartbeat_frame(), ok_frame().repeat(2)].concat())
            .await;
        nsqd.expect_pub("t", vec![b'x'; 5000]).await;
        nsqd.expect_nop().await;
        nsqd.send(ok_frame()).await;
        for each in [single, batch, large] {
            each.await.unwrap();
        }
    });
}
