//! TLS, from the IDENTIFY that asks for it to the OK inside, and what goes wrong on the way: each as a real nsqd 1.3.0 did it.

use std::{path::PathBuf, sync::Arc, time::Instant};

use tokio_rustls::rustls::{
    ClientConfig, ProtocolVersion, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

use super::{certificates::*, *};
use crate::TlsVersion;
use crate::embedded::TlsClientAuthPolicy;

const TLS: &str = r#"{"feature_negotiation":true,"tls_v1":true}"#;

/// A client that has asked for TLS and been answered, outside of it yet.
#[track_caller]
fn asked(nsqd: &EmbeddedNsqd) -> Client {
    let mut client = Client::connect(nsqd);
    assert_eq!(client.identify(TLS)["tls_v1"], true);
    client
}

fn failed(why: &str) -> Vec<u8> {
    error(&format!("E_IDENTIFY_FAILED IDENTIFY failed {why}"))
}

/// This client fails in its handshake, or just behind it. What its TLS says, and all that came over the wire.
#[track_caller]
fn failure(nsqd: &EmbeddedNsqd, config: &Arc<ClientConfig>) -> (String, String) {
    let mut client = asked(nsqd).inside_tls(config);
    let mut read = [0; 64];
    let error = client.0.read(&mut read).unwrap_err();
    let complaint = if error.kind() == ErrorKind::InvalidData {
        error.to_string()
    } else {
        // It was refused while it was writing.
        client.0.conn.read_tls(&mut client.0.sock).unwrap();
        client.0.conn.process_new_packets().unwrap_err().to_string()
    };
    let Recorded { socket, read } = client.0.sock;
    let (rest, _) = Client(socket).rest();
    (complaint, read.escape_ascii().to_string() + &rest)
}

#[test]
fn who_asks_for_tls_gets_it_and_is_told_ok_inside() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    for (version, told) in [(&TLS12, "TLS1.2"), (&TLS13, "TLS1.3")] {
        let mut client = asked(&nsqd).inside_tls(&authority.client(version, None));
        client.expect(OK);
        client.send(&publish("t", b"x"));
        client.expect(OK);
        client.send(b"PUB $\n");
        client.expect(&error("E_BAD_TOPIC PUB topic name \"$\" is not valid"));
        // nsqd closes the socket, and says nothing of it inside TLS.
        let end = client.0.read(&mut [0]).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
        let connection = nsqd.connections().pop().unwrap();
        assert!(connection.tls && !connection.snappy && !connection.deflate);
        assert_eq!(connection.tls_version, told);
    }
    assert_eq!(nsqd.message_count("t"), 2);
}

#[test]
fn who_does_not_ask_for_tls_goes_on_without() {
    let nsqd = Authority::new().nsqd().start().unwrap();
    let mut client = Client::connect(&nsqd);
    let answer = client.identify(r#"{"feature_negotiation":true}"#);
    assert_eq!(answer["tls_v1"], false);
    client.send(&identify(r#"{"tls_v1":true}"#));
    client.expect(OK);
    client.send(&publish("t", b"x"));
    client.expect(OK);
    let connection = nsqd.connections().pop().unwrap();
    assert!(!connection.tls && connection.tls_version.is_empty());
}

#[test]
fn what_came_together_with_the_identify_is_lost_as_in_nsqd() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    let mut client = Client::connect(&nsqd);
    client.send(&[identify(TLS), publish("t", b"lost")].concat());
    assert_eq!(client.frame().0, 0);
    let mut client = client.inside_tls(&authority.client(&TLS13, None));
    client.expect(OK);
    assert_eq!(nsqd.message_count("t"), 0);
}

#[test]
fn what_is_no_handshake_is_refused_in_clear_text() {
    let nsqd = Authority::new().nsqd().start().unwrap();
    let refused = |sent: &[u8], why: &str| {
        let mut client = asked(&nsqd);
        client.send(sent);
        client.half_close();
        let (rest, _) = client.rest();
        assert_eq!(rest, failed(why).escape_ascii().to_string());
    };
    refused(
        &publish("t", b"x"),
        "tls: first record does not look like a TLS handshake",
    );
    refused(b"PUB", "unexpected EOF");
    refused(b"", "EOF");
    refused(b"\x16\x03\x01\x00\x50abc", "unexpected EOF");
    refused(
        b"\x15\x03\x03\x00\x02\x02\x28",
        "remote error: tls: handshake failure",
    );
    assert_eq!(nsqd.message_count("t"), 0);
    assert!(nsqd.connections().iter().all(|connection| !connection.tls));
}

#[test]
fn a_handshake_may_take_five_seconds() {
    let nsqd = Authority::new().nsqd().start().unwrap();
    // Neither two of its heartbeat intervals decide, nor that it has none; nor what it has sent, nor that it is silent.
    let mut clients = [1_000, -1].map(|interval| {
        let client = Client::connect(&nsqd);
        (
            client,
            format!(
                r#"{{"feature_negotiation":true,"tls_v1":true,"heartbeat_interval":{interval}}}"#
            ),
        )
    });
    nsqd.faults().stall(true);
    for (client, json) in &mut clients {
        client.send(&identify(json));
    }
    wait(nsqd.wait_for_command("IDENTIFY", 2));
    let begin = Instant::now();
    nsqd.faults().stall(false);
    for (client, _) in &mut clients {
        assert_eq!(client.frame().0, 0);
    }
    clients[0].0.send(b"\x16\x03\x01");
    for (client, _) in &mut clients {
        let here = client.0.local_addr().unwrap();
        let words = failed(&format!("read tcp {}->{here}: i/o timeout", nsqd.address()));
        client.expect(&words);
        client.expect_end(End::Eof);
        let took = begin.elapsed();
        assert!((4_900..8_000).contains(&took.as_millis()), "{took:?}");
    }
    wait(nsqd.wait_for_connections(0));
}

#[test]
fn where_tls_is_a_must_nothing_but_identify_is_heard_without() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().tls_required(true).start().unwrap();
    for command in [
        "PUB t\n", "NOP\n", "MPUB t\n", "CLS\n", "AUTH\n", "x y\n", "\n",
    ] {
        let mut client = Client::connect(&nsqd);
        assert_eq!(
            client.identify(r#"{"feature_negotiation":true}"#)["tls_v1"],
            false
        );
        client.send(command.as_bytes());
        let name = command.split([' ', '\n']).next().unwrap();
        let words = format!("E_INVALID cannot {name} in current state (TLS required)");
        client.expect(&error(&words));
        client.expect_end(End::Eof);
    }
    assert!(nsqd.topics().is_empty());
    let mut client = Client::encrypted(&nsqd, &authority);
    client.send(&publish("t", b"x"));
    client.expect(OK);
}

#[test]
fn a_version_below_the_lowest_is_refused() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().tls_min_version(TlsVersion::Tls13);
    let nsqd = nsqd.start().unwrap();
    let (complaint, came) = failure(&nsqd, &authority.client(&TLS12, None));
    assert!(complaint.contains("ProtocolVersion"), "{complaint}");
    let words = failed("tls: client offered only unsupported versions: [303 302 301]");
    assert!(came.ends_with(&words.escape_ascii().to_string()), "{came}");
    asked(&nsqd)
        .inside_tls(&authority.client(&TLS13, None))
        .expect(OK);
}

#[test]
fn a_certificate_that_is_required_may_be_anybodys_and_must_be_there() {
    let authority = Authority::new();
    let nsqd = authority
        .nsqd()
        .tls_client_auth_policy(TlsClientAuthPolicy::Require)
        .start()
        .unwrap();
    let other = Authority::new();
    let stranger = other.issue("stranger");
    for version in VERSIONS {
        let config = authority.client(version, Some(&stranger));
        asked(&nsqd).inside_tls(&config).expect(OK);
        check_missing(&nsqd, &authority, version);
    }
    // And TLS is a must.
    let mut client = Client::connect(&nsqd);
    client.send(b"NOP\n");
    client.expect(&error(
        "E_INVALID cannot NOP in current state (TLS required)",
    ));
}

#[test]
fn a_certificate_that_is_verified_must_come_from_the_authority() {
    let authority = Authority::new();
    let nsqd = authority
        .nsqd()
        .tls_client_auth_policy(TlsClientAuthPolicy::RequireVerify)
        .tls_root_ca_file(authority.file())
        .start()
        .unwrap();
    let other = Authority::new();
    let (friend, stranger) = (authority.issue("friend"), other.issue("stranger"));
    for version in VERSIONS {
        let config = authority.client(version, Some(&friend));
        asked(&nsqd).inside_tls(&config).expect(OK);
        check_missing(&nsqd, &authority, version);
        let (complaint, came) = failure(&nsqd, &authority.client(version, Some(&stranger)));
        assert!(complaint.contains("UnknownCA"), "{complaint}");
        let words = failed(
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        );
        assert!(came.ends_with(&words.escape_ascii().to_string()), "{came}");
    }
}

/// In TLS 1.3 the client takes the handshake for done, and reads of the refusal later.
#[track_caller]
fn check_missing(
    nsqd: &EmbeddedNsqd,
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
) {
    let (complaint, came) = failure(nsqd, &authority.client(version, None));
    let alert = match version.version {
        ProtocolVersion::TLSv1_3 => "CertificateRequired",
        _ => "HandshakeFailure",
    };
    assert!(complaint.contains(alert), "{complaint}");
    let words = failed("tls: client didn't provide a certificate");
    assert!(came.ends_with(&words.escape_ascii().to_string()), "{came}");
}

#[test]
fn files_that_do_not_fit_are_named_before_anything_starts() {
    let authority = Authority::new();
    let (cert, key) = authority.issue("a");
    let (_, other_key) = authority.issue("b");
    let missing = PathBuf::from("/nowhere/to/be/found.pem");
    let builder = EmbeddedNsqd::builder;
    let fails = |builder: EmbeddedNsqdBuilder, word: &str| {
        let error = builder.start().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    fails(builder().tls_cert(&cert).tls_key(&missing), "found.pem");
    fails(builder().tls_cert(&missing).tls_key(&key), "found.pem");
    fails(
        builder().tls_cert(&key).tls_key(&key),
        "a.key: no certificate found",
    );
    fails(
        builder().tls_cert(&cert).tls_key(&other_key),
        "not the key of --tls-cert",
    );
    fails(
        builder().tls_cert(&cert).tls_key(&cert),
        "a.pem: no private key found",
    );
    fails(builder().tls_cert(&cert), "must be set together");
    fails(builder().tls_required(true), "TLS is required");
    let verifying = authority
        .nsqd()
        .tls_client_auth_policy(TlsClientAuthPolicy::RequireVerify);
    fails(verifying.tls_root_ca_file(&missing), "found.pem");
}
