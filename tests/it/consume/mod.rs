//! Consuming: messages, their answers, and who handles them.

mod answers;
mod attempts;
mod deadlines;
mod drain;
mod flow;
mod handle;
mod handlers;
mod rejection;

use actix_nsq::{Channel, Topic};
use tokio::time::{Instant, sleep};

use crate::harness::{Network, in_virtual_time, ms};

/// consumer contract: 1
/// checklist: 77
#[test]
fn message_has_its_origin_and_is_finished() {
    in_virtual_time(async |mut network: Network| {
        let (_consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver_again(7, 3).await;
        let message = messages.next().await.unwrap();
        assert_eq!(message.body(), "7");
        assert_eq!((message.timestamp(), message.attempts()), (7, 3));
        assert_eq!(message.id().to_string(), "0000000000000007");
        assert_eq!(message.address(), "nsqd in memory");
        assert_eq!(*message.topic(), Topic::from_static("t"));
        assert_eq!(*message.channel(), Channel::from_static("c"));
        message.finish().unwrap();
        nsqd.expect_fin(7).await;
    });
}

/// Its end is no sign of trouble with the next one.
/// consumer contract: 2
#[test]
fn connection_that_delivered_messages_resets_the_backoff() {
    in_virtual_time(async |mut network: Network| {
        let (_consumer, mut messages, mut nsqd) = network
            .start_consuming_with(|config| config.reconnect_backoff(ms(100)))
            .await;
        for number in 1..=20 {
            nsqd.deliver(number).await;
            messages.next().await.unwrap().finish().unwrap();
            nsqd.expect_fin(number).await;
            // Longer than the initial backoff.
            sleep(ms(110)).await;
            let lost = Instant::now();
            drop(nsqd);
            let delay = network.peek_dial().await - lost;
            assert!(delay <= ms(101), "{delay:?} after connection {number}");
            nsqd = network.subscribed(10).await;
        }
    });
}
