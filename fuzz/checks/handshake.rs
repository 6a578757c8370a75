//! Checks the handshake with any bytes as the response to IDENTIFY: the attempt ends in time, with
//! the result that the bytes mean.

use std::time::Duration;

use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, Producer, Publish, Topic, WaitConnected, WaitError,
};
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

const HANDSHAKE_TIMEOUT: Duration = ms(3000);
const MAX_FRAME: usize = 4096;
const HOUR: Duration = ms(3_600_000);

/// How the peer responds.
struct Manner {
    /// Whether it responds before it has read IDENTIFY.
    early: bool,
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

/// The input: three bytes for [`Manner`], and the bytes that the peer sends.
pub fn handshake(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let manner = Manner {
        early: flags & 1 != 0,
        end: [End::Close, End::Reset, End::Silence, End::Close][usize::from(flags >> 1 & 3)],
        piece: match input.byte() {
            0 => usize::MAX,
            length => length.into(),
        },
        pause: ms(input.byte().into()),
    };
    let answer = input.rest();
    in_virtual_time(async move |network| run(network, &manner, answer).await);
}

async fn run(mut network: Network, manner: &Manner, answer: &[u8]) {
    let config = network
        .config()
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .max_msg_size(MAX_FRAME)
        // One attempt only.
        .reconnect_backoff(HOUR)
        .max_reconnect_backoff(HOUR)
        .publish_timeout(2 * HANDSHAKE_TIMEOUT);
    let producer = Producer::start(config.build().expect("a valid configuration"));
    let began = Instant::now();
    let connected = timed(producer.send(WaitConnected {
        timeout: HANDSHAKE_TIMEOUT + ms(5),
    }));
    let topic = Topic::from_static("t");
    let publish = timed(producer.send(Publish::new(&topic, "body")));

    let dial = network.accept(64 << 10, ms(10)).await;
    let mut peer = dial.expect("a producer dials at its start");
    if !manner.early {
        assert!(peer.magic().await);
        let identify = peer.command().await;
        assert!(
            matches!(identify, Some(Command::Identify(_))),
            "{identify:?}"
        );
    }
    respond(&mut peer, manner, answer).await;
    let sent_after = began.elapsed();
    let (outcome, after) = connected.await.expect("awaited");
    let outcome = outcome.expect("an answer");
    assert!(after <= HANDSHAKE_TIMEOUT + ms(6), "after {after:?}");
    let outcome = match outcome {
        Ok(()) => Outcome::Connected,
        Err(WaitError::Timeout {
            last: Some(error), ..
        }) => Outcome::of(&error),
        Err(error) => panic!("no outcome within the timeout: {error}"),
    };
    let meaning = Meaning::of(answer, manner.end);
    let too_slow = outcome == Outcome::TimedOut && sent_after + ms(10) >= HANDSHAKE_TIMEOUT;
    assert!(
        meaning.outcomes.contains(&outcome) || too_slow,
        "{outcome:?} instead of {:?}",
        meaning.outcomes
    );
    if outcome != Outcome::Connected && !too_slow {
        assert_eq!(nops(&mut peer, manner).await, meaning.heartbeats);
    }

    let (answered, after) = publish.await.expect("awaited");
    let answered = answered.expect("an answer");
    assert!(after <= 2 * HANDSHAKE_TIMEOUT + ms(1), "after {after:?}");
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

/// Runs a future as a task that returns its output and how long it took.
fn timed<F: Future<Output: 'static> + 'static>(future: F) -> JoinHandle<(F::Output, Duration)> {
    let began = Instant::now();
    spawn_local(async move { (future.await, began.elapsed()) })
}

async fn respond(peer: &mut Peer, manner: &Manner, answer: &[u8]) {
    if manner.end == End::Reset {
        peer.line.reset_at_eof();
    }
    for piece in answer.chunks(manner.piece) {
        if !peer.send(piece).await {
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

/// Returns the number of heartbeats that the client has answered.
async fn nops(peer: &mut Peer, manner: &Manner) -> usize {
    if manner.early {
        assert!(peer.magic().await);
        assert!(matches!(peer.command().await, Some(Command::Identify(_))));
    }
    let mut nops = 0;
    while let Some(command) = peer.command().await {
        assert_eq!(command, Command::Nop, "before the handshake is complete");
        nops += 1;
    }
    nops
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Connected,
    Rejected,
    Invalid,
    AuthRequired,
    Http,
    NotNsq,
    Closed,
    Broken,
    TimedOut,
}

impl Outcome {
    fn of(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::HandshakeRejected(_) => Self::Rejected,
            ConnectionError::HandshakeResponse { .. } => Self::Invalid,
            ConnectionError::AuthSecretMissing => Self::AuthRequired,
            ConnectionError::HttpServer => Self::Http,
            ConnectionError::Protocol(_) => Self::NotNsq,
            ConnectionError::HandshakeClosed => Self::Closed,
            ConnectionError::Io(_) => Self::Broken,
            ConnectionError::HandshakeTimeout { .. } => Self::TimedOut,
            other => panic!("unexpected error of a handshake: {other}"),
        }
    }
}

/// The meaning of the response, by an independent parser.
struct Meaning {
    /// The possible outcomes.
    outcomes: Vec<Outcome>,
    /// Number of heartbeats before the frame that decides the outcome.
    heartbeats: usize,
}

impl Meaning {
    fn of(answer: &[u8], end: End) -> Self {
        let (mut rest, mut heartbeats) = (answer, 0);
        let outcomes = loop {
            let [a, b, c, d, after @ ..] = rest else {
                break at_end(end);
            };
            let size = i64::from(i32::from_be_bytes([*a, *b, *c, *d]));
            if rest.starts_with(b"HTTP") {
                break vec![Outcome::Http];
            }
            if !(4..=MAX_FRAME as i64).contains(&size) {
                break vec![Outcome::NotNsq];
            }
            let Some((frame, behind)) = after.split_at_checked(size as usize) else {
                break at_end(end);
            };
            match frame {
                b"\0\0\0\0_heartbeat_" => {
                    heartbeats += 1;
                    rest = behind;
                }
                b"\0\0\0\0OK" => break vec![Outcome::Connected],
                [0, 0, 0, 0, json @ ..] => break of_json(json),
                [0, 0, 0, 1, ..] => break vec![Outcome::Rejected],
                [0, 0, 0, 2, message @ ..] if message.len() >= 26 => {
                    break vec![Outcome::Invalid];
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

fn at_end(end: End) -> Vec<Outcome> {
    vec![match end {
        End::Close => Outcome::Closed,
        End::Reset => Outcome::Broken,
        End::Silence => Outcome::TimedOut,
    }]
}

/// Any value of a wrong type makes the response invalid. The types are not checked again here.
fn of_json(json: &[u8]) -> Vec<Outcome> {
    match serde_json::from_slice(json) {
        // A feature is granted that was not requested.
        Ok(Value::Object(fields))
            if ["tls_v1", "snappy", "deflate"]
                .iter()
                .any(|layer| fields.get(*layer) == Some(&Value::Bool(true))) =>
        {
            vec![Outcome::Invalid]
        }
        Ok(Value::Object(fields)) => match fields.get("auth_required") {
            None | Some(Value::Bool(false)) => vec![Outcome::Connected, Outcome::Invalid],
            Some(Value::Bool(true)) => vec![Outcome::AuthRequired, Outcome::Invalid],
            Some(_) => vec![Outcome::Invalid],
        },
        _ => vec![Outcome::Invalid],
    }
}
