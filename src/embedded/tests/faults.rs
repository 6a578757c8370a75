//! Persistent, one-shot and immediate faults. The cuts are in `cuts`.

use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{layered_client::*, *};

#[test]
fn refuse_connections_keeps_open_ones_and_outlasts_a_restart() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().refuse_connections(true);
    let refused = TcpStream::connect(nsqd.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    client.send(&publish("t", b"x"));
    client.expect(OK);
    nsqd.stop();
    nsqd.restart().unwrap();
    assert!(TcpStream::connect(nsqd.address()).is_err());
    nsqd.faults().refuse_connections(false);
    Client::connect(&nsqd);
}

#[test]
fn stall_executes_and_sends_heartbeats_but_no_responses() {
    let nsqd = start();
    let mut client = Client::with_heartbeats(&nsqd);
    nsqd.faults().stall(true);
    client.send(&publish("t", b"x").repeat(3));
    wait(nsqd.wait_for_messages("t", 3, TIMEOUT));
    client.expect(HEARTBEAT);
    client.expect_silence();
    nsqd.faults().stall(false);
    client.expect(&OK.repeat(3));
}

#[test]
fn stall_closes_a_connection_that_the_client_closed() {
    let nsqd = Authority::new().nsqd().start().unwrap();
    let mut client = Client::connect(&nsqd);
    let mut before_tls = Client::connect(&nsqd);
    nsqd.faults().stall(true);
    client.send(&publish("t", b"x"));
    before_tls.send(&identify(r#"{"feature_negotiation":true,"tls_v1":true}"#));
    wait(nsqd.wait_for_command("IDENTIFY", 1, TIMEOUT));
    for client in [&mut client, &mut before_tls] {
        client.shut_down_write();
        client.expect_end(End::Eof);
    }
    wait(nsqd.wait_for_connections(0, TIMEOUT));
    assert_eq!(nsqd.message_count("t"), 1);
}

#[test]
fn stall_holds_back_messages_and_errors() {
    let nsqd = start();
    publish_all(&nsqd, "t", &["x"]);
    let mut client = Client::connect(&nsqd);
    nsqd.faults().stall(true);
    client.send(b"SUB t c\nRDY 1\n");
    wait(nsqd.wait_until(TIMEOUT, |nsqd| {
        let channel = nsqd.channel("t", "c");
        channel.is_some_and(|info| info.in_flight_count == 1)
    }));
    client.expect_silence();
    nsqd.faults().stall(false);
    client.expect(OK);
    client.message();

    nsqd.faults().stall(true);
    client.send(b"nonsense\n");
    wait(nsqd.wait_for_command("nonsense", 1, TIMEOUT));
    client.expect_silence();
    nsqd.faults().stall(false);
    client.expect(&error("E_INVALID invalid command nonsense"));
    client.expect_end(End::Eof);
}

#[test]
fn freeze_neither_reads_nor_sends_until_switched_off() {
    let nsqd = start();
    let mut client = Client::with_heartbeats(&nsqd);
    nsqd.faults().freeze(true);
    client.send(&publish("t", b"x"));
    // A new connection is accepted, and waits.
    let mut late = Client::without_magic(nsqd.address());
    late.send(&[b"  V2", &publish("t", b"y")[..]].concat());
    client.expect_silence_for(Duration::from_millis(2_500));
    assert_eq!(nsqd.message_count("t"), 0);

    nsqd.faults().freeze(false);
    late.expect(OK);
    // The read deadline has passed, but the client sent something. One of the missed heartbeats is
    // sent, before or after the response.
    let mut read = vec![0; OK.len() + HEARTBEAT.len()];
    client.0.read_exact(&mut read).unwrap();
    assert!([[OK, HEARTBEAT].concat(), [HEARTBEAT, OK].concat()].contains(&read));
}

#[test]
fn end_of_freeze_disconnects_clients_that_sent_nothing() {
    let nsqd = start();
    let mut client = Client::with_heartbeats(&nsqd);
    nsqd.faults().freeze(true);
    client.expect_silence_for(Duration::from_millis(2_200));
    nsqd.faults().freeze(false);
    let heartbeat = HEARTBEAT.escape_ascii().to_string();
    assert_eq!(client.rest(), (heartbeat, End::Eof));
}

#[test]
fn stop_reading_sends_heartbeats_and_keeps_silent_clients() {
    let nsqd = start();
    let mut client = Client::with_heartbeats(&nsqd);
    nsqd.faults().stop_reading(true);
    client.send(&publish("t", b"x"));
    for _ in 0..3 {
        client.expect(HEARTBEAT);
    }
    assert_eq!(nsqd.message_count("t"), 0);
    nsqd.faults().stop_reading(false);
    client.expect(OK);
}

#[test]
fn stop_heartbeats_keeps_the_read_deadline() {
    let nsqd = start();
    nsqd.faults().stop_heartbeats(true);
    Client::with_heartbeats(&nsqd).expect_end(End::Eof);
}

#[test]
fn delay_responses_does_not_delay_execution() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().delay_responses(Duration::from_millis(300));
    let begin = Instant::now();
    client.send(&publish("t", b"x"));
    wait(nsqd.wait_for_messages("t", 1, TIMEOUT));
    client.expect_silence();
    client.expect(OK);
    assert!(begin.elapsed() >= Duration::from_millis(300));

    nsqd.faults().delay_responses(Duration::MAX);
    client.send(&publish("t", b"x"));
    wait(nsqd.wait_for_messages("t", 2, TIMEOUT));
    nsqd.faults().delay_responses(Duration::ZERO);
    client.expect(OK);
}

#[test]
fn fail_next_fails_one_command_without_executing_it() {
    let nsqd = start();
    nsqd.faults()
        .fail_next("PUB", "E_PUB_FAILED PUB failed exiting");
    nsqd.faults().fail_next("PUB", "E_FIN_FAILED not fatal");
    let mut client = Client::connect(&nsqd);
    client.send(&[b"NOP\n", &publish("t", b"x").repeat(2)[..]].concat());
    client.expect(&error("E_PUB_FAILED PUB failed exiting"));
    client.expect_end(End::Eof);
    assert_eq!(nsqd.message_count("t"), 0);

    let mut client = Client::connect(&nsqd);
    client.send(&publish("t", b"x").repeat(2));
    client.expect(&error("E_FIN_FAILED not fatal"));
    client.expect(OK);
    assert_eq!(nsqd.message_count("t"), 1);
}

#[test]
fn fail_after_storing_stores_the_first_messages() {
    let nsqd = start();
    let text = "E_MPUB_FAILED MPUB failed no space left";
    nsqd.faults().fail_after_storing("MPUB", text, 1);
    let mut client = Client::connect(&nsqd);
    client.send(b"MPUB t\n\0\0\0\x0e\0\0\0\x02\0\0\0\x01a\0\0\0\x01b");
    client.expect(&error(text));
    client.expect_end(End::Eof);
    assert_eq!(nsqd.messages("t")[0].body, "a");
    assert_eq!(nsqd.message_count("t"), 1);
}

#[test]
fn respond_next_executes_and_replaces_the_response() {
    let nsqd = start();
    let http = b"HTTP/1.1 400 Bad Request\r\n";
    nsqd.faults().respond_next("IDENTIFY", http);
    nsqd.faults().respond_next("PUB", b"");
    let mut client = Client::connect(&nsqd);
    client.send(&[identify("{}"), publish("t", b"1"), publish("t", b"2")].concat());
    client.expect(http);
    client.expect(OK);
    client.expect_silence();
    assert_eq!(nsqd.message_count("t"), 2);
}

#[test]
fn respond_next_answers_commands_that_cannot_be_executed() {
    let nsqd = start();
    nsqd.faults().respond_next("AUTH", OK);
    nsqd.faults().respond_next("CLS", OK);
    let mut client = Client::connect(&nsqd);
    client.send(&[b"AUTH\n\0\0\0\x01xCLS\n", &publish("t", b"x")[..]].concat());
    client.expect(&OK.repeat(3));
    assert_eq!(nsqd.commands()[0].error, None);
}

#[test]
fn send_raw_reaches_all_connections_despite_a_stall() {
    let nsqd = start();
    let mut clients = [
        Client::connect(&nsqd),
        Client::connect(&nsqd),
        Client::without_magic(nsqd.address()),
    ];
    wait(nsqd.wait_until(TIMEOUT, |nsqd| nsqd.connections().len() == 3));
    nsqd.faults().stall(true);
    nsqd.faults().send_raw([0, 0, 0, 255]);
    for client in &mut clients {
        client.expect(&[0, 0, 0, 255]);
    }
}

#[test]
fn send_to_socket_bypasses_tls() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    let mut client = Client::with_tls(&nsqd, &authority);
    nsqd.faults().send_to_socket(frame(0, b"clear text"));
    let broken = client.0.read(&mut [0; 64]).unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::InvalidData);
    assert!(client.0.sock.read.ends_with(&frame(0, b"clear text")));
}

#[test]
fn connections_are_closed_or_reset_at_once() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().close_connections();
    assert!(!nsqd.connections()[0].open);
    client.expect_end(End::Eof);

    let mut client = Client::connect(&nsqd);
    nsqd.faults().reset_connections();
    client.expect_end(End::Reset);
    // Without connections these have no effect.
    nsqd.faults().close_connections();
    nsqd.faults().reset_connections();
    nsqd.faults().send_raw(b"x");
}

#[test]
fn clear_switches_off_every_fault() {
    let nsqd = start();
    let faults = nsqd.faults();
    faults.refuse_connections(true);
    faults.stall(true);
    faults.freeze(true);
    faults.stop_reading(true);
    faults.delay_responses(TIMEOUT);
    faults.fail_next("PUB", "E_PUB_FAILED");
    faults.reset_after_bytes(0);
    faults.clear();
    let mut client = Client::connect(&nsqd);
    client.send(&publish("t", b"x"));
    client.expect(OK);
}
