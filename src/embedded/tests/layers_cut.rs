//! The faults, beneath the layers: what they count and cut stands on the wire.

use super::{
    certificates::*,
    layers::{ALL, How, layered},
    *,
};

/// A client publishes three messages, and the connection is cut: how many OKs it has heard, and how many are stored.
fn cut(
    (nsqd, authority): (&EmbeddedNsqd, &Authority),
    layers: (bool, How),
    n: u64,
    reset: bool,
) -> (usize, usize) {
    nsqd.delete_topic("t");
    let mut client = layered(nsqd, authority, layers, "");
    if reset {
        nsqd.faults().reset_after_bytes(n);
    } else {
        nsqd.faults().close_after_bytes(n);
    }
    let mut answered = 0;
    for _ in 0..3 {
        client.send(&publish("t", b"a message"));
        let mut answer = vec![0; OK.len()];
        if client.0.read_exact(&mut answer).is_err() {
            break;
        }
        assert_eq!(answer, OK);
        answered += 1;
    }
    wait(nsqd.wait_for_connections(0));
    (answered, nsqd.message_count("t"))
}

/// How many bytes the three publishes are on the wire.
fn length((nsqd, authority): (&EmbeddedNsqd, &Authority), layers: (bool, How)) -> u64 {
    let mut client = layered(nsqd, authority, layers, "");
    let before = nsqd.bytes_received();
    for _ in 0..3 {
        client.send(&publish("t", b"a message"));
        client.expect(OK);
    }
    let whole = nsqd.bytes_received() - before;
    drop(client);
    wait(nsqd.wait_for_connections(0));
    whole
}

#[test]
fn cut_at_every_byte_of_the_wire_only_what_is_whole_is_executed() {
    let authority = Authority::new();
    let nsqd = &authority.nsqd().start().unwrap();
    for layers in ALL {
        let whole = length((nsqd, &authority), layers);
        let mut before = (0, 0);
        for n in 0..=whole {
            let (answered, stored) = cut((nsqd, &authority), layers, n, false);
            // Of the last one that is whole the answer is missing, when the last byte has made it so.
            assert!(
                answered == stored || answered + 1 == stored,
                "{layers:?} {n}"
            );
            assert!(
                stored >= before.1 && stored <= before.1 + 1,
                "{layers:?} {n}"
            );
            let completed = stored > before.1;
            assert_eq!(answered + usize::from(completed), stored, "{layers:?} {n}");
            before = (answered, stored);
        }
        assert_eq!(before.1, 3, "{layers:?}");
    }
}

#[test]
fn a_reset_beneath_the_layers_is_one() {
    let authority = Authority::new();
    let nsqd = &authority.nsqd().start().unwrap();
    for layers in ALL {
        let whole = length((nsqd, &authority), layers);
        for n in [1, whole / 2, whole] {
            let (answered, stored) = cut((nsqd, &authority), layers, n, true);
            assert!(answered <= stored);
        }
    }
}

#[test]
fn commands_are_counted_within_the_layers() {
    let authority = Authority::new();
    for layers in ALL {
        let nsqd = authority.nsqd().start().unwrap();
        let mut client = layered(&nsqd, &authority, layers, "");
        nsqd.faults().close_after_commands(3);
        client.send(&publish("t", b"x").repeat(5));
        client.expect(&OK.repeat(2));
        wait(nsqd.wait_for_connections(0));
        assert_eq!(nsqd.message_count("t"), 3);
    }
}

#[test]
fn the_answers_within_the_layers_can_be_held_back_and_be_delayed() {
    let authority = Authority::new();
    for layers in ALL {
        let nsqd = authority.nsqd().start().unwrap();
        let mut client = layered(&nsqd, &authority, layers, "");
        nsqd.faults().stall(true);
        client.send(&publish("t", b"x").repeat(3));
        wait(nsqd.wait_for_messages("t", 3));
        nsqd.faults().send_raw(frame(0, b"first"));
        client.expect(&frame(0, b"first"));
        nsqd.faults().stall(false);
        client.expect(&OK.repeat(3));
        nsqd.faults().freeze(true);
        client.send(&publish("t", b"x"));
        nsqd.faults().freeze(false);
        client.expect(OK);
    }
}

#[test]
fn stalled_from_the_start_the_layers_come_when_the_stall_is_over() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    nsqd.faults().stall(true);
    let mut client = Client::connect(&nsqd);
    client.send(&identify(&super::layers::asking(true, How::Snappy, "")));
    wait(nsqd.wait_for_command("IDENTIFY", 1));
    client.expect_silence();
    nsqd.faults().stall(false);
    assert_eq!(client.frame().0, 0);
    let mut client = client.inside_tls(&authority.client(VERSIONS[1], None));
    client.expect(OK);
    Client(How::Snappy.squeeze(client.0)).expect(OK);
}

#[test]
fn what_comes_before_the_layer_it_is_for_waits_for_it() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    nsqd.faults().stall(true);
    let mut client = Client::connect(&nsqd);
    client.send(&identify(&super::layers::asking(false, How::Snappy, "")));
    wait(nsqd.wait_for_command("IDENTIFY", 1));
    let mut socket = Client(client.0.try_clone().unwrap());
    let mut squeezed = Client(How::Snappy.squeeze(client.0));
    squeezed.send(&publish("t", b"x"));
    // The thread that reads it has a command to answer in between.
    let mut other = Client::connect(&nsqd);
    other.send(b"NOP\n");
    wait(nsqd.wait_for_command("NOP", 1));
    nsqd.faults().stall(false);
    assert_eq!(socket.frame().0, 0);
    squeezed.expect(&OK.repeat(2));
}

#[test]
fn stalled_a_client_that_hangs_up_before_its_layer_is_let_go() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    nsqd.faults().stall(true);
    let mut client = Client::connect(&nsqd);
    client.send(&identify(&super::layers::asking(true, How::Plain, "")));
    wait(nsqd.wait_for_command("IDENTIFY", 1));
    client.half_close();
    client.expect_end(End::Eof);
    wait(nsqd.wait_for_connections(0));
}

#[test]
fn bytes_can_be_put_past_the_layers() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    let mut client = Client::encrypted(&nsqd, &authority);
    nsqd.faults().send_to_socket(frame(0, b"in clear text"));
    let broken = client.0.read(&mut [0; 64]).unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::InvalidData);
    assert!(client.0.sock.read.ends_with(&frame(0, b"in clear text")));
}
