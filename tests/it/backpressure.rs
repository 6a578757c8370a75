//! What is held is bounded, what is on its way is bounded, and a flood leaves others their turn.

use std::{cell::Cell, future::poll_fn, rc::Rc, task::Poll};

use actix_nsq::{
    Delivery, ErrorKind, MultiPublish, ProducerConfigBuilder, Publish, PublishError,
    protocol::ErrorCode,
};
use tokio::task::spawn_local;

use crate::harness::{
    Answer, Network, assert_error, in_virtual_time, is_pending, ms, publish, s, send, timed, topic,
};
use crate::support::spoken::{error_frame, heartbeat_frame, ok_frame};

/// It is full, says so at once, and names the limit.
async fn full(answer: Answer, words: &[&str]) -> PublishError {
    let (after, answer) = timed(answer).await;
    let error = assert_error(answer, ErrorKind::Full, Delivery::NotWritten);
    assert_eq!(after, s(0));
    assert!(error.is_retryable());
    for word in words {
        assert!(error.to_string().contains(word), "no {word:?} in {error}");
    }
    error
}

/// contract: 6
/// fault: A5
#[test]
fn as_many_publishes_are_held_as_max_pending_allows() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_pending(3));
        producer.do_send(Publish::new(topic("t"), "1"));
        let two = publish(&producer, "2");
        let three = publish(&producer, "3");
        full(publish(&producer, "4"), &["3 publishes", "max_pending (3)"]).await;
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "1").await;
        nsqd.send(ok_frame()).await;
        tokio::time::sleep(ms(1)).await;
        let five = publish(&producer, "5");
        full(publish(&producer, "6"), &["max_pending (3)"]).await;
        for body in ["2", "3", "5"] {
            nsqd.expect_pub("t", body).await;
        }
        nsqd.send(ok_frame().repeat(3)).await;
        for each in [two, three, five] {
            each.await.unwrap();
        }
    });
}

/// contract: 6
#[test]
fn as_many_bytes_are_held_as_max_pending_bytes_allows() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config: ProducerConfigBuilder| {
            config
                .max_publish_size(100)
                .max_batch_size(100)
                .max_pending_bytes(100)
        });
        let sixty = publish(&producer, vec![b'x'; 60]);
        full(
            publish(&producer, vec![b'x'; 41]),
            &["60 bytes", "41 more", "max_pending_bytes (100)"],
        )
        .await;
        let batch = MultiPublish::new(topic("t"), [vec![b'x'; 20], vec![b'x'; 21]]);
        full(
            send(&producer, batch),
            &["41 more", "max_pending_bytes (100)"],
        )
        .await;
        let forty = publish(&producer, vec![b'x'; 40]);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", vec![b'x'; 60]).await;
        nsqd.expect_pub("t", vec![b'x'; 40]).await;
        nsqd.send(ok_frame().repeat(2)).await;
        sixty.await.unwrap();
        forty.await.unwrap();
        let hundred = publish(&producer, vec![b'x'; 100]);
        nsqd.expect_pub("t", vec![b'x'; 100]).await;
        nsqd.send(ok_frame()).await;
        hundred.await.unwrap();
    });
}

/// contract: 6
#[test]
fn what_timed_out_in_flight_keeps_its_share_until_its_answer_comes() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_pending(1));
        let mut nsqd = network.connected().await;
        let hasty = send(
            &producer,
            Publish::new(topic("t"), "hasty").expires_in(s(1)),
        );
        assert_error(hasty.await, ErrorKind::Timeout, Delivery::MaybeWritten);
        full(publish(&producer, "a"), &["max_pending (1)"]).await;
        nsqd.expect_pub("t", "hasty").await;
        nsqd.send(ok_frame()).await;
        tokio::time::sleep(ms(1)).await;
        let next = publish(&producer, "b");
        nsqd.expect_pub("t", "b").await;
        nsqd.send(ok_frame()).await;
        next.await.unwrap();
    });
}

/// contract: 6
#[test]
fn what_timed_out_or_was_cancelled_before_its_turn_leaves_its_room() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_pending(1).dial_timeout(s(60)));
        let dial = network.dial().await;
        for _ in 0..3 {
            let hasty = send(&producer, Publish::new(topic("t"), "a").expires_in(s(1)));
            assert_error(hasty.await, ErrorKind::Timeout, Delivery::NotWritten);
        }
        drop(publish(&producer, "b"));
        let kept = publish(&producer, "c");
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        nsqd.expect_pub("t", "c").await;
        nsqd.send(ok_frame()).await;
        kept.await.unwrap();
    });
}

/// contract: 6
#[test]
fn callers_that_are_gone_hold_no_room() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_pending(3).dial_timeout(s(60)));
        let dial = network.dial().await;
        let gone = ["1", "2", "3"].map(|body| publish(&producer, body));
        let fourth = publish(&producer, "4").await;
        assert_error(fourth, ErrorKind::Full, Delivery::NotWritten);
        drop(gone);
        // Room is looked for no more often than this.
        tokio::time::sleep(ms(20)).await;
        let kept = publish(&producer, "5");
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        nsqd.expect_pub("t", "5").await;
        nsqd.send(ok_frame()).await;
        kept.await.unwrap();
    });
}

/// contract: 6
#[test]
fn sending_again_never_meets_a_full_producer() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_pending(3));
        let [bad, two, three] = ["1", "2", "3"].map(|body| publish(&producer, body));
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "1").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        nsqd.fin().await;
        bad.await.unwrap_err();
        let four = publish(&producer, "4");
        let mut nsqd = network.connected().await;
        for body in ["2", "3", "4"] {
            nsqd.expect_pub("t", body).await;
        }
        nsqd.send(ok_frame().repeat(3)).await;
        for each in [two, three, four] {
            each.await.unwrap();
        }
    });
}

/// contract: 6
#[test]
fn as_many_publishes_are_on_their_way_as_publish_window_allows() {
    for window in [1, 2] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start_with(|config| config.publish_window(window));
            let bodies = ["1", "2", "3", "4"];
            let publishes = bodies.map(|body| publish(&producer, body));
            let mut nsqd = network.connected().await;
            for body in &bodies[..window] {
                nsqd.expect_pub("t", body).await;
            }
            for next in &bodies[window..] {
                nsqd.expect_silence(s(1)).await;
                nsqd.send(ok_frame()).await;
                nsqd.expect_pub("t", next).await;
            }
            nsqd.send(ok_frame().repeat(window)).await;
            for each in publishes {
                each.await.unwrap();
            }
        });
    }
}

/// contract: 6
#[test]
fn as_many_bytes_are_on_their_way_as_publish_window_bytes_allows_but_one_publish_always() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window_bytes(100));
        let sizes = [60, 40, 1, 500, 1];
        let publishes = sizes.map(|size| publish(&producer, vec![b'x'; size]));
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", vec![b'x'; 60]).await;
        nsqd.expect_pub("t", vec![b'x'; 40]).await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send(ok_frame()).await;
        nsqd.expect_pub("t", vec![b'x'; 1]).await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send(ok_frame().repeat(2)).await;
        nsqd.expect_pub("t", vec![b'x'; 500]).await;
        nsqd.expect_silence(s(1)).await;
        nsqd.send(ok_frame()).await;
        nsqd.expect_pub("t", vec![b'x'; 1]).await;
        nsqd.send(ok_frame()).await;
        for each in publishes {
            each.await.unwrap();
        }
    });
}

/// contract: 6
#[test]
fn ten_thousand_answers_that_nobody_looks_at_hold_up_nothing() {
    in_virtual_time(async |mut network: Network| {
        let count = 10_001;
        let producer = network.start_with(|config| config.publish_window(2 * count));
        let mut nsqd = network.connected().await;
        let unread: Vec<_> = (0..count).map(|_| publish(&producer, "x")).collect();
        for _ in 0..count {
            nsqd.expect_pub("t", "x").await;
        }
        nsqd.send(ok_frame().repeat(count)).await;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
        let next = publish(&producer, "next");
        nsqd.expect_pub("t", "next").await;
        nsqd.send(ok_frame()).await;
        let (after, answer) = timed(next).await;
        answer.unwrap();
        assert_eq!(after, s(0));
        for each in unread {
            each.await.unwrap();
        }
    });
}

/// contract: 6, 9
#[test]
fn ten_thousand_outstanding_publishes_are_answered_in_order() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(10_000));
        let mut nsqd = network.connected().await;
        let mut publishes: Vec<_> = (0..10_000)
            .map(|number| publish(&producer, format!("{number:04}")))
            .collect();
        for number in 0..10_000 {
            nsqd.expect_pub("t", format!("{number:04}")).await;
        }
        let mut answered = 0;
        for more in [1, 2, 97, 900, 4000] {
            nsqd.send(ok_frame().repeat(more)).await;
            tokio::time::sleep(ms(1)).await;
            for each in publishes.drain(..more) {
                each.await.unwrap();
            }
            answered += more;
            assert!(
                is_pending(&mut publishes[0]),
                "{answered} were answered, and one more"
            );
        }
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        nsqd.fin().await;
        let refused = publishes.remove(0);
        assert_error(
            refused.await,
            ErrorKind::Rejected(ErrorCode::PubFailed),
            Delivery::NotWritten,
        );
        let mut nsqd = network.connected().await;
        for number in answered + 1..10_000 {
            nsqd.expect_pub("t", format!("{number:04}")).await;
        }
        nsqd.send(ok_frame().repeat(publishes.len())).await;
        for each in publishes {
            each.await.unwrap();
        }
    });
}

/// contract: 6
/// fault: P14
#[test]
fn a_flood_leaves_the_other_tasks_of_the_arbiter_their_turn() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.max_pending(1));
        let nsqd = network.connected().await;
        let turns = Rc::new(Cell::new(0));
        let count = Rc::clone(&turns);
        // A task that always wants its turn, and takes it in line with the other tasks.
        let other = spawn_local(poll_fn(move |cx| {
            count.set(count.get() + 1);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        for _ in 0..100_000 {
            producer.do_send(Publish::new(topic("t"), "flood"));
        }
        // The last in the mailbox; its answer comes when it is handled.
        assert_error(
            publish(&producer, "").await,
            ErrorKind::EmptyBody,
            Delivery::NotWritten,
        );
        other.abort();
        assert!(turns.get() >= 100_000 / 256, "{} turns", turns.get());
        drop(nsqd);
    });
}

/// contract: 6
#[test]
fn a_flood_does_not_hold_back_what_is_written() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(1));
        let (mut nsqd, _line) = network.connected_over(64 << 10).await;
        for _ in 0..100_000 {
            producer.do_send(Publish::new(topic("t"), "flood"));
        }
        let handled = send(&producer, Publish::new(topic("t"), ""));
        let first = async { nsqd.expect_pub("t", "flood").await };
        tokio::pin!(handled, first);
        tokio::select! {
            biased;
            _ = &mut handled => panic!("the first publish was written after the last was accepted"),
            () = &mut first => {}
        }
    });
}
