//! The errors: kind, delivery, source and text, and that neither errors nor messages show a body.

use std::error::Error as _;

use actix::{Addr, MailboxError};
use actix_nsq::{
    ConfigError, ConnectionConfig, ConnectionError, DeferredPublish, Delivery, ErrorKind,
    ErrorScope, MultiPublish, Producer, ProducerConfig, Publish, PublishError, WaitError,
    producer::{Drain, DrainReport},
    protocol::ErrorCode,
    testing::publish_error_with,
};
use serde_json::json;

use crate::harness::{
    Network, assert_error, in_virtual_time, is_pending, ms, publish, s, send, topic,
};
use crate::support::spoken::{error_frame, ok_frame};

const fn is_send_and_sync<T: Send + Sync + 'static>() {}
const fn is_clone<T: Clone>() {}

// Checked by the compiler.
const _: () = {
    is_send_and_sync::<Addr<Producer>>();
    is_send_and_sync::<PublishError>();
    is_send_and_sync::<ConnectionError>();
    is_send_and_sync::<ConfigError>();
    is_send_and_sync::<WaitError>();
    is_send_and_sync::<ConnectionConfig>();
    is_send_and_sync::<ProducerConfig>();
    is_send_and_sync::<Publish>();
    is_send_and_sync::<MultiPublish>();
    is_send_and_sync::<DeferredPublish>();
    is_send_and_sync::<Drain>();
    is_send_and_sync::<DrainReport>();
    is_clone::<PublishError>();
    is_clone::<ConnectionConfig>();
    is_clone::<ProducerConfig>();
    is_clone::<Publish>();
    is_clone::<MultiPublish>();
    is_clone::<DeferredPublish>();
    // Every publish returns this.
    assert!(size_of::<Result<(), PublishError>>() == size_of::<usize>());
};

/// contract: 3
/// fault: A3
#[test]
fn closed_mailbox_is_not_written_and_timeout_is_ambiguous() {
    let error = PublishError::from(MailboxError::Closed);
    let kind = (error.kind(), error.delivery(), error.is_retryable());
    assert_eq!(kind, (ErrorKind::Closed, Delivery::NotWritten, false));
    let shown = format!("{error:?}");
    for part in ["Closed", "NotWritten", "the producer has stopped"] {
        assert!(shown.contains(part), "{shown}");
    }

    let error = PublishError::from(MailboxError::Timeout);
    let kind = (error.kind(), error.delivery(), error.is_retryable());
    assert_eq!(kind, (ErrorKind::Timeout, Delivery::MaybeWritten, true));
}

#[test]
fn http_status_is_503_only_if_the_request_may_be_repeated() {
    let not_written = Delivery::NotWritten;
    let maybe = Delivery::MaybeWritten;
    for (kind, delivery, status) in [
        (ErrorKind::InvalidName, not_written, 400),
        (ErrorKind::EmptyBody, not_written, 400),
        (ErrorKind::EmptyBatch, not_written, 400),
        (ErrorKind::DelayTooLong, not_written, 400),
        (ErrorKind::Serialize, not_written, 400),
        (ErrorKind::TooLarge, not_written, 413),
        (ErrorKind::Full, not_written, 503),
        (ErrorKind::Timeout, not_written, 503),
        (ErrorKind::Timeout, maybe, 504),
        (ErrorKind::NotConnected, not_written, 503),
        (ErrorKind::ConnectionLost, maybe, 502),
        (ErrorKind::Drained, not_written, 503),
        (ErrorKind::Drained, maybe, 502),
        (ErrorKind::Closed, not_written, 503),
        (ErrorKind::Rejected(ErrorCode::PubFailed), not_written, 503),
        (
            ErrorKind::Rejected(ErrorCode::Unauthorized),
            not_written,
            500,
        ),
        (ErrorKind::Rejected(ErrorCode::BadTopic), not_written, 500),
        (
            ErrorKind::Rejected(ErrorCode::MpubFailed),
            Delivery::MaybePartial,
            502,
        ),
    ] {
        let error = publish_error_with(kind, delivery);
        assert_eq!(error.http_status(), status, "{kind} {delivery}");
    }
}

/// contract: 3
#[test]
fn wait_error_becomes_a_publish_error_that_is_not_written() {
    let timeout = WaitError::Timeout {
        after: s(1),
        last: Some(ConnectionError::HandshakeClosed),
    };
    for (error, kind) in [
        (timeout, ErrorKind::Timeout),
        (WaitError::Drained, ErrorKind::Drained),
        (MailboxError::Closed.into(), ErrorKind::Closed),
        (MailboxError::Timeout.into(), ErrorKind::Timeout),
    ] {
        let has_last = error.source().is_some();
        let error = PublishError::from(error);
        assert_eq!(
            (error.kind(), error.delivery()),
            (kind, Delivery::NotWritten)
        );
        assert_eq!(error.connection_error().is_some(), has_last);
    }
}

/// contract: 3
#[test]
fn request_timeout_is_ambiguous_and_late_response_is_discarded() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let request = producer.send(Publish::new(topic("t"), "a")).timeout(s(2));
        let answer = async { request.await? };
        let error = assert_error(answer.await, ErrorKind::Timeout, Delivery::MaybeWritten);
        assert!(error.to_string().contains("request's own"), "{error}");
        nsqd.expect_pub("t", "a").await;
        let mut next = publish(&producer, "b");
        nsqd.expect_pub("t", "b").await;
        nsqd.send(ok_frame()).await;
        tokio::time::sleep(ms(1)).await;
        assert!(is_pending(&mut next));
        nsqd.send(ok_frame()).await;
        next.await.unwrap();
    });
}

/// contract: 3
#[test]
fn debug_of_a_message_does_not_show_its_body() {
    let body = "tops3cret";
    let bytes = format!("{:?}", body.as_bytes());
    for shown in [
        format!("{:?}", Publish::new(topic("orders"), body)),
        format!("{:?}", MultiPublish::new(topic("orders"), [body, body])),
        format!("{:?}", DeferredPublish::new(topic("orders"), s(1), body)),
    ] {
        assert!(shown.contains("orders"), "{shown}");
        assert!(!shown.contains(body), "{shown}");
        assert!(!shown.contains(&bytes[1..20]), "{shown}");
    }
}

/// contract: 3
#[test]
fn error_does_not_show_the_body() {
    let body = "tops3cret".repeat(200);
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_publish_size(body.len() - 1));
        let mut errors = Vec::new();
        for answer in [
            publish(&producer, body.clone()),
            send(&producer, MultiPublish::new(topic("t"), [body.clone()])),
            send(
                &producer,
                DeferredPublish::new(topic("t"), s(1), body.clone()),
            ),
        ] {
            let kind = ErrorKind::TooLarge;
            errors.push(assert_error(answer.await, kind, Delivery::NotWritten));
        }
        let publish = publish(&producer, "tops3cret");
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "tops3cret").await;
        drop(nsqd);
        let kind = ErrorKind::ConnectionLost;
        errors.push(assert_error(publish.await, kind, Delivery::MaybeWritten));
        for error in errors {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    });
}

/// contract: 3
#[test]
fn rejected_publish_has_the_code_and_text_of_nsqd() {
    in_virtual_time(async |mut network: Network| {
        let text = "E_PUB_FAILED PUB failed topic: exiting";
        let producer = network.start();
        let publish = publish(&producer, "a");
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(error_frame(text)).await;
        nsqd.fin().await;
        let kind = ErrorKind::Rejected(ErrorCode::PubFailed);
        let error = assert_error(publish.await, kind, Delivery::NotWritten);
        let server_error = error.server_error().expect("the error of nsqd");
        assert_eq!(server_error.code(), ErrorCode::PubFailed);
        assert_eq!(server_error.text(), text);
        assert_eq!(error.to_string(), format!("rejected by nsqd: {text}"));
        assert_eq!(error.source().expect("a source").to_string(), text);
        assert!(error.is_retryable());
        assert!(error.connection_error().is_none());
    });
}

/// contract: 3
#[test]
fn lost_connection_is_the_source_of_the_publish_error() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.fin().await;
        let kind = ErrorKind::ConnectionLost;
        let error = assert_error(publish.await, kind, Delivery::MaybeWritten);
        let reason = error.connection_error();
        assert!(
            matches!(reason, Some(ConnectionError::ClosedByPeer)),
            "{error}"
        );
        let source = error.source().expect("a source");
        assert_eq!(source.to_string(), "closed by the peer");
        assert!(error.is_retryable() && error.server_error().is_none());
        assert_eq!(error.clone().to_string(), error.to_string());
    });
}

/// contract: 3
#[test]
fn timeout_while_connected_has_no_connection_error() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_timeout(s(3)).publish_window(1));
        network.dial().await.refuse();
        let mut nsqd = network.connected().await;
        let first = publish(&producer, "first");
        tokio::time::sleep(ms(1)).await;
        let second = Publish::new(topic("t"), "second").expires_in(s(1));
        let second = send(&producer, second).await;
        let error = assert_error(second, ErrorKind::Timeout, Delivery::NotWritten);
        assert_eq!(error.to_string(), "not sent within 1s");
        assert!(error.connection_error().is_none());
        nsqd.expect_pub("t", "first").await;
        nsqd.send(ok_frame()).await;
        first.await.unwrap();
        nsqd.expect_silence(s(1)).await;
    });
}

#[test]
fn classifications_serialize_as_their_display_text() {
    let serialized = [
        json!(Delivery::MaybePartial),
        json!(ErrorKind::ConnectionLost),
        json!(ErrorKind::Rejected(ErrorCode::BadTopic)),
        json!(ErrorScope::Message),
        json!(ConnectionError::ClosedByPeer),
    ];
    let displayed = [
        Delivery::MaybePartial.to_string(),
        ErrorKind::ConnectionLost.to_string(),
        ErrorKind::Rejected(ErrorCode::BadTopic).to_string(),
        ErrorScope::Message.to_string(),
        ConnectionError::ClosedByPeer.to_string(),
    ];
    let texts = [
        "maybe_partial",
        "connection_lost",
        "E_BAD_TOPIC",
        "message",
        "closed by the peer",
    ];
    assert_eq!(
        serialized.map(|text| text.as_str().map(str::to_owned)),
        displayed.clone().map(Some)
    );
    assert_eq!(displayed, texts);
}
