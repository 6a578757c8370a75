//! TLS handshakes. The expected errors are those of a real nsqd 1.3.0.

use std::{
    io::{ErrorKind, Read},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use tokio_rustls::rustls::{
    ClientConfig, ProtocolVersion, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

use super::{layered_client::*, *};
use crate::{
    TlsVersion,
    embedded::{EmbeddedNsqdBuilder, TlsClientAuthPolicy},
};

const TLS: &str = r#"{"feature_negotiation":true,"tls_v1":true}"#;

/// Connects a client that has negotiated TLS and not yet begun the handshake.
#[track_caller]
fn before_handshake(nsqd: &EmbeddedNsqd) -> Client {
    let mut client = Client::connect(nsqd);
    assert_eq!(client.identify(TLS)["tls_v1"], true);
    client
}

fn identify_failed(reason: &str) -> Vec<u8> {
    error(&format!("E_IDENTIFY_FAILED IDENTIFY failed {reason}"))
}

/// Asserts that the handshake fails. Returns the error of the client's TLS, and all bytes that the
/// client received.
#[track_caller]
fn handshake_error(nsqd: &EmbeddedNsqd, config: &Arc<ClientConfig>) -> (String, String) {
    let mut client = before_handshake(nsqd).inside_tls(config);
    let mut read = [0; 64];
    let error = client.0.read(&mut read).unwrap_err();
    let error = if error.kind() == ErrorKind::InvalidData {
        error.to_string()
    } else {
        // The connection was closed while the client was writing.
        client.0.conn.read_tls(&mut client.0.sock).unwrap();
        client.0.conn.process_new_packets().unwrap_err().to_string()
    };
    let RecordedSocket { socket, read } = client.0.sock;
    let (rest, _) = Client(socket).rest();
    (error, read.escape_ascii().to_string() + &rest)
}

/// Asserts that a handshake fails with this alert and with nsqd's error in clear text.
#[track_caller]
fn expect_handshake_error(
    nsqd: &EmbeddedNsqd,
    config: &Arc<ClientConfig>,
    alert: &str,
    reason: &str,
) {
    let (error, received) = handshake_error(nsqd, config);
    assert!(error.contains(alert), "{error}");
    let text = identify_failed(reason).escape_ascii().to_string();
    assert!(received.ends_with(&text), "{received}");
}

#[test]
fn tls_is_negotiated_and_listed_with_its_version() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().tls_required(true).start().unwrap();
    for (version, name) in [(&TLS12, "TLS1.2"), (&TLS13, "TLS1.3")] {
        let mut client = before_handshake(&nsqd).inside_tls(&authority.client(version, None));
        client.expect(OK);
        client.send(&publish("t", b"x"));
        client.expect(OK);
        client.send(b"PUB $\n");
        client.expect(&error("E_BAD_TOPIC PUB topic name \"$\" is not valid"));
        // nsqd closes the socket without a close_notify.
        let end = client.0.read(&mut [0]).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
        let connection = nsqd.connections().pop().unwrap();
        assert!(connection.tls && !connection.snappy && !connection.deflate);
        assert_eq!(connection.tls_version, name);
    }
    assert_eq!(nsqd.message_count("t"), 2);
}

#[test]
fn handshake_times_out_after_five_seconds() {
    let nsqd = Authority::new().nsqd().start().unwrap();
    // Neither the heartbeat interval nor received bytes change this timeout.
    let mut clients = [1_000, -1].map(|_| Client::connect(&nsqd));
    nsqd.faults().stall(true);
    for (client, interval) in clients.iter_mut().zip([1_000, -1]) {
        client.send(&identify(&format!(
            r#"{{"feature_negotiation":true,"tls_v1":true,"heartbeat_interval":{interval}}}"#
        )));
    }
    wait(nsqd.wait_for_command("IDENTIFY", 2, TIMEOUT));
    let begin = Instant::now();
    nsqd.faults().stall(false);
    for client in &mut clients {
        assert_eq!(client.frame().0, 0);
    }
    clients[0].send(b"\x16\x03\x01");
    for client in &mut clients {
        let here = client.0.local_addr().unwrap();
        let reason = format!("read tcp {}->{here}: i/o timeout", nsqd.address());
        client.expect(&identify_failed(&reason));
        client.expect_end(End::Eof);
        let took = begin.elapsed();
        assert!((4_900..8_000).contains(&took.as_millis()), "{took:?}");
    }
    wait(nsqd.wait_for_connections(0, TIMEOUT));
}

#[test]
fn version_below_tls_min_version_is_rejected() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().tls_min_version(TlsVersion::Tls13);
    let nsqd = nsqd.start().unwrap();
    expect_handshake_error(
        &nsqd,
        &authority.client(&TLS12, None),
        "ProtocolVersion",
        "tls: client offered only unsupported versions: [303 302 301]",
    );
    before_handshake(&nsqd)
        .inside_tls(&authority.client(&TLS13, None))
        .expect(OK);
}

#[test]
fn policy_require_accepts_a_certificate_of_any_issuer() {
    let authority = Authority::new();
    let nsqd = authority
        .nsqd()
        .tls_client_auth_policy(TlsClientAuthPolicy::Require)
        .start()
        .unwrap();
    let other = Authority::new();
    let foreign = other.issue("foreign");
    for version in VERSIONS {
        let config = authority.client(version, Some(&foreign));
        before_handshake(&nsqd).inside_tls(&config).expect(OK);
        expect_missing_certificate(&nsqd, &authority, version);
    }
    // The policy makes TLS required.
    let mut client = Client::connect(&nsqd);
    client.send(b"NOP\n");
    client.expect(&error(
        "E_INVALID cannot NOP in current state (TLS required)",
    ));
}

#[test]
fn policy_require_verify_accepts_only_known_issuers() {
    let authority = Authority::new();
    let nsqd = authority
        .nsqd()
        .tls_client_auth_policy(TlsClientAuthPolicy::RequireVerify)
        .tls_root_ca_file(authority.file())
        .start()
        .unwrap();
    let other = Authority::new();
    let (known, foreign) = (authority.issue("known"), other.issue("foreign"));
    for version in VERSIONS {
        let config = authority.client(version, Some(&known));
        before_handshake(&nsqd).inside_tls(&config).expect(OK);
        expect_missing_certificate(&nsqd, &authority, version);
        expect_handshake_error(
            &nsqd,
            &authority.client(version, Some(&foreign)),
            "UnknownCA",
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        );
    }
}

#[track_caller]
fn expect_missing_certificate(
    nsqd: &EmbeddedNsqd,
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
) {
    let alert = match version.version {
        ProtocolVersion::TLSv1_3 => "CertificateRequired",
        _ => "HandshakeFailure",
    };
    let config = authority.client(version, None);
    let reason = "tls: client didn't provide a certificate";
    expect_handshake_error(nsqd, &config, alert, reason);
}

#[test]
fn unusable_files_are_named_by_start() {
    let authority = Authority::new();
    let (cert, key) = authority.issue("a");
    let (_, other_key) = authority.issue("b");
    let missing = PathBuf::from("/nowhere/to/be/found.pem");
    let builder = EmbeddedNsqd::builder;
    let fails = |builder: EmbeddedNsqdBuilder, text: &str| {
        let error = builder.start().unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
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
