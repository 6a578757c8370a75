//! Messages that were delivered too often.

use actix_nsq::{Consumer, ConsumerEvent, DeadLetter, MessageHandler, Requeue, SubscribeEvents};

use crate::harness::{Network, Recorder, consumer_stats, in_virtual_time, subscription};

/// consumer contract: 8
/// checklist: 64
#[test]
fn dead_letter_goes_to_its_recipient_whose_answer_decides() {
    in_virtual_time(async |mut network: Network| {
        let (recipient, letters) = Recorder::<DeadLetter>::start();
        let (handler, mut messages) = MessageHandler::stream();
        let config = network.consumer_config().max_in_flight(10).max_attempts(2);
        let subscription = subscription().dead_letters(recipient);
        let consumer = Consumer::start(config.build().unwrap(), subscription, handler);
        let mut nsqd = network.subscribed(10).await;
        nsqd.deliver_again(1, 2).await;
        let last = messages.next().await.unwrap();
        last.requeue(Requeue::now().without_backoff()).unwrap();
        nsqd.expect_req(1, 0).await;
        nsqd.deliver_again(1, 3).await;
        nsqd.deliver_again(2, 65_535).await;
        nsqd.expect_silence(crate::harness::ms(10)).await;
        let mut letters = letters.take().into_iter().map(|letter| letter.message);
        let (first, second) = (letters.next().unwrap(), letters.next().unwrap());
        assert_eq!((first.attempts(), second.attempts()), (3, 65_535));
        second.finish().unwrap();
        nsqd.expect_fin(2).await;
        first.requeue(Requeue::now().without_backoff()).unwrap();
        nsqd.expect_req(1, 0).await;
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!((counters.dead_letters, counters.finished), (2, 1));
    });
}

/// consumer contract: 8
/// checklist: 64, 106
#[test]
fn message_beyond_max_attempts_is_discarded_with_an_event() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network
            .start_consuming_with(|config| config.max_attempts(2))
            .await;
        let (events, recorder) = Recorder::<ConsumerEvent>::start();
        consumer.send(SubscribeEvents(events)).await.unwrap();
        nsqd.deliver_again(1, 3).await;
        nsqd.expect_fin(1).await;
        // nsqd's counter wraps around: 0 is not too often.
        nsqd.deliver_again(2, 0).await;
        messages.next().await.unwrap().finish().unwrap();
        nsqd.expect_fin(2).await;
        let events = recorder.take();
        let discarded = events.iter().find_map(|event| match event {
            ConsumerEvent::Discarded { attempts, body, .. } => Some((*attempts, body.clone())),
            _ => None,
        });
        assert_eq!(discarded, Some((3, "1".into())));
    });
}

/// checklist: 64
#[test]
fn attempts_are_unlimited_by_default() {
    in_virtual_time(async |mut network: Network| {
        let (_consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver_again(1, 65_535).await;
        messages.next().await.unwrap().finish().unwrap();
        nsqd.expect_fin(1).await;
    });
}
