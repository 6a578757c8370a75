//! What callers ask to publish: what is refused is not on the wire, and what goes on the wire parses back to exactly what was
//! asked.

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

const LARGEST: usize = 5_000;
const LARGEST_BATCH: usize = 6_000;
/// So many are folded into one command at most.
const FOLDED: usize = 5;
const LONGEST_DELAY: Duration = ms(60_000);

/// A row of publishes, each of them a byte for its kind, its topic as a line, and what belongs to the kind.
pub fn publish(data: &[u8]) {
    let mut input = Input::new(data);
    let mut asked = Vec::new();
    while !input.is_empty() && asked.len() < 32 {
        match input.byte() {
            kind @ 0..128 => asked.push(Asked::read(&mut input, kind.into())),
            kind => consumers(&mut input, kind),
        }
    }
    // Seeds of before are read as they were; where batching is on, what waits together may come together.
    let batching = !data.len().is_multiple_of(3);
    if !asked.is_empty() {
        in_virtual_time(async move |network| ask(network, asked, batching).await);
    }
}

#[derive(Debug)]
struct Asked {
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

impl Asked {
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

    /// What nsqd would refuse, or the configuration forbids, by a second opinion.
    fn refusal(&self) -> Option<ErrorKind> {
        let stem = self.topic.strip_suffix("#ephemeral").unwrap_or(&self.topic);
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if stem.is_empty() || self.topic.len() > 64 || !stem.bytes().all(good) {
            return Some(ErrorKind::InvalidName);
        }
        if let Kind::Deferred(delay) = self.kind
            && delay.as_millis() > LONGEST_DELAY.as_millis()
        {
            return Some(ErrorKind::DelayTooLong);
        }
        if self.bodies.is_empty() {
            return Some(ErrorKind::EmptyBatch);
        }
        for body in &self.bodies {
            match body.len() {
                0 => return Some(ErrorKind::EmptyBody),
                1..=LARGEST => {}
                _ => return Some(ErrorKind::TooLarge),
            }
        }
        let batch = 4 + self.bodies.iter().map(|body| 4 + body.len()).sum::<usize>();
        (self.kind == Kind::Batch && batch > LARGEST_BATCH).then_some(ErrorKind::TooLarge)
    }
}

/// A few bytes, or many of one kind.
fn body(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte() {
        length @ 0..=200 => input.bytes(length.into()).to_vec(),
        _ => vec![input.byte(); input.u16().into()],
    }
}

/// What is to come for one topic, in its order.
type Expected = VecDeque<(Kind, Vec<Vec<u8>>)>;

/// Takes off what a command carries: one publish, or several single ones that were folded.
fn take(expected: &mut Expected, command: Command, batching: bool) {
    let mut next = || expected.pop_front().expect("it was asked for");
    match command {
        Command::Pub { body, .. } => assert_eq!(next(), (Kind::Single, vec![body])),
        Command::Dpub { delay_ms, body, .. } => {
            let (kind, bodies) = next();
            let Kind::Deferred(delay) = kind else {
                panic!("{kind:?} came as DPUB");
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
                batching && (2..=FOLDED).contains(&bodies.len()) && whole <= LARGEST_BATCH,
                "{} folded, {whole} bytes",
                bodies.len()
            );
            let mut folded = bodies.into_iter();
            assert_eq!((kind, first), (Kind::Single, Vec::from_iter(folded.next())));
            for body in folded {
                assert_eq!(next(), (Kind::Single, vec![body]));
            }
        }
        other => panic!("{other} was not asked for"),
    }
}

async fn ask(mut network: Network, asked: Vec<Asked>, batching: bool) {
    let config = network
        .config()
        .max_publish_size(LARGEST)
        .max_batch_size(LARGEST_BATCH)
        .max_req_timeout(LONGEST_DELAY)
        .auto_batch(batching)
        .auto_batch_messages(FOLDED)
        .build();
    let producer = Producer::start(config.expect("a good configuration"));
    let mut expected: BTreeMap<String, Expected> = BTreeMap::new();
    let mut answers = Vec::new();
    for asked in asked {
        let refusal = asked.refusal();
        let Asked {
            topic,
            bodies,
            kind,
        } = asked;
        let name = match Topic::new(topic.as_str()) {
            Ok(name) => name,
            Err(error) => {
                assert_eq!(refusal, Some(ErrorKind::InvalidName), "{error}");
                let text = PublishError::from(error).to_string();
                assert!(
                    text.len() < 300 && !text.contains(char::is_control),
                    "{text}"
                );
                continue;
            }
        };
        assert_eq!(name.as_str(), topic);
        if refusal.is_none() {
            let asked = (kind, bodies.clone());
            expected.entry(topic).or_default().push_back(asked);
        }
        let mut bodies = bodies.into_iter().map(Bytes::from);
        let request = match kind {
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
        answers.push((refusal, request));
    }

    let dial = network.accept(64 << 10, ms(10)).await;
    let mut peer = dial.expect("a producer dials at its start");
    assert!(peer.magic().await);
    assert!(matches!(peer.command().await, Some(Command::Identify(_))));
    peer.say(b"\0\0\0\x06\0\0\0\0OK").await;
    while let Some(command) = peer.command().await {
        let topic = match &command {
            Command::Pub { topic, .. }
            | Command::Mpub { topic, .. }
            | Command::Dpub { topic, .. } => topic,
            other => panic!("{other} was not asked for"),
        };
        let expected = expected.get_mut(topic).expect("a topic that was asked for");
        take(expected, command, batching);
        peer.say(b"\0\0\0\x06\0\0\0\0OK").await;
    }
    let all_came = expected.values().all(VecDeque::is_empty);
    assert!(all_came, "{expected:?} did not come");
    for (refusal, request) in answers {
        let answer = request.await.expect("awaited").expect("an answer");
        match (refusal, answer) {
            (None, answer) => answer.expect("nsqd said OK"),
            (Some(_), Ok(())) => panic!("nobody published it"),
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

/// The commands that no producer says.
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
            let (Ok(parsed), Ok(of_it)) = names else {
                return;
            };
            protocol::Command::Subscribe {
                topic: &parsed,
                channel: &of_it,
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
