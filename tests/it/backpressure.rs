//! Bounds of what is queued and of what is in flight.

use std::{cell::Cell, future::poll_fn, rc::Rc, task::Poll};

use actix_nsq::{Delivery, ErrorKind, Ping, Publish};
use tokio::task::spawn_local;

use crate::harness::{
    Answer, Network, PUB_FAILED, all_ok, assert_error, in_virtual_time, is_pending, ms, never_sent,
    publish, publish_each, publish_numbers, publish_within, rejected, s, send, timed, topic,
};

/// Waits for the error `Full`, which comes at once and names the limit.
async fn full(answer: Answer, words: &[&str]) {
    let (after, answer) = timed(answer).await;
    let error = assert_error(answer, ErrorKind::Full, Delivery::NotWritten);
    assert_eq!(after, s(0));
    assert!(error.is_retryable());
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text:?}");
    }
}

/// contract: 6
/// fault: A5
#[test]
fn publishes_beyond_max_pending_fail_as_full() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_pending(3));
        producer.do_send(Publish::new(topic("t"), "1"));
        let [two, three] = publish_each(&producer, ["2", "3"]);
        full(publish(&producer, "4"), &["3 publishes", "max_pending"]).await;
        let mut nsqd = network.connected().await;
        nsqd.confirm("1").await;
        tokio::time::sleep(ms(1)).await;
        let five = publish(&producer, "5");
        full(publish(&producer, "6"), &["max_pending"]).await;
        nsqd.confirm_all(&["2", "3", "5"]).await;
        all_ok([two, three, five]).await;
    });
}

/// contract: 6
#[test]
fn publishes_in_flight_stay_within_publish_window() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(2));
        let answers = publish_each(&producer, ["1", "2", "3", "4"]);
        let mut nsqd = network.connected().await;
        nsqd.expect_pubs(&["1", "2"]).await;
        for next in ["3", "4"] {
            nsqd.expect_silence(s(1)).await;
            nsqd.send_ok().await;
            nsqd.expect_pub("t", next).await;
        }
        nsqd.send_oks(2).await;
        all_ok(answers).await;
    });
}

/// contract: 6, 9
#[test]
fn thousands_of_publishes_in_flight_complete_in_order() {
    const COUNT: usize = 10_000;
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| config.publish_window(COUNT))
            .await;
        let (bodies, mut answers) = publish_numbers(&producer, COUNT);
        // Some wait in the queue, to be written together.
        let written = COUNT / 2;
        nsqd.expect_pubs(&bodies[..written]).await;
        for more in [1, 2, 97, 900, 3000] {
            nsqd.send_oks(more).await;
            tokio::time::sleep(ms(1)).await;
            all_ok(answers.drain(..more)).await;
            assert!(is_pending(&mut answers[0]));
        }
        nsqd.reject(PUB_FAILED).await;
        rejected(answers.remove(0)).await;
        let mut nsqd = network.connected().await;
        for body in &bodies[COUNT - answers.len()..] {
            nsqd.confirm(body).await;
        }
        all_ok(answers).await;
    });
}

/// What the round trip needs is zero here.
///
/// contract: 1, 3, 9
#[test]
fn publish_behind_many_in_flight_waits_for_responses_only() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let (bodies, mut answers) = publish_numbers(&producer, 40);
        nsqd.expect_pubs(&bodies).await;
        // It was not sent, so it is not ambiguous.
        never_sent(publish_within(&producer, s(2), "expires")).await;
        let one = publish(&producer, "one");
        nsqd.expect_silence(s(1)).await;
        nsqd.send_oks(29).await;
        all_ok(answers.drain(..29)).await;
        nsqd.expect_silence(s(1)).await;
        // Ten are in flight: eight, and twice the one.
        nsqd.send_ok().await;
        nsqd.expect_pub("t", "one").await;
        nsqd.send_oks(11).await;
        all_ok(answers).await;
        one.await.unwrap();
    });
}

/// It takes the publishes along.
///
/// checklist: 44
#[test]
fn ping_behind_many_in_flight_is_sent_at_once() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let (bodies, answers) = publish_numbers(&producer, 40);
        nsqd.expect_pubs(&bodies).await;
        let waiting = publish(&producer, "waiting");
        nsqd.expect_silence(s(1)).await;
        let ping = send(&producer, Ping { timeout: s(5) });
        nsqd.expect_identify().await;
        nsqd.expect_pub("t", "waiting").await;
        nsqd.send_oks(42).await;
        all_ok(answers.into_iter().chain([ping, waiting])).await;
    });
}

/// contract: 6
/// fault: P14
#[test]
fn flood_of_publishes_yields_to_other_tasks() {
    in_virtual_time(async |mut network: Network| {
        let (producer, nsqd) = network
            .start_connected_with(|config| config.max_pending(1))
            .await;
        let polls = Rc::new(Cell::new(0));
        let count = Rc::clone(&polls);
        let always_ready = spawn_local(poll_fn(move |cx| {
            count.set(count.get() + 1);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        for _ in 0..100_000 {
            producer.do_send(Publish::new(topic("t"), "flood"));
        }
        // The last message of the mailbox.
        publish(&producer, "").await.unwrap_err();
        always_ready.abort();
        assert!(polls.get() >= 100_000 / 256, "{} polls", polls.get());
        drop(nsqd);
    });
}

/// contract: 6
#[test]
fn first_publish_of_a_flood_is_written_before_the_last() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        for _ in 0..100_000 {
            producer.do_send(Publish::new(topic("t"), "flood"));
        }
        let last = publish(&producer, "");
        let first = async { nsqd.expect_pub("t", "flood").await };
        tokio::select! {
            biased;
            _ = last => panic!("the last publish was accepted first"),
            () = first => {}
        }
    });
}
