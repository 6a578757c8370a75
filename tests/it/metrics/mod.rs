//! `GetStats`: the sums hold at every moment, and each number is the one that peer and callers would give.

mod state;

use std::time::Duration;

use actix::Addr;
use actix_nsq::{
    ConnectionError, DeferredPublish, MultiPublish, Ping, Producer, ProducerState, Publish,
    producer::Drain, producer::GetStats, producer::Stats,
};
use tokio::time::sleep;

use crate::harness::{Network, in_virtual_time, ms, publish, s, send, topic};
use crate::support::spoken::{error_frame, heartbeat_frame, ok_frame};

async fn stats(producer: &Addr<Producer>) -> Stats {
    producer.send(GetStats).await.unwrap()
}

/// What holds at every moment: what was published is answered, or waits, or is in flight. A publish that timed out in
/// flight is answered, and in flight all the same until its command is: of such there are `late`.
async fn sums_hold(producer: &Addr<Producer>, late: u64) -> Stats {
    let stats = stats(producer).await;
    let answered = stats.ok + stats.not_written + stats.maybe_written + stats.maybe_partial;
    let held = (stats.queued + stats.in_flight) as u64;
    assert_eq!(stats.published + late, answered + held, "{stats:#?}");
    assert!(
        stats.rejected + stats.rejected_full <= stats.not_written,
        "{stats:#?}"
    );
    stats
}

/// contract: 1
/// checklist: 103, 104, 105
#[test]
fn the_sums_hold_through_a_life_with_every_outcome() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| {
            let config = config.publish_window(4).max_pending(6);
            config.reconnect_backoff(ms(1)).max_reconnect_backoff(ms(1))
        });
        let nothing = sums_hold(&producer, 0).await;
        assert_eq!(
            (nothing.published, nothing.connects, nothing.bytes_written),
            (0, 0, 0)
        );
        assert!(nothing.last_error.is_none());

        // Waiting, full, and refused for what they are.
        let hasty = send(&producer, Publish::new(topic("t"), "1").expires_in(s(1)));
        let whole = publish(&producer, "22");
        let batch = send(&producer, MultiPublish::new(topic("t"), ["33", "3"]));
        let deferred = send(&producer, DeferredPublish::new(topic("t"), s(1), "4444"));
        let gone = publish(&producer, "55555");
        let last = publish(&producer, "666666");
        let full = publish(&producer, "7");
        let empty = publish(&producer, "");
        let now = sums_hold(&producer, 0).await;
        assert_eq!((now.published, now.queued, now.in_flight), (8, 6, 0));
        assert_eq!((now.queued_bytes, now.in_flight_bytes), (21, 0));
        assert_eq!(
            (now.rejected, now.rejected_full, now.not_written),
            (1, 1, 2)
        );
        full.await.unwrap_err();
        empty.await.unwrap_err();

        network.dial().await.refuse();
        sleep(ms(1)).await;
        let now = sums_hold(&producer, 0).await;
        assert!(matches!(now.last_error, Some(ConnectionError::Dial { .. })));

        // In flight, and one of them out of time.
        let mut nsqd = network.connected().await;
        let hello = nsqd.script().received().len();
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_pub("t", "22").await;
        nsqd.expect_mpub("t", &["33", "3"]).await;
        nsqd.expect_dpub("t", 1000, "4444").await;
        let now = sums_hold(&producer, 0).await;
        assert_eq!((now.queued, now.in_flight), (2, 4));
        assert_eq!((now.queued_bytes, now.in_flight_bytes), (11, 10));
        assert_eq!(
            now.bytes_written,
            (nsqd.script().received().len() - hello) as u64
        );
        hasty.await.unwrap_err();
        let now = sums_hold(&producer, 1).await;
        assert_eq!((now.maybe_written, now.timed_out, now.in_flight), (1, 1, 4));

        // Its late OK, another OK, a caller that is gone before its turn.
        drop(gone);
        nsqd.send(ok_frame()).await;
        nsqd.expect_pub("t", "666666").await;
        let now = sums_hold(&producer, 0).await;
        assert_eq!((now.ok, now.not_written, now.in_flight), (0, 3, 4));
        nsqd.send(ok_frame()).await;
        whole.await.unwrap();
        assert_eq!(sums_hold(&producer, 0).await.ok, 1);

        // Lost: a batch, a deferred one, and one more that nsqd may have.
        let first = nsqd.script().received().len() - hello;
        drop(nsqd);
        batch.await.unwrap_err();
        deferred.await.unwrap_err();
        last.await.unwrap_err();
        let now = sums_hold(&producer, 0).await;
        assert_eq!((now.maybe_written, now.maybe_partial), (3, 1));
        assert_eq!(
            (now.connects, now.disconnects, now.bytes_written),
            (1, 1, first as u64)
        );
        assert!(matches!(
            now.last_error,
            Some(ConnectionError::ClosedByPeer)
        ));

        // Refused by nsqd, and a bystander sent again.
        let mut nsqd = network.connected().await;
        let hello = nsqd.script().received().len();
        let bad = publish(&producer, "bad");
        let bystander = publish(&producer, "bystander");
        nsqd.expect_pub("t", "bad").await;
        nsqd.expect_pub("t", "bystander").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        bad.await.unwrap_err();
        sums_hold(&producer, 0).await;
        let second = nsqd.script().received().len() - hello;
        nsqd.fin().await;
        let mut nsqd = network.connected().await;
        let hello = nsqd.script().received().len();
        nsqd.expect_pub("t", "bystander").await;
        nsqd.send(ok_frame()).await;
        bystander.await.unwrap();
        let now = sums_hold(&producer, 0).await;
        assert_eq!((now.ok, now.requeued, now.not_written), (2, 1, 4));
        assert_eq!((now.connects, now.disconnects), (3, 2));

        // A drain with one that nobody answers.
        let never = publish(&producer, "never");
        nsqd.expect_pub("t", "never").await;
        let third = nsqd.script().received().len() - hello;
        let drain = producer.send(Drain { timeout: s(1) });
        let drain = tokio::task::spawn_local(drain);
        sleep(ms(1)).await;
        publish(&producer, "late").await.unwrap_err();
        sums_hold(&producer, 0).await;
        let report = drain.await.unwrap().unwrap();
        never.await.unwrap_err();
        assert_eq!((report.ok, report.maybe_written), (0, 1));
        publish(&producer, "later").await.unwrap_err();
        let now = sums_hold(&producer, 0).await;
        assert_eq!(now.state, ProducerState::Drained);
        let answered = (
            now.ok,
            now.not_written,
            now.maybe_written,
            now.maybe_partial,
        );
        assert_eq!((now.published, answered), (13, (2, 6, 4, 1)));
        assert_eq!((now.rejected, now.rejected_full, now.timed_out), (3, 1, 1));
        assert_eq!((now.connects, now.disconnects), (3, 2));
        assert_eq!(now.bytes_written, (first + second + third) as u64);
        assert_eq!((now.queued, now.in_flight), (0, 0));
        assert_eq!((now.queued_bytes, now.in_flight_bytes), (0, 0));
    });
}

/// checklist: 103, 104, 105
#[test]
fn bytes_are_those_of_commands_as_the_peer_counts_them() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        // The socket takes 25 bytes: two commands and a part of the third.
        let (mut nsqd, _line) = network.connected_over(25).await;
        let answers = ["1", "2", "3"].map(|body| publish(&producer, body));
        sleep(ms(1)).await;
        assert_eq!(stats(&producer).await.bytes_written, 25);
        let hello = nsqd.script().received().len();
        for body in ["1", "2", "3"] {
            nsqd.expect_pub("t", body).await;
            nsqd.send(ok_frame()).await;
        }
        for answer in answers {
            answer.await.unwrap();
        }
        assert_eq!(stats(&producer).await.bytes_written, 33);
        // A ping is a command; the answer to a heartbeat is no command of the producer's.
        let ping = send(&producer, Ping { timeout: s(1) });
        nsqd.next_command().await;
        nsqd.send(ok_frame()).await;
        ping.await.unwrap();
        let received = nsqd.script().received().len() - hello;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
        let now = stats(&producer).await;
        assert_eq!(now.bytes_written, received as u64);
        assert_eq!(now.published, 3);
    });
}

/// At most an eighth too high.
#[track_caller]
fn assert_near(measured: Option<Duration>, expected: Duration) {
    let measured = measured.unwrap();
    let (low, high) = (expected, expected.mul_f64(1.125));
    assert!(
        (low..=high).contains(&measured),
        "{measured:?}, {expected:?}"
    );
}

/// checklist: 103, 104, 105
#[test]
fn latencies_are_those_of_a_peer_that_takes_its_time() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.heartbeat_interval(None));
        let mut nsqd = network.connected().await;
        assert_eq!(stats(&producer).await.latency.count(), 0);
        for millisecond in 1..=1000 {
            let answer = publish(&producer, "a");
            nsqd.expect_pub("t", "a").await;
            sleep(ms(millisecond)).await;
            nsqd.send(ok_frame()).await;
            answer.await.unwrap();
        }
        let latency = stats(&producer).await.latency;
        assert_near(latency.quantile(0.5), ms(500));
        assert_near(latency.quantile(0.9), ms(900));
        assert_near(latency.quantile(0.99), ms(990));
        assert_near(latency.quantile(0.999), ms(999));
        assert_near(latency.max(), ms(1000));
        // A failure has no latency, and neither has the late OK that is swallowed.
        let hasty = Publish::new(topic("t"), "b").expires_in(s(2));
        let hasty = send(&producer, hasty);
        nsqd.expect_pub("t", "b").await;
        sleep(s(3)).await;
        nsqd.send(ok_frame()).await;
        hasty.await.unwrap_err();
        assert_eq!(stats(&producer).await.latency, latency);
    });
}

/// checklist: 103, 104, 105
#[test]
fn the_time_before_the_connection_counts_as_latency() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(s(20)));
        let answer = publish(&producer, "a");
        let dial = network.dial().await;
        sleep(s(4)).await;
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        answer.await.unwrap();
        assert_near(stats(&producer).await.latency.quantile(0.5), s(4));
    });
}

/// checklist: 103, 104, 105
#[test]
fn what_nobody_awaits_is_counted_like_everything_else() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        producer.do_send(Publish::new(topic("t"), "a"));
        producer.do_send(Publish::new(topic("t"), ""));
        producer.do_send(Publish::new(topic("t"), "b"));
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        sleep(ms(1)).await;
        let now = sums_hold(&producer, 0).await;
        assert_eq!((now.published, now.ok, now.rejected), (3, 1, 1));
        assert_eq!(now.in_flight, 1);
    });
}

/// checklist: 103, 104, 105
#[test]
fn what_was_to_be_sent_again_and_never_was_is_not_counted_as_such() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (nsqd, _line) = network.connected_over(4).await;
        let half = publish(&producer, "half");
        sleep(ms(1)).await;
        drop(nsqd);
        let (nsqd, _line) = network.connected_over(4).await;
        sleep(ms(1)).await;
        assert_eq!(stats(&producer).await.requeued, 1);
        producer.send(Drain { timeout: s(0) }).await.unwrap();
        half.await.unwrap_err();
        let now = sums_hold(&producer, 0).await;
        assert_eq!((now.requeued, now.not_written), (1, 1));
        drop(nsqd);
    });
}

/// checklist: 103, 104, 105
#[test]
fn the_counts_of_a_thousand_connections_add_up() {
    in_virtual_time(async |mut network: Network| {
        let producer = network
            .start_with(|config| config.reconnect_backoff(ms(1)).max_reconnect_backoff(ms(1)));
        let mut bytes = 0;
        for _ in 0..1000 {
            let mut nsqd = network.connected().await;
            let hello = nsqd.script().received().len();
            let answer = publish(&producer, "a");
            nsqd.expect_pub("t", "a").await;
            bytes += nsqd.script().received().len() - hello;
            drop(nsqd);
            answer.await.unwrap_err();
        }
        let _nsqd = network.connected().await;
        sleep(ms(1)).await;
        let now = sums_hold(&producer, 0).await;
        assert_eq!((now.connects, now.disconnects), (1001, 1000));
        assert_eq!((now.maybe_written, now.bytes_written), (1000, bytes as u64));
    });
}
