//! A connection ends with publishes in flight.

use std::io;

use actix_nsq::ConnectionError;

use crate::harness::{
    Network, all_ok, in_virtual_time, is_pending, lost, ms, publish, publish_each, s, timed,
};

/// The bytes of one publish of this test: `PUB t\n`, a length, and one byte.
const COMMAND: usize = 11;

/// contract: 3, 4
/// fault: P7
#[test]
fn partly_written_publishes_are_retried_others_ambiguous() {
    let cuts = (1..=3 * COMMAND).flat_map(|taken| [(taken, false), (taken, true)]);
    for (retry, (taken, reset)) in cuts.flat_map(|cut| [(false, cut), (true, cut)]) {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start_with(|config| config.retry_maybe_written(retry));
            let (nsqd, stream) = network.connected_over(taken).await;
            if reset {
                stream.reset_at_eof();
            }
            let mut answers = publish_each(&producer, ["1", "2", "3"]).into_iter();
            tokio::time::sleep(ms(1)).await;
            drop(nsqd);
            let ambiguous = if retry { 0 } else { taken / COMMAND };
            for answer in answers.by_ref().take(ambiguous) {
                lost(answer).await;
            }
            let younger = publish(&producer, "4");
            let mut nsqd = network.connected().await;
            nsqd.confirm_all(&["1", "2", "3", "4"][ambiguous..]).await;
            all_ok(answers.chain([younger])).await;
        });
    }
}

/// contract: 3, 8
/// fault: P9
#[test]
fn of_many_in_flight_exactly_the_answered_ones_are_ok() {
    for (count, reset) in [(1, false), (64, true), (1000, false), (1000, true)] {
        for answered in [0, 1, count / 2, count] {
            in_virtual_time(async |mut network: Network| {
                let producer = network.start();
                let (mut nsqd, stream) = network.connected_over(64 << 10).await;
                // So large that none waits to be written with more.
                let bodies: Vec<_> = (0..count).map(|number| format!("{number:2000}")).collect();
                let answers = bodies.iter().map(|body| publish(&producer, body.clone()));
                let mut answers = answers.collect::<Vec<_>>().into_iter();
                nsqd.expect_pubs(&bodies).await;
                nsqd.send_oks(answered).await;
                if reset {
                    stream.reset_at_eof();
                }
                drop(nsqd);
                all_ok(answers.by_ref().take(answered)).await;
                for answer in answers {
                    lost(answer).await;
                }
            });
        }
    }
}

/// contract: 8
/// fault: P10
#[test]
fn responses_received_after_a_write_error_count() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (mut nsqd, stream) = network.connected_over(64 << 10).await;
        let [one, mut two] = publish_each(&producer, ["1", "2"]);
        nsqd.expect_pubs(&["1", "2"]).await;
        stream.hold_reads();
        nsqd.send_oks(2).await;
        stream.break_writes(io::ErrorKind::ConnectionReset);
        let three = publish(&producer, "3");
        tokio::time::sleep(ms(900)).await;
        assert!(is_pending(&mut two), "the connection was left too early");
        stream.release_reads();
        all_ok([one, two]).await;
        let mut nsqd = network.connected().await;
        nsqd.confirm("3").await;
        three.await.unwrap();
    });
}

/// contract: 8
/// fault: P10
#[test]
fn responses_after_a_write_error_are_awaited_for_one_second() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (mut nsqd, stream) = network.connected_over(64 << 10).await;
        let one = publish(&producer, "1");
        nsqd.expect_pub("t", "1").await;
        stream.break_writes(io::ErrorKind::BrokenPipe);
        let two = publish(&producer, "2");
        let (after, reason) = timed(lost(one)).await;
        assert_eq!(after, s(1));
        assert!(matches!(reason, ConnectionError::Io(_)), "{reason}");
        nsqd.wait_closed().await;
        let mut nsqd = network.connected().await;
        nsqd.confirm("2").await;
        two.await.unwrap();
    });
}
