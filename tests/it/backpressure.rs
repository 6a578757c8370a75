//! Bounds of what is queued and of what is in flight.

use std::{cell::Cell, future::poll_fn, rc::Rc, task::Poll};

use actix_nsq::{Delivery, ErrorKind, MultiPublish, Publish};
use tokio::task::spawn_local;

use crate::harness::{
    Answer, Network, PUB_FAILED, all_ok, assert_error, in_virtual_time, is_pending, ms, publish,
    publish_each, publish_within, rejected, s, send, timed, topic,
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
fn bytes_beyond_max_pending_bytes_fail_as_full() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| {
            let config = config.max_publish_size(100).max_batch_size(100);
            config.max_pending_bytes(100)
        });
        let body = |size: usize| vec![b'x'; size];
        let sixty = publish(&producer, body(60));
        let words = ["60 bytes", "41", "max_pending_bytes"];
        full(publish(&producer, body(41)), &words).await;
        let multi = MultiPublish::new(topic("t"), [body(20), body(21)]);
        full(send(&producer, multi), &words).await;
        let forty = publish(&producer, body(40));
        let mut nsqd = network.connected().await;
        nsqd.confirm_all(&[body(60), body(40)]).await;
        all_ok([sixty, forty]).await;
        let hundred = publish(&producer, body(100));
        nsqd.confirm(body(100)).await;
        hundred.await.unwrap();
    });
}

/// contract: 6
#[test]
fn timed_out_publish_in_flight_occupies_capacity_until_its_response() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| config.max_pending(1))
            .await;
        let late = publish_within(&producer, s(1), "late");
        assert_error(late.await, ErrorKind::Timeout, Delivery::MaybeWritten);
        full(publish(&producer, "a"), &[]).await;
        nsqd.confirm("late").await;
        tokio::time::sleep(ms(1)).await;
        let next = publish(&producer, "b");
        nsqd.confirm("b").await;
        next.await.unwrap();
    });
}

/// contract: 6
#[test]
fn cancelled_publishes_release_capacity() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_pending(3));
        let cancelled = publish_each(&producer, ["1", "2", "3"]);
        full(publish(&producer, "4"), &[]).await;
        drop(cancelled);
        // The producer looks for cancelled callers at most this often.
        tokio::time::sleep(ms(20)).await;
        let kept = publish(&producer, "5");
        let mut nsqd = network.connected().await;
        nsqd.confirm("5").await;
        kept.await.unwrap();
    });
}

/// contract: 6
#[test]
fn retries_need_no_capacity() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_pending(3));
        let [bad, two, three] = publish_each(&producer, ["1", "2", "3"]);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "1").await;
        nsqd.reject(PUB_FAILED).await;
        rejected(bad).await;
        let four = publish(&producer, "4");
        let mut nsqd = network.connected().await;
        nsqd.confirm_all(&["2", "3", "4"]).await;
        all_ok([two, three, four]).await;
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

/// contract: 6
#[test]
fn bytes_in_flight_stay_within_publish_window_bytes() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window_bytes(100));
        let body = |size: usize| vec![b'x'; size];
        let answers = [60, 40, 1, 500, 1].map(|size| publish(&producer, body(size)));
        let mut nsqd = network.connected().await;
        nsqd.expect_pubs(&[body(60), body(40)]).await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send_ok().await;
        nsqd.expect_pub("t", body(1)).await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send_oks(2).await;
        // A single publish may exceed the window.
        nsqd.expect_pub("t", body(500)).await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send_ok().await;
        nsqd.confirm(body(1)).await;
        all_ok(answers).await;
    });
}

/// contract: 6, 9
#[test]
fn ten_thousand_publishes_in_flight_complete_in_order() {
    const COUNT: usize = 10_000;
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network
            .start_connected_with(|config| config.publish_window(COUNT))
            .await;
        let bodies: Vec<_> = (0..COUNT).map(|number| number.to_string()).collect();
        let mut answers: Vec<_> = bodies
            .iter()
            .map(|body| publish(&producer, body.clone()))
            .collect();
        nsqd.expect_pubs(&bodies).await;
        for more in [1, 2, 97, 900, 4000] {
            nsqd.send_oks(more).await;
            tokio::time::sleep(ms(1)).await;
            all_ok(answers.drain(..more)).await;
            assert!(is_pending(&mut answers[0]));
        }
        nsqd.reject(PUB_FAILED).await;
        rejected(answers.remove(0)).await;
        let mut nsqd = network.connected().await;
        nsqd.confirm_all(&bodies[COUNT - answers.len()..]).await;
        all_ok(answers).await;
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
fn first_publish_of_a_flood_is_written_before_the_last_is_accepted() {
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
