//! The handshake: whatever answers to the magic and IDENTIFY, the attempt ends in time, in a typed error or in a connection,
//! and in the one that the bytes mean.

use std::time::Duration;

use actix_nsq::{ConnectionError, Delivery, ErrorKind, Producer, Publish, Topic, WaitConnected};
use serde_json::Value;
use tokio::{
    task::{JoinHandle, spawn_local},
    time::{Instant, sleep},
};

use super::{
    input::Input,
    spoken::Command,
    world::{Network, Peer, in_virtual_time, ms},
};

const TIME: Duration = ms(3000);
const LARGEST: usize = 4096;
const HOUR: Duration = ms(3_600_000);

/// How the peer says it.
struct Manner {
    /// Before it has heard IDENTIFY.
    hasty: bool,
    end: End,
    piece: usize,
    pause: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Close,
    Reset,
    Silence,
}

/// Three bytes for the peer's manner, and what it says.
pub fn handshake(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let manner = Manner {
        hasty: flags & 1 != 0,
        end: [End::Close, End::Reset, End::Silence, End::Close][usize::from(flags >> 1 & 3)],
        piece: match input.byte() {
            0 => usize::MAX,
            length => length.into(),
        },
        pause: ms(input.byte().into()),
    };
    let answer = input.rest();
    in_virtual_time(async move |network| meet(network, &manner, answer).await);
}

async fn meet(mut network: Network, manner: &Manner, answer: &[u8]) {
    let config = network
        .config()
        .handshake_timeout(TIME)
        .max_msg_size(LARGEST)
        // One attempt only.
        .reconnect_backoff(HOUR)
        .max_reconnect_backoff(HOUR)
        .publish_timeout(2 * TIME);
    let producer = Producer::start(config.build().expect("a good configuration"));
    let began = Instant::now();
    let connected = timed(producer.send(WaitConnected {
        timeout: TIME + ms(5),
    }));
    let topic = Topic::new("t").expect("a good name");
    let publish = timed(producer.send(Publish::new(&topic, "body")));

    let dial = network.accept(64 << 10, ms(10)).await;
    let mut peer = dial.expect("a producer dials at its start");
    if !manner.hasty {
        assert!(peer.magic().await);
        let identify = peer.command().await;
        assert!(
            matches!(identify, Some(Command::Identify(_))),
            "{identify:?}"
        );
    }
    say(&mut peer, manner, answer).await;
    let spoke = began.elapsed();
    let (outcome, after) = connected.await.expect("awaited");
    let outcome = outcome.expect("an answer");
    assert!(after <= TIME + ms(6), "after {after:?}");
    let outcome = match outcome {
        Ok(()) => Outcome::Connected,
        Err(error) => match error.connection_error() {
            Some(why) => Outcome::of(why),
            None => panic!("no outcome in time: {error}"),
        },
    };
    let meaning = Meaning::of(answer, manner.end);
    let out_of_time = outcome == Outcome::TimedOut && spoke + ms(10) >= TIME;
    assert!(
        meaning.outcomes.contains(&outcome) || out_of_time,
        "{outcome:?}, where {:?} is meant",
        meaning.outcomes
    );
    if outcome != Outcome::Connected && !out_of_time {
        assert_eq!(nops(&mut peer, manner).await, meaning.heartbeats);
    }

    let (answered, after) = publish.await.expect("awaited");
    let answered = answered.expect("an answer");
    assert!(after <= 2 * TIME + ms(1), "after {after:?}");
    if outcome != Outcome::Connected {
        let error = answered.expect_err("there was no connection");
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Timeout, Delivery::NotWritten),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.len() < 900 && !text.contains(char::is_control),
            "{text}"
        );
    }
}

/// What comes of a future, and after how long.
fn timed<F: Future<Output: 'static> + 'static>(future: F) -> JoinHandle<(F::Output, Duration)> {
    let began = Instant::now();
    spawn_local(async move { (future.await, began.elapsed()) })
}

async fn say(peer: &mut Peer, manner: &Manner, answer: &[u8]) {
    if manner.end == End::Reset {
        peer.line.end_in_reset();
    }
    for piece in answer.chunks(manner.piece) {
        if !peer.say(piece).await {
            return;
        }
        if manner.piece < answer.len() {
            sleep(manner.pause).await;
        }
    }
    if manner.end != End::Silence {
        peer.fin().await;
    }
}

/// How many heartbeats were answered.
async fn nops(peer: &mut Peer, manner: &Manner) -> usize {
    if manner.hasty {
        assert!(peer.magic().await);
        assert!(matches!(peer.command().await, Some(Command::Identify(_))));
    }
    let mut nops = 0;
    while let Some(command) = peer.command().await {
        assert_eq!(command, Command::Nop, "before there is a connection");
        nops += 1;
    }
    nops
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Connected,
    Refused,
    NotUnderstood,
    AuthRequired,
    Http,
    NotNsq,
    Closed,
    Broken,
    TimedOut,
}

impl Outcome {
    fn of(why: &ConnectionError) -> Self {
        match why {
            ConnectionError::HandshakeRefused(_) => Self::Refused,
            ConnectionError::HandshakeAnswer { .. } => Self::NotUnderstood,
            ConnectionError::AuthSecretMissing => Self::AuthRequired,
            ConnectionError::HttpServer => Self::Http,
            ConnectionError::Protocol(_) => Self::NotNsq,
            ConnectionError::HandshakeClosed => Self::Closed,
            ConnectionError::Io(_) => Self::Broken,
            ConnectionError::HandshakeTimeout { .. } => Self::TimedOut,
            other => panic!("no outcome of a handshake: {other}"),
        }
    }
}

/// What the bytes mean, by a reader of its own.
struct Meaning {
    outcomes: Vec<Outcome>,
    /// Those before what decides.
    heartbeats: usize,
}

impl Meaning {
    fn of(answer: &[u8], end: End) -> Self {
        let (mut rest, mut heartbeats) = (answer, 0);
        let outcomes = loop {
            let [a, b, c, d, after @ ..] = rest else {
                break at_the_end(end);
            };
            let size = i64::from(i32::from_be_bytes([*a, *b, *c, *d]));
            if rest.starts_with(b"HTTP") {
                break vec![Outcome::Http];
            }
            if !(4..=LARGEST as i64).contains(&size) {
                break vec![Outcome::NotNsq];
            }
            let Some((frame, behind)) = after.split_at_checked(size as usize) else {
                break at_the_end(end);
            };
            match frame {
                b"\0\0\0\0_heartbeat_" => {
                    heartbeats += 1;
                    rest = behind;
                }
                b"\0\0\0\0OK" => break vec![Outcome::Connected],
                [0, 0, 0, 0, json @ ..] => break of_json(json),
                [0, 0, 0, 1, ..] => break vec![Outcome::Refused],
                [0, 0, 0, 2, message @ ..] if message.len() >= 26 => {
                    break vec![Outcome::NotUnderstood];
                }
                _ => break vec![Outcome::NotNsq],
            }
        };
        Self {
            outcomes,
            heartbeats,
        }
    }
}

fn at_the_end(end: End) -> Vec<Outcome> {
    vec![match end {
        End::Close => Outcome::Closed,
        End::Reset => Outcome::Broken,
        End::Silence => Outcome::TimedOut,
    }]
}

/// A value of a wrong type makes it not understood, which is not judged again here.
fn of_json(json: &[u8]) -> Vec<Outcome> {
    match serde_json::from_slice(json) {
        // Nothing of the kind was asked for.
        Ok(Value::Object(fields))
            if ["tls_v1", "snappy", "deflate"]
                .iter()
                .any(|layer| fields.get(*layer) == Some(&Value::Bool(true))) =>
        {
            vec![Outcome::NotUnderstood]
        }
        Ok(Value::Object(fields)) => match fields.get("auth_required") {
            None | Some(Value::Bool(false)) => vec![Outcome::Connected, Outcome::NotUnderstood],
            Some(Value::Bool(true)) => vec![Outcome::AuthRequired, Outcome::NotUnderstood],
            Some(_) => vec![Outcome::NotUnderstood],
        },
        _ => vec![Outcome::NotUnderstood],
    }
}
