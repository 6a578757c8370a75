//! `ProducerHandle`: publishing without actors, and waiting for room in place of failing for want of it.

use std::time::Duration;

use actix::Addr;
use actix_nsq::{
    Delivery, ErrorKind, Producer, ProducerConfig, ProducerHandle, Publish, PublishError, Topic,
    producer::Drain, producer::GetStats, producer::Stats,
};
use futures::{FutureExt, future::join_all};
use tokio::{task::JoinHandle, time::sleep};

use crate::harness::{
    Network, assert_error, in_system, in_virtual_time, ms, publish, s, send, timed, topic,
};
use crate::support::script::ScriptedPeer;
use crate::support::spoken::{Command, ok_frame};
use crate::support::wait;

fn publishing(
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
fn every_method_says_what_it_is_called() {
    in_virtual_time(async |mut network: Network| {
        let handle = ProducerHandle::start(network.config().build().unwrap());
        let mut nsqd = network.connected().await;
        let conversation = async {
            nsqd.expect_pub("t", "one").await;
            nsqd.send(ok_frame()).await;
            nsqd.expect_mpub("t", &["two", "three"]).await;
            nsqd.send(ok_frame()).await;
            nsqd.expect_dpub("t", 1500, "four").await;
            nsqd.send(ok_frame()).await;
            let ping = nsqd.next_command().await;
            assert!(matches!(ping, Command::Identify(_)), "{ping}");
            nsqd.send(ok_frame()).await;
            nsqd.wait_closed().await;
        };
        let calls = async {
            handle.publish("t", "one").await?;
            handle.multi_publish("t", ["two", "three"]).await?;
            handle
                .deferred_publish("t", ms(1500), "four".to_owned())
                .await?;
            handle.ping(s(5)).await?;
            let report = handle.drain(s(5)).await?;
            assert!(report.is_clean() && report.ok == 0);
            Ok::<_, PublishError>(())
        };
        let (_, calls) = tokio::join!(conversation, calls);
        calls.unwrap();
        let refused = handle.publish("t", "late").await;
        assert_error(refused, ErrorKind::Drained, Delivery::NotWritten);
        assert_error(
            handle.ping(s(1)).await,
            ErrorKind::Drained,
            Delivery::NotWritten,
        );
        assert!(handle.drain(s(1)).await.unwrap().is_clean());
    });
}

/// checklist: 33
#[test]
fn a_topic_is_a_topic_or_text_that_is_one() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config);
        let mut nsqd = network.connected().await;
        let (parsed, owned) = (Topic::new("t").unwrap(), "t".to_owned());
        let calls = async {
            handle.publish("t", "1").await?;
            handle.publish(owned, "2").await?;
            handle.publish(&parsed, "3").await?;
            handle.publish(parsed.clone(), "4").await
        };
        let conversation = async {
            for body in ["1", "2", "3", "4"] {
                nsqd.expect_pub("t", body).await;
                nsqd.send(ok_frame()).await;
            }
        };
        let (_, calls) = tokio::join!(conversation, calls);
        calls.unwrap();
        for text in ["", "two words", "a\nb", "ü", &"x".repeat(65)] {
            let answers = [
                handle.publish(text, "a").await,
                handle.publish(text.to_owned(), "a").await,
                handle.multi_publish(text, ["a"]).await,
                handle.deferred_publish(text, s(1), "a").await,
            ];
            for answer in answers {
                assert_error(answer, ErrorKind::InvalidName, Delivery::NotWritten);
            }
        }
        let too_large = vec![b'x'; 2 << 20];
        assert_error(
            handle.publish("t", too_large).await,
            ErrorKind::TooLarge,
            Delivery::NotWritten,
        );
        nsqd.expect_silence(s(1)).await;
    });
}

/// checklist: 33
#[test]
fn callers_have_their_turn_in_the_order_in_which_they_came() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config.max_pending(1));
        let producer = handle.address().clone();
        let mut nsqd = network.connected().await;
        let numbers = 0..100;
        let calls: Vec<_> = numbers
            .clone()
            .map(|number| publishing(&handle, number.to_string()))
            .collect();
        for number in numbers {
            nsqd.expect_pub("t", number.to_string()).await;
            // However often the producer looks, the room is given once.
            for _ in 0..3 {
                stats(&producer).await;
            }
            nsqd.send(ok_frame()).await;
        }
        for call in join_all(calls).await {
            call.unwrap().unwrap();
        }
        let stats = stats(&producer).await;
        assert_eq!(
            (stats.published, stats.ok, stats.rejected_full),
            (100, 100, 0)
        );
    });
}

/// checklist: 33
#[test]
fn whoever_waits_is_not_overtaken_by_messages_to_the_address() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config.max_pending(1));
        let producer = handle.address().clone();
        let mut nsqd = network.connected().await;
        let first = publish(&producer, "first");
        nsqd.expect_pub("t", "first").await;
        let waiting = publishing(&handle, "waiting");
        sleep(ms(1)).await;
        // In one burst with the OK that makes room.
        nsqd.send(ok_frame()).await;
        let hasty = publish(&producer, "hasty");
        assert_error(hasty.await, ErrorKind::Full, Delivery::NotWritten);
        nsqd.expect_pub("t", "waiting").await;
        nsqd.send(ok_frame()).await;
        first.await.unwrap();
        waiting.await.unwrap().unwrap();
    });
}

/// checklist: 33
#[test]
fn waiting_for_room_is_a_part_of_the_time() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| {
            let config = config.max_pending(1).publish_timeout(s(10));
            config.dial_timeout(s(300))
        });
        let producer = handle.address().clone();
        let _hangs = network.dial().await;
        let call = async |after| {
            sleep(after).await;
            let (took, answer) = timed(handle.publish("t", "a")).await;
            assert_eq!(took, s(10), "of the one that came after {after:?}");
            let error = assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
            assert_eq!(error.to_string(), "not sent within 10s");
        };
        // Room for one: the others wait a while, and some of them all of their time.
        let calls = [s(0), s(3), s(4), s(4), s(9), s(19)].map(call);
        join_all(calls).await;
        let stats = stats(&producer).await;
        assert_eq!((stats.published, stats.timed_out), (6, 6));
        assert_eq!((stats.not_written, stats.rejected_full), (6, 0));
    });
}

/// checklist: 33
#[test]
fn whoever_goes_away_while_waiting_leaves_no_trace() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config.max_pending(1));
        let producer = handle.address().clone();
        let mut nsqd = network.connected().await;
        let first = publishing(&handle, "first");
        nsqd.expect_pub("t", "first").await;
        let before = stats(&producer).await;
        for number in 0..1000 {
            let mut call = Box::pin(handle.publish("t", number.to_string()));
            assert!(call.as_mut().now_or_never().is_none());
            if number % 2 == 0 {
                // It is in the producer's hands by now.
                sleep(ms(1)).await;
            }
            drop(call);
        }
        let last = publishing(&handle, "last");
        sleep(ms(1)).await;
        let after = stats(&producer).await;
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
        nsqd.send(ok_frame()).await;
        first.await.unwrap().unwrap();
        nsqd.expect_pub("t", "last").await;
        nsqd.send(ok_frame()).await;
        last.await.unwrap().unwrap();
        nsqd.expect_silence(s(5)).await;
        assert_eq!(stats(&producer).await.published, 2);
    });
}

/// contract: 10
/// checklist: 33
#[test]
fn a_drain_waits_for_those_who_wait_for_room() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config.max_pending(1));
        let producer = handle.address().clone();
        let mut nsqd = network.connected().await;
        let calls = ["1", "2", "3"].map(|body| publishing(&handle, body));
        nsqd.expect_pub("t", "1").await;
        let drain = tokio::task::spawn_local(producer.send(Drain { timeout: s(10) }));
        sleep(ms(1)).await;
        let late = handle.publish("t", "late").await;
        assert_error(late, ErrorKind::Drained, Delivery::NotWritten);
        nsqd.send(ok_frame()).await;
        nsqd.expect_pub("t", "2").await;
        sleep(s(11)).await;
        let report = drain.await.unwrap().unwrap();
        assert_eq!(
            (report.ok, report.maybe_written, report.not_written),
            (1, 1, 1)
        );
        let [one, two, three] = calls;
        one.await.unwrap().unwrap();
        let drained = ErrorKind::Drained;
        assert_error(two.await.unwrap(), drained, Delivery::MaybeWritten);
        assert_error(three.await.unwrap(), drained, Delivery::NotWritten);
    });
}

/// checklist: 33
#[test]
fn a_large_batch_has_its_turn_among_small_publishes() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| {
            let config = config.max_pending_bytes(100).max_publish_size(100);
            config.max_batch_size(100)
        });
        let mut nsqd = network.connected().await;
        let small = publishing(&handle, "x".repeat(60));
        let batch = {
            let handle = handle.clone();
            let bodies = ["y".repeat(40), "z".repeat(40)];
            tokio::task::spawn_local(async move { handle.multi_publish("t", bodies).await })
        };
        sleep(ms(1)).await;
        let behind = publishing(&handle, "behind");
        nsqd.expect_pub("t", "x".repeat(60)).await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send(ok_frame()).await;
        nsqd.expect_mpub("t", &["y".repeat(40), "z".repeat(40)])
            .await;
        nsqd.expect_pub("t", "behind").await;
        nsqd.send(ok_frame()).await;
        nsqd.send(ok_frame()).await;
        for call in [small, batch, behind] {
            call.await.unwrap().unwrap();
        }
    });
}

/// checklist: 33
#[test]
fn a_producer_that_is_gone_answers_those_who_wait() {
    in_system(async |_| {
        let arbiter = actix::Arbiter::new();
        let config = ProducerConfig::builder("127.0.0.1:9").max_pending(1);
        let config = config.build().unwrap();
        let handle = ProducerHandle::start_in_arbiter(&arbiter.handle(), config);
        let producer = handle.address().clone();
        let first = send(&producer, Publish::new(topic("t"), "first"));
        let mut waiting = Box::pin(handle.publish("t", "waiting"));
        assert!(waiting.as_mut().now_or_never().is_none());
        stats(&producer).await;
        arbiter.stop();
        let closed = ErrorKind::Closed;
        assert_error(first.await, closed, Delivery::NotWritten);
        assert_error(waiting.await, closed, Delivery::NotWritten);
        assert_error(
            handle.publish("t", "late").await,
            closed,
            Delivery::NotWritten,
        );
        assert_error(handle.ping(s(1)).await, closed, Delivery::NotWritten);
        let drained = handle.drain(s(1)).await.unwrap_err();
        assert_eq!(drained.kind(), closed);
        arbiter.join().unwrap();
    });
}

/// An nsqd that takes so many publishes of numbers, and returns once it is left, having answered each command.
fn takes(count: usize) -> ScriptedPeer {
    ScriptedPeer::play(move |mut client| async move {
        client.greet().await;
        let mut came = std::collections::BTreeSet::new();
        while came.len() < count {
            let bodies = match client.next_command().await {
                Command::Pub { body, .. } => vec![body],
                Command::Mpub { bodies, .. } => bodies,
                other => panic!("{other}"),
            };
            for body in bodies {
                assert!(came.insert(body), "a publish came twice");
            }
            client.send(ok_frame()).await;
        }
        client.wait_closed().await;
    })
}

/// checklist: 33
#[test]
fn from_plain_tokio_tasks_on_other_threads_ten_thousand_calls_share_little_room() {
    let peer = takes(10_000);
    in_system(async |_| {
        let config = ProducerConfig::builder(peer.address()).max_pending(100);
        let handle = ProducerHandle::start(config.build().unwrap());
        let producer = handle.address().clone();
        let threads = [0..5_000, 5_000..10_000].map(|numbers: std::ops::Range<u32>| {
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
        drop(handle);
        for thread in threads {
            wait::until("all are answered", || thread.is_finished()).await;
            thread.join().unwrap();
        }
        let stats = stats(&producer).await;
        assert_eq!(
            (stats.published, stats.ok, stats.rejected_full),
            (10_000, 10_000, 0)
        );
        assert!(stats.latency.max() < Some(Duration::from_secs(30)));
        drop(producer);
        peer.finish().await;
    });
}
