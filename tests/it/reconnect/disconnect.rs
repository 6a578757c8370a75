//! A connection ends with publishes in flight: each is told what is known of it, and what was not sent is sent again.

use std::io;

use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, MultiPublish, Producer, ProducerConfig,
    protocol::ErrorCode,
};

use crate::harness::{
    Answer, Network, assert_error, in_system, in_virtual_time, is_pending, ms, publish, s, send,
    timed, topic,
};
use crate::support::script::ScriptedPeer;
use crate::support::spoken::{error_frame, heartbeat_frame, identify_answer, ok_frame};

/// The bytes of one publish of these tests: `PUB t\n`, a length, and one byte.
const COMMAND: usize = 11;

async fn lost(answer: Answer) {
    assert_error(
        answer.await,
        ErrorKind::ConnectionLost,
        Delivery::MaybeWritten,
    );
}

/// contract: 3
/// fault: P7
#[test]
fn what_the_socket_took_whole_is_unknown_and_the_rest_is_sent_again_in_order() {
    for reset in [false, true] {
        for taken in 1..=3 * COMMAND {
            in_virtual_time(async |mut network: Network| {
                let producer = network.start();
                let (nsqd, line) = network.connected_over(taken).await;
                if reset {
                    line.reset_at_eof();
                }
                let publishes = ["1", "2", "3"].map(|body| publish(&producer, body));
                tokio::time::sleep(ms(1)).await;
                drop(nsqd);
                let whole = taken / COMMAND;
                let mut again = Vec::new();
                for (index, each) in publishes.into_iter().enumerate() {
                    if index < whole {
                        lost(each).await;
                    } else {
                        again.push(each);
                    }
                }
                let younger = publish(&producer, "4");
                let mut nsqd = network.connected().await;
                for body in &["1", "2", "3", "4"][whole..] {
                    nsqd.expect_pub("t", body).await;
                }
                nsqd.send(ok_frame().repeat(4 - whole)).await;
                for each in again {
                    each.await.unwrap();
                }
                younger.await.unwrap();
            });
        }
    }
}

/// contract: 3, 8
/// fault: P9
#[test]
fn answers_read_before_the_end_count() {
    for answered in 0..=4 {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let mut nsqd = network.connected().await;
            let publishes = ["1", "2", "3", "4"].map(|body| publish(&producer, body));
            for body in ["1", "2", "3", "4"] {
                nsqd.expect_pub("t", body).await;
            }
            nsqd.send(ok_frame().repeat(answered)).await;
            drop(nsqd);
            for (index, each) in publishes.into_iter().enumerate() {
                if index < answered {
                    each.await.unwrap();
                } else {
                    lost(each).await;
                }
            }
        });
    }
}

/// contract: 3
/// fault: P9
#[test]
fn of_one_to_a_thousand_in_flight_at_the_end_exactly_those_answered_are_ok() {
    for count in [1, 2, 63, 64, 999, 1000] {
        for answered in [0, 1, count / 2, count] {
            for reset in [false, true] {
                in_virtual_time(async |mut network: Network| {
                    let producer = network.start();
                    let (mut nsqd, line) = network.connected_over(64 << 10).await;
                    let publishes: Vec<_> = (0..count)
                        .map(|number| publish(&producer, format!("{number}")))
                        .collect();
                    for number in 0..count {
                        nsqd.expect_pub("t", format!("{number}")).await;
                    }
                    nsqd.send(ok_frame().repeat(answered)).await;
                    if reset {
                        line.reset_at_eof();
                    }
                    drop(nsqd);
                    for (number, each) in publishes.into_iter().enumerate() {
                        match number < answered {
                            true => each.await.unwrap(),
                            false => lost(each).await,
                        }
                    }
                });
            }
        }
    }
}

/// contract: 3, 4
#[test]
fn with_retry_unknown_all_are_sent_again_in_order() {
    for taken in 1..=3 * COMMAND {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start_with(|config| config.retry_maybe_written(true));
            let (nsqd, _line) = network.connected_over(taken).await;
            let publishes = ["1", "2", "3"].map(|body| publish(&producer, body));
            tokio::time::sleep(ms(1)).await;
            drop(nsqd);
            let younger = publish(&producer, "4");
            let mut nsqd = network.connected().await;
            for body in ["1", "2", "3", "4"] {
                nsqd.expect_pub("t", body).await;
            }
            nsqd.send(ok_frame().repeat(4)).await;
            for each in publishes {
                each.await.unwrap();
            }
            younger.await.unwrap();
        });
    }
}

/// contract: 3
#[test]
fn what_may_be_stored_is_never_told_as_not_written_again() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.retry_maybe_written(true));
        let (refused, timed_out) = (publish(&producer, "1"), publish(&producer, "2"));
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_pub("t", "2").await;
        drop(nsqd);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "1").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        nsqd.fin().await;
        let kind = ErrorKind::Rejected(ErrorCode::PubFailed);
        assert_error(refused.await, kind, Delivery::MaybeWritten);
        // From here on it is not in flight, and was once.
        let _dial = network.dial().await;
        assert_error(timed_out.await, ErrorKind::Timeout, Delivery::MaybeWritten);
    });
}

/// contract: 3
#[test]
fn a_lost_batch_may_be_stored_in_part() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let batch = send(&producer, MultiPublish::new(topic("t"), ["a", "b"]));
        let mut nsqd = network.connected().await;
        nsqd.expect_mpub("t", &["a", "b"]).await;
        drop(nsqd);
        assert_error(
            batch.await,
            ErrorKind::ConnectionLost,
            Delivery::MaybePartial,
        );
    });
}

/// contract: 3, 8
/// fault: P10
#[test]
fn after_a_write_error_the_answers_on_their_way_still_count() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (mut nsqd, line) = network.connected_over(64 << 10).await;
        let (one, mut two) = (publish(&producer, "1"), publish(&producer, "2"));
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_pub("t", "2").await;
        line.hold_reads();
        nsqd.send(ok_frame().repeat(2)).await;
        line.break_writes(io::ErrorKind::ConnectionReset);
        let three = publish(&producer, "3");
        tokio::time::sleep(ms(900)).await;
        assert!(is_pending(&mut two), "given up too early");
        line.release_reads();
        one.await.unwrap();
        two.await.unwrap();
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "3").await;
        nsqd.send(ok_frame()).await;
        three.await.unwrap();
    });
}

/// contract: 3, 8
/// fault: P10
#[test]
fn after_a_write_error_the_last_words_are_waited_for_a_second_and_no_longer() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (mut nsqd, line) = network.connected_over(64 << 10).await;
        let one = publish(&producer, "1");
        nsqd.expect_pub("t", "1").await;
        line.break_writes(io::ErrorKind::BrokenPipe);
        producer.do_send(actix_nsq::Publish::new(topic("t"), "2"));
        let (after, answer) = timed(one).await;
        assert_eq!(after, s(1));
        let error = assert_error(answer, ErrorKind::ConnectionLost, Delivery::MaybeWritten);
        assert!(
            matches!(error.connection_error(), Some(ConnectionError::Io(_))),
            "{error}"
        );
        nsqd.wait_closed().await;
        network.connected().await.expect_pub("t", "2").await;
    });
}

/// contract: 3
#[test]
fn what_is_written_until_the_writer_has_ended_counts() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (mut nsqd, line) = network.connected_over(64 << 10).await;
        line.block_writes_until_eof();
        let one = publish(&producer, "1");
        tokio::time::sleep(ms(1)).await;
        nsqd.fin().await;
        // Between the reader's end and the writer's own the socket has room again.
        let whole = !nsqd.wait_closed().await.is_empty();
        let mut nsqd = network.connected().await;
        if whole {
            lost(one).await;
            nsqd.expect_silence(s(20)).await;
        } else {
            nsqd.expect_pub("t", "1").await;
            nsqd.send(ok_frame()).await;
            one.await.unwrap();
        }
    });
}

/// contract: 3
#[test]
fn an_idle_connection_that_is_lost_is_made_again_without_a_publish() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        drop(network.connected().await);
        let mut nsqd = network.connected().await;
        nsqd.expect_silence(s(20)).await;
    });
}

/// contract: 3
#[test]
fn a_real_socket_that_is_reset_tells_the_same() {
    let peer = ScriptedPeer::play_door(|mut door| async move {
        let mut client = door.accept().await;
        client.greet().await;
        client.expect_pub("t", "1").await;
        client.send(ok_frame()).await;
        client.expect_pub("t", "2").await;
        client.rst();
        let mut client = door.accept().await;
        client.greet().await;
        client.expect_pub("t", "3").await;
        client.send(ok_frame()).await;
        client.wait_closed().await;
    });
    in_system(async |_| {
        let producer = Producer::start(ProducerConfig::new(peer.address()).unwrap());
        publish(&producer, "1").await.unwrap();
        lost(publish(&producer, "2")).await;
        publish(&producer, "3").await.unwrap();
        drop(producer);
        peer.finish().await;
    });
}

/// contract: 3
/// fault: P10
#[test]
fn an_ok_that_arrives_with_a_reset_counts() {
    let peer = ScriptedPeer::play_door(|mut door| async move {
        for _ in 0..20 {
            let mut client = door.accept().await;
            client.greet().await;
            client.expect_pub("t", "small").await;
            // The large one fills the socket: the client is writing when the answer and the reset come.
            client.expect("PUB t\n").await;
            client.send(ok_frame()).await;
            client.rst();
        }
        let mut client = door.accept().await;
        client.greet().await;
        client.wait_closed().await;
    });
    in_system(async |_| {
        let config = ProducerConfig::builder(peer.address())
            .max_publish_size(20 << 20)
            .publish_window_bytes(64 << 20)
            .max_reconnect_backoff(ms(5))
            .reconnect_backoff(ms(5));
        let producer = Producer::start(config.build().unwrap());
        for _ in 0..20 {
            let small = publish(&producer, "small");
            // Dropped before its turn comes again: what was not wholly sent would be sent again.
            let large = publish(&producer, vec![b'x'; 20 << 20]);
            small.await.unwrap();
            drop(large);
        }
        drop(producer);
        peer.finish().await;
    });
}

/// contract: 3
/// fault: P7
#[test]
fn a_session_that_is_cut_after_any_byte_of_nsqds_loses_and_doubles_nothing() {
    let greeting = identify_answer();
    let said = [&greeting[..], &ok_frame(), &heartbeat_frame(), &ok_frame()].concat();
    let first_ok = greeting.len() + ok_frame().len();
    for (cut, reset) in (0..=said.len()).flat_map(|cut| [(cut, false), (cut, true)]) {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let (one, two) = (publish(&producer, "1"), publish(&producer, "2"));
            let (mut nsqd, line) = network.dial().await.accept_over(64 << 10);
            if reset {
                line.reset_at_eof();
            }
            nsqd.expect_magic().await;
            nsqd.expect_identify().await;
            if cut >= greeting.len() {
                nsqd.send(&greeting).await;
                nsqd.expect_pub("t", "1").await;
                nsqd.expect_pub("t", "2").await;
                nsqd.send(&said[greeting.len()..cut]).await;
                drop(nsqd);
                match cut {
                    _ if cut >= first_ok => one.await.unwrap(),
                    _ => lost(one).await,
                }
                match cut {
                    _ if cut == said.len() => two.await.unwrap(),
                    _ => lost(two).await,
                }
            } else {
                nsqd.send(&said[..cut]).await;
                drop(nsqd);
                let mut nsqd = network.connected().await;
                nsqd.expect_pub("t", "1").await;
                nsqd.expect_pub("t", "2").await;
                nsqd.send(ok_frame().repeat(2)).await;
                one.await.unwrap();
                two.await.unwrap();
            }
        });
    }
}
