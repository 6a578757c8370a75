//! `PublishSink`: publishing from one task.

use actix_nsq::{
    DeferredPublish, Delivery, ErrorKind, MultiPublish, ProducerConfig, ProducerHandle, Publish,
    PublishSink, producer::GetStats,
};
use futures::{FutureExt, SinkExt, StreamExt, stream};

use crate::harness::{Network, in_system, in_virtual_time, ms, s};
use crate::support::spoken::Command;

/// checklist: 33
#[test]
fn sink_is_ready_while_fewer_than_its_limit_are_pending() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config.auto_batch(false));
        let mut nsqd = network.connected().await;
        let mut sink = handle.sink(3);
        for number in 0..3 {
            sink.feed(Publish::new("t", number.to_string()))
                .await
                .unwrap();
        }
        for number in 0..3 {
            nsqd.expect_pub("t", number.to_string()).await;
        }
        assert!(sink.feed(Publish::new("t", "3")).now_or_never().is_none());
        nsqd.expect_silence(s(5)).await;
        nsqd.send_ok().await;
        sink.feed(Publish::new("t", "3")).await.unwrap();
        nsqd.expect_pub("t", "3").await;
        assert!(sink.flush().now_or_never().is_none());
        for _ in 0..3 {
            nsqd.send_ok().await;
        }
        sink.close().await.unwrap();
        // The producer goes on.
        let again = handle.publish("t", "again");
        let (again, ()) = tokio::join!(again, nsqd.confirm("again"));
        again.unwrap();
    });
}

/// checklist: 33
#[test]
fn sink_reports_each_failure_once_with_its_publish() {
    in_virtual_time(async |mut network: Network| {
        let handle =
            network.start_handle_with(|config| config.max_publish_size(5).auto_batch(false));
        let mut nsqd = network.connected().await;
        let mut sink = handle.sink(10);
        for body in ["one", "too large", "two", "", "three"] {
            sink.feed(Publish::new("t", body)).await.unwrap();
        }
        for body in ["one", "two", "three"] {
            nsqd.confirm(body).await;
        }
        for (body, kind) in [
            ("too large", ErrorKind::TooLarge),
            ("", ErrorKind::EmptyBody),
        ] {
            let failure = sink.flush().await.unwrap_err();
            assert_eq!(failure.publish.bodies(), [body]);
            assert_eq!(failure.error.kind(), kind);
            assert_eq!(failure.to_string(), failure.error.to_string());
        }
        sink.flush().await.unwrap();
        let stats = handle.address().send(GetStats).await.unwrap();
        assert_eq!((stats.ok, stats.not_written), (3, 2));
    });
}

/// checklist: 33
#[test]
fn item_is_published_when_feed_reports_an_earlier_failure() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config.max_publish_size(5));
        let mut nsqd = network.connected().await;
        let mut sink = handle.sink(1);
        sink.feed(Publish::new("t", "too large")).await.unwrap();
        let failure = sink.feed(Publish::new("t", "two")).await.unwrap_err();
        assert_eq!(failure.publish.bodies(), ["too large"]);
        let (flushed, ()) = tokio::join!(sink.flush(), nsqd.confirm("two"));
        flushed.unwrap();
    });
}

/// checklist: 33
#[test]
fn stream_is_forwarded_into_a_sink_in_order() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config.max_pending(50));
        let mut nsqd = network.connected().await;
        let bodies: Vec<_> = (0..1_000).map(|number| format!("{number:4}")).collect();
        let items = bodies
            .clone()
            .into_iter()
            .map(|body| Ok(Publish::new("t", body)));
        let forwarded = tokio::task::spawn_local(stream::iter(items).forward(handle.sink(200)));
        let mut received = Vec::new();
        while received.len() < bodies.len() {
            match nsqd.next_command().await {
                Command::Pub { body, .. } => received.push(body),
                Command::Mpub { bodies, .. } => received.extend(bodies),
                other => panic!("{other}"),
            }
            nsqd.send_ok().await;
        }
        forwarded.await.unwrap().unwrap();
        assert!(received.iter().eq(bodies.iter().map(String::as_bytes)));
    });
}

/// contract: 7
#[test]
fn dropped_sink_sends_nothing_that_was_not_in_flight() {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| config.publish_window(1));
        let mut nsqd = network.connected().await;
        let mut sink: PublishSink<MultiPublish> = handle.sink(0);
        sink.send(MultiPublish::new("t", ["a", "b"])).now_or_never();
        nsqd.expect_mpub("t", &["a", "b"]).await;
        let mut deferred = handle.sink(5);
        for body in ["c", "d"] {
            let publish = DeferredPublish::new("t", ms(1), body);
            deferred.feed(publish).await.unwrap();
        }
        drop((sink, deferred));
        nsqd.send_ok().await;
        nsqd.expect_silence(s(5)).await;
        let stats = handle.address().send(GetStats).await.unwrap();
        assert_eq!((stats.ok, stats.not_written), (1, 0));
    });
}

/// contract: 1
#[test]
fn sink_of_a_stopped_producer_reports_each_publish() {
    in_system(async |_| {
        let arbiter = actix::Arbiter::new();
        let config = ProducerConfig::new("127.0.0.1:9").unwrap();
        let handle = ProducerHandle::start_in_arbiter(&arbiter.handle(), config);
        arbiter.stop();
        arbiter.join().unwrap();
        let mut sink = handle.sink(10);
        for body in ["one", "two"] {
            sink.feed(Publish::new("t", body)).await.unwrap();
        }
        for body in ["one", "two"] {
            let failure = sink.flush().await.unwrap_err();
            assert_eq!(failure.publish.bodies(), [body]);
            assert_eq!(failure.error.kind(), ErrorKind::Closed);
            assert_eq!(failure.error.delivery(), Delivery::NotWritten);
        }
        sink.flush().await.unwrap();
    });
}
