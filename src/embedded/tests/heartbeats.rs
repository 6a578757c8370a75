//! Heartbeats and deadlines, beyond what the conformance table covers.

use std::io::Write;

use super::*;

#[test]
fn connection_without_heartbeats_has_no_read_deadline() {
    let nsqd = start();
    let mut quiet = Client::connect(&nsqd);
    quiet.send(&identify(r#"{"heartbeat_interval":-1}"#));
    quiet.expect(OK);
    // Waits until another client exceeds its deadline.
    Client::with_heartbeats(&nsqd).rest();
    quiet.expect_silence();
    quiet.send(&publish("t", b"x"));
    quiet.expect(OK);
}

#[test]
fn client_that_does_not_read_is_disconnected() {
    let nsqd = start();
    let mut client = Client::with_heartbeats(&nsqd);
    let burst = publish("t", b"x").repeat(1_000);
    // Fails once the responses fill the socket, nsqd stops reading, and its write deadline passes.
    while client.0.write_all(&burst).is_ok() {}
    wait(nsqd.wait_for_connections(0, TIMEOUT));
}
