//! The HTTP server. What `/stats` and the others answer is compared with a real nsqd in
//! `tests/conformance`.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use super::*;

const PING: &[u8] = b"GET /ping HTTP/1.1\r\nHost: nsqd\r\n\r\n";
const PONG: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
                      Content-Length: 2\r\n\r\nOK";

fn start_with_http() -> EmbeddedNsqd {
    let nsqd = EmbeddedNsqd::builder().http_address("127.0.0.1:0");
    nsqd.start().unwrap()
}

fn connect(nsqd: &EmbeddedNsqd) -> Client {
    Client::without_magic(nsqd.http_address().unwrap())
}

/// Sends a request that ends the connection, and returns the response.
fn response(nsqd: &EmbeddedNsqd, request: &[u8]) -> String {
    let mut client = connect(nsqd);
    // Fails if the server has rejected the first part.
    let _ = client.0.write_all(request);
    let mut response = Vec::new();
    let _ = client.0.read_to_end(&mut response);
    String::from_utf8(response).unwrap()
}

#[test]
fn connection_serves_several_requests_in_any_pieces() {
    let nsqd = start_with_http();
    let mut client = connect(&nsqd);
    let with_body = b"GET /ping HTTP/1.1\r\nHost: nsqd\r\nContent-Length: 3\r\n\r\nabc";
    client.send(&[PING, with_body, PING].concat());
    client.expect(&PONG.repeat(3));
    let (first, last) = PING.split_at(9);
    client.send(first);
    client.send(last);
    client.expect(PONG);
    client.send(b"GET /ping HTTP/1.0\r\n\r\n");
    let closed = String::from_utf8_lossy(PONG).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    client.expect(closed.as_bytes());
    client.expect_end(End::Eof);
}

#[test]
fn invalid_request_is_answered_and_ends_the_connection() {
    let nsqd = start_with_http();
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000));
    for (request, status, message) in [
        ("nonsense\r\n\r\n", 400, "BAD_REQUEST"),
        (&long, 431, "REQUEST_HEADER_FIELDS_TOO_LARGE"),
        ("GET / HTTP/1.0\r\n\r\n", 404, "NOT_FOUND"),
        ("POST /ping HTTP/1.0\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let response = response(&nsqd, request.as_bytes());
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
        assert!(head.ends_with("\r\nConnection: close"), "{response}");
        assert_eq!(body, format!(r#"{{"message":"{message}"}}"#));
    }
    let head = response(&nsqd, b"HEAD / HTTP/1.0\r\n\r\n");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

/// It waits for a response to IDENTIFY, and sends no more.
#[test]
fn client_of_the_tcp_port_is_answered_at_once() {
    let nsqd = start_with_http();
    let response = response(&nsqd, b"  V2IDENTIFY\n\0\0\0\x02{}");
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
}

#[test]
fn stop_closes_the_http_port_and_restart_opens_it_again() {
    let nsqd = start_with_http();
    let mut client = connect(&nsqd);
    client.send(PING);
    client.expect(PONG);
    nsqd.stop();
    client.expect_end(End::Eof);
    let refused = TcpStream::connect(nsqd.http_address().unwrap());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    nsqd.restart().unwrap();
    let mut client = connect(&nsqd);
    client.send(PING);
    client.expect(PONG);
    assert_eq!(start().http_address(), None);
}

#[test]
fn frozen_nsqd_answers_no_http_request() {
    let nsqd = start_with_http();
    nsqd.faults().freeze(true);
    let mut client = connect(&nsqd);
    client.send(PING);
    client.expect_silence_for(Duration::from_millis(50));
    nsqd.faults().freeze(false);
    client.expect(PONG);
}
