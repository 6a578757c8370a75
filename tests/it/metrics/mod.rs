//! `GetStats`: the counters, the gauges and the latency, compared with what peer and callers see.

mod samples;
mod state;

use actix::Addr;
use actix_nsq::{
    DeferredPublish, MultiPublish, Ping, Producer,
    producer::{GetStats, Stats},
};
use tokio::time::sleep;

use crate::harness::{
    Network, in_virtual_time, ms, publish, publish_each, publish_within, s, send, topic,
};
use crate::support::spoken::heartbeat_frame;

async fn stats(producer: &Addr<Producer>) -> Stats {
    producer.send(GetStats).await.unwrap()
}

/// The statistics, in which each publish is answered, queued or in flight. A publish that timed out
/// in flight is answered, and in flight until its response: there are `late` of them.
async fn balanced_stats(producer: &Addr<Producer>, late: u64) -> Stats {
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
/// checklist: 103, 104
#[test]
fn queue_and_flight_are_counted_with_their_bytes() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(4).max_pending(6));
        let hello = balanced_stats(&producer, 0).await;
        assert_eq!(
            (hello.published, hello.connects, hello.bytes_written),
            (0, 0, 0)
        );
        assert!(hello.last_error.is_none());

        // Six are queued, one meets a full queue, and one is invalid.
        let late = publish_within(&producer, s(1), "1");
        let second = publish(&producer, "22");
        let _multi = send(&producer, MultiPublish::new(topic("t"), ["33", "3"]));
        let _deferred = send(&producer, DeferredPublish::new(topic("t"), s(1), "4444"));
        let cancelled = publish(&producer, "55555");
        let _last = publish(&producer, "666666");
        publish(&producer, "full").await.unwrap_err();
        publish(&producer, "").await.unwrap_err();
        let now = balanced_stats(&producer, 0).await;
        assert_eq!((now.published, now.queued, now.in_flight), (8, 6, 0));
        assert_eq!((now.queued_bytes, now.in_flight_bytes), (21, 0));
        assert_eq!(
            (now.rejected, now.rejected_full, now.not_written),
            (1, 1, 2)
        );

        // Four are in flight, one of them beyond its deadline.
        let mut nsqd = network.connected().await;
        let handshake = nsqd.script().received().len();
        nsqd.expect_pubs(&["1", "22"]).await;
        nsqd.expect_mpub("t", &["33", "3"]).await;
        nsqd.expect_dpub("t", 1000, "4444").await;
        let now = balanced_stats(&producer, 0).await;
        assert_eq!((now.queued, now.in_flight), (2, 4));
        assert_eq!((now.queued_bytes, now.in_flight_bytes), (11, 10));
        let received = nsqd.script().received().len() - handshake;
        assert_eq!(now.bytes_written, received as u64);
        late.await.unwrap_err();
        let now = balanced_stats(&producer, 1).await;
        assert_eq!((now.maybe_written, now.timed_out, now.in_flight), (1, 1, 4));

        // Its response makes room for the last one, since the one before is cancelled.
        drop(cancelled);
        nsqd.send_ok().await;
        nsqd.expect_pub("t", "666666").await;
        let now = balanced_stats(&producer, 0).await;
        assert_eq!((now.ok, now.not_written, now.in_flight), (0, 3, 4));
        nsqd.send_ok().await;
        second.await.unwrap();
        assert_eq!(balanced_stats(&producer, 0).await.ok, 1);
    });
}

/// checklist: 104
#[test]
fn bytes_of_commands_are_counted_as_the_socket_accepts_them() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        // Two commands and a part of the third.
        let (mut nsqd, _stream) = network.connected_over(25).await;
        let answers = publish_each(&producer, ["1", "2", "3"]);
        sleep(ms(1)).await;
        assert_eq!(stats(&producer).await.bytes_written, 25);
        let handshake = nsqd.script().received().len();
        nsqd.confirm_all(&["1", "2", "3"]).await;
        for answer in answers {
            answer.await.unwrap();
        }
        assert_eq!(stats(&producer).await.bytes_written, 33);
        // A ping is a command. The response to a heartbeat is not counted.
        let ping = send(&producer, Ping { timeout: s(1) });
        nsqd.expect_identify().await;
        nsqd.send_ok().await;
        ping.await.unwrap();
        let received = nsqd.script().received().len() - handshake;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
        let now = stats(&producer).await;
        assert_eq!((now.bytes_written, now.published), (received as u64, 3));
    });
}

/// checklist: 105
#[test]
fn latency_is_the_time_from_the_call_to_an_ok() {
    in_virtual_time(async |mut network: Network| {
        let producer =
            network.start_with(|config| config.heartbeat_interval(None).dial_timeout(s(20)));
        let answer = publish(&producer, "a");
        let dial = network.dial().await;
        sleep(s(4)).await;
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        nsqd.confirm("a").await;
        answer.await.unwrap();
        let first = stats(&producer).await.latency;
        assert_eq!(first.max(), Some(s(4)));
        for milliseconds in 1..=1000 {
            let answer = publish(&producer, "a");
            nsqd.expect_pub("t", "a").await;
            sleep(ms(milliseconds)).await;
            nsqd.send_ok().await;
            answer.await.unwrap();
        }
        let latency = stats(&producer).await.latency;
        for (quantile, expected) in [(0.5, ms(500)), (0.9, ms(900)), (0.99, ms(990))] {
            // The buckets are an eighth wide.
            let (measured, limit) = (latency.quantile(quantile), expected.mul_f64(1.126));
            let expected = Some(expected - ms(2))..Some(limit);
            assert!(
                expected.contains(&measured),
                "{measured:?} not in {expected:?}"
            );
        }
        // Neither a failure nor its late OK has a latency.
        let late = publish_within(&producer, s(2), "b");
        nsqd.expect_pub("t", "b").await;
        sleep(s(3)).await;
        nsqd.send_ok().await;
        late.await.unwrap_err();
        assert_eq!(stats(&producer).await.latency, latency);
        assert_eq!(latency.count(), 1001);
    });
}
