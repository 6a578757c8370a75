//! The graceful end: what is returned, what is waited for, and what is proven.

use actix::Addr;
use actix_nsq::{
    AddNsqdError, AnswerError, Consumer, ConsumerConfigBuilder, ConsumerState, IncomingMessage,
    MessageHandler,
    consumer::{AddNsqd, Drain, DrainReport, GetState, WaitSubscribed},
};
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    harness::{Network, block, drain, in_virtual_time, ms, s},
    support::spoken::{Command, close_wait_frame, error_frame, message_id},
};

/// Sends a drain and does not wait for it.
fn draining(consumer: &Addr<Consumer>, timeout: std::time::Duration) -> JoinHandle<DrainReport> {
    let request = consumer.send(Drain { timeout });
    tokio::task::spawn_local(async move { request.await.unwrap() })
}

fn counts(report: DrainReport) -> [u64; 4] {
    [
        report.finished,
        report.requeued,
        report.returned,
        report.not_confirmed,
    ]
}

/// consumer contract: 11
/// checklist: 109
/// fault: C11, G13
#[test]
fn drain_returns_what_waits_and_waits_for_handlers() {
    in_virtual_time(async |mut network: Network| {
        let (handler, mut messages) = MessageHandler::stream();
        let options = |config: ConsumerConfigBuilder| config.max_in_flight(10).concurrency(2);
        let consumer = network.start_consumer_with(options, handler);
        let mut nsqd = network.subscribed(10).await;
        nsqd.deliver_all(1..=4).await;
        let (first, second) = (messages.next().await, messages.next().await);
        let report = draining(&consumer, s(10));
        nsqd.leave_with_returned(&[3, 4]).await;
        // One that was on its way.
        nsqd.deliver(5).await;
        nsqd.expect_req(5, 0).await;
        sleep(s(5)).await;
        first.unwrap().finish().unwrap();
        nsqd.expect_fin(1).await;
        let state = consumer.send(GetState).await.unwrap();
        assert_eq!(state, ConsumerState::Draining);
        drop(second);
        nsqd.expect_req(2, 90_000).await;
        nsqd.expect_end().await;
        let report = report.await.unwrap();
        assert_eq!(counts(report), [1, 1, 3, 0]);
        assert!(report.is_clean());
        assert!(messages.next().await.is_none());
        // Nothing is left, and it stays so.
        assert_eq!(network.open_connections(), 0);
        assert_eq!(drain(&consumer, s(1)).await, report);
        let state = consumer.send(GetState).await.unwrap();
        assert_eq!(state, ConsumerState::Drained);
        network.expect_no_timer_for_an_hour().await;
    });
}

/// nsqd has taken the message back, and delivers it again.
/// consumer contract: 11, 12
#[test]
fn answer_rejected_during_a_drain_is_in_its_report() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver_all([1, 2]).await;
        let (first, second) = (messages.next().await, messages.next().await);
        let report = draining(&consumer, s(10));
        nsqd.leave().await;
        first.unwrap().finish().unwrap();
        second.unwrap().finish().unwrap();
        nsqd.expect_fin(1).await;
        nsqd.expect_fin(2).await;
        let text = format!("E_FIN_FAILED FIN {} failed ID not in flight", message_id(2));
        nsqd.send(error_frame(&text)).await;
        nsqd.expect_end().await;
        let report = report.await.unwrap();
        assert_eq!(counts(report), [2, 0, 0, 0]);
        assert_eq!(report.rejected, 1);
        assert!(!report.is_clean(), "{report}");
    });
}

/// consumer contract: 11
/// checklist: 110
/// fault: C11, G13
#[test]
fn drain_returns_messages_of_handlers_at_the_deadline() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver_all([1, 2]).await;
        let (stuck, done) = (messages.next().await, messages.next().await);
        let report = draining(&consumer, s(10));
        nsqd.leave().await;
        done.unwrap().finish().unwrap();
        nsqd.expect_fin(2).await;
        nsqd.expect_silence(ms(9_900)).await;
        nsqd.expect_req(1, 0).await;
        // Before nsqd has confirmed it, too.
        let stuck = stuck.unwrap().finish();
        assert_eq!(stuck, Err(AnswerError::ConnectionLost));
        nsqd.expect_end().await;
        assert_eq!(counts(report.await.unwrap()), [1, 0, 1, 0]);
    });
}

/// consumer contract: 11
/// fault: C11
#[test]
fn drain_that_nsqd_does_not_confirm_says_so() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver(1).await;
        let message = messages.next().await.unwrap();
        let report = draining(&consumer, s(10));
        nsqd.leave().await;
        message.finish().unwrap();
        nsqd.expect_fin(1).await;
        // nsqd does not close its side: it may not have executed the FIN.
        assert_eq!(nsqd.wait_closed().await, b"");
        let report = report.await.unwrap();
        assert_eq!(counts(report), [1, 0, 0, 1]);
        assert!(!report.is_clean());
        assert_eq!(network.open_connections(), 0);
    });
}

/// consumer contract: 11
#[test]
fn connection_lost_during_a_drain_is_reported() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver_all([1, 2]).await;
        let (first, second) = (messages.next().await, messages.next().await);
        let report = draining(&consumer, s(10));
        nsqd.leave().await;
        first.unwrap().finish().unwrap();
        nsqd.expect_fin(1).await;
        drop(nsqd);
        sleep(s(1)).await;
        assert!(second.unwrap().finish().is_err());
        assert_eq!(counts(report.await.unwrap()), [1, 0, 0, 2]);
    });
}

/// consumer contract: 11
/// checklist: 111
/// fault: G13
#[test]
fn drain_ends_in_every_state_of_the_connection() {
    // While it dials.
    in_virtual_time(async |mut network: Network| {
        let (handler, _messages) = MessageHandler::stream();
        let consumer = network.start_consumer_with(|config| config, handler);
        let dial = network.dial().await;
        assert!(drain(&consumer, s(10)).await.is_clean());
        dial.hang().await;
        network.expect_no_timer_for_an_hour().await;
    });
    // During the handshake.
    in_virtual_time(async |mut network: Network| {
        let (handler, _messages) = MessageHandler::stream();
        let consumer = network.start_consumer_with(|config| config, handler);
        let mut nsqd = network.accept().await;
        nsqd.identify().await;
        assert!(drain(&consumer, s(10)).await.is_clean());
        nsqd.wait_closed().await;
    });
    // Before nsqd has confirmed the subscription.
    in_virtual_time(async |mut network: Network| {
        let (handler, _messages) = MessageHandler::stream();
        let consumer = network.start_consumer_with(|config| config, handler);
        let mut nsqd = network.connected().await;
        nsqd.expect_sub().await;
        let report = draining(&consumer, s(10));
        nsqd.expect_end().await;
        assert!(report.await.unwrap().is_clean());
    });
    // Before it connects again.
    in_virtual_time(async |mut network: Network| {
        let (handler, _messages) = MessageHandler::stream();
        let consumer = network.start_consumer_with(|config| config, handler);
        network.dial().await.refuse();
        sleep(ms(1)).await;
        assert!(drain(&consumer, s(10)).await.is_clean());
        network.expect_no_dial(s(600)).await;
    });
    // Without an nsqd.
    in_virtual_time(async |network: Network| {
        let (handler, _messages) = MessageHandler::stream();
        let none: [&str; 0] = [];
        let consumer = network.start_consumer_with(|config| config.addresses(none), handler);
        assert!(drain(&consumer, s(10)).await.is_clean());
        let waited = consumer.send(WaitSubscribed::new(s(1))).await.unwrap();
        assert!(waited.is_err());
    });
}

/// consumer contract: 11
/// checklist: 109
#[test]
fn drain_returns_what_was_not_taken_from_the_stream() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver_all(1..=3).await;
        let taken = messages.next().await.unwrap();
        let report = draining(&consumer, s(100));
        nsqd.leave_with_returned(&[2, 3]).await;
        taken.finish().unwrap();
        nsqd.expect_fin(1).await;
        nsqd.expect_end().await;
        assert_eq!(counts(report.await.unwrap()), [1, 0, 2, 0]);
        assert!(messages.next().await.is_none());
    });
}

/// consumer contract: 11
/// checklist: 111
#[test]
fn second_drain_shortens_the_first_and_has_its_report() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver(1).await;
        let _stuck = messages.next().await.unwrap();
        let first = draining(&consumer, s(100));
        nsqd.leave().await;
        let second = draining(&consumer, s(1));
        nsqd.expect_silence(ms(900)).await;
        nsqd.expect_req(1, 0).await;
        nsqd.expect_end().await;
        let report = first.await.unwrap();
        assert_eq!(counts(report), [0, 0, 1, 0]);
        assert_eq!(second.await.unwrap(), report);
        let added = consumer.send(AddNsqd("late".to_owned())).await.unwrap();
        assert!(matches!(added, Err(AddNsqdError::Drained)), "{added:?}");
    });
}

/// consumer contract: 11
/// checklist: 111
#[test]
fn handler_can_begin_a_drain() {
    in_virtual_time(async |mut network: Network| {
        let (address, started) = tokio::sync::oneshot::channel::<Addr<Consumer>>();
        let mut started = Some(started);
        let handler = MessageHandler::from_fn(move |_: IncomingMessage| {
            let started = started.take().unwrap();
            async move {
                let consumer = started.await.map_err(|error| error.to_string())?;
                consumer.do_send(Drain::new(s(10)));
                Ok::<_, String>(())
            }
        });
        let consumer = network.start_consumer_with(|config| config, handler);
        let mut nsqd = network.subscribed(1).await;
        address.send(consumer.clone()).unwrap();
        nsqd.deliver(1).await;
        nsqd.leave().await;
        nsqd.expect_fin(1).await;
        nsqd.expect_end().await;
        assert_eq!(counts(drain(&consumer, s(10)).await), [1, 0, 0, 0]);
    });
}

/// consumer contract: 11
/// checklist: 112
#[test]
fn consumer_without_addresses_drains_itself() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver(1).await;
        let message = messages.next().await.unwrap();
        drop(consumer);
        nsqd.leave().await;
        sleep(s(5)).await;
        message.finish().unwrap();
        nsqd.expect_fin(1).await;
        nsqd.expect_end().await;
        assert!(messages.next().await.is_none());
        assert!(network.next_dial().await.is_none());
        assert_eq!(network.open_connections(), 0);
    });
}

/// consumer contract: 11
#[test]
fn drain_of_a_blocked_arbiter_returns_what_has_arrived() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, _messages, mut nsqd) = network.start_consuming().await;
        let report = draining(&consumer, s(10));
        nsqd.leave().await;
        sleep(ms(5)).await;
        // The consumer runs before its reader.
        consumer.do_send(GetState);
        nsqd.deliver(1).await;
        block(s(1));
        nsqd.expect_req(1, 0).await;
        nsqd.expect_end().await;
        assert_eq!(counts(report.await.unwrap()), [0, 0, 1, 0]);
    });
}

/// consumer contract: 11
#[test]
fn drain_without_time_for_handlers_returns_all_messages() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver(1).await;
        let _stuck = messages.next().await.unwrap();
        let report = draining(&consumer, s(0));
        nsqd.expect_command(Command::Cls).await;
        nsqd.expect_req(1, 0).await;
        // nsqd sent it before it read CLS.
        nsqd.deliver(2).await;
        nsqd.expect_req(2, 0).await;
        nsqd.send(close_wait_frame()).await;
        nsqd.expect_end().await;
        assert_eq!(counts(report.await.unwrap()), [0, 0, 2, 0]);
    });
}

/// consumer contract: 11
#[test]
fn drain_ends_although_nsqd_does_not_confirm_cls() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, _messages, mut nsqd) = network.start_consuming().await;
        let report = draining(&consumer, s(0));
        nsqd.expect_command(Command::Cls).await;
        nsqd.expect_silence(ms(990)).await;
        nsqd.expect_end().await;
        assert!(report.await.unwrap().is_clean());
    });
}
