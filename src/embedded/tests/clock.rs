//! Heartbeats and dead-lines, at nsqd's shortest interval of one second.

use std::time::Instant;

use super::*;

const EVERY_SECOND: &str = r#"{"heartbeat_interval":1000}"#;

#[test]
fn a_silent_client_is_reminded_and_then_hung_up_on() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    let begin = Instant::now();
    client.send(&identify(EVERY_SECOND));
    client.expect(OK);
    client.expect(HEARTBEAT);
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let (rest, end) = client.rest();
    // The second heartbeat and the dead-line are due at the same moment.
    assert!(rest.is_empty() || rest == HEARTBEAT.escape_ascii().to_string());
    assert_eq!(end, End::Eof);
    assert!(begin.elapsed() >= Duration::from_secs(2));
    wait(nsqd.wait_for_connections(0));
}

#[test]
fn an_answered_heartbeat_keeps_the_connection() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&identify(EVERY_SECOND));
    client.expect(OK);
    for _ in 0..4 {
        client.expect(HEARTBEAT);
        client.send(b"NOP\n");
    }
    wait(nsqd.wait_for_command("NOP", 4));
    assert!(nsqd.connections()[0].open);
}

#[test]
fn a_body_that_trickles_runs_into_the_dead_line() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&identify(EVERY_SECOND));
    client.expect(OK);
    client.send(b"PUB t\n\0\0\0\x64");
    let begin = Instant::now();
    // A heartbeat a second, a byte after each: alive, but too slow.
    client.expect(HEARTBEAT);
    client.send(b"x");
    let (rest, _) = client.rest();
    assert!(
        rest.ends_with("E_BAD_MESSAGE PUB failed to read message body"),
        "{rest}"
    );
    assert!(begin.elapsed() >= Duration::from_millis(1_900));
    assert_eq!(nsqd.message_count("t"), 0);
}

#[test]
fn the_first_identify_alone_sets_the_beat() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(
        &[
            identify(EVERY_SECOND),
            identify(r#"{"heartbeat_interval":60000}"#),
        ]
        .concat(),
    );
    client.expect(&OK.repeat(2));
    // Neither a heartbeat a minute nor the end after two seconds: the dead-line did change.
    for _ in 0..3 {
        client.expect(HEARTBEAT);
    }
}

#[test]
fn without_heartbeats_there_is_no_dead_line() {
    let nsqd = start();
    let mut quiet = Client::connect(&nsqd);
    quiet.send(&identify(r#"{"heartbeat_interval":-1}"#));
    quiet.expect(OK);
    // Another client's dead-line is the clock of this test.
    let mut other = Client::connect(&nsqd);
    other.send(&identify(EVERY_SECOND));
    other.expect(OK);
    other.rest();
    quiet.expect_silence();
    quiet.send(&publish("t", b"x"));
    quiet.expect(OK);
}

#[test]
fn a_client_that_does_not_read_is_hung_up_on() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&identify(EVERY_SECOND));
    client.expect(OK);
    let burst = publish("t", b"x").repeat(1_000);
    // Until the answers fill the socket, nsqd stops reading, and its write dead-line passes.
    while client.0.write_all(&burst).is_ok() {}
    wait(nsqd.wait_for_connections(0));
}

#[test]
fn the_longest_heartbeat_can_be_set() {
    let nsqd = EmbeddedNsqd::builder()
        .max_heartbeat_interval(Duration::from_secs(2))
        .start()
        .unwrap();
    let mut client = Client::connect(&nsqd);
    client.send(&identify(r#"{"heartbeat_interval":2001}"#));
    client.expect(&error(
        "E_BAD_BODY IDENTIFY heartbeat interval (2001) is invalid",
    ));
}
