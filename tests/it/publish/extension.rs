//! `PublishExt` and the constructors of messages.

use actix_nsq::{AnyPublish, Delivery, ErrorKind, Publish, PublishError, PublishExt, Topic};

use crate::harness::{Network, assert_error, in_virtual_time, s};
use crate::support::spoken::ok_frame;

const TOPIC: Topic = Topic::from_static("t");

#[test]
fn publish_ext_takes_a_topic_or_its_name() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let publishes = async {
            producer.publish(TOPIC, "1").await?;
            producer.publish(&TOPIC, "2").await?;
            producer.publish("t", "3").await?;
            producer.multi_publish("t".to_owned(), ["4", "5"]).await?;
            producer.deferred_publish("t", s(1), "6").await?;
            Ok::<_, PublishError>(())
        };
        let responses = async {
            for body in ["1", "2", "3"] {
                nsqd.expect_pub("t", body).await;
                nsqd.send(ok_frame()).await;
            }
            nsqd.expect_mpub("t", &["4", "5"]).await;
            nsqd.send(ok_frame()).await;
            nsqd.expect_dpub("t", 1000, "6").await;
            nsqd.send(ok_frame()).await;
        };
        let (published, ()) = tokio::join!(publishes, responses);
        published.unwrap();
    });
}

#[test]
fn invalid_topic_name_is_reported_when_it_is_published() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let publish = Publish::new("no topic", "x");
        assert!(publish.topic().is_err());
        let result = producer.publish_message(publish).await;
        assert_error(result, ErrorKind::InvalidName, Delivery::NotWritten);
        nsqd.expect_silence(s(1)).await;
    });
}

#[test]
fn message_with_a_deadline_expires_before_publish_timeout() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let _hangs = network.dial().await;
        let before = network.elapsed();
        let publish: AnyPublish = Publish::new("t", "x").expires_in(s(2)).into();
        let result = producer.publish_message(publish).await;
        assert_error(result, ErrorKind::Timeout, Delivery::NotWritten);
        assert_eq!(network.elapsed() - before, s(2));
    });
}

#[test]
fn json_message_has_the_value_as_its_body() {
    let publish = Publish::json("orders", &[("id", 1)]).unwrap();
    assert_eq!(publish.bodies(), [r#"[["id",1]]"#]);
    let error = Publish::json("orders", &std::collections::BTreeMap::from([((1, 2), 3)]));
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Serialize);
    assert_eq!(error.delivery(), Delivery::NotWritten);
}
