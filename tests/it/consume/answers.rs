//! What each answer writes, and when it comes too late.

use actix::Addr;
use actix_nsq::{AnswerError, Consumer, MessageHandler, MessageStream, Requeue};
use tokio::time::sleep;

use crate::{
    harness::{Network, Peer, consumer_stats, in_virtual_time, ms, s},
    support::{
        faulty_stream::StreamControl,
        spoken::{Command, message_id},
    },
};

/// consumer contract: 1
/// checklist: 58
#[test]
fn each_answer_writes_its_command() {
    in_virtual_time(async |mut network: Network| {
        let (_consumer, mut messages, mut nsqd) = network
            .start_consuming_with(|config| config.max_backoff_duration(s(0)))
            .await;
        nsqd.deliver_all(1..=4).await;
        nsqd.deliver_again(5, 3).await;
        let mut next = async || messages.next().await.unwrap();
        next().await.finish().unwrap();
        nsqd.expect_fin(1).await;
        next().await.requeue(Requeue::after(ms(1_500))).unwrap();
        nsqd.expect_req(2, 1_500).await;
        let third = next().await;
        sleep(ms(1)).await;
        third.touch().unwrap();
        nsqd.expect_touch(3).await;
        third.settle(Ok::<_, ()>(()));
        nsqd.expect_fin(3).await;
        next().await.settle(Err::<(), _>("failed"));
        nsqd.expect_req(4, 90_000).await;
        // Without an answer.
        drop(next().await);
        nsqd.expect_req(5, 270_000).await;
    });
}

/// consumer contract: 1
/// checklist: 61
#[test]
fn message_can_be_answered_from_any_thread() {
    crate::harness::in_system(async |mut network: Network| {
        let (_consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver(1).await;
        let message = messages.next().await.unwrap();
        let answered = std::thread::spawn(move || message.finish());
        nsqd.expect_fin(1).await;
        assert_eq!(answered.join().unwrap(), Ok(()));
    });
}

/// consumer contract: 1, 2
/// checklist: 62
/// fault: C1, G14
#[test]
fn answer_for_a_lost_connection_reaches_no_other() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver_all([1, 2]).await;
        let (first, second) = (messages.next().await, messages.next().await);
        drop(nsqd);
        let mut nsqd = network.subscribed(8).await;
        let lost = Err(AnswerError::ConnectionLost);
        assert_eq!(first.unwrap().finish(), lost);
        assert_eq!(
            second.unwrap().requeue(Requeue::now().without_backoff()),
            lost
        );
        // Their capacity is free again.
        nsqd.expect_ready(10).await;
        nsqd.expect_silence(s(1)).await;
        assert_eq!(consumer_stats(&consumer).await.counters.unwritten, 2);
    });
}

/// Starts a consumer with a stream, and subscribes its connection, which the test can disturb.
async fn start_over(network: &mut Network) -> (Addr<Consumer>, MessageStream, Peer, StreamControl) {
    let (handler, messages) = MessageHandler::stream();
    let consumer = network.start_consumer_with(|config| config.max_in_flight(10), handler);
    let (mut nsqd, stream) = network.connected_over(65_536).await;
    nsqd.expect_sub().await;
    nsqd.send_ok().await;
    nsqd.expect_ready(10).await;
    (consumer, messages, nsqd, stream)
}

/// If nsqd is killed, a write may fail before everything is read that nsqd has sent.
/// consumer contract: 2
#[test]
fn message_read_after_a_failed_write_is_handled() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd, stream) = start_over(&mut network).await;
        nsqd.deliver(1).await;
        let first = messages.next().await.unwrap();
        stream.hold_reads();
        nsqd.deliver(2).await;
        stream.break_writes(std::io::ErrorKind::BrokenPipe);
        first.finish().unwrap();
        sleep(ms(10)).await;
        stream.release_reads();
        let second = messages.next().await.unwrap();
        assert_eq!(second.body(), "2");
        drop(nsqd);
        // It still takes capacity.
        let mut nsqd = network.subscribed(9).await;
        assert_eq!(second.finish(), Err(AnswerError::ConnectionLost));
        nsqd.expect_ready(10).await;
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!((counters.received, counters.started), (2, 2));
    });
}

/// Discarding them would turn the kill of an nsqd that forgets them into a loss.
/// consumer contract: 2
/// fault: C1
#[test]
fn waiting_messages_of_a_lost_connection_are_handled() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network
            .start_consuming_with(|config| config.concurrency(1))
            .await;
        nsqd.deliver_all([1, 2]).await;
        let first = messages.next().await.unwrap();
        drop(nsqd);
        let mut nsqd = network.subscribed(8).await;
        let lost = Err(AnswerError::ConnectionLost);
        assert_eq!(first.finish(), lost);
        let second = messages.next().await.unwrap();
        assert_eq!(second.body(), "2");
        // nsqd does not know that, and delivers it again.
        nsqd.deliver_again(2, 2).await;
        assert_eq!(second.finish(), lost);
        let again = messages.next().await.unwrap();
        assert_eq!((again.body().as_ref(), again.attempts()), (&b"2"[..], 2));
        again.finish().unwrap();
        while nsqd.next_command().await != Command::Fin(message_id(2)) {}
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!((counters.unwritten, counters.finished), (2, 1));
        assert_eq!(counters.redelivered_elsewhere, 1);
    });
}

/// consumer contract: 2, 3
/// fault: C1
#[test]
fn first_delivery_while_a_lost_handler_runs_is_counted() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver(1).await;
        let running = messages.next().await.unwrap();
        drop(nsqd);
        // nsqd was killed and does not know that it has delivered the message.
        let mut nsqd = network.subscribed(9).await;
        nsqd.deliver_all([1, 2]).await;
        messages.next().await.unwrap().finish().unwrap();
        nsqd.expect_fin(1).await;
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!(counters.redelivered_elsewhere, 1);
        assert_eq!(running.finish(), Err(AnswerError::ConnectionLost));
    });
}

/// consumer contract: 2
#[test]
fn answer_after_a_failed_write_does_not_count_as_finished() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd, stream) = start_over(&mut network).await;
        nsqd.deliver_all([1, 2]).await;
        let first = messages.next().await.unwrap();
        let second = messages.next().await.unwrap();
        stream.hold_reads();
        stream.break_writes(std::io::ErrorKind::BrokenPipe);
        first.finish().unwrap();
        sleep(ms(10)).await;
        // The reader has not seen the end of the connection yet.
        assert_eq!(second.finish(), Err(AnswerError::ConnectionLost));
        sleep(ms(10)).await;
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!((counters.finished, counters.unwritten), (1, 1));
        stream.release_reads();
    });
}
