//! The end of a producer: after its last address is dropped, or after a panic.

mod arbiters;
mod start;

use actix::Addr;
use actix_nsq::{Delivery, ErrorKind, Producer, ProducerConfigBuilder, Publish};
use bytes::Bytes;
use tokio::time::sleep;

use crate::harness::{
    HOUR, Network, PUB_FAILED, assert_error, in_system, in_virtual_time, ms, never_sent, publish,
    publish_each, rejected, s, timed, topic, yield_once,
};
use crate::support::{
    full,
    spoken::{Command, error_frame},
};

/// Checks that the producer has ended: it neither dials nor has a connection.
async fn has_ended(network: &mut Network) {
    let before = network.elapsed();
    assert!(network.next_dial().await.is_none(), "the producer dials");
    assert_eq!(network.elapsed(), before, "the producer ended late");
    assert_eq!(network.open_connections(), 0);
}

#[test]
fn producer_with_only_cancelled_publishes_ends_soon() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let cancelled = publish_each(&producer, ["1", "2", "3"]);
        let dial = network.dial().await;
        drop(producer);
        sleep(s(1)).await;
        drop(cancelled);
        sleep(ms(200)).await;
        dial.refuse();
        has_ended(&mut network).await;
    });
}

#[test]
fn busy_producer_ends_within_100_ms_of_its_last_response() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        for number in 0..3 {
            let answer = publish(&producer, number.to_string());
            nsqd.confirm(number.to_string()).await;
            answer.await.unwrap();
        }
        drop(producer);
        let (after, _) = timed(nsqd.wait_closed()).await;
        assert!(after <= ms(100), "after {after:?}");
        has_ended(&mut network).await;
    });
}

/// contract: 1
/// fault: P28
/// checklist: 22, 111, 112
#[test]
fn idle_producer_ends_at_once_in_every_state() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        sleep(s(1)).await;
        drop(producer);
        has_ended(&mut network).await;
    });
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let dial = network.dial().await;
        drop(producer);
        let before = network.elapsed();
        dial.hang().await;
        assert_eq!(network.elapsed(), before);
        has_ended(&mut network).await;
    });
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.accept().await;
        nsqd.expect_magic().await;
        drop(producer);
        nsqd.wait_closed().await;
        has_ended(&mut network).await;
    });
    in_virtual_time(async |mut network: Network| {
        let hourly = |config: ProducerConfigBuilder| {
            config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR)
        };
        let producer = network.start_with(hourly);
        network.dial().await.refuse();
        sleep(ms(1)).await;
        drop(producer);
        has_ended(&mut network).await;
    });
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        nsqd.expect_silence(s(1)).await;
        drop(producer);
        nsqd.wait_closed().await;
        has_ended(&mut network).await;
    });
    in_virtual_time(async |mut network: Network| {
        // The connection is closing after an error response.
        let (producer, mut nsqd) = network.start_connected().await;
        let bad = publish(&producer, "bad");
        nsqd.expect_pub("t", "bad").await;
        nsqd.send(error_frame(PUB_FAILED)).await;
        rejected(bad).await;
        let before = network.elapsed();
        drop(producer);
        nsqd.wait_closed().await;
        assert!(network.elapsed() - before <= s(1));
        has_ended(&mut network).await;
    });
}

/// contract: 1
/// fault: P28
/// checklist: 112
#[test]
fn outstanding_publishes_are_sent_after_the_last_drop() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let [bad, good] = publish_each(&producer, ["bad", "good"]);
        producer.do_send(Publish::new(topic("t"), "detached"));
        drop(producer);
        for _ in 0..5 {
            network.dial().await.refuse();
        }
        // It restarts after each lost connection, without any address.
        drop(network.accept().await);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "bad").await;
        nsqd.reject(PUB_FAILED).await;
        rejected(bad).await;
        let mut nsqd = network.connected().await;
        nsqd.expect_pubs(&["good", "detached"]).await;
        nsqd.send_ok().await;
        good.await.unwrap();
        nsqd.expect_silence(s(1)).await;
        nsqd.send_ok().await;
        assert_eq!(nsqd.wait_closed().await, b"");
        has_ended(&mut network).await;
    });
}

/// contract: 1
/// fault: A6
/// checklist: 112
#[test]
fn producer_ends_at_the_deadline_of_its_last_publish() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let answer = publish(&producer, "a");
        let cancelled = publish(&producer, "b");
        sleep(ms(1)).await;
        drop((cancelled, producer));
        let refuse = async {
            loop {
                network.dial().await.refuse();
            }
        };
        tokio::select! {
            _ = never_sent(answer) => {}
            () = refuse => {}
        }
        assert_eq!(network.elapsed(), s(30));
        while network.next_dial().await.is_some() {}
        assert!(network.elapsed() < s(31), "{:?}", network.elapsed());
    });
}

/// contract: 1
/// checklist: 112
#[test]
fn do_send_and_drop_from_another_thread_loses_nothing() {
    let rounds = if full() { 200 } else { 20 };
    // More than one burst.
    const EACH: usize = 300;
    in_system(async |mut network: Network| {
        for round in 0..rounds {
            let lazy = round % 2 == 1;
            let producer =
                network.start_with(|config| config.publish_window(1_000).connect_at_start(!lazy));
            let sender = std::thread::spawn(move || {
                for number in 0..EACH {
                    producer.do_send(Publish::new(topic("t"), number.to_string()));
                }
            });
            let mut nsqd = network.connected().await;
            for number in 0..EACH {
                let body = number.to_string().into_bytes();
                let topic = "t".to_owned();
                let command = nsqd.next_command().await;
                assert_eq!(command, Command::Pub { topic, body }, "in round {round}");
                nsqd.send_ok().await;
            }
            assert_eq!(nsqd.wait_closed().await, b"");
            sender.join().unwrap();
        }
    });
}

/// A body of a user that panics in the task of the producer, when it is dropped.
struct PanicsOnDrop;

impl AsRef<[u8]> for PanicsOnDrop {
    fn as_ref(&self) -> &[u8] {
        b"body"
    }
}

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("by the user's body");
    }
}

/// contract: 1
/// fault: A1, A2
#[test]
fn producer_that_panics_answers_its_publishes() {
    in_virtual_time(async |network: Network| {
        let producer = network.start();
        let accepted = publish(&producer, "accepted");
        let body = Bytes::from_owner(PanicsOnDrop);
        producer.do_send(Publish::new(topic("t"), body).expires_in(s(0)));
        for answer in [accepted.await, publish(&producer, "late").await] {
            assert_error(answer, ErrorKind::Closed, Delivery::NotWritten);
        }
    });
}

/// A body that sends a publish when it is dropped, and then drops the last address.
struct SendsOnDrop(Addr<Producer>);

impl AsRef<[u8]> for SendsOnDrop {
    fn as_ref(&self) -> &[u8] {
        b"body"
    }
}

impl Drop for SendsOnDrop {
    fn drop(&mut self) {
        self.0.do_send(Publish::new(topic("t"), "last"));
    }
}

/// contract: 1
/// checklist: 112
#[test]
fn publish_sent_while_addresses_are_checked_is_not_lost() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        // It times out at once, so that it is dropped after the mailbox was emptied, and before the
        // producer checks whether there are addresses.
        let body = Bytes::from_owner(SendsOnDrop(producer.clone()));
        producer.do_send(Publish::new(topic("t"), body).expires_in(s(0)));
        drop(producer);
        let mut nsqd = network.connected().await;
        nsqd.confirm("last").await;
        nsqd.wait_closed().await;
        has_ended(&mut network).await;
    });
}

/// contract: 1
/// checklist: 112
#[test]
fn publish_sent_while_a_lost_connection_is_handled_is_not_lost() {
    // In one of these rounds it is in the mailbox behind the end of the connection.
    for polls in 0..30 {
        in_virtual_time(async |mut network: Network| {
            let (producer, nsqd) = network.start_connected().await;
            // A task among those of the actors.
            let published = tokio::task::spawn_local(async move {
                drop(nsqd);
                for _ in 0..polls {
                    yield_once().await;
                }
                [publish(&producer, "a")]
            });
            let [answer] = published.await.unwrap();
            let mut nsqd = network.connected().await;
            nsqd.confirm("a").await;
            answer.await.unwrap();
            assert_eq!(nsqd.wait_closed().await, b"");
            has_ended(&mut network).await;
        });
    }
}
