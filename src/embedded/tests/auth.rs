//! AUTH, beyond what the conformance table covers.

use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio_rustls::rustls::version::TLS13;

use super::{layered_client::*, *};
use crate::embedded::{AuthServerDown, Grant, TlsClientAuthPolicy};

fn auth(secret: &[u8]) -> Vec<u8> {
    [b"AUTH\n", &size(secret.len())[..], secret].concat()
}

#[test]
fn panic_of_the_auth_function_fails_auth() {
    let nsqd = EmbeddedNsqd::builder().auth(|_| panic!("a panic of the auth function"));
    let nsqd = nsqd.start().unwrap();
    let mut client = Client::connect(&nsqd);
    client.send(&auth(b"secret"));
    client.expect(&error("E_AUTH_FAILED AUTH failed"));
    client.expect_end(End::Eof);
}

#[test]
fn unauthorized_mpub_does_not_create_its_topic() {
    let nsqd = EmbeddedNsqd::builder().auth(|_| Ok(Grant::new("shop").publish("orders")));
    let nsqd = nsqd.start().unwrap();
    let mut client = Client::connect(&nsqd);
    client.send(b"MPUB orders\n");
    client.expect(&error("E_AUTH_FIRST AUTH required before MPUB"));
    let mut client = Client::connect(&nsqd);
    client.send(&[auth(b"secret"), b"MPUB others\n".to_vec()].concat());
    client.rest();
    assert!(nsqd.topics().is_empty());
}

#[test]
fn expired_grant_is_renewed_and_may_be_revoked() {
    let calls = Arc::new(AtomicUsize::new(0));
    let result = Arc::new(Mutex::new(Ok(
        Grant::everything("first").ttl(Duration::from_millis(1))
    )));
    let nsqd = EmbeddedNsqd::builder().auth({
        let (calls, result) = (Arc::clone(&calls), Arc::clone(&result));
        move |_| {
            calls.fetch_add(1, Ordering::Relaxed);
            result.lock().unwrap().clone()
        }
    });
    let nsqd = nsqd.start().unwrap();
    let mut clients = [(); 3].map(|()| {
        let mut client = Client::connect(&nsqd);
        client.send(&auth(b"secret"));
        assert_eq!(client.frame().0, 0);
        client
    });
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    thread::sleep(Duration::from_millis(2));
    *result.lock().unwrap() = Ok(Grant::everything("second"));
    clients[0].send(&publish("t", b"x").repeat(3));
    clients[0].expect(&OK.repeat(3));
    assert_eq!(
        calls.load(Ordering::Relaxed),
        4,
        "the second grant is valid for an hour"
    );
    assert_eq!(nsqd.connections()[0].auth_identity, "second");

    *result.lock().unwrap() = Ok(Grant::nothing());
    clients[1].send(b"MPUB t\n");
    clients[1].expect(&error(r#"E_UNAUTHORIZED AUTH failed for MPUB on "t" """#));
    clients[1].expect_end(End::Eof);

    *result.lock().unwrap() = Err(AuthServerDown);
    clients[2].send(b"SUB t c\n");
    clients[2].expect(&error("E_AUTH_FAILED AUTH failed"));
    clients[2].expect_end(End::Eof);
    assert_eq!(calls.load(Ordering::Relaxed), 6);
    assert_eq!(nsqd.message_count("t"), 3);
}

#[test]
fn mpub_is_authorized_once_however_slowly_its_body_arrives() {
    let calls = Arc::new(AtomicUsize::new(0));
    let nsqd = EmbeddedNsqd::builder().auth({
        let calls = Arc::clone(&calls);
        move |_| {
            calls.fetch_add(1, Ordering::Relaxed);
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
        wait(nsqd.wait_until(TIMEOUT, |nsqd| nsqd.bytes_received() > before));
    }
    client.expect(OK);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn auth_request_describes_the_client_and_debug_hides_secrets() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let authority = Authority::new();
    let nsqd = authority
        .nsqd()
        .auth({
            let requests = Arc::clone(&requests);
            move |request| {
                requests.lock().unwrap().push(request.clone());
                Ok(Grant::everything("known"))
            }
        })
        .start()
        .unwrap();
    let mut plain = Client::connect(&nsqd);
    let mut encrypted = Client::with_tls(&nsqd, &authority);
    assert!(!nsqd.connections()[0].authed);
    for client in [&mut plain.0 as &mut dyn Write, &mut encrypted.0] {
        client.write_all(&auth(b"s3cret")).unwrap();
    }
    let granted = frame(
        0,
        br#"{"identity":"known","identity_url":"","permission_count":1}"#,
    );
    plain.expect(&granted);
    encrypted.expect(&granted);
    for connection in nsqd.connections() {
        assert!(connection.authed);
        assert_eq!(connection.auth_identity, "known");
    }
    let requests = requests.lock().unwrap();
    let here = plain.0.local_addr().unwrap();
    for request in requests.iter() {
        assert_eq!(request.secret(), b"s3cret");
        assert_eq!(request.tls, request.peer != here);
        assert_eq!(request.common_name, "");
    }
    for text in [
        format!("{requests:?}"),
        format!("{:?}", nsqd.connections()),
        format!("{:?}", nsqd.commands()),
    ] {
        assert!(
            !text.contains("s3cret") && !text.contains("115, 51"),
            "{text}"
        );
    }
}

#[test]
fn auth_request_has_the_common_name_of_the_certificate() {
    let authority = Authority::new();
    let nsqd = authority
        .nsqd()
        .tls_client_auth_policy(TlsClientAuthPolicy::RequireVerify)
        .tls_root_ca_file(authority.file())
        .auth(|request| Ok(Grant::everything(request.common_name.clone())))
        .start()
        .unwrap();
    let mut client = Client::connect(&nsqd);
    client.identify(r#"{"feature_negotiation":true,"tls_v1":true}"#);
    let certificate = authority.issue("known client");
    let mut client = client.inside_tls(&authority.client(&TLS13, Some(&certificate)));
    client.expect(OK);
    client.send(&auth(b"x"));
    client.frame();
    assert_eq!(nsqd.connections()[0].auth_identity, "known client");
}
