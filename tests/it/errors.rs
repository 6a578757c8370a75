//! What an error tells, and what neither errors nor messages ever show; what may travel between
//! threads.

use std::error::Error as _;
use std::time::Duration;

use actix::{Addr, MailboxError};
use actix_nsq::{
    ConnectionError, DeferredPublish, Delivery, ErrorKind, MultiPublish, Producer, ProducerConfig,
    Publish, PublishError, producer::Drain, producer::DrainReport, protocol::ErrorCode,
};

use crate::harness::{Network, assert_error, in_virtual_time, ms, publish, s, send, topic};
use crate::support::spoken::{error_frame, ok_frame};

const fn travels<T: Send + Sync + 'static>() {}
const fn is_cloned<T: Clone>() {}

// Checked by the compiler.
const _: () = {
    travels::<Addr<Producer>>();
    travels::<PublishError>();
    travels::<ConnectionError>();
    travels::<ProducerConfig>();
    travels::<Publish>();
    travels::<MultiPublish>();
    travels::<DeferredPublish>();
    travels::<Drain>();
    travels::<DrainReport>();
    is_cloned::<PublishError>();
    is_cloned::<ProducerConfig>();
    is_cloned::<Publish>();
    is_cloned::<MultiPublish>();
    is_cloned::<DeferredPublish>();
    // It travels with every publish.
    assert!(size_of::<Result<(), PublishError>>() <= 8);
};

/// contract: 3
/// fault: A3
#[test]
fn a_closed_mailbox_never_handled_the_message() {
    let error = PublishError::from(MailboxError::Closed);
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Closed, Delivery::NotWritten)
    );
    assert!(!error.is_retryable(), "this producer will take no other");
}

/// contract: 3
#[test]
fn the_callers_own_timeout_leaves_the_message_unknown() {
    let error = PublishError::from(MailboxError::Timeout);
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::MaybeWritten)
    );
    assert!(error.is_retryable());
}

/// contract: 3
#[test]
fn the_callers_own_timeout_tells_the_truth_whether_sent_or_not() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let request = producer.send(Publish::new(topic("t"), "a")).timeout(s(2));
        let answer = async { request.await? };
        let error = assert_error(answer.await, ErrorKind::Timeout, Delivery::MaybeWritten);
        assert!(error.to_string().contains("request's own"), "{error}");
        nsqd.expect_pub("t", "a").await;
        // Its late response answers no other publish.
        let mut next = publish(&producer, "b");
        nsqd.expect_pub("t", "b").await;
        nsqd.send(ok_frame()).await;
        tokio::time::sleep(ms(1)).await;
        assert!(crate::harness::is_pending(&mut next));
        nsqd.send(ok_frame()).await;
        next.await.unwrap();
    });
}

/// contract: 3
#[test]
fn no_message_shows_its_body() {
    let secret = "tops3cret";
    let shown = [
        format!("{:?}", Publish::new(topic("orders"), secret)),
        format!("{:?}", MultiPublish::new(topic("orders"), [secret, secret])),
        format!("{:?}", DeferredPublish::new(topic("orders"), s(1), secret)),
    ];
    for shown in shown {
        assert!(
            shown.contains("orders") && !shown.contains(secret),
            "{shown}"
        );
        assert!(
            !shown.contains(&format!("{:?}", secret.as_bytes())[1..20]),
            "{shown}"
        );
    }
}

/// contract: 3
#[test]
fn no_error_shows_a_body() {
    let secret = "tops3cret".repeat(200);
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_publish_size(secret.len() - 1));
        let too_large = [
            publish(&producer, secret.clone()),
            send(&producer, MultiPublish::new(topic("t"), [secret.clone()])),
            send(
                &producer,
                DeferredPublish::new(topic("t"), s(1), secret.clone()),
            ),
        ];
        for each in too_large {
            let error = assert_error(each.await, ErrorKind::TooLarge, Delivery::NotWritten);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        let publish = publish(&producer, "tops3cret");
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "tops3cret").await;
        drop(nsqd);
        let error = assert_error(
            publish.await,
            ErrorKind::ConnectionLost,
            Delivery::MaybeWritten,
        );
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
    });
}

/// contract: 3
#[test]
fn debug_shows_kind_delivery_and_text() {
    let shown = format!("{:?}", PublishError::from(MailboxError::Closed));
    for part in ["Closed", "NotWritten", "the producer has stopped"] {
        assert!(shown.contains(part), "{shown}");
    }
}

/// contract: 3
#[test]
fn a_refusal_tells_nsqds_code_and_text_and_its_source() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed topic: exiting"))
            .await;
        nsqd.fin().await;
        let kind = ErrorKind::Rejected(ErrorCode::PubFailed);
        let error = assert_error(publish.await, kind, Delivery::NotWritten);
        let refusal = error.server_error().expect("what nsqd said");
        assert_eq!(refusal.code(), ErrorCode::PubFailed);
        assert_eq!(refusal.text(), "E_PUB_FAILED PUB failed topic: exiting");
        assert!(error.to_string().contains(refusal.text()), "{error}");
        assert_eq!(
            error.source().expect("a source").to_string(),
            refusal.text()
        );
        assert!(error.is_retryable());
        assert!(error.connection_error().is_none());
    });
}

/// contract: 3
#[test]
fn a_lost_connection_is_told_with_its_cause_and_source() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.fin().await;
        let error = assert_error(
            publish.await,
            ErrorKind::ConnectionLost,
            Delivery::MaybeWritten,
        );
        assert!(
            matches!(
                error.connection_error(),
                Some(ConnectionError::ClosedByPeer)
            ),
            "{error}"
        );
        assert_eq!(
            error.source().expect("a source").to_string(),
            "closed by the peer"
        );
        assert!(error.is_retryable() && error.server_error().is_none());
        assert_eq!(error.clone().to_string(), error.to_string());
    });
}

/// contract: 3
#[test]
fn a_timeout_while_connected_blames_no_earlier_failure() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_timeout(s(3)).publish_window(1));
        network.dial().await.refuse();
        let mut nsqd = network.connected().await;
        let first = publish(&producer, "first");
        tokio::time::sleep(ms(1)).await;
        let second = send(
            &producer,
            Publish::new(topic("t"), "second").expires_in(s(1)),
        );
        let error = assert_error(second.await, ErrorKind::Timeout, Delivery::NotWritten);
        assert!(error.connection_error().is_none(), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("{:?}", Duration::from_secs(1))),
            "{error}"
        );
        nsqd.expect_pub("t", "first").await;
        nsqd.send(ok_frame()).await;
        first.await.unwrap();
        nsqd.expect_silence(s(1)).await;
    });
}
