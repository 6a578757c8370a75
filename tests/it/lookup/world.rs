//! nsqlookupds and nsqds in memory: each nsqlookupd answers as the test says, and the test accepts
//! the connections to nsqds.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use actix::Addr;
use actix_nsq::{
    ConnectFuture, ConnectTarget, ConnectionConfig, ConnectionError, Connector, Consumer,
    ConsumerConfig, ConsumerConfigBuilder, LookupConfig, LookupConfigBuilder,
    lookup::{GetLookupState, LookupState},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
    task::spawn_local,
    time::{Instant, sleep, timeout},
};

use crate::harness::{Dial, HOUR, Network, Peer, subscription};

/// How an nsqlookupd treats requests.
#[derive(Clone)]
pub(super) enum Answer {
    /// Sends these bytes, this long after the request.
    Bytes(Vec<u8>, Duration),
    /// Sends these bytes one by one.
    Slowly(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Last(Vec<u8>),
    /// Sends these bytes, and closes the connection a second later.
    ClosedLater(Vec<u8>),
    /// Accepts connections and requests, and sends nothing.
    Silent,
    /// Accepts no connection.
    Refused,
    /// Does not answer attempts to connect.
    Unreachable,
}

/// A request that an nsqlookupd has received.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Since the test began.
    pub(super) at: Duration,
    /// The address of nsqlookupd.
    pub(super) lookupd: String,
    /// Number of the connection.
    pub(super) connection: usize,
    /// Request line and headers.
    pub(super) head: String,
}

#[derive(Default)]
struct Shared {
    answers: RefCell<BTreeMap<String, Answer>>,
    requests: RefCell<Vec<Request>>,
    /// Connections to nsqlookupds so far.
    connections: RefCell<usize>,
}

pub(super) struct World {
    shared: Rc<Shared>,
    connector: Rc<dyn Fn() -> Box<dyn FnOnce(ConsumerConfigBuilder) -> ConsumerConfigBuilder>>,
    for_functions: Rc<dyn Fn() -> ConnectionConfig>,
    nsqds: mpsc::UnboundedReceiver<Dial>,
    began: Instant,
}

impl World {
    /// Servers are nsqlookupds if their name begins with `lookupd`, else nsqds. An nsqlookupd of
    /// which nothing was said refuses connections.
    pub(super) fn new(mut network: Network) -> Self {
        let (nsqd, nsqds) = mpsc::unbounded_channel();
        let shared = Rc::<Shared>::default();
        let began = Instant::now();
        let (one, other) = (network.connector(), network.connector());
        let (one, other) = (Cloned::new(one), Cloned::new(other));
        let serving = Rc::clone(&shared);
        spawn_local(async move {
            while let Some(dial) = network.next_dial().await {
                if !dial.address.starts_with("lookupd") {
                    let _ = nsqd.send(dial);
                    continue;
                }
                let answer = serving.answers.borrow().get(&dial.address).cloned();
                match answer.unwrap_or(Answer::Refused) {
                    Answer::Refused => dial.refuse(),
                    Answer::Unreachable => {
                        spawn_local(dial.hang());
                    }
                    _ => {
                        let connection = serving.connections.replace_with(|count| *count + 1);
                        let address = dial.address.clone();
                        let peer = dial.accept();
                        let shared = Rc::clone(&serving);
                        spawn_local(shared.serve(address, connection, peer, began));
                    }
                }
            }
        });
        Self {
            shared,
            connector: Rc::new(move || {
                let connector = one.get();
                Box::new(move |config| config.connector(connector))
            }),
            for_functions: Rc::new(move || {
                let connection = ConnectionConfig::builder().connector(other.get());
                connection.build().unwrap()
            }),
            nsqds,
            began,
        }
    }

    /// Sets how an nsqlookupd answers from now on.
    pub(super) fn lookupd(&self, address: &str, answer: Answer) {
        let mut answers = self.shared.answers.borrow_mut();
        answers.insert(address.to_owned(), answer);
    }

    /// The next attempt to connect to an nsqd.
    pub(super) async fn dial(&mut self) -> Dial {
        let dial = timeout(2 * HOUR, self.nsqds.recv()).await;
        dial.expect("a dial").expect("the network lives")
    }

    /// Accepts the next connection, to the nsqd `address`, and confirms the subscription.
    pub(super) async fn subscribed(&mut self, address: &str) -> Peer {
        let dial = self.dial().await;
        assert_eq!(dial.address, address);
        let mut peer = dial.accept();
        peer.greet().await;
        peer.expect_sub().await;
        peer.send_ok().await;
        peer
    }

    pub(super) async fn expect_no_dial(&mut self, time: Duration) {
        let dial = timeout(time, self.nsqds.recv()).await;
        let address = dial.map(|dial| dial.map(|dial| dial.address));
        assert!(address.is_err(), "a dial within {time:?}: {address:?}");
    }

    /// Time since the test began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The requests since the last call.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.shared.requests.take()
    }

    /// The times of the requests to an nsqlookupd since the last call, in seconds.
    pub(super) fn times(&self, lookupd: &str) -> Vec<u64> {
        let requests = self.requests().into_iter();
        let own = requests.filter(|request| request.lookupd == lookupd);
        own.map(|request| request.at.as_secs()).collect()
    }

    /// Starts a consumer of the topic `t` that discards its messages.
    pub(super) fn start(
        &self,
        lookupds: &[&str],
        options: impl FnOnce(ConsumerConfigBuilder) -> ConsumerConfigBuilder,
    ) -> Addr<Consumer> {
        let config = ConsumerConfig::discover(lookupds.iter().copied())
            .max_in_flight(10)
            // The nsqds of the tests send no heartbeats.
            .heartbeat_interval(HOUR);
        let config = options((self.connector)()(config)).build().unwrap();
        let (handler, messages) = actix_nsq::MessageHandler::stream();
        // The stream lives as long as the consumer.
        let consumer = Consumer::start(config, subscription(), handler);
        spawn_local(async move {
            let mut messages = messages;
            while let Some(message) = messages.next().await {
                let _ = message.finish();
            }
        });
        consumer
    }

    /// The options of connections.
    pub(super) fn connection(&self) -> ConnectionConfig {
        (self.for_functions)()
    }

    /// The configuration of the functions for tools.
    pub(super) fn config(&self, lookupds: &[&str]) -> LookupConfigBuilder {
        LookupConfig::builder(lookupds.iter().copied()).connection(self.connection())
    }
}

/// A connector that is given away several times.
struct Cloned(std::sync::Arc<dyn Connector>);

impl Cloned {
    fn new(connector: impl Connector) -> Self {
        Self(std::sync::Arc::new(connector))
    }

    fn get(&self) -> Shareable {
        Shareable(std::sync::Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Shareable(std::sync::Arc<dyn Connector>);

impl Connector for Shareable {
    fn connect(&self, target: &ConnectTarget) -> ConnectFuture {
        if target.address().starts_with("unresolvable") {
            let address = target.address().to_owned();
            let source = std::sync::Arc::new(std::io::Error::other("no such name"));
            let error = ConnectionError::Resolve { address, source };
            return Box::pin(async { Err(error) });
        }
        self.0.connect(target)
    }
}

impl Shared {
    async fn serve(self: Rc<Self>, lookupd: String, connection: usize, peer: Peer, began: Instant) {
        let mut peer = peer;
        let stream = peer.stream();
        while let Some(head) = read_head(stream).await {
            self.requests.borrow_mut().push(Request {
                at: began.elapsed(),
                lookupd: lookupd.clone(),
                connection,
                head,
            });
            let answer = self.answers.borrow().get(&lookupd).cloned();
            match answer.unwrap_or(Answer::Silent) {
                Answer::Bytes(bytes, after) => {
                    sleep(after).await;
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Answer::Slowly(bytes) => {
                    for byte in bytes {
                        sleep(Duration::from_millis(1)).await;
                        if stream.write_all(&[byte]).await.is_err() {
                            return;
                        }
                    }
                }
                Answer::Last(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    return;
                }
                Answer::ClosedLater(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    sleep(Duration::from_secs(1)).await;
                    return;
                }
                Answer::Silent | Answer::Refused | Answer::Unreachable => {}
            }
        }
    }
}

async fn read_head(stream: &mut DuplexStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // The client sends nothing behind it before the answer.
        let read = stream.read_buf(&mut head).await.ok()?;
        if read == 0 {
            return None;
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// Answers at once.
pub(super) fn now(bytes: Vec<u8>) -> Answer {
    Answer::Bytes(bytes, Duration::ZERO)
}

/// An answer of nsqlookupd 1.x: status and JSON.
pub(super) fn http(status: &str, json: &str) -> Vec<u8> {
    let length = json.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\n\
         X-Nsq-Content-Type: nsq; version=1.0\r\nContent-Length: {length}\r\n\r\n{json}"
    )
    .into_bytes()
}

/// A node, of which nsqlookupd says `host` and `port`.
pub(super) fn node(host: &str, port: i64) -> String {
    format!(
        r#"{{"remote_address":"10.0.0.9:51000","hostname":"h","broadcast_address":"{host}",
            "tcp_port":{port},"http_port":4151,"version":"1.3.0"}}"#
    )
}

/// The nsqds of a topic.
pub(super) fn nodes(hosts: &[&str]) -> Answer {
    now(producers(hosts))
}

pub(super) fn producers(hosts: &[&str]) -> Vec<u8> {
    let nodes: Vec<_> = hosts.iter().map(|host| node(host, 4150)).collect();
    let nodes = nodes.join(",");
    http(
        "200 OK",
        &format!(r#"{{"channels":["c"],"producers":[{nodes}]}}"#),
    )
}

pub(super) fn unknown_topic() -> Answer {
    now(http("404 Not Found", r#"{"message":"TOPIC_NOT_FOUND"}"#))
}

pub(super) async fn state(consumer: &Addr<Consumer>) -> LookupState {
    consumer.send(GetLookupState).await.unwrap()
}
