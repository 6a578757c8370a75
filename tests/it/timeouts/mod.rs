//! `WaitConnected`: answered when there is a connection, when there will be none, or when the time is over.

mod durations;

use actix::Addr;
use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, Producer, PublishError, Reconnect, WaitConnected,
    producer::Drain,
};
use tokio::time::sleep;

use crate::harness::{
    Answer, Network, assert_error, in_virtual_time, is_pending, ms, publish, s, send, timed,
};
use crate::support::spoken::{error_frame, identify_answer, ok_frame};

fn wait(producer: &Addr<Producer>, seconds: u64) -> Answer {
    let timeout = s(seconds);
    send(producer, WaitConnected { timeout })
}

#[track_caller]
fn timed_out(answer: Result<(), PublishError>) -> PublishError {
    assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten)
}

/// checklist: 34, 35, 36
#[test]
fn with_a_connection_the_answer_comes_at_once() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        nsqd.expect_silence(s(1)).await;
        for seconds in [5, 0] {
            let (after, answer) = timed(wait(&producer, seconds)).await;
            answer.unwrap();
            assert_eq!(after, s(0));
        }
        nsqd.expect_silence(s(1)).await;
    });
}

/// checklist: 34, 35, 36
#[test]
fn it_is_answered_when_the_handshake_is_done_and_not_before() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut answer = wait(&producer, 60);
        let mut other = wait(&producer, 60);
        for _ in 0..3 {
            network.dial().await.refuse();
        }
        let mut nsqd = network.accept().await;
        nsqd.expect_magic().await;
        nsqd.expect_identify().await;
        sleep(s(1)).await;
        assert!(is_pending(&mut answer) && is_pending(&mut other));
        nsqd.send(identify_answer()).await;
        let (after, answers) = timed(async { (answer.await, other.await) }).await;
        assert_eq!(after, s(0));
        answers.0.unwrap();
        answers.1.unwrap();
    });
}

/// checklist: 34, 35, 36
#[test]
fn a_lazy_producer_begins_to_connect() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        network.expect_no_dial(s(10)).await;
        let answer = wait(&producer, 60);
        let (after, mut nsqd) = timed(network.connected()).await;
        assert_eq!(after, s(0));
        answer.await.unwrap();
        nsqd.expect_silence(s(10)).await;
    });
}

/// checklist: 34, 35, 36
#[test]
fn even_without_patience_a_lazy_producer_begins_to_connect() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        timed_out(wait(&producer, 0).await);
        network.connected().await;
        wait(&producer, 1).await.unwrap();
    });
}

/// checklist: 34, 35, 36
#[test]
fn when_the_time_is_over_it_tells_the_last_failure() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut answer = wait(&producer, 7);
        let (after, error) = timed(async {
            loop {
                tokio::select! {
                    answer = &mut answer => break timed_out(answer),
                    dial = network.dial() => dial.refuse(),
                }
            }
        })
        .await;
        assert_eq!(after, s(7));
        let why = error.connection_error();
        assert!(matches!(why, Some(ConnectionError::Dial { .. })), "{error}");
        let text = "not connected within 7s; last connection error: ";
        assert!(error.to_string().starts_with(text), "{error}");
        assert!(error.is_retryable());
        assert!(std::error::Error::source(&error).is_some());
    });
}

/// checklist: 34, 35, 36
#[test]
fn a_first_attempt_that_hangs_has_no_failure_to_tell() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(s(300)));
        let _hangs = network.dial().await;
        let (after, answer) = timed(wait(&producer, 3)).await;
        assert_eq!(after, s(3));
        assert_eq!(timed_out(answer).to_string(), "not connected within 3s");
        // Without patience it asks how things stand.
        let (after, answer) = timed(wait(&producer, 0)).await;
        assert_eq!(after, s(0));
        timed_out(answer);
    });
}

/// checklist: 34, 35, 36
#[test]
fn each_has_its_own_time() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(s(300)));
        let _hangs = network.dial().await;
        let waits = [9, 3, 6].map(|seconds| (seconds, wait(&producer, seconds)));
        let asked = network.elapsed();
        let mut tasks = Vec::new();
        for (seconds, answer) in waits {
            tasks.push(tokio::task::spawn_local(async move {
                let (after, answer) = timed(answer).await;
                assert_eq!(after, s(seconds));
                timed_out(answer);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(network.elapsed() - asked, s(9));
    });
}

/// checklist: 34, 35, 36
#[test]
fn a_connection_that_is_closing_is_none() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let bad = publish(&producer, "bad");
        nsqd.expect_pub("t", "bad").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        bad.await.unwrap_err();
        let mut answer = wait(&producer, 60);
        sleep(ms(1)).await;
        assert!(is_pending(&mut answer));
        nsqd.fin().await;
        let _nsqd = network.connected().await;
        answer.await.unwrap();
    });
}

/// checklist: 34, 35, 36
#[test]
fn a_drain_ends_the_waiting_and_afterwards_nobody_waits() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let waiting = wait(&producer, 60);
        let _outstanding = publish(&producer, "a");
        let drain = producer.send(Drain { timeout: s(5) });
        let (after, answer) = timed(waiting).await;
        assert_eq!(after, s(0));
        assert_error(answer, ErrorKind::Drained, Delivery::NotWritten);
        let _hangs = network.dial().await;
        drain.await.unwrap();
        let (after, answer) = timed(wait(&producer, 60)).await;
        assert_eq!(after, s(0));
        assert_error(answer, ErrorKind::Drained, Delivery::NotWritten);
    });
}

/// checklist: 34, 35, 36
#[test]
fn one_that_is_cancelled_leaves_nothing() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(s(300)));
        let hangs = network.dial().await;
        for _ in 0..1000 {
            let mut cancelled = wait(&producer, 3600);
            assert!(is_pending(&mut cancelled));
        }
        let kept = wait(&producer, 5);
        timed_out(kept.await);
        drop(producer);
        // Not when their time is over, but now.
        let before = network.elapsed();
        drop(hangs);
        assert!(network.next_dial().await.is_none());
        assert_eq!(network.elapsed(), before);
    });
}

/// checklist: 34, 35, 36
#[test]
fn whoever_waits_keeps_the_producer_alive_until_it_is_answered() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let answer = wait(&producer, 60);
        drop(producer);
        network.dial().await.refuse();
        let mut nsqd = network.connected().await;
        answer.await.unwrap();
        nsqd.wait_closed().await;
        assert!(network.next_dial().await.is_none());
    });
}

/// checklist: 34, 35, 36
#[test]
fn after_reconnect_it_waits_for_the_new_connection() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        sleep(ms(1)).await;
        producer.do_send(Reconnect);
        // Both in one turn: the old connection still stands.
        let mut answer = wait(&producer, 60);
        let mut next = network.accept().await;
        assert!(is_pending(&mut answer));
        next.expect_magic().await;
        next.expect_identify().await;
        next.send(identify_answer()).await;
        answer.await.unwrap();
        nsqd.wait_closed().await;
        // Now one that is held up by what is in flight.
        let in_flight = publish(&producer, "1");
        next.expect_pub("t", "1").await;
        producer.do_send(Reconnect);
        sleep(ms(1)).await;
        let mut answer = wait(&producer, 60);
        sleep(s(1)).await;
        assert!(is_pending(&mut answer));
        next.send(ok_frame()).await;
        in_flight.await.unwrap();
        network.connected().await;
        answer.await.unwrap();
    });
}
