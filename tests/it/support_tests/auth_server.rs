//! The auth server of the tests is held to its word, since tests of AUTH believe it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::auth_server::{Asked, AuthServer, Grant, LOOKER, Mood};

/// Asks as nsqd does; status and body, or `None` when nobody answers.
fn ask(server: &AuthServer, request: &str) -> Option<(String, Value)> {
    let mut stream = TcpStream::connect(server.address()).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.to_owned();
    Some((status, serde_json::from_str(body).ok()?))
}

fn get(server: &AuthServer, secret: &str) -> Option<(String, Value)> {
    let query = format!("common_name=teller&remote_ip=127.0.0.1&secret={secret}&tls=true");
    let request = format!("GET /auth?{query} HTTP/1.1\r\nHost: authd\r\n\r\n");
    ask(server, &request)
}

#[test]
fn a_secret_is_good_for_what_it_was_granted_until_it_is_revoked() {
    let server = AuthServer::start().unwrap();
    let grant = Grant::topics("teller", &["a", "*"]).for_seconds(7);
    server.authority().grant("sesame & salt", grant);

    let (status, told) = get(&server, "sesame+%26%20salt").unwrap();
    assert_eq!(status, "200");
    assert_eq!(told["identity"], "teller");
    assert_eq!(told["ttl"], 7);
    let topics: Vec<_> = told["authorizations"].as_array().unwrap().iter().collect();
    assert_eq!([&topics[0]["topic"], &topics[1]["topic"]], ["^a$", ".*"]);
    assert_eq!(topics[0]["permissions"], json!(["publish", "subscribe"]));

    server.authority().revoke("sesame & salt");
    let (status, told) = get(&server, "sesame+%26%20salt").unwrap();
    assert_eq!((&status[..], &told["authorizations"]), ("200", &json!([])));
}

#[test]
fn it_counts_what_it_is_asked_by_get_and_by_post_but_not_who_only_looks() {
    let server = AuthServer::start().unwrap();
    get(&server, "one").unwrap();
    get(&server, &LOOKER.replace(' ', "+")).unwrap();
    let form = "secret=two&tls=false&common_name=";
    let length = form.len();
    let post = format!("POST /auth HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{form}");
    ask(&server, &post).unwrap();
    let asked = |method: &str, secret: &str, tls, common_name: &str| Asked {
        method: method.to_owned(),
        secret: secret.to_owned(),
        tls,
        common_name: common_name.to_owned(),
    };
    let both = [
        asked("GET", "one", true, "teller"),
        asked("POST", "two", false, ""),
    ];
    assert_eq!(server.authority().asked(), both);
}

#[test]
fn it_is_down_broken_slow_and_well_again_when_it_is_told_to() {
    let mut server = AuthServer::start().unwrap();
    server
        .authority()
        .grant("sesame", Grant::everything("teller"));
    let asked = |secret: &str| Asked {
        method: "GET".to_owned(),
        secret: secret.to_owned(),
        tls: false,
        common_name: String::new(),
    };
    for _ in 0..3 {
        server.set(Mood::Down);
        assert!(TcpStream::connect(server.address()).is_err());
        assert!(server.authority().ask(asked("sesame")).is_err());
        server.set(Mood::Broken(500));
        assert_eq!(get(&server, "sesame").unwrap().0, "500");
        assert!(server.authority().ask(asked("sesame")).is_err());
        server.set(Mood::Well);
        assert_eq!(get(&server, "sesame").unwrap().1["identity"], "teller");
        assert_eq!(
            server.authority().ask(asked("sesame")),
            Ok(Some(Grant::everything("teller")))
        );
        assert_eq!(server.authority().ask(asked("wrong")), Ok(None));
    }
    let delay = Duration::from_millis(50);
    server.set(Mood::Slow(delay));
    let began = Instant::now();
    assert_eq!(get(&server, "sesame").unwrap().1["identity"], "teller");
    assert!(began.elapsed() >= delay);
}
