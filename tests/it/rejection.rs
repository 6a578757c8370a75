//! nsqd rejects a publish and closes the connection: only that publish fails.

use actix::Addr;
use actix_nsq::protocol::ErrorCode;
use actix_nsq::{Delivery, ErrorKind, Producer, Publish, PublishError};

use crate::harness::{
    Answer, Network, PUB_FAILED, all_ok, assert_error, in_virtual_time, ms, publish, publish_each,
    rejected, s, send, topic,
};
use crate::support::spoken::{error_frame, frame, ok_frame};

fn publish_to(producer: &Addr<Producer>, name: &str, body: &'static str) -> Answer {
    send(producer, Publish::new(topic(name), body))
}

/// The error of a publish that nsqd answers with this frame.
fn error_after(response: Vec<u8>, publish: impl FnOnce(&Addr<Producer>) -> Answer) -> PublishError {
    let mut error = None;
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let answer = publish(&producer);
        nsqd.next_command().await;
        nsqd.send(response).await;
        nsqd.fin().await;
        error = answer.await.err();
    });
    error.expect("an error response")
}

/// contract: 4
/// fault: P19
#[test]
fn error_response_fails_its_publish_and_others_are_retried() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let [one, two, three, four] = publish_each(&producer, ["1", "2", "3", "4"]);
        let mut nsqd = network.connected().await;
        nsqd.expect_pubs(&["1", "2", "3", "4"]).await;
        nsqd.send_ok().await;
        nsqd.reject(PUB_FAILED).await;
        one.await.unwrap();
        rejected(two).await;
        let younger = publish(&producer, "5");
        let mut nsqd = network.connected().await;
        nsqd.confirm_all(&["3", "4", "5"]).await;
        all_ok([three, four, younger]).await;
        nsqd.expect_silence(s(20)).await;
    });
}

/// contract: 12
/// fault: P20
#[test]
fn error_text_is_one_line_of_bounded_length() {
    let failed = frame(1, b"E_PUB_FAILED \xff\xfe\nbroken");
    let error = error_after(failed, |producer| publish(producer, "a"));
    let text = error.to_string();
    assert!(text.contains("E_PUB_FAILED \u{fffd}"), "{text}");
    assert!(!text.contains('\n'), "{text}");
    let long = [&b"E_PUB_FAILED "[..], &[b'x'; 1 << 20]].concat();
    let error = error_after(frame(1, &long), |producer| publish(producer, "a"));
    let length = error.to_string().len();
    assert!(length < 600, "{length} bytes");
}

/// Each rejection costs a connection, and each connection a request to the auth server.
#[test]
fn denied_topic_costs_at_most_one_connection_per_second() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let unauthorized = ErrorKind::Rejected(ErrorCode::Unauthorized);
        for _ in 0..3 {
            let denied = publish_to(&producer, "denied", "1");
            nsqd.expect_pub("denied", "1").await;
            nsqd.reject("E_UNAUTHORIZED AUTH failed for PUB on \"denied\"")
                .await;
            assert_error(denied.await, unauthorized, Delivery::NotWritten);
            nsqd = network.connected().await;
            for _ in 0..90 {
                let denied = publish_to(&producer, "denied", "2").await;
                let error = assert_error(denied, unauthorized, Delivery::NotWritten);
                let text = error.to_string();
                assert!(text.contains("last 1s: E_UNAUTHORIZED"), "{text}");
                let good = publish(&producer, "good");
                nsqd.confirm("good").await;
                good.await.unwrap();
                tokio::time::sleep(ms(10)).await;
            }
            tokio::time::sleep(ms(100)).await;
        }
    });
}

/// The error response may be lost in a reset: then the delay is that after a first lost connection.
/// contract: 4
/// fault: P19
#[test]
fn rejection_after_an_ok_reconnects_in_20_ms() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        for round in 0..40 {
            let [good, bad] = publish_each(&producer, ["good", "bad"]);
            nsqd.expect_pubs(&["good", "bad"]).await;
            nsqd.send_ok().await;
            let lost = round % 2 == 1;
            if lost {
                nsqd.fin().await;
            } else {
                nsqd.reject(PUB_FAILED).await;
            }
            let closed = network.elapsed();
            good.await.unwrap();
            bad.await.unwrap_err();
            nsqd = network.connected().await;
            let delay = network.elapsed() - closed;
            if lost {
                assert!(delay <= ms(101), "{delay:?}");
            } else {
                assert_eq!(delay, ms(20));
            }
        }
    });
}

/// fault: P19
#[test]
fn server_that_stays_open_after_a_rejection_is_left_in_a_second() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut old) = network.start_connected().await;
        let [good, bad, behind] = publish_each(&producer, ["1", "2", "3"]);
        old.expect_pubs(&["1", "2", "3"]).await;
        old.send([ok_frame(), error_frame(PUB_FAILED)].concat())
            .await;
        good.await.unwrap();
        rejected(bad).await;
        let began = network.elapsed();
        // The write half is closed at once.
        old.wait_closed().await;
        assert!(network.elapsed() - began < ms(100));
        let mut nsqd = network.connected().await;
        assert_eq!(network.elapsed() - began, s(1) + ms(20));
        nsqd.confirm("3").await;
        behind.await.unwrap();
    });
}
