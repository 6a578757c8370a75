//! Checks publishes with any names, bodies and delays: invalid ones are rejected and not sent,
//! valid ones are sent exactly as requested.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use actix_nsq::{
    DeferredPublish, Delivery, ErrorKind, MultiPublish, Producer, Publish, PublishError, Topic,
    bytes::Bytes,
    protocol::{self, Channel, MessageId, Outbox},
};

use super::{
    input::Input,
    spoken::Command,
    world::{Network, in_virtual_time, ms},
};

const MAX_BODY: usize = 5_000;
const MAX_BATCH: usize = 6_000;
/// Maximum number of publishes in an automatic batch.
const MAX_BATCHED: usize = 5;
const MAX_DELAY: Duration = ms(60_000);

/// The input: publishes, each of them a byte for its kind, its topic as a line, and the parts of
/// that kind.
pub fn publish(data: &[u8]) {
    let mut input = Input::new(data);
    let mut requests = Vec::new();
    while !input.is_empty() && requests.len() < 32 {
        match input.byte() {
            kind @ 0..128 => requests.push(Request::read(&mut input, kind.into())),
            kind => consumers(&mut input, kind),
        }
    }
    // Derived from the length, so that older inputs keep their meaning. With batching, publishes
    // that wait together may be sent together.
    let batching = !data.len().is_multiple_of(3);
    if !requests.is_empty() {
        in_virtual_time(async move |network| run(network, requests, batching).await);
    }
}

#[derive(Debug)]
struct Request {
    topic: String,
    bodies: Vec<Vec<u8>>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Single,
    Batch,
    Deferred(Duration),
}

impl Request {
    fn read(input: &mut Input<'_>, kind: usize) -> Self {
        let topic = String::from_utf8_lossy(input.until(b'\n')).into_owned();
        let kind = match kind % 3 {
            0 => Kind::Single,
            1 => Kind::Batch,
            _ => Kind::Deferred(match input.byte() {
                255 => Duration::from_nanos(input.u64()),
                254 => Duration::from_secs(input.u64()),
                seconds => Duration::from_secs(seconds.into()),
            }),
        };
        let count = match kind {
            Kind::Batch => input.below(9),
            _ => 1,
        };
        let bodies = (0..count).map(|_| body(input)).collect();
        Self {
            topic,
            bodies,
            kind,
        }
    }

    /// The error if nsqd or the configuration does not allow this publish, determined independently
    /// of the crate.
    fn expected_error(&self) -> Option<ErrorKind> {
        let stem = self.topic.strip_suffix("#ephemeral").unwrap_or(&self.topic);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if stem.is_empty() || self.topic.len() > 64 || !stem.bytes().all(allowed) {
            return Some(ErrorKind::InvalidName);
        }
        if let Kind::Deferred(delay) = self.kind
            && delay.as_millis() > MAX_DELAY.as_millis()
        {
            return Some(ErrorKind::DelayTooLong);
        }
        if self.bodies.is_empty() {
            return Some(ErrorKind::EmptyBatch);
        }
        for body in &self.bodies {
            match body.len() {
                0 => return Some(ErrorKind::EmptyBody),
                1..=MAX_BODY => {}
                _ => return Some(ErrorKind::TooLarge),
            }
        }
        let batch = 4 + self.bodies.iter().map(|body| 4 + body.len()).sum::<usize>();
        (self.kind == Kind::Batch && batch > MAX_BATCH).then_some(ErrorKind::TooLarge)
    }
}

/// Reads a body: a few bytes, or many equal ones.
fn body(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte() {
        length @ 0..=200 => input.bytes(length.into()).to_vec(),
        _ => vec![input.byte(); input.u16().into()],
    }
}

/// The expected publishes of one topic, in order.
type Expected = VecDeque<(Kind, Vec<Vec<u8>>)>;

/// Removes the publishes that a command carries: one, or several single ones in an automatic batch.
fn take(expected: &mut Expected, command: Command, batching: bool) {
    let mut next = || expected.pop_front().expect("an expected publish");
    match command {
        Command::Pub { body, .. } => assert_eq!(next(), (Kind::Single, vec![body])),
        Command::Dpub { delay_ms, body, .. } => {
            let (kind, bodies) = next();
            let Kind::Deferred(delay) = kind else {
                panic!("{kind:?} was sent as DPUB");
            };
            assert_eq!((delay.as_millis(), bodies), (delay_ms.into(), vec![body]));
        }
        Command::Mpub { bodies, .. } => {
            let (kind, first) = next();
            if kind == Kind::Batch {
                return assert_eq!(first, bodies);
            }
            let whole = 4 + bodies.iter().map(|body| 4 + body.len()).sum::<usize>();
            assert!(
                batching && (2..=MAX_BATCHED).contains(&bodies.len()) && whole <= MAX_BATCH,
                "{} publishes in a batch of {whole} bytes",
                bodies.len()
            );
            let mut batched = bodies.into_iter();
            assert_eq!(
                (kind, first),
                (Kind::Single, Vec::from_iter(batched.next()))
            );
            for body in batched {
                assert_eq!(next(), (Kind::Single, vec![body]));
            }
        }
        other => panic!("{other} was not requested"),
    }
}

async fn run(mut network: Network, requests: Vec<Request>, batching: bool) {
    let config = network
        .config()
        .max_publish_size(MAX_BODY)
        .max_batch_size(MAX_BATCH)
        .max_req_timeout(MAX_DELAY)
        .auto_batch(batching)
        .auto_batch_messages(MAX_BATCHED)
        .build();
    let producer = Producer::start(config.expect("a valid configuration"));
    let mut expected: BTreeMap<String, Expected> = BTreeMap::new();
    let mut responses = Vec::new();
    for request in requests {
        let expected_error = request.expected_error();
        let Request {
            topic,
            bodies,
            kind,
        } = request;
        let name = match Topic::new(topic.as_str()) {
            Ok(name) => name,
            Err(error) => {
                assert_eq!(expected_error, Some(ErrorKind::InvalidName), "{error}");
                let text = PublishError::from(error).to_string();
                assert!(
                    text.len() < 300 && !text.contains(char::is_control),
                    "{text}"
                );
                continue;
            }
        };
        assert_eq!(name.as_str(), topic);
        if expected_error.is_none() {
            let publish = (kind, bodies.clone());
            expected.entry(topic).or_default().push_back(publish);
        }
        let mut bodies = bodies.into_iter().map(Bytes::from);
        let response = match kind {
            Kind::Batch => {
                tokio::task::spawn_local(producer.send(MultiPublish::new(&name, bodies)))
            }
            Kind::Single => {
                let body = bodies.next().expect("a body");
                tokio::task::spawn_local(producer.send(Publish::new(&name, body)))
            }
            Kind::Deferred(delay) => {
                let body = bodies.next().expect("a body");
                let publish = DeferredPublish::new(&name, delay, body);
                tokio::task::spawn_local(producer.send(publish))
            }
        };
        responses.push((expected_error, response));
    }

    let dial = network.accept(64 << 10, ms(10)).await;
    let mut peer = dial.expect("a producer dials at its start");
    assert!(peer.magic().await);
    assert!(matches!(peer.command().await, Some(Command::Identify(_))));
    peer.send(b"\0\0\0\x06\0\0\0\0OK").await;
    while let Some(command) = peer.command().await {
        let topic = match &command {
            Command::Pub { topic, .. }
            | Command::Mpub { topic, .. }
            | Command::Dpub { topic, .. } => topic,
            other => panic!("{other} was not requested"),
        };
        let expected = expected.get_mut(topic).expect("a requested topic");
        take(expected, command, batching);
        peer.send(b"\0\0\0\x06\0\0\0\0OK").await;
    }
    let all_sent = expected.values().all(VecDeque::is_empty);
    assert!(all_sent, "{expected:?} were not sent");
    for (expected_error, response) in responses {
        let response = response.await.expect("awaited").expect("a response");
        match (expected_error, response) {
            (None, response) => response.expect("nsqd answered OK"),
            (Some(_), Ok(())) => panic!("Ok for an invalid publish"),
            (Some(kind), Err(error)) => {
                assert_eq!(
                    (error.kind(), error.delivery()),
                    (kind, Delivery::NotWritten),
                    "{error}"
                );
                assert!(error.to_string().len() < 200, "{error}");
            }
        }
    }
}

/// Checks the encoding of the commands that a producer does not send.
fn consumers(input: &mut Input<'_>, kind: u8) {
    let id = |input: &mut Input<'_>| {
        let hex = input.bytes(16);
        let text: Vec<u8> = (0..16)
            .map(|at| b"0123456789abcdef"[usize::from(hex.get(at).unwrap_or(&0) % 16)])
            .collect();
        text.try_into().expect("16 bytes")
    };
    let name = |input: &mut Input<'_>| String::from_utf8_lossy(input.until(b'\n')).into_owned();
    let mut out = Outbox::new();
    let text = |id: [u8; 16]| String::from_utf8_lossy(&id).into_owned();
    let expected = match kind % 7 {
        0 => {
            let (topic, channel) = (name(input), name(input));
            let names = (Topic::new(&topic), Channel::new(&channel));
            let (Ok(topic_name), Ok(channel_name)) = names else {
                return;
            };
            protocol::Command::Subscribe {
                topic: &topic_name,
                channel: &channel_name,
            }
            .encode(&mut out);
            Command::Sub { topic, channel }
        }
        1 => {
            let count = u32::from(input.u16());
            protocol::Command::Ready(count).encode(&mut out);
            Command::Rdy(count.into())
        }
        2 => {
            let id = id(input);
            protocol::Command::Finish(MessageId::new(id)).encode(&mut out);
            Command::Fin(text(id))
        }
        3 => {
            let (id, delay_ms) = (id(input), input.u64());
            protocol::Command::Requeue {
                id: MessageId::new(id),
                delay_ms,
            }
            .encode(&mut out);
            Command::Req {
                id: text(id),
                delay_ms,
            }
        }
        4 => {
            let id = id(input);
            protocol::Command::Touch(MessageId::new(id)).encode(&mut out);
            Command::Touch(text(id))
        }
        5 => {
            let secret = input.sized();
            let command = protocol::Command::Auth(secret);
            assert_eq!(format!("{command:?}"), "Auth(..)");
            command.encode(&mut out);
            Command::Auth(secret.to_vec())
        }
        _ => {
            protocol::Command::Close.encode(&mut out);
            Command::Cls
        }
    };
    let (total, length) = (out.total(), out.len());
    let bytes = out.take().concat();
    assert_eq!((total, length), (bytes.len() as u64, bytes.len() as u64));
    assert_eq!(Command::parse(&bytes), Ok(Some((expected, bytes.len()))));
}
