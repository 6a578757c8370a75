//! A peer that says what no nsqd says: the connection is closed, nobody is answered twice or by mistake.

use actix_nsq::{ConnectionError, Delivery, ErrorKind, protocol::DecodeError};

use crate::harness::{Network, assert_error, in_virtual_time, is_pending, ms, publish, s};
use crate::support::spoken::{
    close_wait_frame, error_frame, frame, identify_answer, ok_frame, response_frame,
};

/// Two publishes are in flight, and the answers are an `OK` and then these bytes: the first is stored, of the second
/// nothing is known, and the third goes over a new connection.
#[track_caller]
fn breaks_off(said: impl AsRef<[u8]>, check: impl FnOnce(&ConnectionError)) {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (first, second) = (publish(&producer, "1"), publish(&producer, "2"));
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_pub("t", "2").await;
        nsqd.send([&ok_frame(), said.as_ref()].concat()).await;
        // What it says further on is worth nothing.
        nsqd.send(ok_frame().repeat(3)).await;
        first.await.unwrap();
        let error = assert_error(
            second.await,
            ErrorKind::ConnectionLost,
            Delivery::MaybeWritten,
        );
        check(error.connection_error().expect("why the connection ended"));
        nsqd.wait_closed().await;
        let third = publish(&producer, "3");
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "3").await;
        nsqd.send(ok_frame()).await;
        third.await.unwrap();
    });
}

/// contract: 2, 12
/// fault: P17
/// checklist: 13, 14, 15
#[test]
fn an_answer_that_is_no_answer_to_a_publish_breaks_off() {
    let message = [&[0; 10][..], b"0123456789abcdef", b"private"].concat();
    for said in [
        response_frame("YES"),
        response_frame("ok"),
        response_frame(""),
        identify_answer(),
        close_wait_frame(),
        frame(2, &message),
        error_frame("E_FIN_FAILED FIN 0123456789abcdef failed"),
    ] {
        breaks_off(said, |lost| {
            assert!(
                matches!(lost, ConnectionError::UnexpectedResponse { .. }),
                "{lost}"
            );
            assert!(!lost.to_string().contains("private"), "{lost}");
        });
    }
}

/// contract: 2, 12
/// fault: P16
/// checklist: 13, 14, 15
#[test]
fn what_is_no_frame_breaks_off() {
    for (said, expected) in [
        (
            frame(3, b"OK"),
            DecodeError::UnknownFrameType { frame_type: 3 },
        ),
        (
            frame(u32::MAX, b""),
            DecodeError::UnknownFrameType {
                frame_type: u32::MAX,
            },
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
        breaks_off(said, |lost| {
            assert!(
                matches!(lost, ConnectionError::Protocol(error) if *error == expected),
                "{lost}"
            );
        });
    }
    breaks_off("HTTP/1.1 200 OK", |lost| {
        assert!(matches!(lost, ConnectionError::HttpServer))
    });
}

/// contract: 2, 12
/// checklist: 13, 14, 15
#[test]
fn a_long_answer_that_is_none_makes_no_long_error() {
    breaks_off(response_frame("x".repeat(1 << 20)), |lost| {
        let text = lost.to_string();
        assert!(text.len() < 1000, "{} bytes of text", text.len());
    });
}

/// contract: 2, 12
/// fault: P18
/// checklist: 13, 14, 15
#[test]
fn an_ok_too_many_breaks_off_and_answers_nobody_else() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (first, second) = (publish(&producer, "1"), publish(&producer, "2"));
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_pub("t", "2").await;
        nsqd.send(ok_frame().repeat(3)).await;
        first.await.unwrap();
        second.await.unwrap();
        let mut third = publish(&producer, "3");
        nsqd.wait_closed().await;
        assert!(is_pending(&mut third), "answered by a stray OK");
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "3").await;
        nsqd.send(ok_frame()).await;
        third.await.unwrap();
    });
}

/// contract: 2, 12
/// fault: P18
/// checklist: 13, 14, 15
#[test]
fn an_answer_while_nothing_is_in_flight_breaks_off() {
    for said in [
        ok_frame(),
        error_frame("E_INVALID so"),
        error_frame("E_BAD_TOPIC so"),
    ] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let mut nsqd = network.connected().await;
            nsqd.expect_silence(s(1)).await;
            nsqd.send(&said).await;
            let publish = publish(&producer, "a");
            nsqd.wait_closed().await;
            let mut nsqd = network.connected().await;
            nsqd.expect_pub("t", "a").await;
            nsqd.send(ok_frame()).await;
            publish.await.unwrap();
        });
    }
}

/// contract: 2, 12
/// fault: P18
/// checklist: 13, 14, 15
#[test]
fn an_ok_for_a_command_that_is_not_wholly_sent_is_not_believed() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (mut nsqd, _line) = network.connected_over(100).await;
        let mut large = publish(&producer, vec![b'x'; 10_000]);
        tokio::time::sleep(ms(1)).await;
        nsqd.send(ok_frame()).await;
        tokio::time::sleep(ms(1)).await;
        assert!(is_pending(&mut large), "believed");
        nsqd.wait_closed().await;
        // Half a command is never executed, so that it is sent again.
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", vec![b'x'; 10_000]).await;
        nsqd.send(ok_frame()).await;
        large.await.unwrap();
    });
}

/// contract: 2, 12
/// fault: P19
/// checklist: 13, 14, 15
#[test]
fn a_frame_after_the_error_frame_leaves_the_bystanders_unknown() {
    for said in [
        ok_frame(),
        error_frame("E_INVALID again"),
        response_frame("what"),
    ] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let [one, two, three] = ["1", "2", "3"].map(|body| publish(&producer, body));
            let mut nsqd = network.connected().await;
            for body in ["1", "2", "3"] {
                nsqd.expect_pub("t", body).await;
            }
            nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
            nsqd.send(&said).await;
            nsqd.fin().await;
            assert_error(
                one.await,
                ErrorKind::Rejected(actix_nsq::protocol::ErrorCode::PubFailed),
                Delivery::NotWritten,
            );
            for each in [two, three] {
                assert_error(
                    each.await,
                    ErrorKind::ConnectionLost,
                    Delivery::MaybeWritten,
                );
            }
        });
    }
}

/// contract: 2, 12
/// fault: P18
/// checklist: 13, 14, 15
#[test]
fn a_broken_peer_gets_no_hot_loop() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let mut dials = 0;
        while network.elapsed() < s(60) {
            let mut nsqd = network.connected().await;
            nsqd.send(ok_frame()).await;
            nsqd.wait_closed().await;
            dials += 1;
        }
        // Each life has the second in which it may talk on; were that a good life, the delays would not grow.
        assert!((8..40).contains(&dials), "{dials} dials in a minute");
    });
}
