//! Connections that end at a chosen command or byte.

use super::*;

#[test]
fn the_command_that_completes_the_count_is_executed_but_not_answered() {
    for (reset, end) in [(false, End::Eof), (true, End::Reset)] {
        let nsqd = start();
        let mut client = Client::connect(&nsqd);
        if reset {
            nsqd.faults().reset_after_commands(3);
        } else {
            nsqd.faults().close_after_commands(3);
        }
        client.send(&[b"NOP\n", &publish("t", b"x").repeat(5)[..]].concat());
        client.expect(&OK.repeat(2));
        client.expect_end(end);
        assert_eq!(nsqd.message_count("t"), 3);
        // It happens once.
        let mut client = Client::connect(&nsqd);
        client.send(&publish("t", b"x").repeat(5));
        client.expect(&OK.repeat(5));
    }
}

#[test]
fn all_connections_count_together() {
    let nsqd = start();
    nsqd.faults().close_after_commands(2);
    let mut first = Client::connect(&nsqd);
    first.send(&publish("t", b"1"));
    first.expect(OK);
    let mut second = Client::connect(&nsqd);
    second.send(&publish("t", b"2"));
    second.expect_end(End::Eof);
    first.send(&publish("t", b"3"));
    first.expect(OK);
}

#[test]
fn cut_at_every_byte_only_what_is_whole_is_executed() {
    let session = [
        b"  V2".to_vec(),
        publish("t", b"one"),
        b"MPUB t\n\0\0\0\x06\0\0\0\x02\0\0\0\x01a\0\0\0\x01b".to_vec(),
    ];
    let (first, whole) = (4 + 13, 4 + 13 + 25);
    assert_eq!(session.concat().len(), whole);
    for reset in [false, true] {
        for n in 0..=whole {
            let nsqd = start();
            let count = n.try_into().unwrap();
            if reset {
                nsqd.faults().reset_after_bytes(count);
            } else {
                nsqd.faults().close_after_bytes(count);
            }
            let mut client = Client::silent(nsqd.address());
            // Something behind it, so that the count ends within a read.
            client.send(&[session.concat(), publish("t", b"never")].concat());
            let (answers, _) = client.rest();
            // The command that the last byte completes is executed, and not answered.
            let answered = if n > first { OK } else { b"" };
            assert_eq!(answers, answered.escape_ascii().to_string(), "cut at {n}");
            let stored = if n == whole {
                3
            } else {
                usize::from(n >= first)
            };
            assert_eq!(nsqd.message_count("t"), stored, "cut at {n}");
        }
    }
}

#[test]
fn a_close_at_the_last_byte_sent_is_a_fin() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    let command = publish("t", b"x");
    nsqd.faults().close_after_bytes(command.len() as u64);
    client.send(&command);
    client.expect_end(End::Eof);
    assert_eq!(nsqd.message_count("t"), 1);

    let mut client = Client::connect(&nsqd);
    nsqd.faults().reset_after_bytes(command.len() as u64);
    client.send(&command);
    client.expect_end(End::Reset);
}

#[test]
fn a_count_of_nothing_cuts_the_next_to_come_or_to_speak() {
    let nsqd = start();
    nsqd.faults().close_after_bytes(0);
    Client::silent(nsqd.address()).expect_end(End::Eof);

    let mut client = Client::connect(&nsqd);
    nsqd.faults().reset_after_commands(0);
    client.send(&publish("t", b"x"));
    client.expect_end(End::Reset);
    assert_eq!(nsqd.message_count("t"), 0);
}

#[test]
fn a_cut_loses_what_a_stall_holds_back() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().stall(true);
    nsqd.faults().close_after_commands(2);
    client.send(&publish("t", b"x").repeat(2));
    client.expect_end(End::Eof);
    assert_eq!(nsqd.message_count("t"), 2);
}
