//! The last address is dropped: what was accepted is still answered, and then nothing is left.

mod arbiters;

use actix::Addr;
use actix_nsq::{
    ConnectFuture, ConnectTarget, Connector, Delivery, ErrorKind, Producer, ProducerConfig, Publish,
};
use bytes::Bytes;
use tokio::time::sleep;

use crate::harness::{
    HOUR, Network, assert_error, in_system, in_virtual_time, ms, publish, s, topic, yield_once,
};
use crate::support::spoken::{Command, error_frame, ok_frame};

/// The producer's end, within no time: no producer, no dial, no connection.
async fn ends_at_once(network: &mut Network) {
    let before = network.elapsed();
    assert!(network.next_dial().await.is_none(), "it dials again");
    assert_eq!(network.elapsed() - before, s(0), "it ended late");
    assert_eq!(network.open_connections(), 0, "a connection is left");
}

/// contract: 1
/// fault: P28
/// checklist: 22, 111, 112
#[test]
fn what_is_outstanding_is_still_sent_and_answered() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let before = publish(&producer, "1");
        producer.do_send(Publish::new(topic("t"), "2"));
        drop(producer);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_pub("t", "2").await;
        nsqd.expect_silence(s(5)).await;
        nsqd.send(ok_frame()).await;
        before.await.unwrap();
        nsqd.expect_silence(s(1)).await;
        nsqd.send(ok_frame()).await;
        assert_eq!(nsqd.wait_closed().await, b"");
        ends_at_once(&mut network).await;
    });
}

/// contract: 1
/// checklist: 22, 111, 112
#[test]
fn an_idle_producer_that_never_connected_ends() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        sleep(s(1)).await;
        drop(producer);
        ends_at_once(&mut network).await;
    });
}

/// contract: 1
/// checklist: 22, 111, 112
#[test]
fn a_producer_that_is_dialling_ends() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let dial = network.dial().await;
        drop(producer);
        let before = network.elapsed();
        dial.hang().await;
        assert_eq!(network.elapsed(), before);
        ends_at_once(&mut network).await;
    });
}

/// contract: 1
/// fault: P28
/// checklist: 22, 111, 112
#[test]
fn a_producer_that_is_shaking_hands_ends() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.accept().await;
        nsqd.expect_magic().await;
        drop(producer);
        nsqd.wait_closed().await;
        ends_at_once(&mut network).await;
    });
}

/// contract: 1
/// checklist: 22, 111, 112
#[test]
fn a_producer_that_is_backing_off_ends() {
    in_virtual_time(async |mut network: Network| {
        let slow = |config: actix_nsq::ProducerConfigBuilder| {
            config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR)
        };
        let producer = network.start_with(slow);
        network.dial().await.refuse();
        sleep(ms(1)).await;
        drop(producer);
        ends_at_once(&mut network).await;
    });
}

/// contract: 1
/// checklist: 22, 111, 112
#[test]
fn a_connected_producer_ends_and_its_nsqd_sees_the_end() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        nsqd.expect_silence(s(1)).await;
        drop(producer);
        nsqd.wait_closed().await;
        ends_at_once(&mut network).await;
    });
}

/// contract: 1
/// checklist: 22, 111, 112
#[test]
fn a_producer_whose_connection_is_closing_ends_after_its_last_words() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let bad = publish(&producer, "bad");
        nsqd.expect_pub("t", "bad").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        bad.await.unwrap_err();
        let before = network.elapsed();
        drop(producer);
        nsqd.wait_closed().await;
        assert!(network.elapsed() - before <= s(1));
        ends_at_once(&mut network).await;
    });
}

/// contract: 1
/// checklist: 22, 111, 112
#[test]
fn what_is_outstanding_without_a_connection_is_sent_when_there_is_one() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        drop(producer);
        for _ in 0..5 {
            network.dial().await.refuse();
        }
        // The connection is lost once more, and the producer restarts without any address.
        drop(network.accept().await);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
        ends_at_once(&mut network).await;
    });
}

/// contract: 1
/// checklist: 22, 111, 112
#[test]
fn what_is_behind_a_refusal_is_sent_again_without_any_address() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (bad, good) = (publish(&producer, "bad"), publish(&producer, "good"));
        drop(producer);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "bad").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        nsqd.fin().await;
        bad.await.unwrap_err();
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "good").await;
        nsqd.send(ok_frame()).await;
        good.await.unwrap();
        ends_at_once(&mut network).await;
    });
}

/// contract: 1
/// fault: A6
/// checklist: 22, 111, 112
#[test]
fn what_is_never_sent_is_answered_at_its_dead_line_and_then_it_ends() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        drop(producer);
        tokio::select! {
            answer = publish => {
                assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
            }
            () = async { loop { network.dial().await.refuse() } } => {}
        }
        assert_eq!(network.elapsed(), s(30));
        while network.next_dial().await.is_some() {}
        assert!(network.elapsed() < s(31), "{:?}", network.elapsed());
    });
}

/// contract: 1
/// checklist: 22, 111, 112
#[test]
fn cancelled_publishes_keep_no_producer_alive_for_longer_than_their_dead_line() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(s(300)));
        drop(publish(&producer, "a"));
        let cancelled = publish(&producer, "b");
        sleep(ms(1)).await;
        drop(cancelled);
        drop(producer);
        network.dial().await.hang().await;
        assert!(network.elapsed() <= s(31), "{:?}", network.elapsed());
        ends_at_once(&mut network).await;
    });
}

/// contract: 1
/// checklist: 22, 111, 112
#[test]
fn do_send_and_drop_from_another_thread_loses_nothing() {
    const ROUNDS: usize = 200;
    const EACH: usize = 300; // More than one burst.
    in_system(async |mut network: Network| {
        for round in 0..ROUNDS {
            let producer = network.start_with(|config| {
                config
                    .publish_window(1_000)
                    .connect_at_start(round % 2 == 0)
            });
            let sender = std::thread::spawn(move || {
                for number in 0..EACH {
                    producer.do_send(Publish::new(topic("t"), number.to_string()));
                }
            });
            let mut nsqd = network.connected().await;
            for number in 0..EACH {
                let body = number.to_string().into_bytes();
                let topic = "t".to_owned();
                let came = nsqd.next_command().await;
                assert_eq!(came, Command::Pub { topic, body }, "in round {round}");
                nsqd.send(ok_frame()).await;
            }
            assert_eq!(nsqd.wait_closed().await, b"");
            sender.join().unwrap();
        }
    });
}

/// A user's connector with a mistake in it: it panics on the producer's own task.
#[derive(Debug)]
struct Panicking;

impl Connector for Panicking {
    fn connect(&self, _: &ConnectTarget) -> ConnectFuture {
        Box::pin(async { panic!("by the user's connector") })
    }
}

/// contract: 1
/// fault: A1, A2
/// checklist: 22, 111, 112
#[test]
fn a_producer_that_panics_leaves_nobody_without_an_answer() {
    in_virtual_time(async |_| {
        let config = ProducerConfig::builder("nowhere").connector(Panicking);
        let producer = Producer::start(config.build().unwrap());
        let accepted = publish(&producer, "a");
        assert_error(accepted.await, ErrorKind::Closed, Delivery::NotWritten);
        assert_error(
            publish(&producer, "late").await,
            ErrorKind::Closed,
            Delivery::NotWritten,
        );
    });
}

/// A body that publishes once more when it is dropped, and drops the last address then.
struct LastWish(Addr<Producer>);

impl AsRef<[u8]> for LastWish {
    fn as_ref(&self) -> &[u8] {
        b"body"
    }
}

impl Drop for LastWish {
    fn drop(&mut self) {
        self.0.do_send(Publish::new(topic("t"), "last wish"));
    }
}

/// contract: 1
/// checklist: 22, 111, 112
#[test]
fn what_is_sent_at_the_very_last_moment_is_not_lost() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        // It times out at once. So it is dropped when the mailbox has been emptied, and just before the producer looks
        // whether anybody is left that could send to it.
        let body = Bytes::from_owner(LastWish(producer.clone()));
        producer.do_send(Publish::new(topic("t"), body).expires_in(s(0)));
        drop(producer);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "last wish").await;
        nsqd.send(ok_frame()).await;
        nsqd.wait_closed().await;
        ends_at_once(&mut network).await;
    });
}

/// contract: 1
/// checklist: 22, 111, 112
#[test]
fn a_publish_that_comes_while_a_lost_connection_is_settled_is_sent_though_its_address_is_dropped() {
    // Each round a step of the scheduler later: in one of them it stands in the mailbox behind the end of the connection.
    for steps in 0..30 {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let nsqd = network.connected().await;
            // A task among the actors' tasks.
            let published = tokio::task::spawn_local(async move {
                drop(nsqd);
                for _ in 0..steps {
                    yield_once().await;
                }
                [publish(&producer, "a")]
            });
            let [answer] = published.await.unwrap();
            let mut nsqd = network.connected().await;
            nsqd.expect_pub("t", "a").await;
            nsqd.send(ok_frame()).await;
            answer.await.unwrap();
            assert_eq!(nsqd.wait_closed().await, b"");
            ends_at_once(&mut network).await;
        });
    }
}
