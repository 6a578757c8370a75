//! `Drain`: rejects new publishes, waits for outstanding ones, answers the rest, and leaves nothing
//! behind.

mod requests;

use actix::Addr;
use actix_nsq::{
    Delivery, ErrorKind, MultiPublish, Producer, ProducerConfigBuilder, Publish,
    producer::{Drain, DrainReport},
};
use futures::FutureExt;
use tokio::time::sleep;

use crate::harness::{
    Answer, HOUR, Network, PUB_FAILED, all_ok, assert_error, in_virtual_time, is_pending, ms,
    publish, publish_each, publish_within, rejected, s, send, timed, topic,
};
use crate::support::spoken::error_frame;

/// Sends `Drain` at once, with a timeout in seconds.
pub(super) fn drain(
    producer: &Addr<Producer>,
    seconds: u64,
) -> impl Future<Output = DrainReport> + use<> {
    let timeout = s(seconds);
    let request = producer.send(Drain { timeout });
    async { request.await.expect("a drain is always answered") }
}

/// The counts of a report: ok, not written, maybe written, maybe partial.
fn counts(report: DrainReport) -> [u64; 4] {
    let clean = report.not_written + report.maybe_written + report.maybe_partial == 0;
    assert_eq!(report.is_clean(), clean);
    [
        report.ok,
        report.not_written,
        report.maybe_written,
        report.maybe_partial,
    ]
}

pub(super) async fn drained(answer: Answer, delivery: Delivery) {
    assert_error(answer.await, ErrorKind::Drained, delivery);
}

/// Checks that a producer is drained: it rejects publishes, has no connection and no timer, and
/// ends with its last address.
async fn is_drained(mut network: Network, producer: Addr<Producer>) {
    assert_eq!(network.open_connections(), 0);
    network.expect_no_timer_for_an_hour().await;
    drained(publish(&producer, "late"), Delivery::NotWritten).await;
    let (after, report) = timed(drain(&producer, 9)).await;
    assert_eq!(after, s(0));
    assert_eq!(report, drain(&producer, 0).await);
    network.expect_no_timer_for_an_hour().await;
    let before = network.elapsed();
    drop(producer);
    assert!(network.next_dial().await.is_none(), "the producer dials");
    assert_eq!(network.elapsed(), before);
}

async fn drains_at_once(network: Network, producer: Addr<Producer>) {
    let (after, report) = timed(drain(&producer, 10)).await;
    assert_eq!((after, counts(report)), (s(0), [0; 4]));
    is_drained(network, producer).await;
}

/// contract: 10
/// checklist: 22, 107, 111
#[test]
fn idle_producer_drains_at_once_in_every_state() {
    in_virtual_time(async |network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        drains_at_once(network, producer).await;
    });
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let _dial = network.dial().await;
        drains_at_once(network, producer).await;
    });
    in_virtual_time(async |mut network: Network| {
        let hourly = |config: ProducerConfigBuilder| {
            config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR)
        };
        let producer = network.start_with(hourly);
        network.dial().await.refuse();
        sleep(ms(1)).await;
        drains_at_once(network, producer).await;
    });
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        nsqd.expect_silence(s(1)).await;
        drains_at_once(network, producer).await;
        nsqd.wait_closed().await;
    });
    in_virtual_time(async |mut network: Network| {
        // The connection is closing after an error response.
        let (producer, mut nsqd) = network.start_connected().await;
        let bad = publish(&producer, "bad");
        nsqd.expect_pub("t", "bad").await;
        nsqd.send(error_frame(PUB_FAILED)).await;
        rejected(bad).await;
        drains_at_once(network, producer).await;
        nsqd.wait_closed().await;
    });
}

/// contract: 10
/// checklist: 107, 108
#[test]
fn drain_waits_for_outstanding_publishes_and_rejects_new_ones() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(1));
        let mut nsqd = network.connected().await;
        let before = publish(&producer, "before");
        nsqd.confirm("before").await;
        before.await.unwrap();
        let answers = publish_each(&producer, ["1", "2", "3"]);
        let mut report = Box::pin(drain(&producer, 10));
        drained(publish(&producer, "late"), Delivery::NotWritten).await;
        let multi = send(&producer, MultiPublish::new(topic("t"), ["late"]));
        drained(multi, Delivery::NotWritten).await;
        producer.do_send(Publish::new(topic("t"), "late"));
        for body in ["1", "2", "3"] {
            nsqd.expect_pub("t", body).await;
            sleep(s(1)).await;
            assert!((&mut report).now_or_never().is_none());
            nsqd.send_ok().await;
        }
        all_ok(answers).await;
        // Neither earlier publishes nor rejected ones are counted.
        let (after, report) = timed(report).await;
        assert_eq!((after, counts(report)), (s(0), [3, 0, 0, 0]));
        assert_eq!(nsqd.wait_closed().await, b"");
        is_drained(network, producer).await;
    });
}

/// contract: 10
/// fault: P28
/// checklist: 107
#[test]
fn drain_answers_the_rest_truthfully_at_its_timeout() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(4));
        let mut nsqd = network.connected().await;
        let stored = publish(&producer, "1");
        let multi = send(&producer, MultiPublish::new(topic("t"), ["2", "3"]));
        let sent = publish(&producer, "4");
        let expired = publish_within(&producer, s(1), "5");
        // There is a place in flight for one of them after the OK.
        let [six, seven] = publish_each(&producer, ["6", "7"]);
        let report = drain(&producer, 5);
        nsqd.confirm("1").await;
        stored.await.unwrap();
        let (after, report) = timed(report).await;
        assert_eq!(after, s(5));
        drained(multi, Delivery::MaybePartial).await;
        drained(sent, Delivery::MaybeWritten).await;
        assert_error(expired.await, ErrorKind::Timeout, Delivery::MaybeWritten);
        drained(six, Delivery::MaybeWritten).await;
        drained(seven, Delivery::NotWritten).await;
        assert_eq!(counts(report), [1, 1, 3, 1]);
        is_drained(network, producer).await;
    });
}

/// contract: 10
/// checklist: 107
#[test]
fn partly_written_publish_is_not_written_at_the_timeout() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (nsqd, _stream) = network.connected_over(20).await;
        let [written, partly_written] = publish_each(&producer, ["1", "2"]);
        let (after, report) = timed(drain(&producer, 3)).await;
        assert_eq!((after, counts(report)), (s(3), [0, 1, 1, 0]));
        drained(written, Delivery::MaybeWritten).await;
        drained(partly_written, Delivery::NotWritten).await;
        drop(nsqd);
        is_drained(network, producer).await;
    });
}

/// contract: 10
/// checklist: 111
#[test]
fn drain_without_a_connection_connects_until_its_timeout() {
    for hanging in [false, true] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start_with(|config| config.dial_timeout(s(300)));
            let answer = publish(&producer, "a");
            let report = drain(&producer, 20);
            let mut dials = 0;
            let connect = async {
                loop {
                    let dial = network.dial().await;
                    dials += 1;
                    if hanging {
                        dial.hang().await;
                    }
                }
            };
            let (after, report) = tokio::select! {
                outcome = timed(report) => outcome,
                () = connect => unreachable!(),
            };
            assert_eq!((after, counts(report)), (s(20), [0, 1, 0, 0]));
            assert!(
                if hanging { dials == 1 } else { dials > 3 },
                "{dials} dials"
            );
            drained(answer, Delivery::NotWritten).await;
            is_drained(network, producer).await;
        });
    }
}

/// contract: 10
#[test]
fn drain_connects_for_outstanding_publishes_and_retries_them() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        let [bad, good] = publish_each(&producer, ["bad", "good"]);
        let report = drain(&producer, 20);
        network.dial().await.refuse();
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "bad").await;
        nsqd.reject(PUB_FAILED).await;
        rejected(bad).await;
        let mut nsqd = network.connected().await;
        nsqd.confirm("good").await;
        good.await.unwrap();
        assert_eq!(counts(report.await), [1, 1, 0, 0]);
        nsqd.wait_closed().await;
        is_drained(network, producer).await;
    });
}

/// contract: 10
/// fault: P28
#[test]
fn drain_counts_publishes_that_are_not_sent_any_more() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let large = vec![b'.'; 1200];
        let first = publish(&producer, large.clone());
        nsqd.expect_pub("t", &large).await;
        nsqd.reject("E_BAD_MESSAGE PUB message too big 1200 > 1000")
            .await;
        first.await.unwrap_err();
        // One is too large for nsqd, and the other is cancelled.
        let too_large = publish(&producer, large);
        let cancelled = publish(&producer, "a");
        let report = drain(&producer, 20);
        let dial = network.dial().await;
        drop(cancelled);
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        let (after, report) = timed(report).await;
        assert_eq!((after, counts(report)), (s(0), [0, 2, 0, 0]));
        too_large.await.unwrap_err();
        assert_eq!(nsqd.wait_closed().await, b"");
        is_drained(network, producer).await;
    });
}

/// contract: 10
#[test]
fn drain_does_not_wait_for_cancelled_publishes() {
    in_virtual_time(async |network: Network| {
        let producer = network.start();
        let mut cancelled = publish(&producer, "a");
        assert!(is_pending(&mut cancelled));
        sleep(ms(1)).await;
        drop(cancelled);
        let (after, report) = timed(drain(&producer, 10)).await;
        assert_eq!((after, counts(report)), (s(0), [0; 4]));
    });
}
