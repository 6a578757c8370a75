//! Whoever publishes, from wherever and however many at once, gets the answer to that very publish.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_nsq::actix::{Addr, Arbiter, Recipient};
use actix_nsq::{Delivery, ErrorKind, MultiPublish, Producer, Publish, producer::GetStats};
use futures::future::join_all;

use super::load::{
    Answers, TOPIC, config, numbered, numbers, producer, publish, publish_all, start, topic,
};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::Broker;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        many_tasks_share_one_address,
        many_producers_publish_side_by_side,
        publishes_come_from_other_arbiters,
        publishes_come_from_plain_threads,
        a_producer_lives_on_an_arbiter_of_its_own,
        a_recipient_publishes_too,
        what_nobody_awaits_is_published_too,
        publishes_of_one_producer_are_stored_in_their_order,
        ten_thousand_outstanding_each_get_their_own_answer,
        ten_thousand_outstanding_in_batches_each_get_their_own_answer,
        a_caller_that_goes_away_shifts_nobodys_answer,
        more_than_max_pending_is_full_at_once,
        more_than_max_pending_bytes_is_full_at_once,
    ]
}

/// contract: 1, 2
/// checklist: 38
async fn many_tasks_share_one_address(broker: Broker) {
    let producer = producer(&broker).await;
    let task = |number: usize| {
        let producer = producer.clone();
        actix_rt::spawn(async move {
            for step in 0..20 {
                publish(&producer, numbered(number * 20 + step))
                    .await
                    .unwrap();
            }
        })
    };
    for done in join_all((0..64).map(task)).await {
        done.unwrap();
    }

    let mut stored = numbers(&broker.bodies(TOPIC, 64 * 20).await);
    let mut last_of = BTreeMap::new();
    for number in &stored {
        let last = last_of.insert(number / 20, *number);
        assert!(
            last.is_none_or(|last| last + 1 == *number),
            "each task's order is kept"
        );
    }
    stored.sort_unstable();
    assert_eq!(stored, Vec::from_iter(0..64 * 20));
    assert_eq!(broker.handshakes().await, 1);
}

/// contract: 1
async fn many_producers_publish_side_by_side(broker: Broker) {
    let mut producers = Vec::new();
    for _ in 0..10 {
        producers.push(producer(&broker).await);
    }
    let each = producers
        .iter()
        .enumerate()
        .map(|(at, producer)| publish_all(producer, at * 100..(at + 1) * 100));
    for answers in join_all(each).await {
        answers.assert_all_ok();
    }
    let mut stored = numbers(&broker.bodies(TOPIC, 1_000).await);
    stored.sort_unstable();
    assert_eq!(stored, Vec::from_iter(0..1_000));
    assert_eq!(broker.handshakes().await, 10);
}

/// contract: 1
async fn publishes_come_from_other_arbiters(broker: Broker) {
    let producer = producer(&broker).await;
    let arbiters = [Arbiter::new(), Arbiter::new()];
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for (at, arbiter) in arbiters.iter().enumerate() {
        let (producer, tell) = (producer.clone(), tell.clone());
        arbiter.spawn(async move {
            let answers = publish_all(&producer, at * 50..(at + 1) * 50).await;
            tell.send(answers.ok()).unwrap();
        });
    }
    for _ in &arbiters {
        assert_eq!(told.recv().await, Some(50));
    }
    for arbiter in arbiters {
        arbiter.stop();
        arbiter.join().unwrap();
    }
    assert_eq!(broker.bodies(TOPIC, 100).await.len(), 100);
}

/// contract: 1
async fn publishes_come_from_plain_threads(broker: Broker) {
    let producer = producer(&broker).await;
    let thread = std::thread::spawn(move || {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        tokio.block_on(publish_all(&producer, 0..50)).ok()
    });
    let ok = tokio::task::spawn_blocking(|| thread.join().unwrap()).await;
    assert_eq!(ok.unwrap(), 50);
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 50).await),
        Vec::from_iter(0..50)
    );
}

/// contract: 1
async fn a_producer_lives_on_an_arbiter_of_its_own(broker: Broker) {
    let arbiter = Arbiter::new();
    let config = config(&broker).await.build().unwrap();
    let producer = Producer::start_in_arbiter(&arbiter.handle(), config);
    publish_all(&producer, 0..50).await.assert_all_ok();

    arbiter.stop();
    arbiter.join().unwrap();
    let error = publish(&producer, "too late").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Closed, Delivery::NotWritten)
    );
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 50).await),
        Vec::from_iter(0..50)
    );
}

/// contract: 1
async fn a_recipient_publishes_too(broker: Broker) {
    let recipient: Recipient<Publish> = producer(&broker).await.recipient();
    recipient
        .send(Publish::new(topic(TOPIC), "hello"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(broker.bodies(TOPIC, 1).await, [b"hello"]);
}

/// contract: 1
/// fault: A5
async fn what_nobody_awaits_is_published_too(broker: Broker) {
    let producer = producer(&broker).await;
    for number in (0..100).step_by(2) {
        producer.do_send(Publish::new(topic(TOPIC), numbered(number)));
        let message = Publish::new(topic(TOPIC), numbered(number + 1));
        producer
            .try_send(message)
            .expect("the mailbox has no bound of its own");
    }
    // Behind all of these.
    publish(&producer, numbered(100)).await.unwrap();
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 101).await),
        Vec::from_iter(0..=100)
    );
}

/// contract: 1, 9
async fn publishes_of_one_producer_are_stored_in_their_order(broker: Broker) {
    let producer = producer(&broker).await;
    let mut sent = Vec::new();
    for number in (0..2_000).step_by(4) {
        let single = producer.send(Publish::new(topic(TOPIC), numbered(number)));
        let batch = (number + 1..number + 4).map(numbered);
        let batch = producer.send(MultiPublish::new(topic(TOPIC), batch));
        sent.push((single, batch));
    }
    for (single, batch) in sent {
        single.await.unwrap().unwrap();
        batch.await.unwrap().unwrap();
    }
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 2_000).await),
        Vec::from_iter(0..2_000)
    );
}

/// With a window of 1,000 that is full: how many were sent is known.
/// contract: 1, 2
async fn ten_thousand_outstanding_each_get_their_own_answer(broker: Broker) {
    let config = config(&broker).await.publish_window(1_000);
    let producer = start(config.auto_batch(false));
    reach(&producer, &broker).await;
    let answers = ten_thousand_of_whom_a_hundred_give_up(&broker, &producer).await;
    assert_eq!(answers.failed(Delivery::MaybeWritten), 10);
    assert_eq!(answers.failed(Delivery::NotWritten), 90);
}

/// With automatic batching less is sent to an nsqd that does not answer, and what gives up while it waits leaves its batch.
/// contract: 1
async fn ten_thousand_outstanding_in_batches_each_get_their_own_answer(broker: Broker) {
    let producer = start(config(&broker).await.publish_window(1_000));
    reach(&producer, &broker).await;
    let answers = ten_thousand_of_whom_a_hundred_give_up(&broker, &producer).await;
    let (sent, waiting) = (
        answers.failed(Delivery::MaybeWritten),
        answers.failed(Delivery::NotWritten),
    );
    assert!(sent <= 10 && sent + waiting == 100, "{sent} + {waiting}");
    let stats = producer.send(GetStats).await.unwrap();
    assert!(stats.batched > 9 * stats.batches, "{stats:?}");
}

/// Every hundredth gives up while the broker is frozen, and all others are `Ok`: who would get a neighbour's answer shows.
async fn ten_thousand_of_whom_a_hundred_give_up(
    broker: &Broker,
    producer: &Addr<Producer>,
) -> Answers {
    broker.freeze(true).await;
    let is_hasty = |number: usize| number % 100 == 99;
    let sent: Vec<_> = (0..10_000)
        .map(|number| {
            let message = Publish::new(topic(TOPIC), numbered(number));
            let patience = if is_hasty(number) { 100 } else { 30_000 };
            producer.send(message.expires_in(Duration::from_millis(patience)))
        })
        .collect();

    let mut answers = Answers::default();
    let (hasty, patient): (Vec<_>, Vec<_>) = sent
        .into_iter()
        .enumerate()
        .partition(|(number, _)| is_hasty(*number));
    for (number, answer) in hasty {
        let error = answer.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{number}: {error}");
        answers.note(number, Err(error));
    }
    broker.freeze(false).await;
    for (number, answer) in patient {
        answers.note(number, answer.await.unwrap());
    }

    assert_eq!(answers.ok(), 9_900);
    let stored = 9_900 + answers.failed(Delivery::MaybeWritten);
    let bodies = broker.bodies(TOPIC, stored).await;
    answers.assert_true_of(&bodies);
    assert!(numbers(&bodies).is_sorted(), "the order is kept");
    answers
}

/// contract: 1, 7
/// fault: P27
async fn a_caller_that_goes_away_shifts_nobodys_answer(broker: Broker) {
    let producer = connected(&broker).await;
    broker.freeze(true).await;
    let mut requests: Vec<_> = (0..300)
        .map(|number| {
            let mut message = Publish::new(topic(TOPIC), numbered(number));
            // Those that time out stand between those that do not, so that a shifted answer shows.
            if number % 4 == 1 {
                message = message.expires_in(Duration::from_millis(200));
            }
            Some(Box::pin(producer.send(message)))
        })
        .collect();
    // Given up before the producer could see them: never sent.
    let never: Vec<_> = (1_000..1_010)
        .map(|number| producer.send(Publish::new(topic(TOPIC), numbered(number))))
        .collect();
    drop(never);
    for request in requests.iter_mut().skip(1).step_by(4) {
        let error = request.take().unwrap().await.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Timeout, Delivery::MaybeWritten)
        );
    }
    for request in requests.iter_mut().step_by(2) {
        *request = None;
    }
    broker.freeze(false).await;

    for request in requests.into_iter().flatten() {
        request.await.unwrap().unwrap();
    }
    publish(&producer, numbered(300)).await.unwrap();
    // All 300 were sent before their callers went away.
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 301).await),
        Vec::from_iter(0..=300)
    );
}

/// contract: 1, 6
/// fault: P14
async fn more_than_max_pending_is_full_at_once(broker: Broker) {
    let producer = start(config(&broker).await.max_pending(100));
    reach(&producer, &broker).await;
    broker.freeze(true).await;
    let waiting = actix_rt::spawn({
        let producer = producer.clone();
        async move { publish_all(&producer, 0..100).await }
    });
    tokio::task::yield_now().await;
    let error = publish(&producer, "one too many").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Full, Delivery::NotWritten)
    );
    assert!(
        error.is_retryable() && error.to_string().contains("max_pending = 100"),
        "{error}"
    );
    broker.freeze(false).await;
    waiting.await.unwrap().assert_all_ok();
    publish(&producer, numbered(100)).await.unwrap();
    assert_eq!(
        numbers(&broker.bodies(TOPIC, 101).await),
        Vec::from_iter(0..=100)
    );
}

/// contract: 1, 6
/// fault: P14
async fn more_than_max_pending_bytes_is_full_at_once(broker: Broker) {
    let config = config(&broker)
        .await
        .max_batch_size(2 << 20)
        .max_pending_bytes(2 << 20);
    let producer = start(config);
    reach(&producer, &broker).await;
    broker.freeze(true).await;
    let large = vec![b'x'; 1 << 20];
    let waiting = [
        producer.send(Publish::new(topic("large"), large.clone())),
        producer.send(Publish::new(topic("large"), large)),
    ];
    let error = publish(&producer, "x").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Full, Delivery::NotWritten)
    );
    assert!(
        error.to_string().contains("max_pending_bytes = 2097152"),
        "{error}"
    );
    broker.freeze(false).await;
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    publish(&producer, "x").await.unwrap();
    assert_eq!(broker.bodies(TOPIC, 1).await, [b"x"]);
}

/// A producer that has its connection already.
async fn connected(broker: &Broker) -> Addr<Producer> {
    let producer = producer(broker).await;
    reach(&producer, broker).await;
    producer
}

async fn reach(producer: &Addr<Producer>, broker: &Broker) {
    producer
        .send(Publish::new(topic("greeting"), "hello"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(broker.handshakes().await, 1);
}
