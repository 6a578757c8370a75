//! What nsqd rejects, and peers that do not behave like nsqd.

use actix_nsq::{
    ConnectionError, ConnectionEvent, ConsumerConfigBuilder, ConsumerEvent, MessageHandler,
    SubscribeEvents, WaitError, consumer::WaitSubscribed, protocol::ErrorCode,
};

use crate::{
    harness::{Network, Recorder, consumer_stats, in_virtual_time, ms, s},
    support::spoken::{error_frame, message_id, ok_frame, response_frame},
};

/// The delays before the next attempts do not become short again.
/// consumer contract: 12
/// checklist: 51
#[test]
fn rejected_subscription_is_reported_and_retried_with_backoff() {
    in_virtual_time(async |mut network: Network| {
        let (handler, _messages) = MessageHandler::stream();
        let options = |config: ConsumerConfigBuilder| {
            let backoff = config.reconnect_backoff(s(1));
            backoff.max_reconnect_backoff(s(60)).dial_timeout(s(300))
        };
        let consumer = network.start_consumer_with(options, handler);
        let (events, recorder) = Recorder::<ConnectionEvent>::start();
        consumer.send(SubscribeEvents(events)).await.unwrap();
        let subscribed = consumer.send(WaitSubscribed::new(s(100)));
        let waiting = actix_rt::spawn(subscribed);
        for _ in 0..5 {
            let mut nsqd = network.connected().await;
            nsqd.expect_sub().await;
            nsqd.reject("E_SUB_FAILED SUB failed exceeds limit of 1")
                .await;
        }
        network.peek_dial().await;
        let waited = waiting.await.unwrap().unwrap();
        match waited {
            Err(WaitError::Timeout {
                last: Some(ConnectionError::Rejected(error)),
                ..
            }) => assert_eq!(error.code(), ErrorCode::SubFailed),
            other => panic!("{other:?}"),
        }
        let events = recorder.take();
        let longest = events.iter().filter_map(|event| match event {
            ConnectionEvent::BackingOff { failures, .. } => Some(*failures),
            _ => None,
        });
        assert_eq!(longest.max(), Some(5), "{events:?}");
    });
}

/// consumer contract: 12
#[test]
fn subscription_without_a_response_is_retried() {
    in_virtual_time(async |mut network: Network| {
        let (handler, _messages) = MessageHandler::stream();
        let options = |config: ConsumerConfigBuilder| config.handshake_timeout(s(5));
        let _consumer = network.start_consumer_with(options, handler);
        let mut nsqd = network.connected().await;
        nsqd.expect_sub().await;
        nsqd.expect_silence(ms(4_999)).await;
        nsqd.wait_closed().await;
        drop(nsqd);
        network.subscribed(1).await;
    });
}

/// consumer contract: 12
/// checklist: 63, 106
/// fault: G11
#[test]
fn rejected_answer_is_reported_and_the_connection_lives() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        let (events, recorder) = Recorder::<ConsumerEvent>::start();
        consumer.send(SubscribeEvents(events)).await.unwrap();
        nsqd.deliver(1).await;
        messages.next().await.unwrap().finish().unwrap();
        nsqd.expect_fin(1).await;
        let id = message_id(1);
        nsqd.send(error_frame(&format!(
            "E_FIN_FAILED FIN {id} failed ID not in flight"
        )))
        .await;
        nsqd.deliver(2).await;
        messages.next().await.unwrap().finish().unwrap();
        nsqd.expect_fin(2).await;
        assert_eq!(consumer_stats(&consumer).await.counters.answers_failed, 1);
        let events = recorder.take();
        let failed = events.iter().find_map(|event| match event {
            ConsumerEvent::AnswerFailed { address, error, .. } => Some((address, error)),
            _ => None,
        });
        let (address, error) = failed.unwrap();
        assert_eq!(&**address, "nsqd in memory");
        assert_eq!(error.code(), ErrorCode::FinFailed);
        assert!(error.text().contains(&id));
    });
}

/// consumer contract: 10, 12
/// fault: C4
#[test]
fn peer_that_violates_the_protocol_is_disconnected() {
    let messages: Vec<u8> = (1..=21).flat_map(first_delivery).collect();
    for (sent, text) in [
        (ok_frame(), "unexpected response: OK"),
        (
            response_frame("CLOSE_WAIT"),
            "unexpected response: CLOSE_WAIT",
        ),
        (response_frame("{}"), "unexpected response"),
        (
            error_frame("E_INVALID RDY count 2501 out of range 0-2500"),
            "closed by nsqd after it rejected a command: E_INVALID",
        ),
        (messages, "more than 20 messages, twice max_in_flight"),
        (b"\xff\xff\xff\xff\0\0\0\x02".to_vec(), "protocol violation"),
    ] {
        in_virtual_time(async |mut network: Network| {
            let (consumer, _messages, mut nsqd) = network.start_consuming().await;
            nsqd.send(&sent).await;
            nsqd.wait_closed().await;
            drop(nsqd);
            let _dial = network.dial().await;
            let stats = consumer_stats(&consumer).await;
            let error = stats.nsqds[0].last_error.as_ref().unwrap().to_string();
            assert!(error.contains(text), "{error} instead of {text}");
            // Each message has one outcome, or a handler still has it.
            let of = &stats.counters;
            let written = of.finished + of.requeued + of.returned;
            let outcomes = written + of.unwritten + of.expired + of.timed_out;
            let held = stats.waiting + stats.with_handlers;
            assert_eq!(outcomes + held as u64, of.received, "{stats:?}");
        });
    }
}

/// consumer contract: 10
#[test]
fn messages_of_lost_connections_count_towards_the_limit() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, _messages, mut nsqd) = network.start_consuming().await;
        nsqd.deliver_all(1..=20).await;
        nsqd.fin().await;
        nsqd.wait_closed().await;
        drop(nsqd);
        // There is no capacity for another message, and no RDY.
        let mut nsqd = network.connected().await;
        nsqd.expect_sub().await;
        nsqd.send_ok().await;
        nsqd.deliver(21).await;
        nsqd.wait_closed().await;
        drop(nsqd);
        let _dial = network.dial().await;
        let stats = consumer_stats(&consumer).await;
        let error = stats.nsqds[0].last_error.as_ref().unwrap().to_string();
        assert!(error.contains("more than 20 messages"), "{error}");
        // What it has sent against the protocol is not kept.
        assert_eq!(stats.waiting + stats.with_handlers, 20);
    });
}

fn first_delivery(number: u64) -> Vec<u8> {
    crate::support::spoken::message_frame(number, 1, "body")
}

/// consumer contract: 12
#[test]
fn message_before_the_subscription_closes_the_connection() {
    in_virtual_time(async |mut network: Network| {
        let (handler, _messages) = MessageHandler::stream();
        let _consumer = network.start_consumer_with(|config| config, handler);
        let mut nsqd = network.connected().await;
        nsqd.expect_sub().await;
        nsqd.deliver(1).await;
        nsqd.wait_closed().await;
    });
}
