//! A client that writes raw bytes to a blocking socket.

use std::{
    future::Future,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use crate::embedded::{EmbeddedNsqd, WaitTimeout};

pub(super) const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";
pub(super) const HEARTBEAT: &[u8] = b"\0\0\0\x0f\0\0\0\0_heartbeat_";

/// Timeout of every wait: a test that reaches it has failed.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn start() -> EmbeddedNsqd {
    EmbeddedNsqd::start().unwrap()
}

/// Runs a future on a runtime of its own.
#[track_caller]
pub(super) fn wait<T>(future: impl Future<Output = Result<T, WaitTimeout>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future).unwrap()
}

pub(super) fn publish(topic: &str, body: &[u8]) -> Vec<u8> {
    [format!("PUB {topic}\n").as_bytes(), &size(body.len()), body].concat()
}

pub(super) fn identify(json: &str) -> Vec<u8> {
    [b"IDENTIFY\n", &size(json.len())[..], json.as_bytes()].concat()
}

pub(super) fn size(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap().to_be_bytes()
}

pub(super) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&size(payload.len() + 4)[..], &[0, 0, 0, kind], payload].concat()
}

pub(super) fn error(text: &str) -> Vec<u8> {
    frame(1, text.as_bytes())
}

/// Publishes messages one by one.
pub(super) fn publish_all(nsqd: &EmbeddedNsqd, topic: &str, bodies: &[&str]) {
    let mut client = Client::connect(nsqd);
    for body in bodies {
        client.send(&publish(topic, body.as_bytes()));
        client.expect(OK);
    }
}

/// How a connection ended.
#[derive(Debug, PartialEq)]
pub(super) enum End {
    Eof,
    Reset,
}

pub(super) struct Client<S = TcpStream>(pub(super) S);

impl Client {
    /// Connects, sends the magic, and waits until nsqd has read it.
    pub(super) fn connect(nsqd: &EmbeddedNsqd) -> Self {
        let mut client = Self::without_magic(nsqd.address());
        client.send(b"  V2");
        let here = client.0.local_addr().unwrap();
        wait(nsqd.wait_until(TIMEOUT, |nsqd| {
            nsqd.connections().iter().any(|c| c.peer == here && c.magic)
        }));
        client
    }

    /// Connects, and negotiates one heartbeat per second.
    pub(super) fn with_heartbeats(nsqd: &EmbeddedNsqd) -> Self {
        let mut client = Self::connect(nsqd);
        client.send(&identify(r#"{"heartbeat_interval":1000}"#));
        client.expect(OK);
        client
    }

    /// Connects a consumer with this RDY count.
    pub(super) fn consumer(nsqd: &EmbeddedNsqd, topic: &str, channel: &str, ready: usize) -> Self {
        let mut client = Self::connect(nsqd);
        client.subscribe(topic, channel, ready);
        client
    }

    pub(super) fn without_magic(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Asserts that nothing has arrived. Call it after something that proves that nsqd has
    /// processed the commands.
    #[track_caller]
    pub(super) fn expect_silence(&mut self) {
        self.0.set_nonblocking(true).unwrap();
        let read = self.0.read(&mut [0; 64]);
        assert_eq!(
            read.map_err(|error| error.kind()),
            Err(ErrorKind::WouldBlock)
        );
        self.0.set_nonblocking(false).unwrap();
    }

    /// Asserts that nothing arrives within this time.
    #[track_caller]
    pub(super) fn expect_silence_for(&mut self, time: Duration) {
        self.0.set_read_timeout(Some(time)).unwrap();
        let error = self.0.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.0.set_read_timeout(Some(TIMEOUT)).unwrap();
    }

    pub(super) fn shut_down_write(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}

impl<S: Read + Write> Client<S> {
    /// Ignores errors: nsqd may close the connection before it reads everything.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    #[track_caller]
    pub(super) fn expect(&mut self, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        self.0.read_exact(&mut read).unwrap();
        assert_eq!(
            read.escape_ascii().to_string(),
            bytes.escape_ascii().to_string()
        );
    }

    #[track_caller]
    pub(super) fn expect_end(&mut self, end: End) {
        assert_eq!(self.rest(), (String::new(), end));
    }

    /// Reads until the end of the connection.
    #[track_caller]
    pub(super) fn rest(&mut self) -> (String, End) {
        let mut read = Vec::new();
        let end = match self.0.read_to_end(&mut read) {
            Ok(_) => End::Eof,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
            Err(error) => panic!("{error}, after {:?}", read.escape_ascii().to_string()),
        };
        (read.escape_ascii().to_string(), end)
    }

    /// Reads a frame: its type and payload.
    #[track_caller]
    pub(super) fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 8];
        self.0.read_exact(&mut head).unwrap();
        let size = u32::from_be_bytes(head[..4].try_into().unwrap());
        let mut payload = vec![0; size as usize - 4];
        self.0.read_exact(&mut payload).unwrap();
        (head[7], payload)
    }

    /// Sends IDENTIFY, and returns the JSON of the response.
    #[track_caller]
    pub(super) fn identify(&mut self, json: &str) -> serde_json::Value {
        self.send(&identify(json));
        let (kind, response) = self.frame();
        let text = String::from_utf8(response).unwrap();
        assert_eq!(kind, 0, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[track_caller]
    pub(super) fn subscribe(&mut self, topic: &str, channel: &str, ready: usize) {
        self.send(format!("SUB {topic} {channel}\nRDY {ready}\n").as_bytes());
        self.expect(OK);
    }

    /// Reads a message: its id, attempts and body.
    #[track_caller]
    pub(super) fn message(&mut self) -> (String, u16, String) {
        let (kind, payload) = self.frame();
        assert_eq!(kind, 2, "{}", payload.escape_ascii());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let attempts = u16::from_be_bytes([payload[8], payload[9]]);
        (text(&payload[10..26]), attempts, text(&payload[26..]))
    }

    /// Reads and finishes `n` messages, and returns their bodies.
    #[track_caller]
    pub(super) fn finish(&mut self, n: usize) -> Vec<String> {
        let finished = (0..n).map(|_| {
            let (id, _, body) = self.message();
            self.send(format!("FIN {id}\n").as_bytes());
            body
        });
        finished.collect()
    }
}

/// Waits until a channel is empty, and returns its numbers of requeues and timeouts.
pub(super) fn counts_when_empty(nsqd: &EmbeddedNsqd, topic: &str, channel: &str) -> (u64, u64) {
    let mut info = nsqd.channel(topic, channel).unwrap();
    wait(nsqd.wait_until(TIMEOUT, |nsqd| {
        info = nsqd.channel(topic, channel).unwrap();
        info.depth + info.in_flight_count + info.deferred_count == 0
    }));
    (info.requeue_count, info.timeout_count)
}
