//! AUTH, where the user decides: each answer as a real nsqd 1.3.0 with an auth server gave it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio_rustls::rustls::version::TLS13;

use super::{certificates::*, *};
use crate::embedded::{AuthRequest, AuthServerDown, Grant, TlsClientAuthPolicy};

fn auth(secret: &[u8]) -> Vec<u8> {
    [b"AUTH\n", &size(secret.len())[..], secret].concat()
}

/// An nsqd whose auth server knows three secrets.
fn guarded() -> EmbeddedNsqd {
    let decide = |asked: &AuthRequest| match asked.secret() {
        b"publish" => Ok(Grant::new("a <shop>").publish("orders*")),
        b"subscribe" => Ok(Grant::new("billing")
            .identity_url("http://example.org/?a&b")
            .subscribe("orders", "bills")
            .publish("t")),
        b"down" => Err(AuthServerDown),
        b"never" => Ok(Grant::everything("x").ttl(Duration::ZERO)),
        b"panic" => panic!("the auth server has a fault"),
        _ => Ok(Grant::nothing()),
    };
    EmbeddedNsqd::builder().auth(decide).start().unwrap()
}

/// The answer to this AUTH, and to what is sent behind it, up to the end of the connection.
#[track_caller]
fn check(secret: &[u8], sent: &[u8], answers: &[Vec<u8>]) {
    let nsqd = guarded();
    let mut client = Client::connect(&nsqd);
    client.send(&[&auth(secret), sent].concat());
    client.half_close();
    let (rest, _) = client.rest();
    assert_eq!(rest, answers.concat().escape_ascii().to_string());
}

fn shop() -> Vec<u8> {
    frame(
        0,
        br#"{"identity":"a \u003cshop\u003e","identity_url":"","permission_count":1}"#,
    )
}

fn billing() -> Vec<u8> {
    frame(
        0,
        br#"{"identity":"billing","identity_url":"http://example.org/?a\u0026b","permission_count":2}"#,
    )
}

#[test]
fn who_is_granted_something_is_told_what_and_may_do_that() {
    check(b"publish", &publish("orders", b"x"), &[shop(), OK.to_vec()]);
    check(
        b"publish",
        b"MPUB orders.eu\n\0\0\0\x09\0\0\0\x01\0\0\0\x01xDPUB orders 0\n\0\0\0\x01x",
        &[shop(), OK.to_vec(), OK.to_vec()],
    );
    check(
        b"subscribe",
        b"SUB orders bills\n",
        &[billing(), OK.to_vec()],
    );
}

#[test]
fn who_is_not_is_refused_in_nsqds_words() {
    let refused = |secret: &[u8], text: &str| check(secret, b"", &[error(text)]);
    refused(b"wrong", "E_UNAUTHORIZED AUTH no authorizations found");
    for down in ["down", "never", "panic"] {
        refused(down.as_bytes(), "E_AUTH_FAILED AUTH failed");
    }
    let forbidden = |sent: &[u8], command: &str, names: &str| {
        let text = format!("E_UNAUTHORIZED AUTH failed for {command} on {names}");
        check(b"subscribe", sent, &[billing(), error(&text)]);
    };
    forbidden(&publish("orders", b"x"), "PUB", r#""orders" """#);
    forbidden(b"DPUB orders 5\n\0\0\0\x01x", "DPUB", r#""orders" """#);
    forbidden(b"SUB orders others\n", "SUB", r#""orders" "others""#);
    forbidden(b"SUB t bills\n", "SUB", r#""t" "bills""#);
    // An MPUB before its body, and its topic is not made.
    forbidden(b"MPUB orders\n", "MPUB", r#""orders" """#);
    let nsqd = guarded();
    let mut client = Client::connect(&nsqd);
    client.send(&[auth(b"publish"), b"MPUB secret\n".to_vec()].concat());
    client.rest();
    assert!(nsqd.topics().is_empty());
}

#[test]
fn auth_comes_first() {
    let nsqd = guarded();
    for (command, name) in [
        (&publish("t", b"x")[..], "PUB"),
        (b"DPUB t 5\n\0\0\0\x01x", "DPUB"),
        (b"MPUB t\n", "MPUB"),
        (b"SUB t c\n", "SUB"),
    ] {
        let mut client = Client::connect(&nsqd);
        assert_eq!(
            client.identify(r#"{"feature_negotiation":true}"#)["auth_required"],
            true
        );
        client.send(b"NOP\n");
        client.send(command);
        client.expect(&error(&format!("E_AUTH_FIRST AUTH required before {name}")));
        client.expect_end(End::Eof);
    }
    assert!(nsqd.topics().is_empty());
}

#[test]
fn what_is_malformed_is_told_before_anybody_is_asked() {
    // As nsqd checks them: the names and sizes of a PUB before its sender.
    let nsqd = guarded();
    let first = |sent: &[u8], text: &str| {
        let mut client = Client::connect(&nsqd);
        client.send(sent);
        client.expect(&error(text));
    };
    first(b"PUB $\n", "E_BAD_TOPIC PUB topic name \"$\" is not valid");
    first(
        b"PUB t\n\0\0\0\0",
        "E_BAD_MESSAGE PUB invalid message body size 0",
    );
    first(
        b"SUB t $\n",
        "E_BAD_CHANNEL SUB channel name \"$\" is not valid",
    );
    first(b"AUTH x\n", "E_INVALID AUTH invalid number of parameters");
    first(b"AUTH\n\0\0\0\0", "E_BAD_BODY AUTH invalid body size 0");
}

#[test]
fn auth_is_granted_once() {
    check(
        b"publish",
        &auth(b"publish"),
        &[shop(), error("E_INVALID AUTH already set")],
    );
}

#[test]
fn a_grant_that_has_run_out_is_asked_for_again_and_may_be_taken_back() {
    let asked = Arc::new(AtomicUsize::new(0));
    let answers = Arc::new(Mutex::new(Ok(
        Grant::everything("first").ttl(Duration::from_millis(1))
    )));
    let nsqd = EmbeddedNsqd::builder().auth({
        let (asked, answers) = (Arc::clone(&asked), Arc::clone(&answers));
        move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            answers.lock().unwrap().clone()
        }
    });
    let nsqd = nsqd.start().unwrap();
    let connect = || {
        let mut client = Client::connect(&nsqd);
        client.send(&auth(b"secret"));
        assert_eq!(client.frame().0, 0);
        client
    };
    let mut clients = [connect(), connect(), connect()];
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_millis(2) {
        std::thread::yield_now();
    }
    *answers.lock().unwrap() = Ok(Grant::everything("second"));
    clients[0].send(&publish("t", b"x").repeat(3));
    clients[0].expect(&OK.repeat(3));
    assert_eq!(
        asked.load(Ordering::Relaxed),
        4,
        "once, for it holds an hour"
    );
    assert_eq!(nsqd.connections()[0].auth_identity, "second");

    *answers.lock().unwrap() = Ok(Grant::nothing());
    clients[1].send(b"MPUB t\n");
    clients[1].expect(&error(r#"E_UNAUTHORIZED AUTH failed for MPUB on "t" """#));
    clients[1].expect_end(End::Eof);

    *answers.lock().unwrap() = Err(AuthServerDown);
    clients[2].send(b"SUB t c\n");
    clients[2].expect(&error("E_AUTH_FAILED AUTH failed"));
    clients[2].expect_end(End::Eof);
    assert_eq!(asked.load(Ordering::Relaxed), 6);
    assert_eq!(nsqd.message_count("t"), 3);
}

#[test]
fn an_mpub_is_looked_at_once_however_slowly_its_body_comes() {
    let asked = Arc::new(AtomicUsize::new(0));
    let nsqd = EmbeddedNsqd::builder().auth({
        let asked = Arc::clone(&asked);
        move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok(Grant::everything("x").ttl(Duration::from_nanos(1)))
        }
    });
    let nsqd = nsqd.start().unwrap();
    let mut client = Client::connect(&nsqd);
    client.send(&auth(b"secret"));
    client.frame();
    for byte in b"MPUB t\n\0\0\0\x09\0\0\0\x01\0\0\0\x01x" {
        let before = nsqd.bytes_received();
        client.send(&[*byte]);
        wait(nsqd.wait_until(|nsqd| nsqd.bytes_received() > before));
    }
    client.expect(OK);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn the_decision_sees_who_asks_and_the_connections_tell_who_it_is() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let authority = Authority::new();
    let nsqd = authority
        .nsqd()
        .auth({
            let seen = Arc::clone(&seen);
            move |asked| {
                seen.lock().unwrap().push(asked.clone());
                Ok(Grant::everything("friend"))
            }
        })
        .start()
        .unwrap();
    let mut plain = Client::connect(&nsqd);
    let mut encrypted = Client::encrypted(&nsqd, &authority);
    assert!(!nsqd.connections()[0].authed);
    for client in [&mut plain.0 as &mut dyn Write, &mut encrypted.0] {
        client.write_all(&auth(b"s3cret")).unwrap();
    }
    let granted = frame(
        0,
        br#"{"identity":"friend","identity_url":"","permission_count":1}"#,
    );
    plain.expect(&granted);
    encrypted.expect(&granted);
    for connection in nsqd.connections() {
        assert!(connection.authed);
        assert_eq!(connection.auth_identity, "friend");
    }
    let seen = seen.lock().unwrap();
    let mut tls: Vec<_> = seen
        .iter()
        .map(|asked| (asked.tls, &asked.common_name[..]))
        .collect();
    tls.sort_unstable();
    assert_eq!(tls, [(false, ""), (true, "")]);
    let here = plain.0.local_addr().unwrap();
    assert!(
        seen.iter()
            .any(|asked| asked.peer == here && asked.secret() == b"s3cret")
    );
    // Wherever it is told of, the secret is not.
    for told in [
        format!("{seen:?}"),
        format!("{:?}", nsqd.connections()),
        format!("{:?}", nsqd.commands()),
    ] {
        assert!(
            !told.contains("s3cret") && !told.contains("115, 51"),
            "{told}"
        );
    }
}

#[test]
fn the_decision_sees_the_name_in_a_certificate() {
    let authority = Authority::new();
    let nsqd = authority
        .nsqd()
        .tls_client_auth_policy(TlsClientAuthPolicy::RequireVerify)
        .tls_root_ca_file(authority.file())
        .auth(|asked| Ok(Grant::everything(asked.common_name.clone())))
        .start()
        .unwrap();
    let mut client = Client::connect(&nsqd);
    client.identify(r#"{"feature_negotiation":true,"tls_v1":true}"#);
    let friend = authority.issue("friend of mine");
    let mut client = client.inside_tls(&authority.client(&TLS13, Some(&friend)));
    client.expect(OK);
    client.send(&auth(b"x"));
    client.frame();
    assert_eq!(nsqd.connections()[0].auth_identity, "friend of mine");
}
