//! Connections that a fault ends at the n-th command or byte.

use std::io::Read;

use super::{layered_client::*, *};

#[test]
fn last_counted_command_is_executed_without_response() {
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
        // It applies once.
        let mut client = Client::connect(&nsqd);
        client.send(&publish("t", b"x").repeat(5));
        client.expect(&OK.repeat(5));
    }
}

#[test]
fn commands_of_all_connections_are_counted_together() {
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
fn cut_at_every_byte_executes_only_complete_commands() {
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
            let mut client = Client::without_magic(nsqd.address());
            // More bytes follow, so that the cut is within a read.
            client.send(&[session.concat(), publish("t", b"never")].concat());
            let (responses, _) = client.rest();
            let expected = if n > first { OK } else { b"" };
            assert_eq!(responses, expected.escape_ascii().to_string(), "cut at {n}");
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
fn cut_at_the_last_byte_sent_closes_or_resets() {
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
fn cut_after_zero_ends_the_next_connection_that_does_anything() {
    let nsqd = start();
    nsqd.faults().close_after_bytes(0);
    Client::without_magic(nsqd.address()).expect_end(End::Eof);

    let mut client = Client::connect(&nsqd);
    nsqd.faults().reset_after_commands(0);
    client.send(&publish("t", b"x"));
    client.expect_end(End::Reset);
    assert_eq!(nsqd.message_count("t"), 0);
}

#[test]
fn cut_discards_responses_held_back_by_a_stall() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().stall(true);
    nsqd.faults().close_after_commands(2);
    client.send(&publish("t", b"x").repeat(2));
    client.expect_end(End::Eof);
    assert_eq!(nsqd.message_count("t"), 2);
}

/// Publishes three messages until the connection is cut after `n` bytes. Returns the numbers of
/// `OK` received and of messages stored.
fn publish_until_cut(
    (nsqd, authority): (&EmbeddedNsqd, &Authority),
    layers: Layers,
    n: u64,
    reset: bool,
) -> (usize, usize) {
    nsqd.delete_topic("t");
    let mut client = layers.connect(nsqd, authority, "");
    if reset {
        nsqd.faults().reset_after_bytes(n);
    } else {
        nsqd.faults().close_after_bytes(n);
    }
    let mut answered = 0;
    for _ in 0..3 {
        client.send(&publish("t", b"a message"));
        let mut response = vec![0; OK.len()];
        if client.0.read_exact(&mut response).is_err() {
            break;
        }
        assert_eq!(response, OK);
        answered += 1;
    }
    wait(nsqd.wait_for_connections(0, TIMEOUT));
    (answered, nsqd.message_count("t"))
}

/// Returns the number of bytes that the three publishes take on the socket.
fn encoded_length(nsqd: &EmbeddedNsqd, authority: &Authority, layers: Layers) -> u64 {
    let mut client = layers.connect(nsqd, authority, "");
    let before = nsqd.bytes_received();
    for _ in 0..3 {
        client.send(&publish("t", b"a message"));
        client.expect(OK);
    }
    let length = nsqd.bytes_received() - before;
    drop(client);
    wait(nsqd.wait_for_connections(0, TIMEOUT));
    length
}

#[test]
fn cut_at_every_encoded_byte_executes_only_complete_commands() {
    let authority = Authority::new();
    let nsqd = &authority.nsqd().start().unwrap();
    for layers in Layers::all() {
        let length = encoded_length(nsqd, &authority, layers);
        let mut stored_before = 0;
        for n in 0..=length {
            let (answered, stored) = publish_until_cut((nsqd, &authority), layers, n, false);
            // The command that the last byte completes gets no response.
            let completed = stored
                .checked_sub(stored_before)
                .expect("more bytes store more");
            assert!(completed <= 1, "{layers:?} {n}");
            assert_eq!(answered + completed, stored, "{layers:?} {n}");
            stored_before = stored;
        }
        assert_eq!(stored_before, 3, "{layers:?}");
        for n in [1, length / 2, length] {
            let (answered, stored) = publish_until_cut((nsqd, &authority), layers, n, true);
            assert!(answered <= stored, "{layers:?} {n}");
        }
    }
}

#[test]
fn commands_are_counted_inside_the_layers() {
    let authority = Authority::new();
    for layers in Layers::all() {
        let nsqd = authority.nsqd().start().unwrap();
        let mut client = layers.connect(&nsqd, &authority, "");
        nsqd.faults().close_after_commands(3);
        client.send(&publish("t", b"x").repeat(5));
        client.expect(&OK.repeat(2));
        wait(nsqd.wait_for_connections(0, TIMEOUT));
        assert_eq!(nsqd.message_count("t"), 3);
    }
}
