//! Tests of the embedded nsqlookupd with clients that write raw bytes to blocking sockets.
//!
//! Answers and the protocol are tested in `tests/conformance`, against a real nsqlookupd as well.

mod faults;
mod http;
mod registration;

use std::{
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{EmbeddedLookupd, LookupdFormat, LookupdNode};
use crate::embedded::WaitTimeout;

/// Timeout of every wait: a test that reaches it has failed.
const TIMEOUT: Duration = Duration::from_secs(20);

fn start() -> EmbeddedLookupd {
    EmbeddedLookupd::start().unwrap()
}

#[track_caller]
fn wait<T>(future: impl Future<Output = Result<T, WaitTimeout>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Sends a request that ends the connection, and returns the response.
fn ask(lookupd: &EmbeddedLookupd, request: &str) -> String {
    let mut client = connect(lookupd.http_address());
    client.write_all(request.as_bytes()).unwrap();
    let mut response = Vec::new();
    let _ = client.read_to_end(&mut response);
    String::from_utf8_lossy(&response).into_owned()
}

/// Sends GET with HTTP/1.0, and returns the status and the body.
fn get(lookupd: &EmbeddedLookupd, target: &str) -> (u16, String) {
    let response = ask(lookupd, &format!("GET {target} HTTP/1.0\r\n\r\n"));
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    (status.unwrap_or(0), body.to_owned())
}

/// A connection of an nsqd that has identified itself.
fn nsqd(lookupd: &EmbeddedLookupd, tcp_port: u16) -> TcpStream {
    let mut nsqd = connect(lookupd.tcp_address());
    let json = format!(
        r#"{{"broadcast_address":"127.0.0.1","tcp_port":{tcp_port},"http_port":9,"version":"v"}}"#
    );
    let size = u32::try_from(json.len()).unwrap().to_be_bytes();
    let identify = [b"  V1IDENTIFY\n", &size[..], json.as_bytes()].concat();
    nsqd.write_all(&identify).unwrap();
    let mut response = [0; 4];
    nsqd.read_exact(&mut response).unwrap();
    let mut body = vec![0; u32::from_be_bytes(response) as usize];
    nsqd.read_exact(&mut body).unwrap();
    assert!(body.starts_with(b"{\"broadcast_address\":\"127.0.0.1\""));
    nsqd
}

fn command(nsqd: &mut TcpStream, command: &str) {
    nsqd.write_all(format!("{command}\n").as_bytes()).unwrap();
    let mut response = [0; 6];
    nsqd.read_exact(&mut response).unwrap();
    assert_eq!(&response, b"\0\0\0\x02OK", "{command}");
}
