//! nsqd refuses a publish and closes the connection: that one fails, and the bystanders do not.

use actix::Addr;
use actix_nsq::{
    Delivery, ErrorKind, MultiPublish, Producer, Publish, PublishError, protocol::ErrorCode,
};

use crate::harness::{Answer, Network, assert_error, in_virtual_time, ms, publish, s, send, topic};
use crate::support::spoken::{error_frame, frame, ok_frame};

fn to(producer: &Addr<Producer>, name: &str, body: &'static str) -> Answer {
    send(producer, Publish::new(topic(name), body))
}

/// What a publish is told that nsqd refuses with this error frame.
fn refused(said: Vec<u8>, bad: impl FnOnce(&Addr<Producer>) -> Answer) -> PublishError {
    let mut told = None;
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let bad = bad(&producer);
        let mut nsqd = network.connected().await;
        nsqd.next_command().await;
        nsqd.send(said).await;
        nsqd.fin().await;
        told = Some(bad.await.expect_err("nsqd refused"));
    });
    told.expect("the test ran")
}

/// contract: 4
/// fault: P19
#[test]
fn an_error_frame_fails_exactly_its_publish_and_the_others_are_sent_again_in_order() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let [one, two, three, four] = ["1", "2", "3", "4"].map(|body| publish(&producer, body));
        let mut nsqd = network.connected().await;
        for body in ["1", "2", "3", "4"] {
            nsqd.expect_pub("t", body).await;
        }
        nsqd.send([ok_frame(), error_frame("E_PUB_FAILED PUB failed disk")].concat())
            .await;
        nsqd.fin().await;
        one.await.unwrap();
        assert_error(
            two.await,
            ErrorKind::Rejected(ErrorCode::PubFailed),
            Delivery::NotWritten,
        );
        let younger = publish(&producer, "5");
        let mut nsqd = network.connected().await;
        for body in ["3", "4", "5"] {
            nsqd.expect_pub("t", body).await;
        }
        nsqd.send(ok_frame().repeat(3)).await;
        for each in [three, four, younger] {
            each.await.unwrap();
        }
        nsqd.expect_silence(s(20)).await;
    });
}

/// contract: 3
/// checklist: 16
#[test]
fn every_known_code_but_that_of_a_batch_means_that_nothing_is_stored() {
    for (code, text) in [
        (ErrorCode::Invalid, "E_INVALID no"),
        (ErrorCode::BadTopic, "E_BAD_TOPIC no"),
        (ErrorCode::BadBody, "E_BAD_BODY no"),
        (ErrorCode::BadMessage, "E_BAD_MESSAGE PUB message too big"),
        (ErrorCode::PubFailed, "E_PUB_FAILED"),
        (ErrorCode::DpubFailed, "E_DPUB_FAILED no"),
        (ErrorCode::AuthFirst, "E_AUTH_FIRST no"),
        (ErrorCode::AuthFailed, "E_AUTH_FAILED no"),
        (ErrorCode::Unauthorized, "E_UNAUTHORIZED no"),
    ] {
        let error = refused(error_frame(text), |producer| publish(producer, "a"));
        assert_error(Err(error), ErrorKind::Rejected(code), Delivery::NotWritten);
    }
}

/// contract: 3
#[test]
fn a_batch_that_failed_may_be_stored_in_part() {
    let batch = |producer: &_| send(producer, MultiPublish::new(topic("t"), ["a", "b"]));
    let error = refused(error_frame("E_MPUB_FAILED MPUB failed disk full"), batch);
    assert_error(
        Err(error),
        ErrorKind::Rejected(ErrorCode::MpubFailed),
        Delivery::MaybePartial,
    );
    let error = refused(
        error_frame("E_BAD_BODY MPUB invalid message count 2"),
        batch,
    );
    assert_error(
        Err(error),
        ErrorKind::Rejected(ErrorCode::BadBody),
        Delivery::NotWritten,
    );
}

/// contract: 3
/// fault: P20
#[test]
fn what_an_unknown_code_means_is_unknown() {
    for text in [
        "E_NEWS of 2030",
        "",
        "e_bad_topic",
        "E_BAD_TOPICS",
        "E_NEWS\nE_BAD_TOPIC",
    ] {
        let error = refused(error_frame(text), |producer| publish(producer, "a"));
        let kind = ErrorKind::Rejected(ErrorCode::Unknown);
        assert!(!error.is_retryable());
        assert_error(Err(error), kind, Delivery::MaybeWritten);
    }
}

/// contract: 12
/// fault: P20
#[test]
fn any_text_is_told_on_one_line_of_bounded_length() {
    let error = refused(frame(1, b"E_PUB_FAILED \xff\xfe\nbroken"), |producer| {
        publish(producer, "a")
    });
    let text = error.server_error().unwrap().text();
    assert!(
        text.starts_with("E_PUB_FAILED \u{fffd}") && text.ends_with("broken"),
        "{text}"
    );
    assert!(!error.to_string().contains('\n'));
    let long = [&b"E_PUB_FAILED "[..], &[b'x'; 1 << 20]].concat();
    let error = refused(frame(1, &long), |producer| publish(producer, "a"));
    assert!(
        error.to_string().len() < 600,
        "{} bytes",
        error.to_string().len()
    );
    assert_error(
        Err(error),
        ErrorKind::Rejected(ErrorCode::PubFailed),
        Delivery::NotWritten,
    );
}

/// contract: 4
/// fault: P19
#[test]
fn a_verdict_on_a_topic_answers_all_of_that_topic_and_nothing_of_others() {
    for (code, text) in [
        (ErrorCode::BadTopic, "E_BAD_TOPIC PUB topic name"),
        (
            ErrorCode::Unauthorized,
            "E_UNAUTHORIZED AUTH failed for PUB on \"bad\"",
        ),
    ] {
        in_virtual_time(async |mut network: Network| {
            // One is in flight behind the refused one, one waits for its turn.
            let producer = network.start_with(|config| config.publish_window(3));
            let bad = to(&producer, "bad", "1");
            let good = to(&producer, "good", "2");
            let behind = to(&producer, "bad", "3");
            let waiting = to(&producer, "bad", "4");
            let last = to(&producer, "good", "5");
            let mut nsqd = network.connected().await;
            nsqd.expect_pub("bad", "1").await;
            nsqd.expect_pub("good", "2").await;
            nsqd.expect_pub("bad", "3").await;
            nsqd.send(error_frame(text)).await;
            nsqd.fin().await;
            for each in [bad, behind, waiting] {
                assert_error(each.await, ErrorKind::Rejected(code), Delivery::NotWritten);
            }
            let mut nsqd = network.connected().await;
            nsqd.expect_pub("good", "2").await;
            nsqd.expect_pub("good", "5").await;
            nsqd.send(ok_frame().repeat(2)).await;
            for each in [good, last] {
                each.await.unwrap();
            }
            // A verdict is on what was accepted so far: permissions change.
            tokio::time::sleep(s(1)).await;
            let later = to(&producer, "bad", "6");
            nsqd.expect_pub("bad", "6").await;
            nsqd.send(ok_frame()).await;
            later.await.unwrap();
        });
    }
}

/// Through any stream, so that nsqd can end as well, and nobody waits for the last words of one who has none.
#[test]
fn after_a_refusal_the_peer_hears_at_once_that_no_more_will_come() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let refused = publish(&producer, "a");
        nsqd.expect_pub("t", "a").await;
        nsqd.send(error_frame("E_BAD_TOPIC PUB topic name")).await;
        let told = network.elapsed();
        nsqd.wait_closed().await;
        assert!(
            network.elapsed() - told < ms(100),
            "{:?}",
            network.elapsed() - told
        );
        let bad_topic = ErrorKind::Rejected(ErrorCode::BadTopic);
        assert_error(refused.await, bad_topic, Delivery::NotWritten);
    });
}

/// Each refusal costs the connection, and each connection asks the auth server.
#[test]
fn a_topic_that_is_closed_to_the_producer_costs_one_connection_a_second_however_often_it_is_tried()
{
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        for _ in 0..3 {
            let refused = to(&producer, "closed", "1");
            let good = to(&producer, "good", "2");
            nsqd.expect_pub("closed", "1").await;
            nsqd.expect_pub("good", "2").await;
            nsqd.send(error_frame(
                "E_UNAUTHORIZED AUTH failed for PUB on \"closed\"",
            ))
            .await;
            nsqd.fin().await;
            let unauthorized = ErrorKind::Rejected(ErrorCode::Unauthorized);
            assert_error(refused.await, unauthorized, Delivery::NotWritten);
            nsqd = network.connected().await;
            nsqd.expect_pub("good", "2").await;
            nsqd.send(ok_frame()).await;
            good.await.unwrap();
            for _ in 0..90 {
                let error = assert_error(
                    to(&producer, "closed", "3").await,
                    unauthorized,
                    Delivery::NotWritten,
                );
                let text = error.to_string();
                assert!(
                    text.starts_with("nsqd denied this topic within the last 1s: E_UNAU"),
                    "{text}"
                );
                assert!(error.server_error().is_some());
                let good = to(&producer, "good", "4");
                nsqd.expect_pub("good", "4").await;
                nsqd.send(ok_frame()).await;
                good.await.unwrap();
                tokio::time::sleep(ms(10)).await;
            }
            tokio::time::sleep(ms(100)).await;
        }
    });
}

/// contract: 4
#[test]
fn an_upload_that_was_too_slow_is_sent_again() {
    for text in [
        "E_BAD_MESSAGE PUB failed to read message body",
        "E_BAD_BODY MPUB failed to read message count",
        "E_BAD_MESSAGE MPUB failed to read message(7) body size",
    ] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let (slow, behind) = (publish(&producer, "slow"), publish(&producer, "behind"));
            let mut nsqd = network.connected().await;
            nsqd.expect_pub("t", "slow").await;
            nsqd.send(error_frame(text)).await;
            nsqd.fin().await;
            let mut nsqd = network.connected().await;
            nsqd.expect_pub("t", "slow").await;
            nsqd.expect_pub("t", "behind").await;
            nsqd.send(ok_frame().repeat(2)).await;
            slow.await.unwrap();
            behind.await.unwrap();
        });
    }
}

#[test]
fn an_upload_that_is_always_too_slow_ends_at_its_dead_line() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut slow = publish(&producer, "slow");
        let mut again = 0;
        let error = loop {
            tokio::select! {
                answer = &mut slow => break answer.unwrap_err(),
                mut nsqd = network.connected() => {
                    nsqd.expect_pub("t", "slow").await;
                    nsqd.send(error_frame("E_BAD_MESSAGE PUB failed to read message body")).await;
                    nsqd.fin().await;
                    again += 1;
                }
            }
        };
        assert_error(Err(error), ErrorKind::Timeout, Delivery::NotWritten);
        assert_eq!(network.elapsed(), s(30));
        // Backoff: thousands would be a hot loop, and one would be no second chance.
        assert!((5..100).contains(&again), "sent {again} times");
    });
}

/// contract: 4
/// fault: P25
#[test]
fn a_limit_that_nsqd_names_is_kept_and_costs_one_connection() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let body = |size: usize| vec![b'x'; size];
        let [first, large, small] = [1200, 1100, 1000].map(|size| publish(&producer, body(size)));
        let batch = send(
            &producer,
            MultiPublish::new(topic("t"), [body(1), body(1001)]),
        );
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", body(1200)).await;
        nsqd.send(error_frame("E_BAD_MESSAGE PUB message too big 1200 > 1000"))
            .await;
        nsqd.fin().await;
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", body(1000)).await;
        nsqd.send(ok_frame()).await;
        small.await.unwrap();
        let kind = ErrorKind::Rejected(ErrorCode::BadMessage);
        let late = publish(&producer, body(1001));
        for each in [first, large, batch, late] {
            assert_error(each.await, kind, Delivery::NotWritten);
        }
        // The next nsqd may be another one.
        drop(nsqd);
        let mut nsqd = network.connected().await;
        let again = publish(&producer, body(1001));
        nsqd.expect_pub("t", body(1001)).await;
        nsqd.send(ok_frame()).await;
        again.await.unwrap();
    });
}

#[test]
fn a_dial_that_fails_forgets_the_limits_that_nsqd_named() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let body = |size: usize| vec![b'x'; size];
        let first = publish(&producer, body(1200));
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", body(1200)).await;
        nsqd.send(error_frame("E_BAD_MESSAGE PUB message too big 1200 > 1000"))
            .await;
        nsqd.fin().await;
        first.await.unwrap_err();
        network.dial().await.refuse();
        // The next nsqd may be another one, or have been restarted with other limits.
        let again = publish(&producer, body(1200));
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", body(1200)).await;
        nsqd.send(ok_frame()).await;
        again.await.unwrap();
    });
}

/// contract: 4
#[test]
fn a_connection_that_had_served_is_dialled_again_20_ms_after_a_refusal_however_often() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        for _ in 0..20 {
            let (good, bad) = (publish(&producer, "good"), publish(&producer, "bad"));
            nsqd.expect_pub("t", "good").await;
            nsqd.expect_pub("t", "bad").await;
            nsqd.send([ok_frame(), error_frame("E_PUB_FAILED PUB failed")].concat())
                .await;
            nsqd.fin().await;
            let closed = network.elapsed();
            good.await.unwrap();
            bad.await.unwrap_err();
            nsqd = network.connected().await;
            assert_eq!(network.elapsed() - closed, ms(20));
        }
    });
}

/// nsqd's reason may be lost in a reset, again and again: then the producer waits as after a first loss, and not ever longer.
/// fault: P19
#[test]
fn a_refusal_by_a_connection_that_had_served_lets_the_delays_start_over() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        for _ in 0..30 {
            for heard in [true, false] {
                let (good, bad) = (publish(&producer, "good"), publish(&producer, "bad"));
                nsqd.expect_pub("t", "good").await;
                nsqd.expect_pub("t", "bad").await;
                let refusal = error_frame("E_PUB_FAILED PUB failed");
                let refusal = if heard { refusal } else { Vec::new() };
                nsqd.send([ok_frame(), refusal].concat()).await;
                nsqd.fin().await;
                let closed = network.elapsed();
                good.await.unwrap();
                bad.await.unwrap_err();
                nsqd = network.connected().await;
                let delay = network.elapsed() - closed;
                let limit = if heard { ms(20) } else { ms(101) };
                assert!(delay <= limit, "{delay:?} after it was heard: {heard}");
            }
        }
    });
}

/// contract: 4
#[test]
fn a_connection_that_never_served_is_dialled_again_with_backoff_after_a_refusal() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut delays = Vec::new();
        for _ in 0..12 {
            let mut nsqd = network.connected().await;
            let bad = publish(&producer, "bad");
            nsqd.expect_pub("t", "bad").await;
            nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
            nsqd.fin().await;
            bad.await.unwrap_err();
            let closed = tokio::time::Instant::now();
            let dial = network.dial().await;
            delays.push(dial.at - closed);
            dial.refuse();
        }
        // Each connection counts for two attempts here; the delays grow to a cap of 5 s.
        let longest = delays.iter().max().unwrap();
        assert!(*longest > s(1) && *longest <= s(5) + ms(1), "{delays:?}");
    });
}

/// fault: P19
#[test]
fn a_server_that_does_not_close_after_its_refusal_is_left_within_a_second() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (good, bad, behind) = (
            publish(&producer, "1"),
            publish(&producer, "2"),
            publish(&producer, "3"),
        );
        let mut old = network.connected().await;
        old.expect_pub("t", "1").await;
        old.send([ok_frame(), error_frame("E_PUB_FAILED PUB failed")].concat())
            .await;
        good.await.unwrap();
        assert_error(
            bad.await,
            ErrorKind::Rejected(ErrorCode::PubFailed),
            Delivery::NotWritten,
        );
        let refused = network.elapsed();
        let mut nsqd = network.connected().await;
        assert_eq!(network.elapsed() - refused, s(1) + ms(20));
        nsqd.expect_pub("t", "3").await;
        nsqd.send(ok_frame()).await;
        behind.await.unwrap();
        old.wait_closed().await;
    });
}
