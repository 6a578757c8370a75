//! Callers that give up or time out: the truth for them, and no change for anybody else.

use actix_nsq::{Delivery, ErrorKind, Publish, protocol::ErrorCode};
use futures::FutureExt;
use tokio::{task::spawn_local, time::sleep};

use crate::harness::{
    HOUR, Network, assert_error, in_virtual_time, is_pending, ms, publish, s, send, timed, topic,
};
use crate::support::spoken::{Command, error_frame, ok_frame};

fn within(timeout: std::time::Duration, body: &'static str) -> Publish {
    Publish::new(topic("t"), body).expires_in(timeout)
}

/// contract: 7
/// checklist: 43
#[test]
fn a_late_answer_is_swallowed_and_the_next_ones_stay_matched() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let hasty = send(&producer, within(s(2), "hasty"));
        let mut patient = publish(&producer, "patient");
        let (after, answer) = timed(hasty).await;
        assert_eq!(after, s(2));
        assert_error(answer, ErrorKind::Timeout, Delivery::MaybeWritten);
        nsqd.expect_pub("t", "hasty").await;
        nsqd.expect_pub("t", "patient").await;
        nsqd.send(ok_frame()).await;
        tokio::time::sleep(ms(1)).await;
        assert!(is_pending(&mut patient), "answered by another's OK");
        nsqd.send(ok_frame()).await;
        patient.await.unwrap();
        nsqd.expect_silence(s(1)).await;
    });
}

/// contract: 2, 7
/// checklist: 43
#[test]
fn a_late_refusal_is_swallowed_and_the_bystander_is_sent_again() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let hasty = send(&producer, within(s(2), "hasty"));
        let patient = publish(&producer, "patient");
        assert_error(hasty.await, ErrorKind::Timeout, Delivery::MaybeWritten);
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        nsqd.fin().await;
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "patient").await;
        nsqd.send(ok_frame()).await;
        patient.await.unwrap();
    });
}

/// contract: 7
/// checklist: 43
#[test]
fn what_timed_out_in_flight_is_not_sent_again() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.retry_maybe_written(true));
        let nsqd = network.connected().await;
        let hasty = send(&producer, within(s(2), "hasty"));
        let patient = publish(&producer, "patient");
        assert_error(hasty.await, ErrorKind::Timeout, Delivery::MaybeWritten);
        drop(nsqd);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "patient").await;
        nsqd.send(ok_frame()).await;
        patient.await.unwrap();
    });
}

/// contract: 7
/// checklist: 43
#[test]
fn what_timed_out_before_its_turn_is_never_written() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(1));
        let mut nsqd = network.connected().await;
        let first = publish(&producer, "first");
        let hasty = send(&producer, within(s(2), "hasty"));
        let last = publish(&producer, "last");
        let (after, answer) = timed(hasty).await;
        assert_eq!(after, s(2));
        assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
        nsqd.expect_pub("t", "first").await;
        nsqd.send(ok_frame()).await;
        nsqd.expect_pub("t", "last").await;
        nsqd.send(ok_frame()).await;
        first.await.unwrap();
        last.await.unwrap();
    });
}

/// contract: 1, 7
/// checklist: 43
#[test]
fn a_publish_without_any_time_is_refused_at_once_and_never_written() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let (after, answer) = timed(send(&producer, within(s(0), "a"))).await;
        assert_eq!(after, s(0));
        assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
        nsqd.expect_silence(s(1)).await;
    });
}

/// contract: 7
/// fault: P27
/// checklist: 43
#[test]
fn a_publish_whose_time_is_over_when_its_turn_comes_is_never_written() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(1));
        let mut nsqd = network.connected().await;
        // One after the other, however short ago dead-lines were looked at.
        for _ in 0..3 {
            let (after, answer) = timed(send(&producer, within(s(0), "a"))).await;
            assert_eq!(after, s(0));
            assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
        }
        nsqd.expect_silence(s(1)).await;

        let first = publish(&producer, "first");
        let early = send(&producer, within(ms(10), "early"));
        let late = send(&producer, within(ms(20), "late"));
        let last = publish(&producer, "last");
        nsqd.expect_pub("t", "first").await;
        assert_error(early.await, ErrorKind::Timeout, Delivery::NotWritten);
        sleep(ms(10)).await;
        nsqd.send(ok_frame()).await;
        nsqd.expect_pub("t", "last").await;
        assert_error(late.await, ErrorKind::Timeout, Delivery::NotWritten);
        nsqd.send(ok_frame()).await;
        first.await.unwrap();
        last.await.unwrap();
    });
}

/// contract: 1, 7
/// checklist: 43
#[test]
fn publishes_time_out_at_exactly_publish_timeout_while_connecting() {
    in_virtual_time(async |mut network: Network| {
        let producer =
            network.start_with(|config| config.dial_timeout(s(300)).publish_timeout(s(7)));
        let dial = network.dial().await;
        spawn_local(dial.hang());
        let (after, answer) = timed(publish(&producer, "a")).await;
        assert_eq!(after, s(7));
        assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
        let (after, answer) = timed(send(&producer, within(s(3), "b"))).await;
        assert_eq!(after, s(3));
        assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
    });
}

/// contract: 1, 7
/// checklist: 43
#[test]
fn publishes_time_out_at_exactly_publish_timeout_while_backing_off() {
    in_virtual_time(async |mut network: Network| {
        let hours = |config: actix_nsq::ProducerConfigBuilder| {
            let config = config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR);
            config.publish_timeout(s(7))
        };
        let producer = network.start_with(hours);
        network.dial().await.refuse();
        // From now on it is backing off, and no more on its way to that.
        sleep(ms(1)).await;
        let (after, answer) = timed(publish(&producer, "a")).await;
        assert_eq!(after, s(7));
        let error = assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
        assert!(error.connection_error().is_some(), "{error}");
    });
}

/// contract: 1, 7
/// checklist: 43
#[test]
fn publishes_time_out_at_exactly_publish_timeout_in_flight() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_timeout(s(7)));
        let mut nsqd = network.connected().await;
        let [one, two, three] = ["1", "2", "3"].map(|body| timed(publish(&producer, body)));
        let slow = async {
            for body in ["1", "2", "3"] {
                nsqd.expect_pub("t", body).await;
            }
            for _ in 0..2 {
                tokio::time::sleep(s(3)).await;
                nsqd.send(ok_frame()).await;
            }
        };
        let (one, two, three, ()) = tokio::join!(one, two, three, slow);
        assert!(matches!(one, (after, Ok(())) if after == s(3)), "{one:?}");
        assert!(matches!(two, (after, Ok(())) if after == s(6)), "{two:?}");
        assert_eq!(three.0, s(7));
        assert_error(three.1, ErrorKind::Timeout, Delivery::MaybeWritten);
    });
}

/// contract: 1, 7
/// checklist: 43
#[test]
fn a_publishs_own_time_only_shortens() {
    in_virtual_time(async |mut network: Network| {
        let producer =
            network.start_with(|config| config.publish_timeout(s(3)).dial_timeout(s(60)));
        spawn_local(network.dial().await.hang());
        for (own, expected) in [
            (HOUR, s(3)),
            (s(3), s(3)),
            (s(1), s(1)),
            (std::time::Duration::MAX, s(3)),
        ] {
            let (after, answer) = timed(send(&producer, within(own, "a"))).await;
            assert_eq!(after, expected);
            assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
        }
    });
}

/// contract: 1, 7
/// fault: P15
/// checklist: 43
#[test]
fn each_publish_has_its_own_dead_line() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(s(60)));
        spawn_local(network.dial().await.hang());
        let times = [s(9), ms(10), s(3), ms(3007), ms(15), s(1)];
        let all = times.map(|own| timed(send(&producer, within(own, "a"))));
        for (own, (after, answer)) in times.into_iter().zip(futures::future::join_all(all).await) {
            assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
            // Never early; and many dead-lines close to each other are looked at together.
            assert!(
                after >= own && after <= own + ms(20),
                "{after:?} for {own:?}"
            );
        }
    });
}

/// contract: 7
/// fault: P27
/// checklist: 43
#[test]
fn what_was_cancelled_before_its_turn_is_never_sent() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut bodies: Vec<_> = ["1", "2", "3", "4", "5"]
            .map(|body| publish(&producer, body))
            .into();
        // Before the producer has even seen it, and after it has.
        drop(bodies.remove(1));
        tokio::time::sleep(ms(1)).await;
        drop(bodies.remove(0));
        drop(bodies.pop());
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "3").await;
        nsqd.expect_pub("t", "4").await;
        nsqd.send(ok_frame().repeat(2)).await;
        for each in bodies {
            each.await.unwrap();
        }
        nsqd.expect_silence(s(20)).await;
    });
}

/// contract: 7
/// fault: P27
/// checklist: 43
#[test]
fn what_was_cancelled_in_flight_keeps_its_place() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let (cancelled, mut kept) = (publish(&producer, "cancelled"), publish(&producer, "kept"));
        nsqd.expect_pub("t", "cancelled").await;
        nsqd.expect_pub("t", "kept").await;
        drop(cancelled);
        nsqd.send(ok_frame()).await;
        tokio::time::sleep(ms(1)).await;
        assert!(is_pending(&mut kept), "answered by another's OK");
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        assert_error(
            kept.await,
            ErrorKind::Rejected(ErrorCode::PubFailed),
            Delivery::NotWritten,
        );
    });
}

/// contract: 7
/// checklist: 43
#[test]
fn what_was_cancelled_behind_a_refusal_is_not_sent_again() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let [bad, cancelled, kept] = ["1", "2", "3"].map(|body| publish(&producer, body));
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_pub("t", "2").await;
        drop(cancelled);
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        nsqd.fin().await;
        bad.await.unwrap_err();
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "3").await;
        nsqd.send(ok_frame()).await;
        kept.await.unwrap();
    });
}

/// contract: 7
/// checklist: 43
#[test]
fn what_times_out_while_a_connection_closes_was_never_written() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let bad = publish(&producer, "bad");
        nsqd.expect_pub("t", "bad").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        bad.await.unwrap_err();
        // nsqd does not close, and its last words are waited for.
        let (after, answer) = timed(send(&producer, within(ms(500), "late"))).await;
        assert_eq!(after, ms(500));
        assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
        assert_eq!(nsqd.wait_closed().await, b"");
    });
}

/// Which one comes next, and what becomes of it, is drawn; `CALLERS_SEED` plays one again.
/// contract: 7
/// fault: P27
/// checklist: 43
#[test]
fn ten_thousand_callers_of_whom_some_go_away_at_random_each_get_their_own_answer() {
    let seed = std::env::var("CALLERS_SEED").map_or_else(
        |_| fastrand::u64(..),
        |seed| seed.parse().expect("a seed is a number"),
    );
    // Shown when the test fails.
    eprintln!("CALLERS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    in_virtual_time(async |mut network: Network| {
        const COUNT: usize = 10_000;
        let producer = network.start_with(|config| {
            config
                .publish_window(64)
                .heartbeat_interval(None)
                .publish_timeout(HOUR)
                .ack_timeout(HOUR / 2)
        });
        let mut nsqd = network.connected().await;
        let mut callers: Vec<_> = (0..COUNT)
            .map(|number| Some(publish(&producer, format!("{number}"))))
            .collect();
        // Some are gone before the producer has even seen them.
        for caller in &mut callers {
            if random.u8(..10) == 0 {
                *caller = None;
            }
        }
        tokio::time::sleep(ms(1)).await;
        let (mut answered, mut swallowed) = (0, 0);
        let mut next = 0;
        while callers[next..].iter().any(Option::is_some) {
            // Some go away in flight, and some while they wait.
            for _ in 0..random.usize(..3) {
                let gone = random.usize(next..COUNT);
                callers[gone] = None;
            }
            if callers[next..].iter().all(Option::is_none) {
                break;
            }
            let bodies = match nsqd.next_command().await {
                Command::Pub { body, .. } => vec![body],
                Command::Mpub { bodies, .. } => bodies,
                other => panic!("{other:?}"),
            };
            let numbers = bodies.into_iter().map(|body| {
                let number = String::from_utf8(body).unwrap();
                number.parse::<usize>().unwrap()
            });
            let numbers: Vec<_> = numbers.collect();
            nsqd.send(ok_frame()).await;
            tokio::time::sleep(ms(1)).await;
            for number in numbers {
                assert!(number >= next, "{number} came behind {next}");
                // Those left out were gone before their turn.
                let left_out = callers[next..number].iter().any(Option::is_some);
                assert!(!left_out, "between {next} and {number} somebody waits");
                next = number + 1;
                match callers[number].take() {
                    Some(caller) => {
                        let answer = caller.now_or_never();
                        answer.expect("its own OK answers it").unwrap();
                        answered += 1;
                    }
                    None => swallowed += 1,
                }
            }
            if let Some(later) = callers[next..].iter_mut().flatten().next() {
                assert!(is_pending(later), "answered by another's OK");
            }
        }
        assert!(
            answered > 1_000 && swallowed > 10,
            "{answered} and {swallowed}"
        );
        drop(callers);
        drop(producer);
    });
}
