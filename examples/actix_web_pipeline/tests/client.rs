//! A small HTTP client with one connection per request.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// Timeout for what normally takes milliseconds, on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

const JSON: &str = "application/json; charset=utf-8";

#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    head: String,
    body: String,
}

impl Response {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut headers = headers.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        headers.next().map(|(_, value)| value)
    }

    pub(super) fn body(&self) -> &str {
        &self.body
    }
}

pub(super) async fn get(address: SocketAddr, path: &str) -> Response {
    exchange(address, "GET", path, Some(JSON), "").await
}

pub(super) async fn post(address: SocketAddr, path: &str, body: &Value) -> Response {
    post_as(address, path, Some(JSON), body).await
}

pub(super) async fn post_as(
    address: SocketAddr,
    path: &str,
    content_type: Option<&str>,
    body: &Value,
) -> Response {
    exchange(address, "POST", path, content_type, &body.to_string()).await
}

async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    content_type: Option<&str>,
    body: &str,
) -> Response {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let content_type = content_type.map(|name| format!("Content-Type: {name}\r\n"));
    let content_type = content_type.unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         {content_type}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    let read = stream.read_to_string(&mut response);
    timeout(PATIENCE, read).await.expect("a response").unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    Response {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// An open event stream.
#[derive(Debug)]
pub(super) struct Stream(BufReader<TcpStream>);

impl Stream {
    pub(super) async fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET /events HTTP/1.1\r\nHost: test\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// Reads until the data of the next event.
    pub(super) async fn event(&mut self) -> Value {
        let data = async {
            loop {
                let mut line = String::new();
                assert_ne!(self.0.read_line(&mut line).await.unwrap(), 0, "it ended");
                if let Some(json) = line.strip_prefix("data: ") {
                    break serde_json::from_str(json).unwrap();
                }
            }
        };
        timeout(PATIENCE, data).await.expect("an event")
    }

    /// Reads until the end of the stream.
    pub(super) async fn end(mut self) {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        read.expect("the stream ends").unwrap();
        // The last chunk: the response is complete.
        assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "it was cut off");
    }
}

/// Polls until `look` returns something.
pub(super) async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
