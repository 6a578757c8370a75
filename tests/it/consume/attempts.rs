//! Messages that their handlers cannot have.

use actix_nsq::{
    Consumer, ConsumerConfigBuilder, ConsumerEvent, ConsumerHandle, DeadLetter, DeadLetterReason,
    IncomingMessage, MessageHandler, Requeue, SubscribeEvents,
};

use crate::harness::{Network, Recorder, consumer_stats, in_virtual_time, s, subscription};
use crate::support::spoken::message_frame;

/// consumer contract: 8
/// checklist: 64
/// fault: C5
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

/// consumer contract: 6
#[test]
fn dead_letter_goes_to_a_function_whose_panic_requeues_it() {
    in_virtual_time(async |mut network: Network| {
        let config = network.consumer_config().max_in_flight(10).max_attempts(1);
        let config = config.max_backoff_duration(s(0));
        let subscription = subscription().dead_letters_fn(|letter| {
            assert!(letter.message.attempts() < 3);
            letter.message.finish().unwrap();
        });
        let (_consumer, _messages) = ConsumerHandle::start(config.build().unwrap(), subscription);
        let mut nsqd = network.subscribed(10).await;
        nsqd.deliver_again(1, 2).await;
        nsqd.expect_fin(1).await;
        nsqd.deliver_again(2, 3).await;
        nsqd.expect_req(2, 270_000).await;
    });
}

/// Panics at the number 13, and its future fails for what is not 1.
fn json_handler() -> MessageHandler {
    struct Number(u64);

    impl<'de> serde::Deserialize<'de> for Number {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let number = u64::deserialize(from)?;
            assert_ne!(number, 13);
            Ok(Self(number))
        }
    }

    MessageHandler::json(async |Number(number), message: IncomingMessage| {
        assert_eq!(message.body(), &number.to_string());
        if number == 1 { Ok(()) } else { Err("failed") }
    })
}

/// consumer contract: 1, 8
#[test]
fn json_handler_sends_what_it_cannot_read_to_dead_letters() {
    in_virtual_time(async |mut network: Network| {
        let (recipient, letters) = Recorder::<DeadLetter>::start();
        let config = network.consumer_config().max_in_flight(10);
        let config = config.max_backoff_duration(s(0)).build().unwrap();
        let subscription = subscription().dead_letters(recipient);
        let consumer = Consumer::start(config, subscription, json_handler());
        let mut nsqd = network.subscribed(10).await;
        for (number, body) in [(1, "1"), (2, "2"), (3, "13"), (4, "no number")] {
            nsqd.send(message_frame(number, 1, body)).await;
        }
        nsqd.expect_req(3, 90_000).await;
        nsqd.expect_fin(1).await;
        nsqd.expect_req(2, 90_000).await;
        let letter = letters.take().pop().unwrap();
        assert!(matches!(letter.reason, DeadLetterReason::InvalidJson(_)));
        letter.message.finish().unwrap();
        nsqd.expect_fin(4).await;
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!((counters.unreadable, counters.dead_letters), (1, 0));
    });
}

/// consumer contract: 1, 6
#[test]
fn json_that_cannot_be_read_is_requeued_with_backoff() {
    in_virtual_time(async |mut network: Network| {
        let options = |config: ConsumerConfigBuilder| config.max_in_flight(10);
        let consumer = network.start_consumer_with(options, json_handler());
        let mut nsqd = network.subscribed(10).await;
        for attempts in 1..=3 {
            nsqd.send(message_frame(1, attempts, "{")).await;
            nsqd.expect_ready(0).await;
            nsqd.expect_req(1, u64::from(attempts) * 90_000).await;
            // Not at once.
            nsqd.expect_silence(s(1)).await;
            nsqd.expect_ready(1).await;
        }
        assert_eq!(consumer_stats(&consumer).await.counters.unreadable, 3);
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
/// fault: C5
#[test]
fn attempts_are_unlimited_by_default() {
    in_virtual_time(async |mut network: Network| {
        let (_consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver_again(1, 65_535).await;
        messages.next().await.unwrap().finish().unwrap();
        nsqd.expect_fin(1).await;
    });
}
