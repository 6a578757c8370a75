//! `wait_for_connection`: publishes that fail at once while there is no connection.

use std::error::Error;

use actix::Addr;
use actix_nsq::{
    Delivery, ErrorKind, Producer, PublishError, Reconnect, WaitConnected, WaitForConnection,
};
use tokio::time::sleep;

use crate::harness::{
    HOUR, Network, PUB_FAILED, Peer, all_ok, assert_error, in_virtual_time, ms, publish,
    publish_each, rejected, s, timed,
};

/// Publishes, and expects that it fails at once because there is no connection.
async fn not_connected(producer: &Addr<Producer>) -> PublishError {
    let (after, answer) = timed(publish(producer, "too early")).await;
    assert_eq!(after, s(0));
    let error = assert_error(answer, ErrorKind::NotConnected, Delivery::NotWritten);
    assert!(error.is_retryable());
    error
}

/// Accepts the next connection, and waits until the producer has noticed it.
async fn connected(network: &mut Network, producer: &Addr<Producer>) -> Peer {
    let nsqd = network.connected().await;
    let wait = WaitConnected { timeout: s(1) };
    producer.send(wait).await.unwrap().unwrap();
    nsqd
}

fn start(network: &Network, wait: WaitForConnection) -> Addr<Producer> {
    network.start_with(|config| config.wait_for_connection(wait).publish_window(1))
}

/// contract: 1
#[test]
fn never_rejects_publishes_without_a_connection() {
    in_virtual_time(async |mut network: Network| {
        let producer = start(&network, WaitForConnection::Never);
        assert!(not_connected(&producer).await.source().is_none());
        let mut nsqd = connected(&mut network, &producer).await;
        let [written, queued] = publish_each(&producer, ["1", "2"]);
        nsqd.expect_pub("t", "1").await;
        nsqd.send_ok().await;
        written.await.unwrap();
        nsqd.expect_pub("t", "2").await;
        nsqd.fin().await;
        assert!(queued.await.is_err());
        let error = not_connected(&producer).await;
        let source = error.source().unwrap().to_string();
        assert_eq!(source, "closed by the peer");
    });
}

/// contract: 1
#[test]
fn publish_queued_before_a_loss_is_retried_whatever_the_option() {
    in_virtual_time(async |mut network: Network| {
        let producer = start(&network, WaitForConnection::Never);
        let mut nsqd = connected(&mut network, &producer).await;
        let [lost, queued] = publish_each(&producer, ["1", "2"]);
        nsqd.expect_pub("t", "1").await;
        nsqd.fin().await;
        assert!(lost.await.is_err());
        let mut nsqd = connected(&mut network, &producer).await;
        nsqd.confirm("2").await;
        queued.await.unwrap();
    });
}

/// contract: 1
#[test]
fn first_waits_for_the_first_connection_only() {
    in_virtual_time(async |mut network: Network| {
        let producer = start(&network, WaitForConnection::First);
        let early = publish(&producer, "early");
        network.dial().await.refuse();
        let mut nsqd = connected(&mut network, &producer).await;
        nsqd.confirm("early").await;
        early.await.unwrap();
        nsqd.fin().await;
        let dial = network.dial().await;
        not_connected(&producer).await;
        dial.refuse();
        sleep(ms(1)).await;
        not_connected(&producer).await;
        let mut nsqd = connected(&mut network, &producer).await;
        let late = publish(&producer, "late");
        nsqd.confirm("late").await;
        late.await.unwrap();
    });
}

/// contract: 4
#[test]
fn connection_that_is_replaced_is_waited_for() {
    in_virtual_time(async |mut network: Network| {
        let producer = start(&network, WaitForConnection::Never);
        let mut nsqd = connected(&mut network, &producer).await;
        let served = publish(&producer, "0");
        nsqd.confirm("0").await;
        served.await.unwrap();
        // After a rejection, for the 20 ms until the producer connects again.
        let invalid = publish(&producer, "invalid");
        nsqd.expect_pub("t", "invalid").await;
        nsqd.reject(PUB_FAILED).await;
        rejected(invalid).await;
        let one = publish(&producer, "1");
        sleep(ms(10)).await;
        let two = publish(&producer, "2");
        let mut nsqd = connected(&mut network, &producer).await;
        nsqd.confirm("1").await;
        nsqd.confirm("2").await;
        all_ok([one, two]).await;
        // On request.
        producer.send(Reconnect).await.unwrap();
        let three = publish(&producer, "3");
        let mut nsqd = connected(&mut network, &producer).await;
        nsqd.confirm("3").await;
        three.await.unwrap();
    });
}

#[test]
fn rejected_publish_begins_to_connect_if_nothing_did_before() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| {
            config
                .connect_at_start(false)
                .wait_for_connection(WaitForConnection::Never)
        });
        network.expect_no_dial(HOUR).await;
        not_connected(&producer).await;
        let mut nsqd = connected(&mut network, &producer).await;
        let answer = publish(&producer, "a");
        nsqd.confirm("a").await;
        answer.await.unwrap();
    });
}
