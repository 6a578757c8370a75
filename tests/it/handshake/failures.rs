//! Handshakes that fail: the reason is reported, and queued publishes wait for the next attempt.

use std::io;

use actix_nsq::{
    ConnectionError,
    protocol::{DecodeError, ErrorCode},
};
use tokio::{task::spawn_local, time::sleep};

use crate::harness::{
    Network, Peer, in_virtual_time, ms, never_sent, publish, publish_within, s, timed,
};
use crate::support::spoken::{
    error_frame, frame, heartbeat_frame, identify_answer, response_frame,
};

/// The error of a producer whose every handshake is answered like this after IDENTIFY.
fn error_of(peer: impl AsyncFn(&mut Peer) + 'static) -> ConnectionError {
    let mut reason = None;
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let answer = publish(&producer, "a");
        spawn_local(async move {
            while let Some(dial) = network.next_dial().await {
                let mut nsqd = dial.accept();
                nsqd.identify().await;
                peer(&mut nsqd).await;
                let received = nsqd.wait_closed().await;
                assert!(
                    !received.starts_with(b"PUB"),
                    "published without a handshake"
                );
            }
        });
        let (after, error) = timed(never_sent(answer)).await;
        assert_eq!(after, s(30), "publish_timeout");
        assert!(error.is_retryable());
        reason = error.connection_error().cloned();
        let text = reason.as_ref().expect("a connection error").to_string();
        assert!(error.to_string().contains(&text), "{error}");
    });
    reason.expect("a connection error")
}

/// The error after a response to IDENTIFY.
fn error_after(response: impl Into<Vec<u8>>) -> ConnectionError {
    let response = response.into();
    error_of(async move |nsqd| nsqd.send(&response).await)
}

/// contract: 12
/// fault: P5
/// checklist: 6
#[test]
fn handshake_without_a_response_ends_at_handshake_timeout() {
    let silence = async |_: &mut Peer| ();
    let slow_response = async |nsqd: &mut Peer| {
        for byte in &identify_answer()[..50] {
            nsqd.send([*byte]).await;
            sleep(ms(99)).await;
        }
    };
    let heartbeats = async |nsqd: &mut Peer| {
        for _ in 0..5 {
            nsqd.send(heartbeat_frame()).await;
            nsqd.expect_nop().await;
            sleep(ms(999)).await;
        }
    };
    assert_handshake_timeout(silence);
    assert_handshake_timeout(slow_response);
    assert_handshake_timeout(heartbeats);
}

fn assert_handshake_timeout(peer: impl AsyncFn(&mut Peer) + 'static) {
    let error = error_of(async move |nsqd| {
        let (after, ()) = timed(async {
            peer(nsqd).await;
            nsqd.wait_closed().await;
        })
        .await;
        assert_eq!(after, s(5));
    });
    let expected = matches!(error, ConnectionError::HandshakeTimeout { after } if after == s(5));
    assert!(expected, "{error}");
}

/// contract: 12
/// fault: P5
/// checklist: 6
#[test]
fn server_that_does_not_read_is_left_after_handshake_timeout() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let (_nsqd, stream) = network.dial().await.accept_over(16);
        let began = network.elapsed();
        network.dial().await.refuse();
        assert!(network.elapsed() - began >= s(5));
        assert_eq!(network.open_connections(), 0);
        assert_ne!(stream.writes(), 0);
    });
}

/// contract: 12
/// fault: P6
#[test]
fn eof_during_the_handshake_is_reported() {
    let response = identify_answer();
    for length in [0, 2, 4, 6, 8, response.len() - 1] {
        let part = response[..length].to_vec();
        let error = error_of(async move |nsqd| {
            nsqd.send(&part).await;
            nsqd.fin().await;
        });
        assert!(matches!(error, ConnectionError::HandshakeClosed), "{error}");
    }
}

/// contract: 12
/// fault: P6
/// checklist: 15
#[test]
fn error_response_to_identify_is_reported_with_its_text() {
    let text = "E_BAD_BODY IDENTIFY heartbeat interval (1) is invalid";
    let error = error_after(error_frame(text));
    assert!(
        error.to_string().contains("interval (1) is invalid"),
        "{error}"
    );
    let ConnectionError::HandshakeRejected(response) = error else {
        panic!("{error}");
    };
    assert_eq!(response.code(), ErrorCode::BadBody);
}

/// contract: 12
/// fault: P6
/// checklist: 3, 14, 15
#[test]
fn invalid_response_to_identify_is_reported_without_its_text() {
    let message = [&[0; 10][..], b"0123456789abcdef", b"private"].concat();
    for response in [
        response_frame(""),
        response_frame("private"),
        response_frame("{\"max_rdy_count\":"),
        response_frame("[]"),
        response_frame("\u{ffff}{}"),
        response_frame("{\"version\":[\"private\"]}"),
        response_frame("{\"max_rdy_count\":\"private\"}"),
        frame(2, &message),
    ] {
        let error = error_after(response);
        let expected = matches!(error, ConnectionError::HandshakeResponse { .. });
        assert!(expected, "{error}");
        assert!(!error.to_string().contains("private"), "{error}");
    }
    let error = error_after("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n");
    assert!(matches!(error, ConnectionError::HttpServer), "{error}");
    let text = error.to_string();
    assert!(text.contains("HTTP") && text.contains("4150"), "{text}");
    // nsqlookupd's response has a length, but no frame type.
    let error = error_after("\0\0\0\x0eE_BAD_PROTOCOL");
    let expected = matches!(error, ConnectionError::NsqlookupdServer);
    assert!(expected, "{error}");
    let error = error_after(error_frame(""));
    let text = "nsqd rejected the handshake: error response without a text";
    assert_eq!(error.to_string(), text);
    let error = error_after(response_frame(r#"{"auth_required":true}"#));
    assert!(
        matches!(error, ConnectionError::AuthSecretMissing),
        "{error}"
    );
}

/// contract: 8
/// fault: P6
#[test]
fn error_response_is_read_after_a_failed_write() {
    for (response, text) in [
        (
            error_frame("E_INVALID x"),
            "rejected the handshake: E_INVALID x",
        ),
        (
            b"\0\0\0\x0eE_BAD_PROTOCOL".to_vec(),
            "an nsqlookupd answered",
        ),
        (
            b"HTTP/1.1 400 Bad Request".to_vec(),
            "an HTTP server answered",
        ),
    ] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let answer = publish_within(&producer, s(1), "a");
            let (mut nsqd, stream) = network.dial().await.accept_over(1000);
            stream.break_writes(io::ErrorKind::BrokenPipe);
            nsqd.send(response).await;
            let error = never_sent(answer).await.to_string();
            assert!(error.contains(text), "{error}");
        });
    }
}

/// contract: 12
/// fault: P16
/// checklist: 13
#[test]
fn malformed_frame_ends_the_handshake() {
    let too_large: u32 = (1 << 20) + 64 + 1;
    for size in [too_large, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0, 1, 3] {
        let error = error_after(size.to_be_bytes());
        let expected = match &error {
            ConnectionError::Protocol(DecodeError::TooLarge { .. }) => {
                size == too_large || size == 0x7fff_ffff
            }
            ConnectionError::Protocol(DecodeError::Negative { .. }) => size >= 0x8000_0000,
            ConnectionError::Protocol(DecodeError::TooShort { .. }) => size < 4,
            _ => false,
        };
        assert!(expected, "size {size}: {error}");
    }
    let error = error_after(frame(3, b"OK"));
    let unknown = DecodeError::UnknownFrameType { frame_type: 3 };
    let expected = matches!(&error, ConnectionError::Protocol(error) if *error == unknown);
    assert!(expected, "{error}");
}

/// contract: 12
/// fault: P1
#[test]
fn refused_dial_is_reported_with_the_address() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let answer = publish(&producer, "a");
        spawn_local(async move { while network.next_dial().await.is_some() {} });
        let (after, error) = timed(never_sent(answer)).await;
        assert_eq!(after, s(30));
        let reason = error.connection_error();
        assert!(
            matches!(reason, Some(ConnectionError::Dial { .. })),
            "{error}"
        );
        assert!(error.to_string().contains("nsqd in memory"), "{error}");
    });
}

/// contract: 12
/// fault: P4
/// checklist: 5
#[test]
fn hanging_dial_ends_at_dial_timeout_and_is_repeated() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(ms(1234)));
        let answer = publish(&producer, "a");
        spawn_local(async move {
            while let Some(dial) = network.next_dial().await {
                let (after, ()) = timed(dial.hang()).await;
                assert!(after <= ms(1234));
            }
        });
        let error = never_sent(answer).await;
        let Some(ConnectionError::DialTimeout { after, .. }) = error.connection_error() else {
            panic!("{error}");
        };
        assert_eq!(*after, ms(1234));
    });
}
