//! `WaitConnected`: completes when there is a connection, or at its timeout.

use actix::Addr;
use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, Producer, Reconnect, WaitConnected, producer::Drain,
};
use tokio::time::sleep;

use crate::harness::{
    Answer, Network, assert_error, in_virtual_time, is_pending, ms, never_sent, publish, s, send,
    timed,
};
use crate::support::spoken::identify_answer;

fn wait(producer: &Addr<Producer>, seconds: u64) -> Answer {
    let timeout = s(seconds);
    send(producer, WaitConnected { timeout })
}

/// checklist: 36
#[test]
fn wait_completes_when_the_handshake_is_done() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        network.expect_no_dial(s(10)).await;
        let mut answers = [wait(&producer, 60), wait(&producer, 60)];
        for _ in 0..3 {
            network.dial().await.refuse();
        }
        let mut nsqd = network.accept().await;
        nsqd.identify().await;
        sleep(s(1)).await;
        assert!(answers.iter_mut().all(is_pending));
        nsqd.send(identify_answer()).await;
        for answer in answers {
            let (after, answer) = timed(answer).await;
            answer.unwrap();
            assert_eq!(after, s(0));
        }
        // While connected it completes at once, whatever its timeout.
        for seconds in [5, 0] {
            let (after, answer) = timed(wait(&producer, seconds)).await;
            answer.unwrap();
            assert_eq!(after, s(0));
        }
    });
}

/// checklist: 36
#[test]
fn wait_that_times_out_reports_the_last_connection_error() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(s(300)));
        let hanging = network.dial().await;
        let (after, error) = timed(never_sent(wait(&producer, 3))).await;
        assert_eq!(after, s(3));
        assert_eq!(error.to_string(), "not connected within 3s");
        hanging.refuse();
        let refuse = async {
            loop {
                network.dial().await.refuse();
            }
        };
        let error = tokio::select! {
            error = never_sent(wait(&producer, 7)) => error,
            () = refuse => unreachable!(),
        };
        let reason = error.connection_error();
        assert!(
            matches!(reason, Some(ConnectionError::Dial { .. })),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.starts_with("not connected within 7s; last"), "{text}");
        assert!(std::error::Error::source(&error).is_some());
    });
}

/// checklist: 36
#[test]
fn drain_ends_a_wait_for_a_connection() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let waiting = wait(&producer, 60);
        let _outstanding = publish(&producer, "a");
        let drain = producer.send(Drain { timeout: s(5) });
        let (after, answer) = timed(waiting).await;
        assert_eq!(after, s(0));
        assert_error(answer, ErrorKind::Drained, Delivery::NotWritten);
        let _hanging = network.dial().await;
        drain.await.unwrap();
        let (after, answer) = timed(wait(&producer, 60)).await;
        assert_eq!(after, s(0));
        assert_error(answer, ErrorKind::Drained, Delivery::NotWritten);
    });
}

/// checklist: 36
#[test]
fn pending_wait_keeps_the_producer_a_cancelled_one_does_not() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        for _ in 0..1000 {
            assert!(is_pending(&mut wait(&producer, 3600)));
        }
        let kept = wait(&producer, 60);
        drop(producer);
        network.dial().await.refuse();
        let mut nsqd = network.connected().await;
        kept.await.unwrap();
        nsqd.wait_closed().await;
        let ended = network.elapsed();
        assert!(network.next_dial().await.is_none());
        assert_eq!(network.elapsed(), ended);
    });
}

/// checklist: 36
#[test]
fn wait_after_reconnect_completes_with_the_new_connection() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut old) = network.start_connected().await;
        let in_flight = publish(&producer, "1");
        old.expect_pub("t", "1").await;
        producer.do_send(Reconnect);
        let mut answer = wait(&producer, 60);
        sleep(ms(1)).await;
        assert!(is_pending(&mut answer), "completed by the old connection");
        old.send_ok().await;
        in_flight.await.unwrap();
        network.connected().await;
        answer.await.unwrap();
    });
}
