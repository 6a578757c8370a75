//! Publishes are stored once, unchanged and in order: PUB, MPUB and DPUB, from many callers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::protocol::ErrorCode;
use actix_nsq::{DeferredPublish, Delivery, ErrorKind, MultiPublish, Producer, Publish, Topic};
use futures::future::join_all;

use super::fixture::{
    Answers, LONG, TOPIC, assert_stored, config, numbered, numbers, producer, publish, start,
    stats, topic,
};
use super::load::Load;
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::{raw_client, scaled};

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        pub_mpub_and_dpub_are_each_stored_once,
        deferred_message_is_delivered_after_its_delay
            .with(Settings::in_memory())
            .only(
                Kind::Real,
                "messages of the embedded nsqd are not consumed here"
            ),
        first_publish_creates_the_topic.with(Settings::in_memory()),
        paused_and_emptied_topic_accepts_publishes.only(
            Kind::Real,
            "the embedded nsqd neither pauses nor empties topics"
        ),
        deleted_topic_is_created_again_under_load,
        every_byte_value_is_stored_unchanged,
        largest_message_and_batch_are_stored_unchanged,
        concurrent_callers_share_one_connection,
        publishes_without_a_waiting_caller_are_stored,
        single_and_batch_publishes_are_stored_in_arrival_order,
        expired_callers_do_not_shift_the_answers_of_others,
        topic_names_are_valid_exactly_if_nsqd_accepts_them,
    ]
}

/// checklist: 25, 42
async fn pub_mpub_and_dpub_are_each_stored_once(broker: Broker) {
    let producer = producer(&broker).await;
    publish(&producer, numbered(0)).await.unwrap();
    let batch = MultiPublish::new(topic(TOPIC), (1..100).map(numbered));
    producer.send(batch).await.unwrap().unwrap();
    assert_eq!(broker.message_count(TOPIC).await, 100);
    assert_stored(&broker, 0..100).await;

    let deferred = DeferredPublish::new(topic("later"), Duration::from_millis(50), "later");
    producer.send(deferred).await.unwrap().unwrap();
    assert_eq!(broker.message_count("later").await, 1);
    assert_eq!(broker.bodies("later", 1).await, [b"later"]);
}

/// checklist: 25, 42
async fn deferred_message_is_delivered_after_its_delay(broker: Broker) {
    let producer = producer(&broker).await;
    // Creates the channel, which keeps deferred messages.
    assert!(broker.bodies(TOPIC, 0).await.is_empty());

    let (published, delay) = (Instant::now(), Duration::from_millis(700));
    let deferred = DeferredPublish::new(topic(TOPIC), delay, "later");
    producer.send(deferred).await.unwrap().unwrap();
    publish(&producer, "at once").await.unwrap();

    assert_eq!(broker.bodies(TOPIC, 2).await, [&b"at once"[..], b"later"]);
    let elapsed = published.elapsed();
    assert!(elapsed >= delay, "delivered after {elapsed:?}");
}

/// checklist: 25, 43
async fn first_publish_creates_the_topic(broker: Broker) {
    let producer = producer(&broker).await;
    for name in ["second.with-all_signs", &"x".repeat(64), "brief#ephemeral"] {
        assert_eq!(broker.message_count(name).await, 0);
        let message = Publish::new(topic(name), "one");
        producer.send(message).await.unwrap().unwrap();
        let batch = MultiPublish::new(topic(name), ["two", "three"]);
        producer.send(batch).await.unwrap().unwrap();
        assert_eq!(
            broker.bodies(name, 3).await,
            [&b"one"[..], b"two", b"three"]
        );
    }
}

/// fault: P24
async fn paused_and_emptied_topic_accepts_publishes(broker: Broker) {
    let producer = producer(&broker).await;
    let mut load = Load::start(&producer, 64, TOPIC);
    for _ in 0..3 {
        load.until_more_ok(200).await;
        let pause_and_empty = broker.real().with_nsqd(|nsqd| {
            let topics = [0, 1, 2].map(|number| format!("{TOPIC}_{number}"));
            for paused in [true, false] {
                for topic in &topics {
                    nsqd.pause_topic(topic, paused)?;
                    nsqd.empty_topic(topic)?;
                }
            }
            std::io::Result::Ok(())
        });
        pause_and_empty.await.unwrap();
    }
    load.until_more_ok(200).await;
    load.stop().await;
    assert_eq!(load.errors().first().map(ToString::to_string), None);
    let stats = stats(&producer).await;
    assert_eq!((stats.connects, stats.disconnects), (1, 0));
    publish(&producer, numbered(0)).await.unwrap();
    assert_stored(&broker, 0..1).await;
}

/// contract: 3
/// fault: P24
async fn deleted_topic_is_created_again_under_load(broker: Broker) {
    let producer = producer(&broker).await;
    let mut load = Load::start(&producer, 32, TOPIC);
    let first = format!("{TOPIC}_0");
    for _ in 0..3 {
        load.until_more_ok(200).await;
        broker.delete_topic(&first).await;
    }
    load.until_more_ok(200).await;
    load.stop().await;
    for error in load.errors().iter() {
        let outcome = (error.kind(), error.delivery());
        let rejected = |code| ErrorKind::Rejected(code);
        let expected = [
            // nsqd's response to what arrives while the topic is closing,
            (rejected(ErrorCode::PubFailed), Delivery::NotWritten),
            (rejected(ErrorCode::MpubFailed), Delivery::MaybeWritten),
            (rejected(ErrorCode::MpubFailed), Delivery::MaybePartial),
            // which is lost if nsqd closes the connection with unread commands.
            (ErrorKind::ConnectionLost, Delivery::MaybeWritten),
            (ErrorKind::ConnectionLost, Delivery::MaybePartial),
        ];
        assert!(expected.contains(&outcome), "{error}");
        assert!(error.is_retryable(), "{error}");
    }
    assert!(broker.message_count(&first).await > 0);
}

/// checklist: 25
async fn every_byte_value_is_stored_unchanged(broker: Broker) {
    let producer = producer(&broker).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let commands = b"PUB scenario\n\x00\x00\x00\x01x\nCLS\n  V2\r\n".to_vec();
    for body in [&every_byte, &commands] {
        publish(&producer, body.clone()).await.unwrap();
    }
    let batch = MultiPublish::new(topic(TOPIC), [commands.clone(), every_byte.clone()]);
    producer.send(batch).await.unwrap().unwrap();
    let expected = [&every_byte, &commands, &commands, &every_byte];
    assert_eq!(Vec::from_iter(&broker.bodies(TOPIC, 4).await), expected);
}

/// checklist: 25
async fn largest_message_and_batch_are_stored_unchanged(broker: Broker) {
    const MIB: usize = 1 << 20;
    let random = |size| {
        let mut body = vec![0; size];
        fastrand::Rng::with_seed(7).fill(&mut body);
        body
    };
    let producer = producer(&broker).await;
    publish(&producer, "x").await.unwrap();
    publish(&producer, random(MIB)).await.unwrap();
    // 5 MiB on the wire: the count, and every body with its length.
    let mut bodies = vec![random(MIB); 4];
    bodies.push(random(MIB - 4 - 5 * 4));
    let batch = MultiPublish::new(topic(TOPIC), bodies.clone());
    producer.send(batch).await.unwrap().unwrap();

    let expected = [vec![b"x".to_vec(), random(MIB)], bodies].concat();
    // Not `assert_eq`, which would print the bodies.
    assert!(broker.bodies(TOPIC, 7).await == expected, "a body differs");
}

/// contract: 1, 2
/// checklist: 38
async fn concurrent_callers_share_one_connection(broker: Broker) {
    let producer = producer(&broker).await;
    let call = |caller: usize| {
        let producer = producer.clone();
        actix_rt::spawn(async move {
            for number in caller * 20..(caller + 1) * 20 {
                publish(&producer, numbered(number)).await.unwrap();
            }
        })
    };
    for ended in join_all((0..64).map(call)).await {
        ended.unwrap();
    }

    let mut stored = numbers(&broker.bodies(TOPIC, 64 * 20).await);
    let mut last_of = BTreeMap::new();
    for number in &stored {
        let last = last_of.insert(number / 20, *number);
        assert!(
            last.is_none_or(|last| last + 1 == *number),
            "{last:?}, then {number}"
        );
    }
    stored.sort_unstable();
    assert_eq!(stored, Vec::from_iter(0..64 * 20));
    assert_eq!(broker.handshakes().await, 1);
}

/// contract: 1
/// fault: A5
async fn publishes_without_a_waiting_caller_are_stored(broker: Broker) {
    let producer = producer(&broker).await;
    for number in (0..100).step_by(2) {
        producer.do_send(Publish::new(topic(TOPIC), numbered(number)));
        let message = Publish::new(topic(TOPIC), numbered(number + 1));
        producer
            .try_send(message)
            .expect("the mailbox is unbounded");
    }
    publish(&producer, numbered(100)).await.unwrap();
    assert_stored(&broker, 0..101).await;
}

/// contract: 1, 9
async fn single_and_batch_publishes_are_stored_in_arrival_order(broker: Broker) {
    let producer = producer(&broker).await;
    let mut sent = Vec::new();
    for number in (0..2_000).step_by(4) {
        let single = Publish::new(topic(TOPIC), numbered(number));
        let batch = MultiPublish::new(topic(TOPIC), (number + 1..number + 4).map(numbered));
        sent.push((producer.send(single), producer.send(batch)));
    }
    for (single, batch) in sent {
        single.await.unwrap().unwrap();
        batch.await.unwrap().unwrap();
    }
    assert_stored(&broker, 0..2_000).await;
}

/// contract: 1, 2, 7
async fn expired_callers_do_not_shift_the_answers_of_others(broker: Broker) {
    let count = scaled(2_000, 10_000);
    let window = count / 10;
    for batching in [false, true] {
        let config = config(&broker)
            .await
            .publish_window(window)
            .auto_batch(batching);
        let producer = start(config);
        let hello = Publish::new(topic("hello"), "hello");
        producer.send(hello).await.unwrap().unwrap();
        let answers = every_hundredth_expires(&broker, &producer, count).await;
        let in_flight = answers.failed(Delivery::MaybeWritten);
        let unsent = answers.failed(Delivery::NotWritten);
        assert_eq!(in_flight + unsent, count / 100);
        if batching {
            // Fewer messages are in flight; expired ones leave their batch.
            assert!(in_flight <= window / 100, "{in_flight}");
            let stats = stats(&producer).await;
            assert!(stats.batched > 9 * stats.batches, "{stats:?}");
        } else {
            assert_eq!(in_flight, window / 100);
        }
        broker.delete_topic(TOPIC).await;
    }
}

/// While the broker is frozen. All others are answered `Ok` afterwards.
async fn every_hundredth_expires(
    broker: &Broker,
    producer: &Addr<Producer>,
    count: usize,
) -> Answers {
    broker.freeze(true).await;
    let expires = |number: &usize| number % 100 == 99;
    let sent = (0..count).map(|number| {
        let timeout = if expires(&number) {
            Duration::from_millis(100)
        } else {
            LONG
        };
        let message = Publish::new(topic(TOPIC), numbered(number)).expires_in(timeout);
        (number, producer.send(message))
    });
    let (expired, others): (Vec<_>, Vec<_>) = sent.partition(|(number, _)| expires(number));

    let mut answers = Answers::default();
    for (number, answer) in expired {
        let error = answer.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{number}: {error}");
        answers.record(number, Err(error));
    }
    broker.freeze(false).await;
    for (number, answer) in others {
        let answer = answer.await.unwrap();
        answer.as_ref().unwrap_or_else(|e| panic!("{number}: {e}"));
        answers.record(number, answer);
    }
    let stored = answers.ok() + answers.failed(Delivery::MaybeWritten);
    let bodies = broker.bodies(TOPIC, stored).await;
    answers.assert_agree_with(&bodies);
    assert!(numbers(&bodies).is_sorted(), "not in arrival order");
    answers
}

/// contract: 3, 5
/// fault: P26
async fn topic_names_are_valid_exactly_if_nsqd_accepts_them(broker: Broker) {
    let (longest, too_long) = ("x".repeat(64), "x".repeat(65));
    let longest_ephemeral = format!("{}#ephemeral", "x".repeat(54));
    let too_long_ephemeral = format!("{}#ephemeral", "x".repeat(55));
    let words = "a . -_.09azAZ x#ephemeral #ephemeral x#ephemera x#ephemeral#ephemeral x# a/b a:b \
                 caf\u{e9} \u{fc} a\tb a\0b *";
    let long = [&longest, &too_long, &longest_ephemeral, &too_long_ephemeral];
    let names = words.split(' ').chain(long.map(String::as_str));
    let address = broker.address().await;
    for name in names {
        let (address, to_nsqd) = (address.clone(), name.to_owned());
        let publish = move || raw_client::publish(&address, &to_nsqd, &[b"x"]);
        let nsqd = tokio::task::spawn_blocking(publish).await.unwrap();
        let ours = name.parse::<Topic>();
        assert_eq!(
            ours.is_ok(),
            nsqd.is_ok(),
            "{name:?}: {ours:?}, nsqd: {nsqd:?}"
        );
    }
    // On the wire, these would not be one name.
    for name in ["", " ", "a b", "a\n", "a\r\nPUB b", "a\u{2028}b"] {
        assert!(name.parse::<Topic>().is_err(), "{name:?}");
    }
}
