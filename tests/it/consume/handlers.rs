//! The kinds of handlers: actors, closures, streams.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix::{Actor, ActorContext, Addr, Context, Handler, Message};
use actix_nsq::{
    ConsumerEvent, ConsumerState, IncomingMessage, IncomingMessages, MessageHandler,
    SubscribeEvents,
    consumer::{Drain, GetState, Resume},
};
use tokio::time::sleep;

use crate::{
    harness::{Network, Recorder, consumer_stats, drain, in_virtual_time, ms, s},
    support::spoken::Command,
};

/// The bodies of each message that a worker has handled.
type Handled = Rc<RefCell<Vec<Vec<String>>>>;

/// Finishes messages and records their bodies, one list per message that it handles.
#[derive(Default)]
struct Worker {
    handled: Handled,
}

impl Actor for Worker {
    type Context = Context<Self>;
}

fn body(message: &IncomingMessage) -> String {
    String::from_utf8(message.body().to_vec()).unwrap()
}

impl Handler<IncomingMessage> for Worker {
    type Result = ();

    fn handle(&mut self, message: IncomingMessage, _: &mut Context<Self>) {
        self.handled.borrow_mut().push(vec![body(&message)]);
        message.finish().unwrap();
    }
}

impl Handler<IncomingMessages> for Worker {
    type Result = ();

    fn handle(&mut self, messages: IncomingMessages, _: &mut Context<Self>) {
        let bodies = messages.iter().map(body).collect();
        self.handled.borrow_mut().push(bodies);
        for message in messages {
            message.finish().unwrap();
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

impl Handler<Stop> for Worker {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

fn worker() -> (Addr<Worker>, Handled) {
    let handled = Rc::default();
    let worker = Worker {
        handled: Rc::clone(&handled),
    };
    (worker.start(), handled)
}

/// consumer contract: 9
#[test]
fn actor_handles_messages_in_order_one_at_a_time() {
    in_virtual_time(async |mut network: Network| {
        let (worker, handled) = worker();
        let recipient = worker.recipient::<IncomingMessage>();
        let _consumer = network.start_consumer_with(|config| config.max_in_flight(10), recipient);
        let mut nsqd = network.subscribed(10).await;
        nsqd.deliver_all(1..=3).await;
        for number in 1..=3 {
            nsqd.expect_fin(number).await;
        }
        assert_eq!(*handled.borrow(), [["1"], ["2"], ["3"]]);
    });
}

/// consumer contract: 9
#[test]
fn actor_handles_the_messages_of_a_read_together() {
    in_virtual_time(async |mut network: Network| {
        let (worker, handled) = worker();
        let recipient = worker.recipient::<IncomingMessages>();
        let _consumer = network.start_consumer_with(|config| config.max_in_flight(10), recipient);
        let mut nsqd = network.subscribed(10).await;
        nsqd.deliver_all(1..=3).await;
        for number in 1..=3 {
            nsqd.expect_fin(number).await;
        }
        assert_eq!(*handled.borrow(), [["1", "2", "3"]]);
    });
}

/// consumer contract: 1
/// checklist: 65
/// fault: C3
#[test]
fn result_or_panic_of_a_closure_answers_the_message() {
    in_virtual_time(async |mut network: Network| {
        let handler = MessageHandler::from_fn(|message: IncomingMessage| {
            let body = body(&message);
            assert_ne!(body, "3", "panics before the future exists");
            async move {
                sleep(ms(10)).await;
                assert_ne!(body, "4", "panics inside the future");
                match body.as_str() {
                    "1" => Ok(()),
                    "2" => Err("failed"),
                    _ => {
                        message.finish().unwrap();
                        Err("answered before")
                    }
                }
            }
        });
        let options = |config: actix_nsq::ConsumerConfigBuilder| {
            config.max_in_flight(10).max_backoff_duration(s(0))
        };
        let consumer = network.start_consumer_with(options, handler);
        let mut nsqd = network.subscribed(10).await;
        nsqd.deliver(1).await;
        nsqd.expect_fin(1).await;
        nsqd.deliver(2).await;
        nsqd.expect_req(2, 90_000).await;
        nsqd.deliver(3).await;
        nsqd.expect_req(3, 90_000).await;
        nsqd.deliver(4).await;
        nsqd.expect_req(4, 90_000).await;
        nsqd.deliver(5).await;
        nsqd.expect_fin(5).await;
        let counters = consumer_stats(&consumer).await.counters;
        assert_eq!((counters.finished, counters.requeued), (2, 3));
        assert_eq!(counters.dropped, 2);
    });
}

/// checklist: 66
/// fault: C3
#[test]
fn closure_that_takes_too_long_is_dropped_and_requeued() {
    in_virtual_time(async |mut network: Network| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&dropped);
        let handler = MessageHandler::from_fn(move |_: IncomingMessage| {
            let guard = DropCounter(Arc::clone(&counter));
            async move {
                let _guard = guard;
                std::future::pending::<Result<(), &str>>().await
            }
        });
        let options = |config: actix_nsq::ConsumerConfigBuilder| {
            config.max_in_flight(10).handler_timeout(s(5))
        };
        let consumer = network.start_consumer_with(options, handler);
        let mut nsqd = network.subscribed(10).await;
        nsqd.deliver(1).await;
        nsqd.expect_silence(ms(4_999)).await;
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        // It is a failure.
        nsqd.expect_ready(0).await;
        nsqd.expect_req(1, 90_000).await;
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        assert_eq!(consumer_stats(&consumer).await.counters.handler_timeouts, 1);
    });
}

/// consumer contract: 11
/// checklist: 66
#[test]
fn closure_that_goes_on_after_its_answer_is_waited_for() {
    in_virtual_time(async |mut network: Network| {
        let ended = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&ended);
        let handler = MessageHandler::from_fn(move |message: IncomingMessage| {
            let counter = Arc::clone(&counter);
            async move {
                message.finish()?;
                sleep(s(1)).await;
                counter.fetch_add(1, Ordering::Relaxed);
                Ok::<_, actix_nsq::AnswerError>(())
            }
        });
        let options =
            |config: actix_nsq::ConsumerConfigBuilder| config.max_in_flight(10).concurrency(2);
        let consumer = network.start_consumer_with(options, handler);
        let mut nsqd = network.subscribed(10).await;
        nsqd.deliver_all(1..=4).await;
        nsqd.expect_fin(1).await;
        nsqd.expect_fin(2).await;
        nsqd.expect_silence(ms(990)).await;
        nsqd.expect_fin(3).await;
        nsqd.expect_fin(4).await;
        consumer.do_send(Drain::new(s(10)));
        nsqd.leave().await;
        nsqd.expect_end().await;
        drain(&consumer, s(10)).await;
        assert_eq!(ended.load(Ordering::Relaxed), 4);
    });
}

struct DropCounter(Arc<AtomicUsize>);

impl Drop for DropCounter {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A slow one does not hold up the others, nor the socket.
/// checklist: 66
#[test]
fn concurrency_limits_the_messages_with_handlers() {
    in_virtual_time(async |mut network: Network| {
        let (handler, mut messages) = MessageHandler::stream();
        let options =
            |config: actix_nsq::ConsumerConfigBuilder| config.max_in_flight(10).concurrency(2);
        let consumer = network.start_consumer_with(options, handler);
        let mut nsqd = network.subscribed(10).await;
        nsqd.deliver_all(1..=4).await;
        let first = messages.next().await.unwrap();
        let second = messages.next().await.unwrap();
        let stats = consumer_stats(&consumer).await;
        assert_eq!((stats.with_handlers, stats.waiting), (2, 2));
        second.finish().unwrap();
        nsqd.expect_fin(2).await;
        let third = messages.next().await.unwrap();
        assert_eq!(body(&third), "3");
        first.finish().unwrap();
        nsqd.expect_fin(1).await;
    });
}

/// consumer contract: 1
/// fault: C3
#[test]
fn messages_of_a_handler_that_is_gone_are_returned() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, messages, mut nsqd) = network.start_consuming().await;
        let (events, recorder) = Recorder::<ConsumerEvent>::start();
        consumer.send(SubscribeEvents(events)).await.unwrap();
        drop(messages);
        nsqd.deliver_all([1, 2]).await;
        nsqd.expect_ready(0).await;
        nsqd.expect_req(1, 0).await;
        nsqd.expect_req(2, 0).await;
        let state = consumer.send(GetState).await.unwrap();
        assert_eq!(state, ConsumerState::HandlerGone);
        let events = recorder.take();
        let is_gone = |event: &ConsumerEvent| matches!(event, ConsumerEvent::HandlerGone);
        assert!(events.iter().any(is_gone), "{events:?}");
        assert_eq!(consumer_stats(&consumer).await.counters.returned, 2);
        // Once more, since the handler does not come back.
        consumer.send(Resume).await.unwrap();
        nsqd.expect_ready(10).await;
        nsqd.deliver_again(1, 2).await;
        nsqd.expect_ready(0).await;
        nsqd.expect_req(1, 0).await;
    });
}

/// consumer contract: 1
/// fault: C3
#[test]
fn messages_in_the_mailbox_of_a_stopped_actor_are_requeued() {
    in_virtual_time(async |mut network: Network| {
        let (worker, _handled) = worker();
        let recipient = worker.clone().recipient::<IncomingMessage>();
        let consumer = network.start_consumer_with(|config| config.max_in_flight(10), recipient);
        let mut nsqd = network.subscribed(10).await;
        worker.send(Stop).await.unwrap();
        nsqd.deliver(1).await;
        assert_eq!(nsqd.next_command().await, Command::Rdy(0));
        nsqd.expect_req(1, 0).await;
        let state = consumer.send(GetState).await.unwrap();
        assert_eq!(state, ConsumerState::HandlerGone);
    });
}

/// consumer contract: 1
/// fault: C3
#[test]
fn messages_in_a_dropped_stream_are_returned_at_once() {
    in_virtual_time(async |mut network: Network| {
        let (_consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver_all([1, 2]).await;
        let running = messages.next().await.unwrap();
        nsqd.deliver(3).await;
        sleep(ms(10)).await;
        drop(messages);
        nsqd.expect_req(2, 0).await;
        nsqd.expect_req(3, 0).await;
        running.finish().unwrap();
        nsqd.expect_fin(1).await;
        // No handler has failed.
        nsqd.expect_silence(s(5)).await;
    });
}
