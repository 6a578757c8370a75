//! An nsqd that lies about its layers: what it answers to IDENTIFY is what it then does, as far as it can.

use tokio_rustls::rustls::version::TLS13;

use super::{
    certificates::*,
    layers::{How, asking},
    *,
};

#[test]
fn an_answer_that_declines_what_was_asked_for_is_kept_to() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    nsqd.faults()
        .respond_next("IDENTIFY", frame(0, br#"{"tls_v1":false,"snappy":false}"#));
    let mut client = Client::connect(&nsqd);
    assert_eq!(
        client.identify(&asking(true, How::Snappy, ""))["tls_v1"],
        false
    );
    client.send(&publish("t", b"in clear text"));
    client.expect(OK);
    // So it is with one that is no JSON.
    nsqd.faults().respond_next("IDENTIFY", OK);
    let mut client = Client::connect(&nsqd);
    client.send(&[identify(&asking(true, How::Plain, "")), publish("t", b"x")].concat());
    client.expect(&OK.repeat(2));
}

#[test]
fn tls_can_be_promised_where_there_is_none() {
    let nsqd = start();
    nsqd.faults()
        .respond_next("IDENTIFY", frame(0, br#"{"tls_v1":true}"#));
    let mut client = Client::connect(&nsqd);
    assert_eq!(
        client.identify(&asking(true, How::Plain, ""))["tls_v1"],
        true
    );
    client.send(b"\x16\x03\x01\n");
    client.expect(&frame(1, b"E_INVALID invalid command \x16\x03\x01"));
}

#[test]
fn clear_text_behind_the_answer_does_not_keep_it_from_going_on_as_told() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    let answer = frame(0, br#"{"tls_v1":true,"deflate":true,"deflate_level":1}"#);
    nsqd.faults()
        .respond_next("IDENTIFY", [&answer[..], OK].concat());
    let mut client = Client::connect(&nsqd);
    client.identify(&asking(true, How::Deflate, ""));
    // One who does not mind finds what it was promised.
    client.expect(OK);
    let mut client = client.inside_tls(&authority.client(&TLS13, None));
    client.expect(OK);
    let mut client = Client(How::Deflate.squeeze(client.0));
    client.expect(OK);
    client.send(&publish("t", b"x"));
    client.expect(OK);
}

#[test]
fn layers_can_be_put_on_that_nobody_asked_for() {
    let nsqd = start();
    nsqd.faults()
        .respond_next("IDENTIFY", frame(0, br#"{"snappy":true}"#));
    let mut client = Client::connect(&nsqd);
    client.identify("{}");
    Client(How::Snappy.squeeze(client.0)).expect(OK);
}

#[test]
fn a_refused_identify_puts_nothing_on() {
    let nsqd = start();
    nsqd.faults()
        .fail_next("IDENTIFY", "E_FIN_FAILED not fatal");
    let mut client = Client::connect(&nsqd);
    client.send(&identify(&asking(false, How::Snappy, "")));
    client.expect(&error("E_FIN_FAILED not fatal"));
    client.send(&publish("t", b"x"));
    client.expect(OK);
}
