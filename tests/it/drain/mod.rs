//! `Drain`: no new publishes, time for the outstanding ones, the truth for the rest, and then nothing is left.

mod repeated;

use actix::Addr;
use actix_nsq::{
    Delivery, ErrorKind, MultiPublish, Producer, ProducerConfigBuilder, Publish, PublishError,
    producer::Drain, producer::DrainReport,
};
use futures::{FutureExt, future::LocalBoxFuture};
use tokio::time::sleep;

use crate::harness::{
    HOUR, Network, assert_error, in_virtual_time, ms, publish, s, send, timed, topic,
};
use crate::support::spoken::{error_frame, ok_frame};

fn drain(producer: &Addr<Producer>, seconds: u64) -> LocalBoxFuture<'static, DrainReport> {
    let request = producer.send(Drain {
        timeout: s(seconds),
    });
    async { request.await.expect("a drain is always answered") }.boxed_local()
}

/// The counts of a report: ok, not written, maybe written, maybe partly.
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

fn drained(answer: Result<(), PublishError>, delivery: Delivery) {
    assert_error(answer, ErrorKind::Drained, delivery);
}

/// The producer is drained for good: every publish is refused, it holds nothing and does nothing, and ends when it may.
async fn is_over(mut network: Network, producer: Addr<Producer>) {
    assert_eq!(network.open_connections(), 0, "a connection is left");
    network.expect_no_timer_for_an_hour().await;
    drained(publish(&producer, "late").await, Delivery::NotWritten);
    let (after, again) = timed(drain(&producer, 9)).await;
    assert_eq!(after, s(0));
    assert_eq!(again, drain(&producer, 0).await);
    network.expect_no_timer_for_an_hour().await;
    let before = network.elapsed();
    drop(producer);
    assert!(network.next_dial().await.is_none(), "it dials");
    assert_eq!(network.elapsed(), before);
}

fn hourly(config: ProducerConfigBuilder) -> ProducerConfigBuilder {
    config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR)
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn a_connected_producer_with_nothing_outstanding_drains_at_once() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        nsqd.expect_silence(s(1)).await;
        let (after, report) = timed(drain(&producer, 10)).await;
        assert_eq!((after, counts(report)), (s(0), [0; 4]));
        assert_eq!(network.open_connections(), 0);
        nsqd.wait_closed().await;
        is_over(network, producer).await;
    });
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn a_producer_that_never_connected_drains_at_once() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        let (after, report) = timed(drain(&producer, 10)).await;
        assert_eq!((after, counts(report)), (s(0), [0; 4]));
        network.expect_no_dial(s(10)).await;
        is_over(network, producer).await;
    });
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn a_producer_that_is_dialling_with_nothing_outstanding_drains_at_once() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let dial = network.dial().await;
        let (after, _) = timed(drain(&producer, 10)).await;
        assert_eq!(after, s(0));
        let (after, ()) = timed(dial.hang()).await;
        assert_eq!(after, s(0));
        is_over(network, producer).await;
    });
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn a_producer_that_is_backing_off_with_nothing_outstanding_drains_at_once() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(hourly);
        network.dial().await.refuse();
        sleep(ms(1)).await;
        let (after, _) = timed(drain(&producer, 10)).await;
        assert_eq!(after, s(0));
        is_over(network, producer).await;
    });
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn what_was_answered_before_is_not_in_the_report() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let (stored, refused) = (publish(&producer, "stored"), publish(&producer, "refused"));
        nsqd.expect_pub("t", "stored").await;
        nsqd.expect_pub("t", "refused").await;
        nsqd.send(ok_frame()).await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        nsqd.fin().await;
        stored.await.unwrap();
        refused.await.unwrap_err();
        let mut nsqd = network.connected().await;
        let lost = publish(&producer, "lost");
        let batch = send(&producer, MultiPublish::new(topic("t"), ["lost"]));
        nsqd.expect_pub("t", "lost").await;
        nsqd.expect_mpub("t", &["lost"]).await;
        drop(nsqd);
        lost.await.unwrap_err();
        batch.await.unwrap_err();
        let mut nsqd = network.connected().await;
        let outstanding = publish(&producer, "outstanding");
        let report = drain(&producer, 10);
        nsqd.expect_pub("t", "outstanding").await;
        nsqd.send(ok_frame()).await;
        outstanding.await.unwrap();
        assert_eq!(counts(report.await), [1, 0, 0, 0]);
        is_over(network, producer).await;
    });
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn outstanding_publishes_are_waited_for_and_new_ones_refused() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(1));
        let mut nsqd = network.connected().await;
        let publishes = ["1", "2", "3"].map(|body| publish(&producer, body));
        let mut report = drain(&producer, 10);
        drained(publish(&producer, "late").await, Delivery::NotWritten);
        let batch = MultiPublish::new(topic("t"), ["late"]);
        drained(send(&producer, batch).await, Delivery::NotWritten);
        producer.do_send(Publish::new(topic("t"), "late"));
        for body in ["1", "2", "3"] {
            nsqd.expect_pub("t", body).await;
            sleep(s(1)).await;
            assert!((&mut report).now_or_never().is_none(), "drained too early");
            nsqd.send(ok_frame()).await;
        }
        for each in publishes {
            each.await.unwrap();
        }
        let (after, report) = timed(report).await;
        // What was refused meanwhile was not outstanding when the drain began.
        assert_eq!((after, counts(report)), (s(0), [3, 0, 0, 0]));
        assert_eq!(nsqd.wait_closed().await, b"");
        is_over(network, producer).await;
    });
}

/// contract: 10
/// fault: P28
/// checklist: 22, 107, 108, 111, 112
#[test]
fn at_the_dead_line_the_rest_is_answered_with_what_is_known() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(4));
        let mut nsqd = network.connected().await;
        let before = publish(&producer, "before");
        nsqd.expect_pub("t", "before").await;
        nsqd.send(ok_frame()).await;
        before.await.unwrap();
        let stored = publish(&producer, "1");
        let batch = send(&producer, MultiPublish::new(topic("t"), ["2", "3"]));
        let sent = publish(&producer, "4");
        let hasty = send(&producer, Publish::new(topic("t"), "5").expires_in(s(1)));
        let waiting = ["6", "7"].map(|body| publish(&producer, body));
        let report = drain(&producer, 5);
        nsqd.expect_pub("t", "1").await;
        nsqd.send(ok_frame()).await;
        stored.await.unwrap();
        let (after, report) = timed(report).await;
        assert_eq!(after, s(5));
        drained(batch.await, Delivery::MaybePartial);
        drained(sent.await, Delivery::MaybeWritten);
        assert_error(hasty.await, ErrorKind::Timeout, Delivery::MaybeWritten);
        // When the first was answered there was room for one more.
        let [six, seven] = waiting;
        drained(six.await, Delivery::MaybeWritten);
        drained(seven.await, Delivery::NotWritten);
        assert_eq!(counts(report), [1, 1, 3, 1]);
        assert_eq!(network.open_connections(), 0);
        is_over(network, producer).await;
    });
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn a_peer_that_does_not_read_is_left_at_the_dead_line_and_half_a_command_is_not_written() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (nsqd, _line) = network.connected_over(20).await;
        let whole = publish(&producer, "1");
        let half = publish(&producer, "2");
        let (after, report) = timed(drain(&producer, 3)).await;
        assert_eq!((after, counts(report)), (s(3), [0, 1, 1, 0]));
        drained(whole.await, Delivery::MaybeWritten);
        drained(half.await, Delivery::NotWritten);
        drop(nsqd);
        is_over(network, producer).await;
    });
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn without_a_connection_it_is_tried_until_the_dead_line() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        let mut report = drain(&producer, 20);
        let mut dials = 0;
        let report = loop {
            tokio::select! {
                report = &mut report => break report,
                dial = network.dial() => { dial.refuse(); dials += 1 }
            }
        };
        assert!(dials > 3, "{dials} dials");
        assert_eq!((network.elapsed(), counts(report)), (s(20), [0, 1, 0, 0]));
        drained(publish.await, Delivery::NotWritten);
        is_over(network, producer).await;
    });
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn a_dial_that_hangs_is_left_at_the_dead_line() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(s(300)));
        let publish = publish(&producer, "a");
        let dial = network.dial().await;
        let (after, report) = timed(drain(&producer, 20)).await;
        assert_eq!((after, counts(report)), (s(20), [0, 1, 0, 0]));
        let (after, ()) = timed(dial.hang()).await;
        assert_eq!(after, s(0));
        drained(publish.await, Delivery::NotWritten);
        is_over(network, producer).await;
    });
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn a_connection_that_comes_within_the_dead_line_is_used() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        network.dial().await.refuse();
        let publish = publish(&producer, "a");
        let report = drain(&producer, 20);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
        assert_eq!(counts(report.await), [1, 0, 0, 0]);
        nsqd.wait_closed().await;
        is_over(network, producer).await;
    });
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn a_lazy_producer_still_connects_for_what_is_outstanding() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        let publish = publish(&producer, "a");
        let report = drain(&producer, 20);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
        assert_eq!(counts(report.await), [1, 0, 0, 0]);
        is_over(network, producer).await;
    });
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn a_refusal_during_a_drain_costs_the_bystanders_nothing() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let (bad, good) = (publish(&producer, "bad"), publish(&producer, "good"));
        let report = drain(&producer, 20);
        nsqd.expect_pub("t", "bad").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        nsqd.fin().await;
        bad.await.unwrap_err();
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "good").await;
        nsqd.send(ok_frame()).await;
        good.await.unwrap();
        assert_eq!(counts(report.await), [1, 1, 0, 0]);
        is_over(network, producer).await;
    });
}

/// contract: 10
/// checklist: 22, 107, 108, 111, 112
#[test]
fn a_connection_that_is_closing_is_left_at_once_when_nothing_is_outstanding() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let bad = publish(&producer, "bad");
        nsqd.expect_pub("t", "bad").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        bad.await.unwrap_err();
        let (after, report) = timed(drain(&producer, 20)).await;
        assert_eq!((after, counts(report)), (s(0), [0; 4]));
        nsqd.wait_closed().await;
        is_over(network, producer).await;
    });
}

/// contract: 10
/// fault: P28
/// checklist: 22, 107, 108, 111, 112
#[test]
fn what_nsqd_is_known_to_refuse_is_outstanding_and_counts() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let large = vec![b'.'; 1200];
        let refused = publish(&producer, large.clone());
        nsqd.expect_pub("t", &large).await;
        nsqd.send(error_frame("E_BAD_MESSAGE PUB message too big 1200 > 1000"))
            .await;
        nsqd.fin().await;
        refused.await.unwrap_err();
        // It waits for the next connection, and is not sent then.
        let foreseen = publish(&producer, large);
        let report = drain(&producer, 20);
        let _nsqd = network.connected().await;
        let (after, report) = timed(report).await;
        foreseen.await.unwrap_err();
        assert_eq!((after, counts(report)), (s(0), [0, 1, 0, 0]));
        is_over(network, producer).await;
    });
}

/// contract: 10
/// fault: P28
/// checklist: 22, 107, 108, 111, 112
#[test]
fn a_caller_that_goes_away_during_the_drain_is_not_waited_for_once_its_publish_would_be_sent() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let gone = publish(&producer, "a");
        let report = drain(&producer, 20);
        let dial = network.dial().await;
        drop(gone);
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        let (after, report) = timed(report).await;
        assert_eq!((after, counts(report)), (s(0), [0, 1, 0, 0]));
        assert_eq!(nsqd.wait_closed().await, b"");
        is_over(network, producer).await;
    });
}
