//! What publishes look like on the wire, and how responses are read.

mod extension;
mod validation;

use std::time::Duration;

use actix::Recipient;
use actix_nsq::{DeferredPublish, MultiPublish, Publish};

use crate::harness::{
    Network, all_ok, in_virtual_time, is_pending, ms, publish, publish_each, s, send, topic,
};
use crate::support::spoken::{Command, heartbeat_frame, ok_frame};

#[test]
fn commands_have_exactly_the_bytes_of_the_protocol() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let delay = ms(1500) + Duration::from_micros(999);
        let deferred = DeferredPublish::new(topic("t#ephemeral"), delay, "later");
        let answers = [
            publish(&producer, "hello"),
            publish(&producer, &b"\n\0\xffOK"[..]),
            send(&producer, MultiPublish::new(topic("t"), ["a", "bc"])),
            send(&producer, deferred),
        ];
        nsqd.expect(b"PUB t\n\0\0\0\x05hello").await;
        nsqd.expect(b"PUB t\n\0\0\0\x05\n\0\xffOK").await;
        nsqd.expect(b"MPUB t\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc")
            .await;
        nsqd.expect(b"DPUB t#ephemeral 1500\n\0\0\0\x05later").await;
        nsqd.send_oks(4).await;
        all_ok(answers).await;
        nsqd.expect_silence(s(20)).await;
    });
}

/// contract: 9
/// checklist: 39
#[test]
fn burst_leaves_in_one_write_in_call_order() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (mut nsqd, stream) = network.connected_over(64 << 10).await;
        nsqd.expect_silence(s(1)).await;
        let before = stream.writes();
        let recipient: Recipient<Publish> = producer.clone().recipient();
        let message = |body: &'static str| Publish::new(topic("t"), body);
        producer.do_send(message("1"));
        let second = publish(&producer, "2");
        producer.try_send(message("3")).unwrap();
        recipient.do_send(message("4"));
        let fifth = recipient.send(message("5"));
        recipient.try_send(message("6")).unwrap();
        let seventh = send(&producer, DeferredPublish::new(topic("t"), ms(1), "7"));
        let eighth = send(&producer, MultiPublish::new(topic("t"), ["8"]));
        producer.clone().do_send(message("9"));
        nsqd.expect_pubs(&["1", "2", "3", "4", "5", "6"]).await;
        nsqd.expect_dpub("t", 1, "7").await;
        nsqd.expect_mpub("t", &["8"]).await;
        nsqd.expect_pub("t", "9").await;
        assert_eq!(stream.writes() - before, 1);
        nsqd.send_oks(9).await;
        fifth.await.unwrap().unwrap();
        all_ok([second, seventh, eighth]).await;
    });
}

/// contract: 2
/// fault: P8
/// checklist: 12
#[test]
fn responses_may_be_split_at_every_byte() {
    let frames = [ok_frame(), heartbeat_frame(), ok_frame()].concat();
    for cut in 0..frames.len() {
        in_virtual_time(async |mut network: Network| {
            let (producer, mut nsqd) = network.start_connected().await;
            let [mut one, mut two] = publish_each(&producer, ["1", "2"]);
            nsqd.expect_pubs(&["1", "2"]).await;
            nsqd.send(&frames[..cut]).await;
            tokio::time::sleep(ms(1)).await;
            let waiting = is_pending(&mut one);
            assert_eq!(waiting, cut < ok_frame().len(), "cut at {cut}");
            assert!(is_pending(&mut two), "cut at {cut}");
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
fn heartbeat_is_not_a_response_to_a_publish() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let mut answer = publish(&producer, "a");
        nsqd.expect_pub("t", "a").await;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
        nsqd.expect_silence(s(5)).await;
        assert!(is_pending(&mut answer));
        nsqd.send_ok().await;
        answer.await.unwrap();
    });
}

/// contract: 12
#[test]
fn burst_of_heartbeats_is_answered_once() {
    in_virtual_time(async |mut network: Network| {
        let (_producer, mut nsqd) = network.start_connected().await;
        nsqd.send(heartbeat_frame().repeat(1000)).await;
        nsqd.expect_nop().await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
    });
}

/// checklist: 9
#[test]
fn heartbeat_is_answered_between_two_commands() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (mut nsqd, _stream) = network.connected_over(1000).await;
        let body = vec![b'x'; 100_000];
        let answers = [(); 3].map(|()| publish(&producer, body.clone()));
        nsqd.send(heartbeat_frame()).await;
        let mut commands = Vec::new();
        for _ in 0..4 {
            commands.push(nsqd.next_command().await);
        }
        commands.retain(|command| *command != Command::Nop);
        let topic = "t".to_owned();
        assert_eq!(commands, vec![Command::Pub { topic, body }; 3]);
        nsqd.send_oks(3).await;
        all_ok(answers).await;
    });
}
