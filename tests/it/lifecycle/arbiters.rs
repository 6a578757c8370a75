//! Producers on arbiters of their own, callers on other threads, and arbiters that block or stop.

use std::sync::mpsc;

use actix::Arbiter;
use actix_nsq::{Delivery, ErrorKind, MultiPublish, Producer, ProducerConfig, PublishError};

use crate::harness::{assert_error, in_system, ms, publish, s, send, topic};
use crate::support::script::ScriptedPeer;
use crate::support::spoken::heartbeat_frame;
use crate::support::wait::{PATIENCE, until};

/// checklist: 9, 38
#[test]
fn heartbeats_are_answered_while_other_arbiters_are_blocked() {
    let (begin, blocked) = mpsc::channel();
    let (done, unblock) = mpsc::channel();
    let peer = ScriptedPeer::play(move |mut client| async move {
        client.greet().await;
        client.expect_pub("t", "queued").await;
        blocked.recv_timeout(PATIENCE).unwrap();
        for _ in 0..3 {
            client.send(heartbeat_frame()).await;
            client.expect_nop().await;
        }
        client.send_ok().await;
        done.send(()).unwrap();
        client.wait_closed().await;
    });
    in_system(async |_| {
        let own = Arbiter::new();
        let config = ProducerConfig::new(peer.address()).unwrap();
        let producer = Producer::start_in_arbiter(&own.handle(), config);
        let queued = publish(&producer, "queued");
        let other = Arbiter::new();
        let (release, released) = mpsc::channel();
        other.spawn_fn(move || {
            let _ = released.recv_timeout(PATIENCE);
        });
        begin.send(()).unwrap();
        // Blocks this arbiter, which is that of the caller.
        unblock
            .recv_timeout(PATIENCE)
            .expect("heartbeats are answered");
        release.send(()).unwrap();
        queued.await.unwrap();
        drop(producer);
        peer.finish().await;
        own.stop();
        other.stop();
    });
}

/// checklist: 38
#[test]
fn address_works_in_a_tokio_task_of_another_thread() {
    let peer = ScriptedPeer::play(|mut client| async move {
        client.greet().await;
        client.confirm("1").await;
        client.confirm("2").await;
        client.wait_closed().await;
    });
    in_system(async |_| {
        let producer = Producer::start(ProducerConfig::new(peer.address()).unwrap());
        let elsewhere = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(async move {
                let task = tokio::spawn(async move {
                    for body in ["1", "2"] {
                        let publish = actix_nsq::Publish::new(topic("t"), body);
                        producer.send(publish).await??;
                    }
                    Ok::<_, PublishError>(())
                });
                task.await.unwrap()
            })
        });
        until("the publishes are answered", || elsewhere.is_finished()).await;
        elsewhere.join().unwrap().unwrap();
        peer.finish().await;
    });
}

/// contract: 1
/// fault: A3
#[test]
fn stopped_arbiter_answers_its_publishes_truthfully() {
    let (seen, arrived) = mpsc::channel();
    let peer = ScriptedPeer::play(move |mut client| async move {
        client.greet().await;
        client.expect_pub("t", "1").await;
        client.expect_mpub("t", &["2"]).await;
        seen.send(()).unwrap();
        client.wait_closed().await;
    });
    in_system(async |_| {
        let arbiter = Arbiter::new();
        let config = ProducerConfig::builder(peer.address()).publish_window(2);
        let producer = Producer::start_in_arbiter(&arbiter.handle(), config.build().unwrap());
        let sent = publish(&producer, "1");
        let multi = send(&producer, MultiPublish::new(topic("t"), ["2"]));
        let queued = publish(&producer, "3");
        until("both have arrived", || arrived.try_recv().is_ok()).await;
        arbiter.stop();
        assert_error(sent.await, ErrorKind::Closed, Delivery::MaybeWritten);
        assert_error(multi.await, ErrorKind::Closed, Delivery::MaybePartial);
        assert_error(queued.await, ErrorKind::Closed, Delivery::NotWritten);
        arbiter.join().unwrap();
        let late = publish(&producer, "late").await;
        let error = assert_error(late, ErrorKind::Closed, Delivery::NotWritten);
        assert!(!error.is_retryable());
        peer.finish().await;
    });
}

/// contract: 1
/// fault: A3
#[test]
fn arbiter_that_stops_during_a_flood_answers_every_publish() {
    in_system(async |_| {
        for round in 0..20 {
            let arbiter = Arbiter::new();
            let config = ProducerConfig::builder("127.0.0.1:9").connect_at_start(false);
            if round == 0 {
                // It has stopped before the producer starts.
                arbiter.stop();
            }
            let producer = Producer::start_in_arbiter(&arbiter.handle(), config.build().unwrap());
            let mut answers = Vec::new();
            for number in 0..500 {
                answers.push(publish(&producer, "x"));
                if number == 300 {
                    arbiter.stop();
                }
            }
            for answer in answers {
                assert_error(answer.await, ErrorKind::Closed, Delivery::NotWritten);
            }
            arbiter.join().unwrap();
        }
    });
}

/// What has arrived during the block keeps the deadlines of the publish, of the response and of
/// heartbeats.
///
/// contract: 1
/// fault: P31
#[test]
fn blocked_arbiter_reads_before_it_judges_deadlines() {
    let (seen, arrived) = mpsc::channel();
    let peer = ScriptedPeer::play(move |mut client| async move {
        client.greet().await;
        client.expect_pub("t", "1").await;
        seen.send(()).unwrap();
        tokio::time::sleep(ms(100)).await;
        client.send_ok().await;
        client.confirm("2").await;
        client.wait_closed().await;
    });
    in_system(async |_| {
        let config = ProducerConfig::builder(peer.address())
            .heartbeat_interval(s(1))
            .publish_timeout(s(1))
            .ack_timeout(ms(500));
        let producer = Producer::start(config.build().unwrap());
        let answer = publish(&producer, "1");
        let block = || {
            let arrived = arrived.try_recv().is_ok();
            if arrived {
                std::thread::sleep(ms(2_100));
            }
            arrived
        };
        until("the publish has arrived", block).await;
        // Wakes the producer before the socket is polled.
        let other = publish(&producer, "2");
        answer.await.unwrap();
        other.await.unwrap();
        drop(producer);
        peer.finish().await;
    });
}
