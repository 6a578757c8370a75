//! Promises of the embedded nsqd, told with raw bytes over blocking sockets.

mod auth;
mod certificates;
mod channels;
mod clock;
mod consumer;
mod consuming;
mod cuts;
mod faults;
mod handle;
mod handshakes;
mod identify;
mod layers;
mod layers_cut;
mod protocol;
mod told;

use std::{
    future::Future,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use super::{EmbeddedNsqd, EmbeddedNsqdBuilder};

const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";
const HEARTBEAT: &[u8] = b"\0\0\0\x0f\0\0\0\0_heartbeat_";

/// Longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn start() -> EmbeddedNsqd {
    EmbeddedNsqd::start().unwrap()
}

/// A future, waited for on a runtime of its own: the embedded nsqd lives on another.
#[track_caller]
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, future).await })
        .expect("it never came")
}

fn publish(topic: &str, body: &[u8]) -> Vec<u8> {
    [format!("PUB {topic}\n").as_bytes(), &size(body.len()), body].concat()
}

fn identify(json: &str) -> Vec<u8> {
    [b"IDENTIFY\n", &size(json.len())[..], json.as_bytes()].concat()
}

fn size(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap().to_be_bytes()
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&size(payload.len() + 4)[..], &[0, 0, 0, kind], payload].concat()
}

fn error(text: &str) -> Vec<u8> {
    frame(1, text.as_bytes())
}

/// How a connection ended.
#[derive(Debug, PartialEq)]
enum End {
    Eof,
    Reset,
}

struct Client<S = TcpStream>(S);

impl Client {
    /// A connection that has sent the magic, and has been noticed.
    fn connect(nsqd: &EmbeddedNsqd) -> Self {
        let mut client = Self::silent(nsqd.address());
        client.send(b"  V2");
        let here = client.0.local_addr().unwrap();
        wait(nsqd.wait_until(|nsqd| nsqd.connections().iter().any(|c| c.peer == here && c.magic)));
        client
    }

    fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Nothing has come. Only of use when something that would have come is known to have been
    /// done.
    #[track_caller]
    fn expect_silence(&mut self) {
        self.0.set_nonblocking(true).unwrap();
        let read = self.0.read(&mut [0; 64]);
        assert_eq!(
            read.map_err(|error| error.kind()),
            Err(ErrorKind::WouldBlock)
        );
        self.0.set_nonblocking(false).unwrap();
    }

    fn half_close(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}

impl<S: Read + Write> Client<S> {
    /// May fail where the other side hangs up: what it said is to be read all the same.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    #[track_caller]
    fn expect(&mut self, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        self.0.read_exact(&mut read).unwrap();
        assert_eq!(
            read.escape_ascii().to_string(),
            bytes.escape_ascii().to_string()
        );
    }

    #[track_caller]
    fn expect_end(&mut self, end: End) {
        assert_eq!(self.rest(), (String::new(), end));
    }

    /// All that comes until the end.
    #[track_caller]
    fn rest(&mut self) -> (String, End) {
        let mut read = Vec::new();
        let end = match self.0.read_to_end(&mut read) {
            Ok(_) => End::Eof,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
            Err(error) => panic!("{error}, after {:?}", read.escape_ascii().to_string()),
        };
        (read.escape_ascii().to_string(), end)
    }

    /// The next frame: its type, and what is in it.
    #[track_caller]
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 8];
        self.0.read_exact(&mut head).unwrap();
        let size = u32::from_be_bytes(head[..4].try_into().unwrap());
        let mut payload = vec![0; size as usize - 4];
        self.0.read_exact(&mut payload).unwrap();
        (head[7], payload)
    }

    /// The answer to an IDENTIFY that has just been sent with this JSON.
    #[track_caller]
    fn identify(&mut self, json: &str) -> serde_json::Value {
        self.send(&identify(json));
        let (kind, answer) = self.frame();
        let text = String::from_utf8(answer).unwrap();
        assert_eq!(kind, 0, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}
