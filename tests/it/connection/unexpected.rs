//! A peer that sends what nsqd never sends: the connection is closed, and no publish is completed
//! by mistake.

use actix_nsq::{ConnectionError, protocol::DecodeError};

use crate::harness::{Network, in_virtual_time, lost, publish, publish_each, s};
use crate::support::spoken::{
    close_wait_frame, error_frame, frame, identify_answer, ok_frame, response_frame,
};

/// Two publishes are in flight, and nsqd sends an OK and then these bytes. The first publish is
/// stored, the second is ambiguous, and a third goes over a new connection.
#[track_caller]
fn error_after_ok(bytes: impl AsRef<[u8]>) -> ConnectionError {
    let mut error = None;
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let [first, second] = publish_each(&producer, ["1", "2"]);
        let mut nsqd = network.connected().await;
        nsqd.expect_pubs(&["1", "2"]).await;
        // Later bytes are ignored.
        nsqd.send([&ok_frame(), bytes.as_ref()].concat()).await;
        nsqd.send_oks(3).await;
        first.await.unwrap();
        error = Some(lost(second).await);
        nsqd.wait_closed().await;
        let third = publish(&producer, "3");
        let mut nsqd = network.connected().await;
        nsqd.confirm("3").await;
        third.await.unwrap();
    });
    error.expect("a lost connection")
}

/// contract: 2, 12
/// fault: P17
/// checklist: 15
#[test]
fn unexpected_response_closes_the_connection() {
    let message = [&[0; 10][..], b"0123456789abcdef", b"private"].concat();
    for bytes in [
        response_frame("YES"),
        response_frame("ok"),
        response_frame(""),
        response_frame("x".repeat(1 << 20)),
        identify_answer(),
        close_wait_frame(),
        frame(2, &message),
        error_frame("E_FIN_FAILED FIN 0123456789abcdef failed"),
    ] {
        let error = error_after_ok(bytes);
        let expected = matches!(error, ConnectionError::UnexpectedResponse { .. });
        assert!(expected, "{error}");
        let text = error.to_string();
        assert!(!text.contains("private") && text.len() < 1000, "{text}");
    }
}

/// contract: 12
/// fault: P16
/// checklist: 13
#[test]
fn malformed_frame_closes_the_connection() {
    for (bytes, expected) in [
        (
            frame(3, b"OK"),
            DecodeError::UnknownFrameType { frame_type: 3 },
        ),
        (b"\0\0\0\x03abc".to_vec(), DecodeError::TooShort { size: 3 }),
        (
            b"\xff\xff\xff\xff".to_vec(),
            DecodeError::Negative { size: -1 },
        ),
        (frame(2, b"short"), DecodeError::ShortMessage { size: 5 }),
        (
            b"\x7f\xff\xff\xff\0\0\0\0".to_vec(),
            DecodeError::TooLarge {
                size: 0x7fff_ffff,
                limit: (1 << 20) + 64,
            },
        ),
    ] {
        let error = error_after_ok(bytes);
        let expected = matches!(&error, ConnectionError::Protocol(error) if *error == expected);
        assert!(expected, "{error}");
    }
    let error = error_after_ok("HTTP/1.1 200 OK");
    assert!(matches!(error, ConnectionError::HttpServer), "{error}");
}

/// contract: 2
/// fault: P18
/// checklist: 15
#[test]
fn response_on_an_idle_connection_closes_it() {
    for bytes in [
        ok_frame(),
        error_frame("E_INVALID"),
        error_frame("E_BAD_TOPIC"),
    ] {
        in_virtual_time(async |mut network: Network| {
            let (producer, mut nsqd) = network.start_connected().await;
            nsqd.expect_silence(s(1)).await;
            nsqd.send(&bytes).await;
            let answer = publish(&producer, "a");
            nsqd.wait_closed().await;
            let mut nsqd = network.connected().await;
            nsqd.confirm("a").await;
            answer.await.unwrap();
        });
    }
}

/// contract: 12
/// fault: P18
#[test]
fn broken_server_is_dialled_with_growing_delays() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let mut dials = 0;
        while network.elapsed() < s(60) {
            let mut nsqd = network.connected().await;
            nsqd.send_ok().await;
            nsqd.wait_closed().await;
            dials += 1;
        }
        assert!((8..40).contains(&dials), "{dials} dials in a minute");
    });
}
