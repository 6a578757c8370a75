//! Deadlines: messages that expire, redeliveries, and touching.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use actix::Addr;
use actix_nsq::{
    AnswerError, Consumer, ConsumerConfigBuilder, IncomingMessage, MessageHandler, MessageStream,
    Requeue,
    consumer::{GetStats, RemoveNsqd, SetMaxInFlight},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::{Network, Peer, block, consumer_stats, in_virtual_time, ms, s};
use crate::support::spoken::{Command, close_wait_frame, message_frame, response_frame};

/// Accepts a consumer with a message timeout of 1 s, and at most 5 s.
async fn subscribed(network: &mut Network, ready: u64) -> Peer {
    let mut nsqd = network.accept().await;
    nsqd.identify().await;
    let negotiated = json!({
        "max_rdy_count": 2500,
        "msg_timeout": 1_000,
        "max_msg_timeout": 5_000,
        "output_buffer_timeout": 25,
    });
    nsqd.send(response_frame(negotiated.to_string())).await;
    nsqd.expect_sub().await;
    nsqd.send_ok().await;
    nsqd.expect_ready(ready).await;
    nsqd
}

/// Starts a consumer with a stream, and subscribes its connection.
async fn start(
    network: &mut Network,
    max_in_flight: usize,
    options: impl FnOnce(ConsumerConfigBuilder) -> ConsumerConfigBuilder,
) -> (Addr<Consumer>, MessageStream, Peer) {
    let (handler, messages) = MessageHandler::stream();
    let with_options = |config: ConsumerConfigBuilder| options(config.max_in_flight(max_in_flight));
    let consumer = network.start_consumer_with(with_options, handler);
    let ready = max_in_flight.try_into().unwrap();
    (consumer, messages, subscribed(network, ready).await)
}

/// consumer contract: 7
/// checklist: 68
#[test]
fn message_that_waits_beyond_its_deadline_is_not_started() {
    in_virtual_time(async |mut network: Network| {
        let options = |config: ConsumerConfigBuilder| config.concurrency(1);
        let (consumer, mut messages, mut nsqd) = start(&mut network, 10, options).await;
        nsqd.deliver_all([1, 2]).await;
        let first = messages.next().await.unwrap();
        let deadline = Instant::from_std(first.deadline());
        assert_eq!(deadline.duration_since(Instant::now()), ms(975));
        first.touch().unwrap();
        sleep(ms(500)).await;
        first.touch().unwrap();
        nsqd.expect_touch(1).await;
        sleep(ms(500)).await;
        first.finish().unwrap();
        nsqd.expect_fin(1).await;
        nsqd.deliver_again(2, 2).await;
        assert_eq!(messages.next().await.unwrap().attempts(), 2);
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!((counters.expired, counters.timed_out), (1, 0));
    });
}

/// consumer contract: 1, 3
/// checklist: 62
/// fault: C2
#[test]
fn late_finish_is_written_and_late_requeue_is_not() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = start(&mut network, 10, |config| config).await;
        nsqd.deliver_all([1, 2]).await;
        let first = messages.next().await.unwrap();
        let second = messages.next().await.unwrap();
        sleep(s(1)).await;
        assert_eq!(first.touch(), Err(AnswerError::Expired));
        assert_eq!(first.finish(), Err(AnswerError::Expired));
        nsqd.expect_fin(1).await;
        let requeue = Requeue::now().without_backoff();
        assert_eq!(second.requeue(requeue), Err(AnswerError::Expired));
        nsqd.expect_silence(ms(50)).await;
        // What was finished is finished again, and what was requeued is handled again.
        nsqd.deliver_again(1, 2).await;
        nsqd.expect_fin(1).await;
        nsqd.deliver_again(2, 2).await;
        let again = messages.next().await.unwrap();
        assert_eq!((again.body().as_ref(), again.attempts()), (&b"2"[..], 2));
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!((counters.timed_out, counters.late), (2, 2));
        assert_eq!((counters.finished, counters.finished_again), (0, 1));
    });
}

/// consumer contract: 10
#[test]
fn at_most_max_in_flight_messages_are_with_handlers() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = start(&mut network, 2, |config| config).await;
        nsqd.deliver_all([1, 2]).await;
        let stuck = (messages.next().await, messages.next().await);
        // nsqd requeues both, and sends others.
        sleep(s(1)).await;
        nsqd.deliver_all([3, 4]).await;
        sleep(ms(10)).await;
        let stats = consumer_stats(&consumer).await;
        assert_eq!((stats.with_handlers, stats.waiting), (2, 2));
        // With 0, what has arrived is still handled.
        consumer.send(SetMaxInFlight(0)).await.unwrap();
        drop(stuck);
        assert_eq!(messages.next().await.unwrap().body(), "3");
        assert_eq!(messages.next().await.unwrap().body(), "4");
    });
}

/// consumer contract: 3
/// fault: G11
#[test]
fn first_delivery_of_a_second_copy_waits_for_the_handler() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        // In one read, and while the handler runs.
        nsqd.deliver_all([1, 1]).await;
        let running = messages.next().await.unwrap();
        nsqd.deliver_all([1, 2]).await;
        let other = messages.next().await.unwrap();
        assert_eq!(other.body(), "2");
        running.finish().unwrap();
        nsqd.expect_fin(1).await;
        other.finish().unwrap();
        nsqd.expect_fin(2).await;
        nsqd.expect_silence(ms(50)).await;
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!((counters.started, counters.finished), (2, 2));
    });
}

/// consumer contract: 3
/// checklist: 67
/// fault: G11, G12
#[test]
fn redelivery_waits_for_the_running_handler() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = start(&mut network, 10, |config| config).await;
        nsqd.deliver(1).await;
        let running = messages.next().await.unwrap();
        for attempts in 2..5 {
            sleep(s(1)).await;
            nsqd.deliver_again(1, attempts).await;
        }
        sleep(ms(10)).await;
        // No other handler has it, and one answer answers it.
        nsqd.deliver(2).await;
        assert_eq!(messages.next().await.unwrap().body(), "2");
        nsqd.expect_ready(0).await;
        nsqd.expect_req(2, 90_000).await;
        let _ = running.finish();
        nsqd.expect_fin(1).await;
        nsqd.expect_silence(ms(50)).await;
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!((counters.attached, counters.finished), (3, 1));
    });
}

/// After the arbiter was blocked, a read may contain a message and its redeliveries.
/// consumer contract: 3, 4
/// fault: C4
#[test]
fn redelivery_in_the_same_read_takes_no_capacity() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        let copies = (1..=3).map(|attempts| message_frame(1, attempts, "1"));
        nsqd.send(copies.collect::<Vec<_>>().concat()).await;
        let message = messages.next().await.unwrap();
        assert_eq!(message.attempts(), 3);
        message.finish().unwrap();
        nsqd.expect_fin(1).await;
        drop(nsqd);
        network.subscribed(10).await;
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!((counters.received, counters.started), (3, 1));
    });
}

/// consumer contract: 6, 7
#[test]
fn message_that_expired_in_a_stream_is_no_failure() {
    in_virtual_time(async |mut network: Network| {
        let (_consumer, mut messages, mut nsqd) = start(&mut network, 10, |config| config).await;
        nsqd.deliver(1).await;
        sleep(s(1)).await;
        nsqd.deliver(2).await;
        let second = messages.next().await.unwrap();
        assert_eq!(second.body(), "2");
        second.finish().unwrap();
        nsqd.expect_fin(2).await;
        nsqd.expect_silence(ms(50)).await;
    });
}

/// checklist: 105
#[test]
fn handling_time_is_from_the_start_to_the_answer() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = start(&mut network, 10, |it| it).await;
        nsqd.deliver(1).await;
        nsqd.deliver(2).await;
        let (first, second) = (messages.next().await, messages.next().await);
        sleep(ms(200)).await;
        first.unwrap().finish().unwrap();
        nsqd.expect_fin(1).await;
        sleep(ms(100)).await;
        second.unwrap().requeue(Requeue::now()).unwrap();
        sleep(ms(10)).await;
        let handling = consumer_stats(&consumer).await.handling;
        assert_eq!((handling.count(), handling.max()), (2, Some(ms(300))));
        assert_eq!(handling.sum(), ms(500));
    });
}

/// consumer contract: 7
/// checklist: 60
/// fault: C2
#[test]
fn auto_touch_extends_the_deadline_up_to_the_maximum() {
    in_virtual_time(async |mut network: Network| {
        let options = |config: ConsumerConfigBuilder| config.auto_touch(true);
        let (consumer, mut messages, mut nsqd) = start(&mut network, 10, options).await;
        nsqd.deliver(1).await;
        let running = messages.next().await.unwrap();
        let received = Instant::now();
        let deadline = Instant::from_std(running.deadline());
        assert_eq!(deadline.duration_since(received), ms(4_975));
        for touch in 1..=7 {
            nsqd.expect_touch(1).await;
            let due = received + ms(650) * touch;
            assert!(Instant::now() - due < ms(5), "{:?}", received.elapsed());
        }
        sleep(s(1)).await;
        assert_eq!(consumer_stats(&consumer).await.counters.timed_out, 1);
        assert_eq!(running.finish(), Err(AnswerError::Expired));
        nsqd.expect_fin(1).await;
    });
}

/// checklist: 60
#[test]
fn message_is_never_touched_without_being_asked() {
    in_virtual_time(async |mut network: Network| {
        let (_consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver(1).await;
        let running = messages.next().await.unwrap();
        nsqd.expect_silence(s(59)).await;
        drop(running);
    });
}

#[test]
fn expired_message_is_a_failure_if_backoff_on_expired_is_set() {
    in_virtual_time(async |mut network: Network| {
        let options = |config: ConsumerConfigBuilder| config.backoff_on_expired(true);
        let (_consumer, mut messages, mut nsqd) = start(&mut network, 10, options).await;
        nsqd.deliver(1).await;
        let _running = messages.next().await.unwrap();
        nsqd.expect_silence(ms(970)).await;
        nsqd.expect_ready(0).await;
    });
}

/// consumer contract: 3, 11
#[test]
fn redelivery_by_an_nsqd_that_is_left_is_answered_once() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = start(&mut network, 10, |config| config).await;
        nsqd.deliver_all([1, 2]).await;
        let finished = messages.next().await.unwrap();
        let running = messages.next().await.unwrap();
        sleep(s(1)).await;
        assert_eq!(finished.finish(), Err(AnswerError::Expired));
        nsqd.expect_fin(1).await;
        consumer.do_send(RemoveNsqd("nsqd in memory".to_owned()));
        nsqd.expect_command(Command::Cls).await;
        // nsqd sent these before it read CLS.
        nsqd.deliver_again(1, 2).await;
        nsqd.expect_fin(1).await;
        nsqd.deliver_again(2, 2).await;
        nsqd.send(close_wait_frame()).await;
        nsqd.expect_silence(ms(500)).await;
        assert_eq!(running.finish(), Err(AnswerError::Expired));
        nsqd.expect_fin(2).await;
        nsqd.expect_end().await;
    });
}

/// consumer contract: 6, 7
#[test]
fn answer_that_a_block_made_late_is_a_failure_as_well() {
    in_virtual_time(async |mut network: Network| {
        let options = |config: ConsumerConfigBuilder| config.backoff_on_expired(true);
        let (consumer, mut messages, mut nsqd) = start(&mut network, 10, options).await;
        nsqd.deliver(1).await;
        let running = messages.next().await.unwrap();
        // The consumer sees the answer before it sees the deadline.
        consumer.do_send(GetStats);
        block(s(2));
        assert_eq!(running.finish(), Err(AnswerError::Expired));
        nsqd.expect_ready(0).await;
        nsqd.expect_fin(1).await;
        assert_eq!(consumer_stats(&consumer).await.counters.timed_out, 1);
    });
}

/// consumer contract: 7
#[test]
fn message_that_a_block_made_overdue_is_not_started() {
    in_virtual_time(async |mut network: Network| {
        let (release, mut released) = tokio::sync::mpsc::unbounded_channel::<()>();
        let started = Arc::new(AtomicUsize::new(0));
        let (counter, mut release) = (Arc::clone(&started), Some(release));
        let handler = MessageHandler::from_fn(move |message: IncomingMessage| {
            counter.fetch_add(1, Ordering::Relaxed);
            let release = release.take();
            async move {
                let is_first = message.body() == "1";
                if let (true, Some(release)) = (is_first, release) {
                    release.closed().await;
                }
                Ok::<_, AnswerError>(())
            }
        });
        let options = |config: ConsumerConfigBuilder| config.max_in_flight(10).concurrency(1);
        let consumer = network.start_consumer_with(options, handler);
        let mut nsqd = subscribed(&mut network, 10).await;
        nsqd.deliver_all([1, 2]).await;
        sleep(ms(10)).await;
        assert_eq!(started.load(Ordering::Relaxed), 1);
        // The consumer sees the end of the first before it sees the deadline of the second.
        released.close();
        block(s(2));
        nsqd.expect_fin(1).await;
        nsqd.deliver_again(2, 2).await;
        nsqd.expect_fin(2).await;
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!((counters.started, counters.expired), (2, 1));
    });
}
