//! Handshakes that fail: each is told apart, and no publish is lost or harmed by it.

use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, Producer,
    protocol::{DecodeError, ErrorCode},
};
use tokio::task::spawn_local;

use crate::harness::{Network, Peer, assert_error, in_virtual_time, ms, publish, s, timed};
use crate::support::spoken::{
    error_frame, frame, heartbeat_frame, identify_answer, ok_frame, response_frame,
};

/// What a publish is told when every handshake goes as `peer` has it: the failure, at the publish's own dead-line.
#[track_caller]
fn fails(peer: impl AsyncFn(&mut Peer) + 'static, check: impl FnOnce(&ConnectionError)) {
    in_virtual_time(async move |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        spawn_local(async move {
            // Until the test is over.
            while let Some(dial) = network.next_dial().await {
                let mut client = dial.accept();
                client.expect_magic().await;
                client.expect_identify().await;
                peer(&mut client).await;
                let more = client.wait_closed().await;
                assert!(!more.starts_with(b"PUB"), "published without a handshake");
            }
        });
        let (after, answer) = timed(publish).await;
        let error = assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
        assert_eq!(after, s(30), "publish_timeout");
        let lost = error
            .connection_error()
            .expect("why there is no connection");
        assert!(error.to_string().contains(&lost.to_string()), "{error}");
        assert!(error.is_retryable());
        check(lost);
    });
}

/// The same for a peer that answers IDENTIFY with these bytes, and then keeps silent.
#[track_caller]
fn answer_fails(answer: impl Into<Vec<u8>>, check: impl FnOnce(&ConnectionError)) {
    let answer = answer.into();
    fails(async move |client| client.send(&answer).await, check);
}

/// contract: 12
/// fault: P5
/// checklist: 5, 6, 13, 14, 15
#[test]
fn a_server_that_says_nothing_is_given_up_after_handshake_timeout() {
    fails(
        async |client| {
            let (after, said) = timed(client.wait_closed()).await;
            assert_eq!((after, said), (s(5), Vec::new()));
        },
        |lost| {
            assert!(matches!(lost, ConnectionError::HandshakeTimeout { after } if *after == s(5)));
        },
    );
}

/// contract: 12
/// fault: P5
/// checklist: 5, 6, 13, 14, 15
#[test]
fn a_server_that_trickles_its_answer_is_given_up_after_handshake_timeout() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let mut nsqd = network.accept().await;
        let began = network.elapsed();
        nsqd.expect_magic().await;
        nsqd.expect_identify().await;
        // Each byte comes in time, and all of them do not.
        for byte in &identify_answer()[..50] {
            nsqd.send([*byte]).await;
            tokio::time::sleep(ms(99)).await;
        }
        nsqd.wait_closed().await;
        assert_eq!(network.elapsed() - began, s(5));
    });
}

/// contract: 12
/// fault: P5
/// checklist: 5, 6, 13, 14, 15
#[test]
fn a_server_that_sends_heartbeats_and_no_answer_is_given_up_after_handshake_timeout() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let mut nsqd = network.accept().await;
        let began = network.elapsed();
        nsqd.expect_magic().await;
        nsqd.expect_identify().await;
        for _ in 0..5 {
            nsqd.send(heartbeat_frame()).await;
            nsqd.expect_nop().await;
            tokio::time::sleep(ms(999)).await;
        }
        nsqd.wait_closed().await;
        assert_eq!(network.elapsed() - began, s(5));
    });
}

/// contract: 12
/// fault: P5
/// checklist: 5, 6, 13, 14, 15
#[test]
fn a_server_that_does_not_read_is_given_up_after_handshake_timeout() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let (_nsqd, line) = network.dial().await.accept_over(16);
        let began = network.elapsed();
        network.dial().await.refuse();
        assert!(network.elapsed() - began >= s(5), "dialled again too soon");
        assert_eq!(network.open_connections(), 0);
        assert_ne!(line.writes(), 0);
    });
}

/// contract: 12
/// fault: P6
/// checklist: 13, 14, 15
#[test]
fn a_server_that_closes_is_told_apart() {
    let answer = identify_answer();
    for said in [0, 2, 4, 6, 8, answer.len() - 1] {
        let answer = answer.clone();
        fails(
            async move |client| {
                client.send(&answer[..said]).await;
                client.fin().await;
            },
            |lost| assert!(matches!(lost, ConnectionError::HandshakeClosed), "{lost}"),
        );
    }
}

/// contract: 12
/// fault: P6
/// checklist: 13, 14, 15
#[test]
fn an_error_in_place_of_an_answer_is_told_with_code_and_text() {
    answer_fails(
        error_frame("E_BAD_BODY IDENTIFY heartbeat interval (1) is invalid"),
        |lost| {
            let ConnectionError::HandshakeRejected(refusal) = lost else {
                panic!("{lost}");
            };
            assert_eq!(refusal.code(), ErrorCode::BadBody);
            assert!(
                lost.to_string()
                    .contains("heartbeat interval (1) is invalid")
            );
        },
    );
}

/// contract: 12
/// fault: P6
/// checklist: 13, 14, 15
#[test]
fn an_answer_that_is_no_json_is_told_without_its_text() {
    for said in [
        "",
        "private",
        "{\"max_rdy_count\":",
        "[]",
        "\u{ffff}{}",
        "{\"version\":7}",
        "{\"version\":[\"private\"]}",
        "{\"max_rdy_count\":\"private\"}",
    ] {
        answer_fails(response_frame(said), |lost| {
            assert!(
                matches!(lost, ConnectionError::HandshakeResponse { .. }),
                "{lost}"
            );
            assert!(!lost.to_string().contains("private"), "{lost}");
        });
    }
}

/// contract: 12
/// fault: P6
/// checklist: 13, 14, 15
#[test]
fn a_message_in_place_of_an_answer_is_told_without_its_body() {
    let message = [&[0; 10][..], b"0123456789abcdef", b"private"].concat();
    answer_fails(frame(2, &message), |lost| {
        assert!(
            matches!(lost, ConnectionError::HandshakeResponse { .. }),
            "{lost}"
        );
        assert!(!lost.to_string().contains("private"), "{lost}");
    });
}

/// contract: 12
/// fault: P6
/// checklist: 13, 14, 15
#[test]
fn an_http_server_is_named() {
    answer_fails(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n",
        |lost| {
            assert!(matches!(lost, ConnectionError::HttpServer), "{lost}");
            let text = lost.to_string();
            assert!(text.contains("HTTP") && text.contains("4150"), "{text}");
        },
    );
}

/// contract: 12
/// fault: P16
/// checklist: 13, 14, 15
#[test]
fn a_frame_size_that_no_nsqd_sends_ends_the_handshake_before_room_is_made_for_it() {
    let too_large: u32 = (1 << 20) + 64 + 1;
    for size in [too_large, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0, 1, 3] {
        answer_fails(size.to_be_bytes(), |lost| {
            let ConnectionError::Protocol(error) = lost else {
                panic!("size {size}: {lost}");
            };
            let right = match error {
                DecodeError::TooLarge { .. } => size == too_large || size == 0x7fff_ffff,
                DecodeError::Negative { .. } => size >= 0x8000_0000,
                DecodeError::TooShort { .. } => size < 4,
                _ => false,
            };
            assert!(right, "size {size}: {error}");
        });
    }
}

/// contract: 12
/// fault: P6
/// checklist: 13, 14, 15
#[test]
fn an_unknown_frame_type_ends_the_handshake() {
    answer_fails(frame(3, b"OK"), |lost| {
        let unknown = DecodeError::UnknownFrameType { frame_type: 3 };
        assert!(
            matches!(lost, ConnectionError::Protocol(error) if *error == unknown),
            "{lost}"
        );
    });
}

/// contract: 12
/// checklist: 3, 13, 14, 15
#[test]
fn an_nsqd_that_requires_auth_is_told_apart() {
    answer_fails(response_frame(r#"{"auth_required":true}"#), |lost| {
        assert!(matches!(lost, ConnectionError::AuthSecretMissing), "{lost}");
    });
}

/// contract: 12
/// checklist: 13, 14, 15
#[test]
fn after_a_failed_handshake_the_next_one_may_do() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        let mut nsqd = network.accept().await;
        nsqd.expect_magic().await;
        nsqd.expect_identify().await;
        nsqd.send(error_frame("E_INVALID not yet")).await;
        nsqd.wait_closed().await;
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// contract: 12
/// fault: P1
/// checklist: 13, 14, 15
#[test]
fn a_dial_that_is_refused_is_told_with_the_address() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        spawn_local(async move { while network.next_dial().await.is_some() {} });
        let (after, answer) = timed(publish).await;
        let error = assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
        assert_eq!(after, s(30));
        let lost = error.connection_error().unwrap();
        assert!(matches!(lost, ConnectionError::Dial { .. }), "{lost}");
        assert!(error.to_string().contains("nsqd in memory"), "{error}");
    });
}

/// contract: 12
/// fault: P4
/// checklist: 5, 6, 13, 14, 15
#[test]
fn a_dial_that_hangs_is_given_up_after_exactly_dial_timeout() {
    in_virtual_time(async |mut network: Network| {
        let config = network.config().dial_timeout(ms(1234));
        let producer = Producer::start(config.build().unwrap());
        let publish = publish(&producer, "a");
        for _ in 0..3 {
            let dial = network.dial().await;
            let (after, ()) = timed(dial.hang()).await;
            assert_eq!(after, ms(1234));
        }
        spawn_local(async move {
            while let Some(dial) = network.next_dial().await {
                dial.hang().await
            }
        });
        let error = assert_error(publish.await, ErrorKind::Timeout, Delivery::NotWritten);
        let lost = error.connection_error().unwrap();
        assert!(
            matches!(lost, ConnectionError::DialTimeout { after, .. } if *after == ms(1234)),
            "{lost}"
        );
    });
}
