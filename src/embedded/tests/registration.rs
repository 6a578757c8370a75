//! Registration with nsqlookupds, and the channels of new topics.

use std::time::{Duration, Instant};

use super::*;
use crate::embedded::{EmbeddedLookupd, EmbeddedNsqdBuilder};

/// Short enough to wait for.
const PING_INTERVAL: Duration = Duration::from_millis(20);

fn registered_with(lookupd: &EmbeddedLookupd) -> EmbeddedNsqdBuilder {
    EmbeddedNsqd::builder()
        .lookupd(lookupd.tcp_address())
        .lookupd_ping_interval(PING_INTERVAL)
}

fn start_registered(lookupd: &EmbeddedLookupd) -> EmbeddedNsqd {
    let nsqd = registered_with(lookupd).start().unwrap();
    wait(lookupd.wait_for_nodes(1, TIMEOUT));
    // The nsqd knows the HTTP address when it has read the response.
    wait(lookupd.wait_until(TIMEOUT, |it| it.command_count("PING") > 0));
    nsqd
}

fn lookupd() -> EmbeddedLookupd {
    EmbeddedLookupd::start().unwrap()
}

#[track_caller]
fn until(lookupd: &EmbeddedLookupd, condition: impl FnMut(&EmbeddedLookupd) -> bool) {
    wait(lookupd.wait_until(TIMEOUT, condition));
}

#[test]
fn nsqd_registers_what_it_has_and_what_is_created() {
    let lookupd = lookupd();
    let builder = registered_with(&lookupd).broadcast_address("nsqd-1");
    let nsqd = builder
        .broadcast_tcp_port(70)
        .version("1.2.1")
        .start()
        .unwrap();
    wait(lookupd.wait_for_nodes(1, TIMEOUT));
    let node = lookupd.nodes().remove(0);
    assert_eq!(
        (node.broadcast_address.as_str(), node.tcp_port),
        ("nsqd-1", 70)
    );
    assert_eq!(node.version, "1.2.1");
    assert_eq!(
        node.http_port,
        i64::from(nsqd.http_address().unwrap().port())
    );
    assert!(nsqd.create_topic("a"));
    assert!(nsqd.create_channel("b", "c"));
    let mut consumer = Client::connect(&nsqd);
    consumer.send(b"SUB d#ephemeral e#ephemeral\n");
    consumer.expect(OK);
    until(&lookupd, |it| it.topics() == ["a", "b", "d#ephemeral"]);
    until(&lookupd, |it| it.channels("b") == ["c"]);
    wait(lookupd.wait_for_producers("a", 1, TIMEOUT));
    drop(consumer);
}

#[test]
fn deleted_topics_and_channels_are_unregistered() {
    let lookupd = lookupd();
    let nsqd = start_registered(&lookupd);
    for topic in ["a", "b"] {
        assert!(nsqd.create_channel(topic, "c"));
        assert!(nsqd.create_channel(topic, "d#ephemeral"));
    }
    until(&lookupd, |it| it.channels("b").len() == 2);
    assert!(nsqd.delete_channel("a", "d#ephemeral"));
    until(&lookupd, |it| it.channels("a") == ["c"]);
    assert!(nsqd.delete_topic("b"));
    wait(lookupd.wait_for_producers("b", 0, TIMEOUT));
    // As in nsqlookupd, the names stay.
    assert_eq!(lookupd.topics(), ["a", "b"]);
    // A topic that is created again is registered again.
    lookupd.delete_topic("b");
    assert!(nsqd.create_topic("b"));
    wait(lookupd.wait_for_producers("b", 1, TIMEOUT));
}

#[test]
fn consumer_that_leaves_ends_an_ephemeral_registration() {
    let lookupd = lookupd();
    let nsqd = start_registered(&lookupd);
    let mut consumer = Client::connect(&nsqd);
    consumer.send(b"SUB a#ephemeral b#ephemeral\n");
    consumer.expect(OK);
    wait(lookupd.wait_for_producers("a#ephemeral", 1, TIMEOUT));
    drop(consumer);
    until(&lookupd, |it| it.topics().is_empty());
}

#[test]
fn nsqd_registers_again_after_a_restart_of_either() {
    let lookupd = lookupd();
    let nsqd = start_registered(&lookupd);
    assert!(nsqd.create_topic("a"));
    wait(lookupd.wait_for_producers("a", 1, TIMEOUT));
    lookupd.restart().unwrap();
    wait(lookupd.wait_for_producers("a", 1, TIMEOUT));
    nsqd.stop();
    wait(lookupd.wait_for_producers("a", 0, TIMEOUT));
    nsqd.restart().unwrap();
    wait(lookupd.wait_for_producers("a", 1, TIMEOUT));
    // Nothing is sent while nsqd is frozen, and the connection stays open.
    nsqd.faults().freeze(true);
    assert!(nsqd.create_topic("b"));
    assert_eq!(lookupd.nodes().len(), 1);
    nsqd.faults().freeze(false);
    wait(lookupd.wait_for_producers("b", 1, TIMEOUT));
}

#[test]
fn first_message_of_a_topic_reaches_all_known_channels() {
    let lookupd = lookupd();
    let nsqd = start_registered(&lookupd);
    lookupd.create_channel("a", "b");
    lookupd.create_channel("a", "c#ephemeral");
    lookupd.create_channel("a", "d");
    publish_all(&nsqd, "a", &["one"]);
    for channel in ["b", "d"] {
        assert_eq!(nsqd.channel("a", channel).unwrap().depth, 1, "{channel}");
    }
    assert!(nsqd.channel("a", "c#ephemeral").is_none());
    let query = lookupd.queries().remove(0);
    assert_eq!(query.target, "/channels?topic=a");
    assert_eq!(
        query.header("accept"),
        Some("application/vnd.nsq; version=1.0")
    );
    // Only the first use of a topic queries.
    publish_all(&nsqd, "a", &["two"]);
    assert_eq!(lookupd.query_count("/channels"), 1);
}

#[test]
fn first_message_waits_for_a_frozen_lookupd_up_to_the_limit() {
    let lookupd = lookupd();
    let limit = Duration::from_millis(100);
    let builder = registered_with(&lookupd).http_client_request_timeout(limit);
    let nsqd = builder.start().unwrap();
    wait(lookupd.wait_until(TIMEOUT, |it| it.command_count("PING") > 0));
    lookupd.create_channel("a", "b");
    lookupd.faults().freeze(true);
    let (mut first, mut second) = (Client::connect(&nsqd), Client::connect(&nsqd));
    let start = Instant::now();
    first.send(&[publish("a", b"1"), publish("a", b"2")].concat());
    wait(lookupd.wait_for_queries("/channels", 1, TIMEOUT));
    // Other connections do not wait. Their messages stay in the topic.
    second.send(&publish("a", b"3"));
    second.expect(OK);
    second.send(b"SUB a c\nRDY 9\n");
    second.expect(OK);
    first.expect(&OK.repeat(2));
    assert!(start.elapsed() >= limit);
    assert_eq!(nsqd.message_count("a"), 3);
    wait(nsqd.wait_until(TIMEOUT, |it| {
        it.channel("a", "c").unwrap().in_flight_count == 3
    }));
    // Without an answer, the known channel is not created.
    assert!(nsqd.channel("a", "b").is_none());
}

#[test]
fn deleted_topic_releases_the_connection_that_waits_for_it() {
    let lookupd = lookupd();
    let nsqd = start_registered(&lookupd);
    lookupd.faults().of("/channels").times(1).never_answer();
    let mut client = Client::connect(&nsqd);
    client.send(b"MPUB a\n");
    wait(lookupd.wait_for_queries("/channels", 1, TIMEOUT));
    client.send(b"\0\0\0\x0a\0\0\0\x01\0\0\0\x02ab");
    assert!(nsqd.delete_topic("a"));
    // It creates the topic again, with a second query.
    client.expect(OK);
    assert_eq!(nsqd.message_count("a"), 1);
    assert_eq!(lookupd.query_count("/channels"), 2);
}
