//! Connections inside TLS and compression, and responses that announce other layers.

use std::{io::Write, net::Shutdown};

use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::{layered_client::*, *};

const SNAPPY: Layers = Layers::new(false, Compression::Snappy);
const TLS_AND_SNAPPY: Layers = Layers::new(true, Compression::Snappy);

#[test]
fn layers_transmit_commands_responses_and_messages_unchanged() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    let noise: Vec<u8> = std::iter::repeat_with({
        let mut state = 1_u32;
        move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }
    })
    .take(1 << 20)
    .collect();
    let bodies = [noise, vec![0; 1 << 20], b"x".to_vec()];
    for (number, layers) in Layers::all().enumerate() {
        let topic = format!("t{number}");
        let mut client = layers.connect(&nsqd, &authority, "");
        for body in &bodies {
            client.send(&publish(&topic, body));
            client.expect(OK);
        }
        client.send(&publish(&topic, b"small").repeat(1_000));
        client.expect(&OK.repeat(1_000));
        let stored = nsqd.messages(&topic);
        assert_eq!(stored.len(), 1_003);
        let mut pairs = bodies.iter().zip(&stored);
        assert!(pairs.all(|(body, stored)| stored.body == body[..]));

        client.subscribe(&topic, "c", 3);
        for body in &bodies {
            let (kind, message) = client.frame();
            assert_eq!(kind, 2);
            assert!(message[26..] == body[..]);
        }

        let connection = nsqd.connections().pop().unwrap();
        let listed = (connection.tls, connection.snappy, connection.deflate);
        let Layers { tls, compression } = layers;
        let snappy = compression == Compression::Snappy;
        let deflate = compression == Compression::Deflate;
        assert_eq!(listed, (tls, snappy, deflate));
    }
}

#[test]
fn layers_transmit_heartbeats() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    let every_second = r#","heartbeat_interval":1000"#;
    let mut clients: Vec<_> = Layers::all()
        .map(|layers| layers.connect(&nsqd, &authority, every_second))
        .collect();
    for round in 1..=3 {
        for client in &mut clients {
            client.expect(HEARTBEAT);
            client.send(b"NOP\n");
        }
        wait(nsqd.wait_for_command("NOP", 6 * round, TIMEOUT));
    }
    for client in &mut clients {
        client.send(&publish("t", b"x"));
    }
    wait(nsqd.wait_for_messages("t", 6, TIMEOUT));
}

#[test]
fn layers_transmit_the_error_for_an_incomplete_command() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    for layers in Layers::all() {
        let mut client = Client::connect(&nsqd);
        let socket = client.0.try_clone().unwrap();
        client.identify(&layers.identify(""));
        let mut client = if layers.tls {
            let mut client = client.inside_tls(&authority.client(&TLS12, None));
            client.expect(OK);
            layers.compression.add(client)
        } else {
            layers.compression.add(client)
        };
        if layers.compression != Compression::None {
            client.expect(OK);
        }
        client.send(b"PUB t\n\0\0\0\x02x");
        socket.shutdown(Shutdown::Write).unwrap();
        client.expect(&error("E_BAD_MESSAGE PUB failed to read message body"));
    }
    assert_eq!(nsqd.message_count("t"), 0);
}

#[test]
fn tls_close_notify_ends_the_input() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    let mut client = Client::with_tls(&nsqd, &authority);
    client.send(&publish("t", b"x"));
    client.0.conn.send_close_notify();
    client.0.flush().unwrap();
    client.expect(OK);
    wait(nsqd.wait_for_connections(0, TIMEOUT));
}

/// The conformance table has the same for compression.
#[test]
fn broken_tls_record_ends_the_connection() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    let mut client = Client::with_tls(&nsqd, &authority);
    client.0.sock.write_all(&[0xff; 64]).unwrap();
    wait(nsqd.wait_for_connections(0, TIMEOUT));
}

#[test]
fn deflate_level_is_limited_by_max_deflate_level() {
    let deflate = Layers::new(false, Compression::Deflate);
    for (max, requested, negotiated) in [(9, 9, 9), (9, 99, 9), (3, -1, 3)] {
        let nsqd = EmbeddedNsqd::builder().max_deflate_level(max);
        let nsqd = nsqd.start().unwrap();
        let mut client = Client::connect(&nsqd);
        let level = format!(r#","deflate_level":{requested}"#);
        let response = client.identify(&deflate.identify(&level));
        assert_eq!(response["deflate_level"], negotiated);
        assert_eq!(response["max_deflate_level"], max);
        let mut client = Compression::Deflate.add(client);
        client.expect(OK);
        client.send(&publish("t", b"x"));
        client.expect(OK);
    }
}

#[test]
fn stall_and_freeze_apply_inside_the_layers() {
    let authority = Authority::new();
    for layers in Layers::all() {
        let nsqd = authority.nsqd().start().unwrap();
        let mut client = layers.connect(&nsqd, &authority, "");
        nsqd.faults().stall(true);
        client.send(&publish("t", b"x").repeat(3));
        wait(nsqd.wait_for_messages("t", 3, TIMEOUT));
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
fn stall_delays_the_layers_after_identify() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    nsqd.faults().stall(true);
    let mut client = Client::connect(&nsqd);
    client.send(&identify(&TLS_AND_SNAPPY.identify("")));
    wait(nsqd.wait_for_command("IDENTIFY", 1, TIMEOUT));
    client.expect_silence();
    nsqd.faults().stall(false);
    assert_eq!(client.frame().0, 0);
    let mut client = client.inside_tls(&authority.client(&TLS13, None));
    client.expect(OK);
    Compression::Snappy.add(client).expect(OK);
}

#[test]
fn input_that_arrives_before_its_layer_waits_for_it() {
    let nsqd = start();
    nsqd.faults().stall(true);
    let mut client = Client::connect(&nsqd);
    client.send(&identify(&SNAPPY.identify("")));
    wait(nsqd.wait_for_command("IDENTIFY", 1, TIMEOUT));
    let mut socket = Client(client.0.try_clone().unwrap());
    let mut compressed = Compression::Snappy.add(client);
    compressed.send(&publish("t", b"x"));
    // A command of another client proves that nsqd has read the publish.
    let mut other = Client::connect(&nsqd);
    other.send(b"NOP\n");
    wait(nsqd.wait_for_command("NOP", 1, TIMEOUT));
    nsqd.faults().stall(false);
    assert_eq!(socket.frame().0, 0);
    compressed.expect(&OK.repeat(2));
}

#[test]
fn response_that_declines_layers_adds_none() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    nsqd.faults()
        .respond_next("IDENTIFY", frame(0, br#"{"tls_v1":false,"snappy":false}"#));
    let mut client = Client::connect(&nsqd);
    client.identify(&TLS_AND_SNAPPY.identify(""));
    client.send(&publish("t", b"clear text"));
    client.expect(OK);
    // The same without JSON.
    nsqd.faults().respond_next("IDENTIFY", OK);
    let mut client = Client::connect(&nsqd);
    client.send(&identify(&TLS_AND_SNAPPY.identify("")));
    client.send(&publish("t", b"x"));
    client.expect(&OK.repeat(2));
}

#[test]
fn response_that_announces_missing_tls_adds_none() {
    let nsqd = start();
    nsqd.faults()
        .respond_next("IDENTIFY", frame(0, br#"{"tls_v1":true}"#));
    let mut client = Client::connect(&nsqd);
    client.identify(&TLS_AND_SNAPPY.identify(""));
    client.send(b"\x16\x03\x01\n");
    client.expect(&frame(1, b"E_INVALID invalid command \x16\x03\x01"));
}

#[test]
fn response_that_announces_layers_adds_them_behind_clear_text() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    let response = frame(0, br#"{"tls_v1":true,"deflate":true,"deflate_level":1}"#);
    nsqd.faults()
        .respond_next("IDENTIFY", [&response[..], OK].concat());
    let mut client = Client::connect(&nsqd);
    client.identify("{}");
    client.expect(OK);
    let mut client = client.inside_tls(&authority.client(&TLS13, None));
    client.expect(OK);
    let mut client = Compression::Deflate.add(client);
    client.expect(OK);
    client.send(&publish("t", b"x"));
    client.expect(OK);
}

#[test]
fn failed_identify_adds_no_layer() {
    let nsqd = start();
    nsqd.faults()
        .fail_next("IDENTIFY", "E_FIN_FAILED not fatal");
    let mut client = Client::connect(&nsqd);
    client.send(&identify(&SNAPPY.identify("")));
    client.expect(&error("E_FIN_FAILED not fatal"));
    client.send(&publish("t", b"x"));
    client.expect(OK);
}
