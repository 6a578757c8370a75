//! A peer as slow as a byte in a second: time-outs are kept to the second, the window holds, and every answer finds its
//! caller.

use std::time::Duration;

use actix_nsq::{ConnectionError, Delivery, ErrorKind, Publish};
use tokio::time::sleep;

use crate::harness::{
    HOUR, Network, Peer, assert_error, in_virtual_time, ms, publish, s, send, timed, topic,
};
use crate::support::spoken::{heartbeat_frame, ok_frame};

const A_BYTE: Duration = s(1);

/// Says it at one byte in a second.
async fn trickle(nsqd: &mut Peer, bytes: Vec<u8>) {
    for byte in bytes {
        sleep(A_BYTE).await;
        nsqd.send([byte]).await;
    }
}

/// fault: P15
#[test]
fn answers_of_a_byte_in_a_second_are_each_callers_own_and_the_window_holds() {
    in_virtual_time(async |mut network: Network| {
        let options = |config: actix_nsq::ProducerConfigBuilder| {
            config
                .publish_timeout(HOUR)
                .ack_timeout(s(11))
                .publish_window(2)
        };
        let producer = network.start_with(options);
        let mut nsqd = network.connected().await;
        let bodies = ["1", "2", "3", "4", "5"];
        let mut answers: Vec<_> = bodies.map(|body| publish(&producer, body)).into();
        nsqd.expect_pub("t", "1").await;
        for body in &bodies[1..] {
            nsqd.expect_pub("t", body).await;
            // Two are on their way, and all but the last byte of an answer makes room for none.
            let ok = ok_frame();
            trickle(&mut nsqd, ok[..9].to_vec()).await;
            nsqd.expect_silence(ms(500)).await;
            sleep(ms(500)).await;
            nsqd.send(&ok[9..]).await;
            answers.remove(0).await.unwrap();
        }
        let (after, ()) = timed(trickle(&mut nsqd, ok_frame())).await;
        assert_eq!(after, s(10));
        answers.remove(0).await.unwrap();
        network.expect_no_dial(s(1)).await;
    });
}

/// fault: P15
#[test]
fn an_answer_that_trickles_in_after_its_caller_timed_out_is_swallowed() {
    in_virtual_time(async |mut network: Network| {
        let options = |config: actix_nsq::ProducerConfigBuilder| {
            config.publish_timeout(s(60)).ack_timeout(s(30))
        };
        let producer = network.start_with(options);
        let mut nsqd = network.connected().await;
        let hasty = Publish::new(topic("t"), "hasty").expires_in(s(7));
        let hasty = timed(send(&producer, hasty));
        let patient = timed(publish(&producer, "patient"));
        nsqd.expect_pub("t", "hasty").await;
        nsqd.expect_pub("t", "patient").await;
        let said = [ok_frame(), heartbeat_frame(), ok_frame()].concat();
        let seconds = said.len() as u64;
        let ((hasty_after, hasty), (patient_after, patient), ()) =
            tokio::join!(hasty, patient, trickle(&mut nsqd, said));
        assert_eq!(hasty_after, s(7));
        assert_error(hasty, ErrorKind::Timeout, Delivery::MaybeWritten);
        patient.unwrap();
        assert_eq!(patient_after, s(seconds));
        nsqd.expect_nop().await;
    });
}

/// fault: P15
#[test]
fn an_answer_that_trickles_in_for_longer_than_ack_timeout_is_a_stall() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.ack_timeout(s(9)));
        let mut nsqd = network.connected().await;
        let stalled = timed(publish(&producer, "1"));
        nsqd.expect_pub("t", "1").await;
        // Bytes that come are no answer: the last one would come a second too late.
        let ((after, answer), ()) =
            tokio::join!(stalled, trickle(&mut nsqd, ok_frame()[..9].to_vec()));
        assert_eq!(after, s(9));
        let error = assert_error(answer, ErrorKind::ConnectionLost, Delivery::MaybeWritten);
        let why = error.connection_error().expect("why it was lost");
        assert!(matches!(why, ConnectionError::AckTimeout { .. }), "{why}");
        let mut nsqd = network.connected().await;
        let next = publish(&producer, "2");
        nsqd.expect_pub("t", "2").await;
        nsqd.send(ok_frame()).await;
        next.await.unwrap();
    });
}
