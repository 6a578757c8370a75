//! What is published lands exactly once and unchanged: PUB, MPUB and DPUB, of every size and with every byte.

use std::time::{Duration, Instant};

use actix_nsq::bytes::Bytes;
use actix_nsq::{DeferredPublish, Delivery, ErrorKind, MultiPublish, Publish, Topic};

use super::load::{TOPIC, numbered, numbers, producer, publish, publish_all, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        a_publish_lands_once,
        a_batch_lands_once_and_in_its_order,
        a_deferred_publish_lands_once,
        a_deferred_publish_tells_nsqd_its_milliseconds.only(
            Kind::Embedded,
            "a real nsqd does not show a message's delay"
        ),
        a_deferred_publish_is_not_delivered_before_its_time
            .with(in_memory())
            .only(Kind::Real, "the embedded nsqd delivers nothing yet"),
        the_first_publish_makes_the_topic,
        an_ephemeral_topic_takes_publishes.with(in_memory()),
        a_paused_topic_takes_publishes.only(Kind::Real, "the embedded nsqd pauses no topics"),
        every_byte_arrives_as_it_was_published,
        the_smallest_and_the_largest_message_arrive,
        the_largest_batch_arrives,
        publishes_of_several_topics_land_each_in_its_own,
        what_is_refused_here_touches_nobody,
    ]
}

/// checklist: 25
fn in_memory() -> Settings {
    Settings {
        in_memory: true,
        ..Settings::default()
    }
}

/// checklist: 25
async fn a_publish_lands_once(broker: Broker) {
    let producer = producer(&broker).await;
    publish(&producer, "hello").await.unwrap();
    assert_eq!(broker.message_count(TOPIC).await, 1);
    assert_eq!(broker.bodies(TOPIC, 1).await, [b"hello"]);
}

/// checklist: 25
async fn a_batch_lands_once_and_in_its_order(broker: Broker) {
    let producer = producer(&broker).await;
    let batch = MultiPublish::new(topic(TOPIC), (0..100).map(numbered));
    producer.send(batch).await.unwrap().unwrap();
    assert_eq!(broker.message_count(TOPIC).await, 100);
    let expected: Vec<_> = (0..100).collect();
    assert_eq!(numbers(&broker.bodies(TOPIC, 100).await), expected);
}

/// checklist: 25, 42
async fn a_deferred_publish_lands_once(broker: Broker) {
    let producer = producer(&broker).await;
    let later = DeferredPublish::new(topic(TOPIC), Duration::from_millis(50), "later");
    producer.send(later).await.unwrap().unwrap();
    assert_eq!(broker.message_count(TOPIC).await, 1);
    assert_eq!(broker.bodies(TOPIC, 1).await, [b"later"]);
}

/// checklist: 25, 42
async fn a_deferred_publish_tells_nsqd_its_milliseconds(broker: Broker) {
    let producer = producer(&broker).await;
    for delay in [
        Duration::ZERO,
        Duration::from_millis(1_500),
        Duration::from_secs(3_600),
    ] {
        let later = DeferredPublish::new(topic(TOPIC), delay, "later");
        producer.send(later).await.unwrap().unwrap();
        let messages = broker.embedded().messages(TOPIC);
        assert_eq!(messages.last().unwrap().defer, Some(delay));
    }
}

/// checklist: 25, 42
async fn a_deferred_publish_is_not_delivered_before_its_time(broker: Broker) {
    let producer = producer(&broker).await;
    // A look makes the channel, where nsqd keeps what is deferred.
    assert!(broker.bodies(TOPIC, 0).await.is_empty());

    let published = Instant::now();
    let delay = Duration::from_millis(700);
    let later = DeferredPublish::new(topic(TOPIC), delay, "later");
    producer.send(later).await.unwrap().unwrap();
    publish(&producer, "at once").await.unwrap();

    assert_eq!(broker.bodies(TOPIC, 2).await, [&b"at once"[..], b"later"]);
    assert!(
        published.elapsed() >= delay,
        "it came after {:?}",
        published.elapsed()
    );
}

/// checklist: 25, 43
async fn the_first_publish_makes_the_topic(broker: Broker) {
    let producer = producer(&broker).await;
    for name in ["first", "second.with-all_signs", &"x".repeat(64)] {
        assert_eq!(broker.message_count(name).await, 0);
        producer
            .send(Publish::new(topic(name), "hello"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(broker.bodies(name, 1).await, [b"hello"]);
    }
}

/// checklist: 25
async fn an_ephemeral_topic_takes_publishes(broker: Broker) {
    let producer = producer(&broker).await;
    let fleeting: Topic = topic("fleeting#ephemeral");
    producer
        .send(Publish::new(fleeting.clone(), "one"))
        .await
        .unwrap()
        .unwrap();
    let batch = MultiPublish::new(fleeting, ["two", "three"]);
    producer.send(batch).await.unwrap().unwrap();
    let bodies = broker.bodies("fleeting#ephemeral", 3).await;
    assert_eq!(bodies, [&b"one"[..], b"two", b"three"]);
}

/// fault: P24
/// checklist: 25
async fn a_paused_topic_takes_publishes(broker: Broker) {
    let producer = producer(&broker).await;
    publish(&producer, numbered(0)).await.unwrap();
    let pause = |paused| {
        broker
            .real()
            .with_nsqd(move |nsqd| nsqd.pause_topic(TOPIC, paused))
    };
    pause(true).await.unwrap();
    publish_all(&producer, 1..100).await.assert_all_ok();
    pause(false).await.unwrap();
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 100).await),
        Vec::from_iter(0..100)
    );
    assert_eq!(broker.handshakes().await, 1);
}

/// checklist: 25
async fn every_byte_arrives_as_it_was_published(broker: Broker) {
    let producer = producer(&broker).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let like_commands = b"PUB scenario\n\x00\x00\x00\x01x\nCLS\n  V2\r\n".to_vec();
    for body in [&every_byte, &like_commands] {
        publish(&producer, body.clone()).await.unwrap();
    }
    let batch = MultiPublish::new(topic(TOPIC), [like_commands.clone(), every_byte.clone()]);
    producer.send(batch).await.unwrap().unwrap();
    let expected = [&every_byte, &like_commands, &like_commands, &every_byte];
    assert_eq!(
        broker.bodies(TOPIC, 4).await.iter().collect::<Vec<_>>(),
        expected
    );
}

/// checklist: 25
async fn the_smallest_and_the_largest_message_arrive(broker: Broker) {
    let producer = producer(&broker).await;
    let largest = random_bytes(1 << 20);
    publish(&producer, "x").await.unwrap();
    publish(&producer, largest.clone()).await.unwrap();
    let bodies = broker.bodies(TOPIC, 2).await;
    assert_eq!(bodies[0], b"x");
    assert!(
        bodies[1] == largest,
        "the largest message arrives as it was published"
    );
    assert_eq!(bodies.len(), 2);
}

/// checklist: 25
async fn the_largest_batch_arrives(broker: Broker) {
    let producer = producer(&broker).await;
    // 5 MiB as nsqd counts: the count, and each message with its length.
    let mut bodies = vec![random_bytes(1 << 20); 4];
    bodies.push(random_bytes((1 << 20) - 4 - 5 * 4));
    let batch = MultiPublish::new(topic(TOPIC), bodies.clone());
    producer.send(batch).await.unwrap().unwrap();
    assert!(
        broker.bodies(TOPIC, 5).await == bodies,
        "the batch arrives as it was published"
    );
}

/// checklist: 25
async fn publishes_of_several_topics_land_each_in_its_own(broker: Broker) {
    let producer = producer(&broker).await;
    let names = ["a", "b", "c"];
    let sent: Vec<_> = (0..300)
        .map(|number| producer.send(Publish::new(topic(names[number % 3]), numbered(number))))
        .collect();
    for answer in sent {
        answer.await.unwrap().unwrap();
    }
    for (offset, name) in names.into_iter().enumerate() {
        let expected: Vec<_> = (offset..300).step_by(3).collect();
        assert_eq!(numbers(&broker.bodies(name, 100).await), expected);
    }
}

/// contract: 5
/// fault: P25
/// checklist: 25, 26, 27, 40
async fn what_is_refused_here_touches_nobody(broker: Broker) {
    let producer = producer(&broker).await;
    let too_large = Bytes::from(vec![b'x'; (1 << 20) + 1]);
    let too_long = Duration::from_secs(3_600) + Duration::from_millis(1);
    let none: [&str; 0] = [];
    let (before, empty, large, batch, with_empty, huge, late, behind) = tokio::join!(
        publish_all(&producer, 0..50),
        publish(&producer, ""),
        publish(&producer, too_large.clone()),
        producer.send(MultiPublish::new(topic(TOPIC), none)),
        producer.send(MultiPublish::new(topic(TOPIC), ["good", ""])),
        producer.send(MultiPublish::new(
            topic(TOPIC),
            vec![too_large.slice(1..); 5]
        )),
        producer.send(DeferredPublish::new(topic(TOPIC), too_long, "late")),
        publish_all(&producer, 50..100),
    );
    let refused = [
        (empty, ErrorKind::EmptyBody),
        (large, ErrorKind::TooLarge),
        (batch.unwrap(), ErrorKind::EmptyBatch),
        (with_empty.unwrap(), ErrorKind::EmptyBody),
        (huge.unwrap(), ErrorKind::TooLarge),
        (late.unwrap(), ErrorKind::DelayTooLong),
    ];
    for (answer, kind) in refused {
        let error = answer.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (kind, Delivery::NotWritten),
            "{error}"
        );
    }
    before.assert_all_ok();
    behind.assert_all_ok();
    let expected: Vec<_> = (0..100).collect();
    assert_eq!(numbers(&broker.bodies(TOPIC, 100).await), expected);
    assert_eq!(broker.handshakes().await, 1);
}

fn random_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}
