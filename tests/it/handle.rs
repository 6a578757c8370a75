//! `ProducerHandle`: publishing without actors, with backpressure in place of `Full`.

use std::collections::BTreeSet;

use actix::Addr;
use actix_nsq::{
    Delivery, ErrorKind, Producer, ProducerConfig, ProducerHandle, PublishError, Topic,
    embedded::EmbeddedNsqd,
    producer::{Drain, GetStats, Stats},
};
use futures::{FutureExt, future::join_all};
use tokio::{task::JoinHandle, time::sleep};

use crate::harness::{Network, assert_error, in_system, in_virtual_time, ms, publish, s, timed};
use crate::support::{script::ScriptedPeer, spoken::Command, wait};

/// Publishes in a task of its own.
fn spawn_publish(
    handle: &ProducerHandle,
    body: impl Into<String>,
) -> JoinHandle<Result<(), PublishError>> {
    let (handle, body) = (handle.clone(), body.into());
    tokio::task::spawn_local(async move { handle.publish("t", body).await })
}

async fn stats(producer: &Addr<Producer>) -> Stats {
    producer.send(GetStats).await.unwrap()
}

/// checklist: 33
#[test]
fn handle_offers_publishes_pings_and_drains() {
    in_virtual_time(async |mut network: Network| {
        let handle = ProducerHandle::start(network.config().build().unwrap());
        let mut nsqd = network.connected().await;
        let topic = Topic::new("t").unwrap();
        let peer = async {
            nsqd.confirm("1").await;
            nsqd.confirm("2").await;
            nsqd.confirm("3").await;
            nsqd.expect_mpub("t", &["4", "5"]).await;
            nsqd.send_ok().await;
            nsqd.expect_dpub("t", 1500, "6").await;
            nsqd.send_ok().await;
            nsqd.expect_identify().await;
            nsqd.send_ok().await;
            nsqd.wait_closed().await;
        };
        let calls = async {
            handle.publish("t", "1").await?;
            handle.publish(&topic, "2").await?;
            handle.publish("t".to_owned(), "3").await?;
            handle.multi_publish("t", ["4", "5"]).await?;
            handle
                .deferred_publish(topic, ms(1500), "6".to_owned())
                .await?;
            handle.ping(s(5)).await?;
            handle.drain(s(5)).await
        };
        let ((), report) = tokio::join!(peer, calls);
        assert!(report.unwrap().is_clean());
        let rejected = handle.publish("t", "late").await;
        assert_error(rejected, ErrorKind::Drained, Delivery::NotWritten);
        let rejected = handle.ping(s(1)).await;
        assert_error(rejected, ErrorKind::Drained, Delivery::NotWritten);
        assert!(handle.drain(s(1)).await.unwrap().is_clean());
    });
}

/// contract: 6
/// checklist: 33
#[test]
fn waiting_callers_are_served_in_order_and_before_messages() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config.max_pending(1));
        let producer = handle.address().clone();
        let mut nsqd = network.connected().await;
        let calls: Vec<_> = (0..100)
            .map(|number| spawn_publish(&handle, number.to_string()))
            .collect();
        for number in 0..100 {
            nsqd.expect_pub("t", number.to_string()).await;
            // In one burst with the OK that frees capacity.
            nsqd.send_ok().await;
            if number < 99 {
                let message = publish(&producer, "message").await;
                assert_error(message, ErrorKind::Full, Delivery::NotWritten);
            }
        }
        for call in join_all(calls).await {
            call.unwrap().unwrap();
        }
        let stats = stats(&producer).await;
        assert_eq!(
            (stats.published, stats.ok, stats.rejected_full),
            (199, 100, 99)
        );
    });
}

/// checklist: 33, 34
#[test]
fn waiting_for_capacity_counts_towards_the_timeout() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| {
            let config = config.max_pending(1).publish_timeout(s(10));
            config.dial_timeout(s(300))
        });
        let producer = handle.address().clone();
        let _hanging = network.dial().await;
        let call = async |after| {
            sleep(after).await;
            let (took, answer) = timed(handle.publish("t", "a")).await;
            assert_eq!(took, s(10), "of the call after {after:?}");
            let error = assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
            assert_eq!(error.to_string(), "not sent within 10s");
        };
        join_all([s(0), s(3), s(4), s(4), s(9), s(19)].map(call)).await;
        let stats = stats(&producer).await;
        assert_eq!((stats.published, stats.timed_out), (6, 6));
        assert_eq!((stats.not_written, stats.rejected_full), (6, 0));
    });
}

/// contract: 7
/// checklist: 33, 35
#[test]
fn call_cancelled_while_waiting_leaves_no_trace() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config.max_pending(1));
        let producer = handle.address().clone();
        let mut nsqd = network.connected().await;
        let first = spawn_publish(&handle, "first");
        nsqd.expect_pub("t", "first").await;
        let before = stats(&producer).await;
        for number in 0..1000 {
            let mut call = Box::pin(handle.publish("t", number.to_string()));
            assert!(call.as_mut().now_or_never().is_none());
            if number % 2 == 0 {
                // The producer has received it.
                sleep(ms(1)).await;
            }
        }
        let after = stats(&producer).await;
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
        let last = spawn_publish(&handle, "last");
        sleep(ms(1)).await;
        nsqd.send_ok().await;
        first.await.unwrap().unwrap();
        nsqd.confirm("last").await;
        last.await.unwrap().unwrap();
        nsqd.expect_silence(s(5)).await;
        assert_eq!(stats(&producer).await.published, 2);
    });
}

/// contract: 9
/// checklist: 33
#[test]
fn calls_of_many_tasks_are_published_in_order() {
    // More than one poll of the producer accepts.
    const COUNT: usize = 10_000;
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config);
        let mut nsqd = network.connected().await;
        let calls: Vec<_> = (0..COUNT)
            .map(|number| spawn_publish(&handle, number.to_string()))
            .collect();
        let mut next = 0;
        while next < COUNT {
            let bodies = match nsqd.next_command().await {
                Command::Pub { body, .. } => vec![body],
                Command::Mpub { bodies, .. } => bodies,
                other => panic!("{other}"),
            };
            for body in bodies {
                assert_eq!(body, next.to_string().into_bytes());
                next += 1;
            }
            nsqd.send_ok().await;
        }
        for call in calls {
            call.await.unwrap().unwrap();
        }
    });
}

/// contract: 7
/// checklist: 35
#[test]
fn call_cancelled_before_it_is_received_leaves_no_trace() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config);
        let mut nsqd = network.connected().await;
        handle.wait_connected(s(5)).await.unwrap();
        let before = stats(handle.address()).await;
        let mut calls: Vec<_> = (0..3_000)
            .map(|number| Box::pin(handle.publish("t", number.to_string())))
            .collect();
        for call in &mut calls {
            assert!(call.now_or_never().is_none());
        }
        drop(calls);
        nsqd.expect_silence(s(5)).await;
        let after = stats(handle.address()).await;
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    });
}

/// contract: 10
/// checklist: 33
#[test]
fn drain_includes_callers_that_wait_for_capacity() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config.max_pending(1));
        let producer = handle.address().clone();
        let mut nsqd = network.connected().await;
        let [one, two, three] = ["1", "2", "3"].map(|body| spawn_publish(&handle, body));
        nsqd.expect_pub("t", "1").await;
        let drain = producer.send(Drain { timeout: s(10) });
        let late = handle.publish("t", "late").await;
        assert_error(late, ErrorKind::Drained, Delivery::NotWritten);
        nsqd.send_ok().await;
        nsqd.expect_pub("t", "2").await;
        let report = drain.await.unwrap();
        let counts = (report.ok, report.maybe_written, report.not_written);
        assert_eq!(counts, (1, 1, 1));
        one.await.unwrap().unwrap();
        for (call, delivery) in [(two, Delivery::MaybeWritten), (three, Delivery::NotWritten)] {
            assert_error(call.await.unwrap(), ErrorKind::Drained, delivery);
        }
    });
}

/// contract: 10
/// checklist: 33
#[test]
fn all_calls_after_a_drain_are_rejected_as_drained() {
    in_virtual_time(async |network: Network| {
        let handle = network.start_handle_with(|config| config.connect_at_start(false));
        let drain = handle.drain(s(1));
        let calls = join_all((0..500).map(|number| handle.publish("t", number.to_string())));
        let (report, results) = tokio::join!(drain, calls);
        assert!(report.unwrap().is_clean());
        for result in results {
            assert_error(result, ErrorKind::Drained, Delivery::NotWritten);
        }
        assert_eq!(stats(handle.address()).await.rejected, 500);
    });
}

/// contract: 10
/// checklist: 33
#[test]
fn drain_waits_for_all_calls_before_it() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config);
        let mut nsqd = network.connected().await;
        handle.wait_connected(s(5)).await.unwrap();
        let mut calls = join_all((0..500).map(|number| handle.publish("t", number.to_string())));
        assert!((&mut calls).now_or_never().is_none());
        let drain = tokio::task::spawn_local({
            let handle = handle.clone();
            async move { handle.drain(s(5)).await }
        });
        let mut received = 0;
        while received < 500 {
            received += match nsqd.next_command().await {
                Command::Pub { .. } => 1,
                Command::Mpub { bodies, .. } => bodies.len(),
                other => panic!("{other}"),
            };
            nsqd.send_ok().await;
        }
        for result in calls.await {
            result.unwrap();
        }
        assert_eq!(drain.await.unwrap().unwrap().ok, 500);
    });
}

/// contract: 1, 7
/// checklist: 33, 35
#[test]
fn calls_of_several_threads_have_one_true_result_each() {
    const CALLS: usize = 3_000;
    let nsqd = EmbeddedNsqd::start().unwrap();
    let config = ProducerConfig::builder(nsqd.address().to_string()).max_pending(50);
    let handle = ProducerHandle::start_in_thread(config.build().unwrap()).unwrap();
    let threads = [1, 2, 3, 4].map(|seed| {
        let (handle, mut rng) = (handle.clone(), fastrand::Rng::with_seed(seed));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(async move {
                let (mut ok, mut cancelled) = (0, 0);
                for _ in 0..CALLS / 10 {
                    let mut calls: Vec<_> = (0..10)
                        .map(|_| Box::pin(handle.publish("t", "body")))
                        .collect();
                    // Some are cancelled: before they are polled, or at any time later.
                    calls.retain_mut(|call| match rng.u8(..4) {
                        0 => false,
                        1 => match call.now_or_never() {
                            Some(result) => {
                                result.unwrap();
                                ok += 1;
                                false
                            }
                            None => {
                                cancelled += 1;
                                false
                            }
                        },
                        _ => true,
                    });
                    ok += calls.len();
                    for result in join_all(calls).await {
                        result.unwrap();
                    }
                }
                (ok, cancelled)
            })
        })
    });
    let (mut ok, mut cancelled) = (0, 0);
    for thread in threads {
        let counts = thread.join().unwrap();
        ok += counts.0;
        cancelled += counts.1;
    }
    let report = actix::System::new().block_on(handle.drain(s(10))).unwrap();
    assert!(report.is_clean());
    let stored = nsqd.messages("t").len();
    assert!(
        (ok..=ok + cancelled).contains(&stored),
        "{ok} ok, {cancelled} cancelled, {stored}"
    );
}

/// contract: 1
/// checklist: 33
#[test]
fn stopped_producer_answers_waiting_callers() {
    in_system(async |_| {
        let arbiter = actix::Arbiter::new();
        let config = ProducerConfig::builder("127.0.0.1:9").max_pending(1);
        let config = config.build().unwrap();
        let handle = ProducerHandle::start_in_arbiter(&arbiter.handle(), config);
        let producer = handle.address().clone();
        let first = publish(&producer, "first");
        let mut waiting = Box::pin(handle.publish("t", "waiting"));
        assert!(waiting.as_mut().now_or_never().is_none());
        stats(&producer).await;
        arbiter.stop();
        for answer in [
            first.await,
            waiting.await,
            handle.publish("t", "late").await,
            handle.ping(s(1)).await,
        ] {
            assert_error(answer, ErrorKind::Closed, Delivery::NotWritten);
        }
        let drained = handle.drain(s(1)).await.unwrap_err();
        assert_eq!(drained.kind(), ErrorKind::Closed);
        arbiter.join().unwrap();
    });
}

/// checklist: 33, 38
#[test]
fn tasks_of_other_threads_share_little_capacity() {
    const COUNT: u32 = 10_000;
    let peer = ScriptedPeer::play(move |mut client| async move {
        client.greet().await;
        let mut received = BTreeSet::new();
        while received.len() < COUNT as usize {
            let bodies = match client.next_command().await {
                Command::Pub { body, .. } => vec![body],
                Command::Mpub { bodies, .. } => bodies,
                other => panic!("{other}"),
            };
            for body in bodies {
                assert!(received.insert(body), "a publish was sent twice");
            }
            client.send_ok().await;
        }
        client.wait_closed().await;
    });
    in_system(async |_| {
        let config = ProducerConfig::builder(peer.address()).max_pending(100);
        let handle = ProducerHandle::start(config.build().unwrap());
        let producer = handle.address().clone();
        let threads = [0..COUNT / 2, COUNT / 2..COUNT].map(|numbers| {
            let handle = handle.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                runtime.unwrap().block_on(async move {
                    let calls = numbers.map(|number| {
                        let handle = handle.clone();
                        tokio::spawn(async move { handle.publish("t", number.to_string()).await })
                    });
                    for call in calls.collect::<Vec<_>>() {
                        call.await.unwrap().unwrap();
                    }
                });
            })
        });
        for thread in threads {
            wait::until("all are answered", || thread.is_finished()).await;
            thread.join().unwrap();
        }
        let stats = stats(&producer).await;
        let count = u64::from(COUNT);
        assert_eq!(
            (stats.published, stats.ok, stats.rejected_full),
            (count, count, 0)
        );
        drop((handle, producer));
        peer.finish().await;
    });
}
