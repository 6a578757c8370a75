//! Several threads: producers on arbiters of their own, callers anywhere, arbiters that block or stop.

use std::sync::mpsc;
use std::time::Duration;

use actix::Arbiter;
use actix_nsq::{Delivery, ErrorKind, MultiPublish, Producer, ProducerConfig, Publish};

use crate::harness::{assert_error, in_system, publish, send, topic};
use crate::support::script::ScriptedPeer;
use crate::support::spoken::{heartbeat_frame, ok_frame};
use crate::support::wait::PATIENCE;

/// checklist: 9, 38
#[test]
fn a_producer_on_its_own_arbiter_answers_heartbeats_while_all_others_are_blocked() {
    let (all_blocked, blocked) = mpsc::channel();
    let (unblock, answered) = mpsc::channel();
    let peer = ScriptedPeer::play(move |mut client| async move {
        client.greet().await;
        client.expect_pub("t", "queued").await;
        blocked
            .recv_timeout(PATIENCE)
            .expect("the other arbiters block");
        for _ in 0..3 {
            client.send(heartbeat_frame()).await;
            client.expect_nop().await;
        }
        client.send(ok_frame()).await;
        for _ in 0..2 {
            unblock.send(()).unwrap();
        }
        client.wait_closed().await;
    });
    in_system(async |_| {
        let own = Arbiter::new();
        let producer =
            Producer::start_in_arbiter(&own.handle(), ProducerConfig::new(peer.address()).unwrap());
        let queued = publish(&producer, "queued");
        let other = Arbiter::new();
        let (sender, answered_here) = mpsc::channel();
        other.spawn_fn(move || {
            // Blocks its thread until the heartbeats are answered, as careless code would.
            let _ = answered_here.recv_timeout(PATIENCE);
        });
        all_blocked.send(()).unwrap();
        // And so does this one, on the caller's arbiter.
        for _ in 0..2 {
            answered
                .recv_timeout(PATIENCE)
                .expect("heartbeats and publish are served");
        }
        sender.send(()).unwrap();
        queued.await.unwrap();
        drop(producer);
        peer.finish().await;
        own.stop();
        other.stop();
    });
}

/// checklist: 38
#[test]
fn an_address_works_from_a_plain_tokio_task_on_another_thread() {
    let peer = ScriptedPeer::play(|mut client| async move {
        client.greet().await;
        client.expect_pub("t", "from afar").await;
        client.send(ok_frame()).await;
        client.expect_pub("t", "and again").await;
        client.send(ok_frame()).await;
        client.wait_closed().await;
    });
    in_system(async |_| {
        let producer = Producer::start(ProducerConfig::new(peer.address()).unwrap());
        let elsewhere = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(async move {
                let task = tokio::spawn(async move {
                    producer
                        .send(Publish::new(topic("t"), "from afar"))
                        .await??;
                    producer
                        .send(Publish::new(topic("t"), "and again"))
                        .await??;
                    Ok::<_, actix_nsq::PublishError>(())
                });
                task.await.unwrap()
            })
        });
        crate::support::wait::until("the answers", || elsewhere.is_finished()).await;
        elsewhere.join().unwrap().unwrap();
        peer.finish().await;
    });
}

/// contract: 1
/// fault: A3
/// checklist: 38
#[test]
fn an_arbiter_that_stops_leaves_nobody_without_the_truth() {
    let (seen, sent) = mpsc::channel();
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
        let sent_whole = publish(&producer, "1");
        let batch = send(&producer, MultiPublish::new(topic("t"), ["2"]));
        let waiting = publish(&producer, "3");
        let arrived = || sent.try_recv().is_ok();
        crate::support::wait::until("both commands have arrived", arrived).await;
        arbiter.stop();
        assert_error(sent_whole.await, ErrorKind::Closed, Delivery::MaybeWritten);
        assert_error(batch.await, ErrorKind::Closed, Delivery::MaybePartial);
        assert_error(waiting.await, ErrorKind::Closed, Delivery::NotWritten);
        arbiter.join().unwrap();
        let late = publish(&producer, "late").await;
        assert!(!assert_error(late, ErrorKind::Closed, Delivery::NotWritten).is_retryable());
        peer.finish().await;
    });
}

/// contract: 1
/// fault: A3
/// checklist: 38
#[test]
fn an_arbiter_that_stops_under_fire_answers_every_publish() {
    in_system(async |_| {
        for _ in 0..20 {
            let arbiter = Arbiter::new();
            let config = ProducerConfig::builder("127.0.0.1:9")
                .connect_at_start(false)
                .build()
                .unwrap();
            let producer = Producer::start_in_arbiter(&arbiter.handle(), config);
            let stopper = arbiter.handle();
            let mut answers = Vec::new();
            for number in 0..500 {
                answers.push(publish(&producer, "x"));
                if number == 300 {
                    stopper.stop();
                }
            }
            for answer in answers {
                assert_error(answer.await, ErrorKind::Closed, Delivery::NotWritten);
            }
            arbiter.join().unwrap();
        }
    });
}

/// contract: 1
/// fault: A3
/// checklist: 38
#[test]
fn on_an_arbiter_that_has_stopped_every_publish_is_answered_closed() {
    in_system(async |_| {
        let arbiter = Arbiter::new();
        let handle = arbiter.handle();
        arbiter.stop();
        arbiter.join().unwrap();
        let producer =
            Producer::start_in_arbiter(&handle, ProducerConfig::new("127.0.0.1:4150").unwrap());
        assert_error(
            publish(&producer, "a").await,
            ErrorKind::Closed,
            Delivery::NotWritten,
        );
    });
}

/// checklist: 38
#[test]
fn a_flood_from_another_thread_leaves_the_arbiters_timers_their_turn() {
    let peer = ScriptedPeer::play(|mut client| async move {
        client.greet().await;
        client.wait_closed().await;
    });
    in_system(async |_| {
        let config = ProducerConfig::builder(peer.address())
            .max_pending(1000)
            .build()
            .unwrap();
        let producer = Producer::start(config);
        let flooding = std::thread::spawn({
            let producer = producer.clone();
            move || {
                for _ in 0..500_000 {
                    producer.do_send(Publish::new(topic("t"), "flood"));
                }
                // The last in the mailbox, and answered when it is handled.
                let last = producer.send(Publish::new(topic("t"), ""));
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                runtime.unwrap().block_on(last).unwrap().unwrap_err()
            }
        });
        let mut ticks = 0;
        while !flooding.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            ticks += 1;
        }
        assert_eq!(flooding.join().unwrap().kind(), ErrorKind::EmptyBody);
        // How long a tick takes is the machine's affair; without yielding the whole flood takes one or two.
        assert!(
            ticks >= 8,
            "a timer of 10 ms had {ticks} turns in the whole flood"
        );
        // What is in flight must not keep the test.
        let drain = actix_nsq::producer::Drain {
            timeout: Duration::ZERO,
        };
        producer.send(drain).await.unwrap();
        peer.finish().await;
    });
}

/// fault: P31
/// checklist: 38
#[test]
fn an_arbiter_that_was_blocked_for_ack_timeout_still_reads_the_answers_that_came_meanwhile() {
    let (seen, sent) = mpsc::channel();
    let peer = ScriptedPeer::play(move |mut client| async move {
        client.greet().await;
        client.expect_pub("t", "1").await;
        seen.send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.send(ok_frame()).await;
        client.wait_closed().await;
    });
    in_system(async |_| {
        let config =
            ProducerConfig::builder(peer.address()).ack_timeout(Duration::from_millis(200));
        let producer = Producer::start(config.build().unwrap());
        let answer = publish(&producer, "1");
        let blocked = || {
            let arrived = sent.try_recv().is_ok();
            if arrived {
                std::thread::sleep(Duration::from_millis(400));
            }
            arrived
        };
        crate::support::wait::until("the publish has arrived", blocked).await;
        // This wakes the producer before anyone has looked at the socket.
        let late = publish(&producer, "");
        answer.await.unwrap();
        assert_error(late.await, ErrorKind::EmptyBody, Delivery::NotWritten);
        drop(producer);
        peer.finish().await;
    });
}
