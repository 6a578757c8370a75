//! The switches, the traps and the blows.

use std::time::Instant;

use super::*;

const EVERY_SECOND: &str = r#"{"heartbeat_interval":1000}"#;

#[test]
fn refusing_it_can_not_be_reached_but_open_connections_stay() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().refuse_connections(true);
    let refused = TcpStream::connect(nsqd.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    client.send(&publish("t", b"x"));
    client.expect(OK);
    nsqd.faults().refuse_connections(false);
    Client::connect(&nsqd);
}

#[test]
fn refusing_outlasts_a_restart() {
    let nsqd = start();
    nsqd.faults().refuse_connections(true);
    nsqd.stop();
    nsqd.restart().unwrap();
    assert!(TcpStream::connect(nsqd.address()).is_err());
    nsqd.faults().clear();
    Client::connect(&nsqd);
}

#[test]
fn stalled_it_executes_and_beats_but_does_not_answer() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&identify(EVERY_SECOND));
    client.expect(OK);
    nsqd.faults().stall(true);
    client.send(&publish("t", b"x").repeat(3));
    wait(nsqd.wait_for_messages("t", 3));
    client.expect(HEARTBEAT);
    client.expect_silence();
    nsqd.faults().stall(false);
    client.expect(&OK.repeat(3));
}

#[test]
fn stalled_it_lets_go_a_client_that_hangs_up() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().stall(true);
    client.send(&publish("t", b"x"));
    client.half_close();
    client.expect_end(End::Eof);
    wait(nsqd.wait_for_connections(0));
    assert_eq!(nsqd.message_count("t"), 1);
}

#[test]
fn stalled_it_holds_back_a_refusal_too() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().stall(true);
    client.send(b"nonsense\n");
    wait(nsqd.wait_for_command("nonsense", 1));
    client.expect_silence();
    nsqd.faults().stall(false);
    client.expect(&error("E_INVALID invalid command nonsense"));
    client.expect_end(End::Eof);
}

#[test]
fn frozen_it_hears_and_says_nothing() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&identify(EVERY_SECOND));
    client.expect(OK);
    nsqd.faults().freeze(true);
    client.send(&publish("t", b"x"));
    // A new one is accepted, and waits like the others.
    let mut late = Client::silent(nsqd.address());
    late.send(&[b"  V2", &publish("t", b"y")[..]].concat());
    client
        .0
        .set_read_timeout(Some(Duration::from_millis(2_500)))
        .unwrap();
    let nothing = client.0.read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    assert_eq!(nsqd.message_count("t"), 0);

    nsqd.faults().freeze(false);
    late.expect(OK);
    // It sent something, so it is not taken for dead, though the dead-line has passed. One of the
    // missed heartbeats comes, before the answer or behind it.
    let mut read = vec![0; OK.len() + HEARTBEAT.len()];
    client.0.read_exact(&mut read).unwrap();
    assert!([[OK, HEARTBEAT].concat(), [HEARTBEAT, OK].concat()].contains(&read));
}

#[test]
fn thawed_it_hangs_up_on_who_was_silent() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&identify(EVERY_SECOND));
    client.expect(OK);
    nsqd.faults().freeze(true);
    client
        .0
        .set_read_timeout(Some(Duration::from_millis(2_200)))
        .unwrap();
    assert!(client.0.read(&mut [0]).is_err());
    nsqd.faults().freeze(false);
    assert_eq!(
        client.rest(),
        (HEARTBEAT.escape_ascii().to_string(), End::Eof)
    );
}

#[test]
fn frozen_connections_can_be_closed() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().freeze(true);
    nsqd.faults().close_connections();
    client.expect_end(End::Eof);
}

#[test]
fn not_reading_it_goes_on_beating_and_takes_nobody_for_dead() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&identify(EVERY_SECOND));
    client.expect(OK);
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
fn without_heartbeats_it_is_silent() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().stop_heartbeats(true);
    client.send(&identify(EVERY_SECOND));
    client.expect(OK);
    // To the dead-line: two heartbeats would have come.
    client.expect_end(End::Eof);
}

#[test]
fn answers_are_delayed_but_not_execution() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().delay_responses(Duration::from_millis(300));
    let begin = Instant::now();
    client.send(&publish("t", b"x"));
    wait(nsqd.wait_for_messages("t", 1));
    client.expect_silence();
    client.expect(OK);
    assert!(begin.elapsed() >= Duration::from_millis(300));

    nsqd.faults().delay_responses(Duration::MAX);
    client.send(&publish("t", b"x"));
    wait(nsqd.wait_for_messages("t", 2));
    nsqd.faults().delay_responses(Duration::ZERO);
    client.expect(OK);
}

#[test]
fn the_next_command_fails_and_is_not_executed() {
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
fn a_failing_command_may_store_some_of_its_messages() {
    let nsqd = start();
    nsqd.faults()
        .fail_after_storing("MPUB", "E_MPUB_FAILED MPUB failed no space left", 1);
    let mut client = Client::connect(&nsqd);
    client.send(b"MPUB t\n\0\0\0\x0e\0\0\0\x02\0\0\0\x01a\0\0\0\x01b");
    client.expect(&error("E_MPUB_FAILED MPUB failed no space left"));
    client.expect_end(End::Eof);
    assert_eq!(nsqd.messages("t")[0].body, "a");
    assert_eq!(nsqd.message_count("t"), 1);
}

#[test]
fn the_next_command_is_answered_with_raw_bytes() {
    let nsqd = start();
    nsqd.faults()
        .respond_next("IDENTIFY", b"HTTP/1.1 400 Bad Request\r\n");
    nsqd.faults().respond_next("PUB", b"");
    let mut client = Client::connect(&nsqd);
    client.send(&[identify("{}"), publish("t", b"1"), publish("t", b"2")].concat());
    client.expect(b"HTTP/1.1 400 Bad Request\r\n");
    client.expect(OK);
    client.expect_silence();
    assert_eq!(nsqd.message_count("t"), 2);
}

#[test]
fn even_a_command_it_cannot_execute_can_be_answered() {
    let nsqd = start();
    nsqd.faults().respond_next("AUTH", OK);
    nsqd.faults().respond_next("CLS", OK);
    let mut client = Client::connect(&nsqd);
    client.send(&[b"AUTH\n\0\0\0\x01xCLS\n", &publish("t", b"x")[..]].concat());
    client.expect(&OK.repeat(3));
    assert_eq!(nsqd.commands()[0].error, None);
}

#[test]
fn raw_bytes_reach_every_open_connection_even_when_stalled() {
    let nsqd = start();
    let mut clients = [
        Client::connect(&nsqd),
        Client::connect(&nsqd),
        Client::silent(nsqd.address()),
    ];
    wait(nsqd.wait_until(|nsqd| nsqd.connections().len() == 3));
    nsqd.faults().stall(true);
    nsqd.faults().send_raw([0, 0, 0, 255]);
    for client in &mut clients {
        client.expect(&[0, 0, 0, 255]);
    }
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
    // With nobody there they do nothing.
    nsqd.faults().close_connections();
    nsqd.faults().reset_connections();
    nsqd.faults().send_raw(b"x");
}

#[test]
fn cleared_it_is_an_nsqd_again() {
    let nsqd = start();
    let faults = nsqd.faults();
    faults.refuse_connections(true);
    faults.stall(true);
    faults.freeze(true);
    faults.stop_reading(true);
    faults.delay_responses(PATIENCE);
    faults.fail_next("PUB", "E_PUB_FAILED");
    faults.reset_after_bytes(0);
    faults.clear();
    let mut client = Client::connect(&nsqd);
    client.send(&publish("t", b"x"));
    client.expect(OK);
}
