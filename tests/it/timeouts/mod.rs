//! Deadlines of publishes, in every state of the connection.

mod wait_connected;

use std::time::Duration;

use actix_nsq::{Delivery, ErrorKind, Ping, ProducerConfigBuilder, WaitConnected, producer::Drain};
use futures::future::join_all;
use tokio::{task::spawn_local, time::sleep};

use crate::harness::{
    HOUR, Network, all_ok, assert_error, in_virtual_time, is_pending, ms, never_sent, publish,
    publish_each, publish_within, s, send, timed,
};

/// contract: 7
/// checklist: 34
#[test]
fn late_ok_is_discarded_and_completes_no_other_publish() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let late = publish_within(&producer, s(2), "late");
        let mut other = publish(&producer, "other");
        let (after, answer) = timed(late).await;
        assert_eq!(after, s(2));
        assert_error(answer, ErrorKind::Timeout, Delivery::MaybeWritten);
        nsqd.expect_pubs(&["late", "other"]).await;
        nsqd.send_ok().await;
        sleep(ms(1)).await;
        assert!(is_pending(&mut other), "completed by the late OK");
        nsqd.send_ok().await;
        other.await.unwrap();
        nsqd.expect_silence(s(1)).await;
    });
}

/// contract: 1, 7
/// fault: P27
/// checklist: 34
#[test]
fn publish_that_expires_in_the_queue_is_never_sent() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| config.publish_window(1))
            .await;
        let (after, _) = timed(never_sent(publish_within(&producer, s(0), "now"))).await;
        assert_eq!(after, s(0));
        let first = publish(&producer, "first");
        let early = publish_within(&producer, ms(10), "early");
        let late = publish_within(&producer, ms(20), "late");
        let last = publish(&producer, "last");
        nsqd.expect_pub("t", "first").await;
        never_sent(early).await;
        sleep(ms(10)).await;
        // Its deadline passes in the moment in which it could be sent.
        nsqd.send_ok().await;
        nsqd.confirm("last").await;
        never_sent(late).await;
        all_ok([first, last]).await;
    });
}

/// contract: 1
/// checklist: 34, 36
#[test]
fn publish_without_a_connection_fails_at_its_deadline() {
    let options = |config: ProducerConfigBuilder| {
        let config = config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR);
        config.dial_timeout(s(300)).publish_timeout(s(7))
    };
    for refused in [false, true] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start_with(options);
            let dial = network.dial().await;
            if refused {
                dial.refuse();
                sleep(ms(1)).await;
            } else {
                spawn_local(dial.hang());
            }
            // A timeout of its own only shortens `publish_timeout`.
            for (own, expected) in [(s(1), s(1)), (HOUR, s(7)), (Duration::MAX, s(7))] {
                let answer = never_sent(publish_within(&producer, own, "a"));
                let (after, error) = timed(answer).await;
                assert_eq!(after, expected);
                assert_eq!(error.connection_error().is_some(), refused, "{error}");
            }
        });
    }
}

/// contract: 1, 7
/// checklist: 34
#[test]
fn publish_in_flight_fails_at_its_deadline() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| config.publish_timeout(s(7)))
            .await;
        let answers = join_all(publish_each(&producer, ["1", "2", "3"]).map(timed));
        let slow = async {
            nsqd.expect_pubs(&["1", "2", "3"]).await;
            for _ in 0..2 {
                sleep(s(3)).await;
                nsqd.send_ok().await;
            }
        };
        let (answers, ()) = tokio::join!(answers, slow);
        let after: Vec<_> = answers.iter().map(|(after, _)| *after).collect();
        assert_eq!(after, [s(3), s(6), s(7)]);
        let [one, two, three] = <[_; 3]>::try_from(answers).unwrap();
        one.1.and(two.1).unwrap();
        assert_error(three.1, ErrorKind::Timeout, Delivery::MaybeWritten);
    });
}

/// The longest duration that can be added to the present time of this clock.
fn longest() -> Duration {
    let now = tokio::time::Instant::now();
    let (mut fits, mut too_long) = (s(0), Duration::MAX);
    while too_long - fits > Duration::from_nanos(1) {
        let middle = fits + (too_long - fits) / 2;
        match now.checked_add(middle) {
            Some(_) => fits = middle,
            None => too_long = middle,
        }
    }
    fits
}

/// fault: P25
#[test]
fn timeouts_of_any_length_are_accepted() {
    let nanosecond = Duration::from_nanos(1);
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let longest = longest();
        let beyond = longest.saturating_add(nanosecond);
        for timeout in [nanosecond, s(1 << 40), longest, beyond, Duration::MAX] {
            send(&producer, WaitConnected { timeout }).await.unwrap();
            let ping = send(&producer, Ping { timeout });
            nsqd.expect_identify().await;
            nsqd.send_ok().await;
            ping.await.unwrap();
            let answer = publish_within(&producer, timeout, "x");
            nsqd.confirm("x").await;
            answer.await.unwrap();
        }
        let outstanding = publish(&producer, "last");
        let drains = [beyond, Duration::MAX].map(|timeout| producer.send(Drain { timeout }));
        nsqd.confirm("last").await;
        outstanding.await.unwrap();
        for report in join_all(drains).await {
            assert_eq!(report.unwrap().ok, 1);
        }
    });
}
