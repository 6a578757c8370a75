//! The client processes: this program again, on a simulated host.
//!
//! A client writes one line per event to its standard output: see [`Line`]. It stops when its
//! standard input ends.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Duration;

use actix_nsq::actix::{Actor, Context, Handler};
use actix_nsq::{ConnectionConfig, ConnectionEvent};

use crate::support::record::Outcome;

/// Interval of nsqd's heartbeats. A lost connection is noticed after two of them.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_RECONNECT_BACKOFF: Duration = Duration::from_secs(2);
pub const LOOKUPD_POLL_INTERVAL: Duration = Duration::from_secs(1);
pub const LOOKUPD_POLL_TIMEOUT: Duration = Duration::from_secs(1);
/// With the jitter of `lookupd_poll_interval`.
const MAX_LOOKUPD_POLL_INTERVAL: Duration = Duration::from_millis(1_300);

/// The time within which a client has its connection to an nsqd after the last fault between them,
/// and between the client and the nsqlookupd that names the nsqd. In this order: a connection that
/// was lost may be noticed only then; a round of queries ends; the next one finds the nsqd; an
/// attempt that was made before fails, and the next one is made after the backoff. The rest is for
/// ARP and a busy machine.
pub const MAX_SETTLE_TIME: Duration = Duration::from_millis(
    (2 * HEARTBEAT_INTERVAL.as_millis()
        + LOOKUPD_POLL_TIMEOUT.as_millis()
        + MAX_LOOKUPD_POLL_INTERVAL.as_millis()
        + DIAL_TIMEOUT.as_millis()
        + HANDSHAKE_TIMEOUT.as_millis()
        + MAX_RECONNECT_BACKOFF.as_millis()) as u64
        + 2_000,
);

/// A message that is lost while it is in flight to a consumer is redelivered after this time.
pub const MSG_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval at which connections are reported.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(50);
/// Timeout of stopping.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The topic that is consumed at the end only, by a client that shares no code with the crate.
pub const STORED: &str = "stored";
/// The topic that the consumers handle.
pub const HANDLED: &str = "handled";
pub const TOPICS: [&str; 2] = [STORED, HANDLED];
/// The channel of the consumers.
pub const CHANNEL: &str = "work";

/// The limit of each consumer: small, because a killed nsqd loses what is in flight.
pub fn max_in_flight(nsqds: usize) -> usize {
    (2 * nsqds).max(20)
}

/// What a client reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The nsqds to which it is connected now, separated by commas.
    Up(&'a str),
    /// The connection to an nsqd is lost.
    Lost(&'a str),
    /// Number of messages that it has published to a topic.
    Offered(&'a str, usize),
    /// With `retry_maybe_written`, a connection was lost: what is unanswered may be stored twice.
    MayRepeat,
    /// The answer to the publish with this number.
    Answer(&'a str, usize, Outcome),
    /// A message of the topic [`HANDLED`]: nsqd, id and body.
    Handled(&'a str, &'a str, &'a str),
    /// Something that must not happen.
    Problem(&'a str),
}

impl<'a> Line<'a> {
    pub fn parse(line: &'a str) -> Option<Self> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.splitn(3, ' ');
        let mut word = || words.next();
        Some(match name {
            "up" => Self::Up(rest),
            "lost" => Self::Lost(rest),
            "may_repeat" => Self::MayRepeat,
            "offered" => Self::Offered(word()?, word()?.parse().ok()?),
            "ok" => Self::Answer(word()?, word()?.parse().ok()?, Outcome::Ok),
            "not_written" => Self::Answer(word()?, word()?.parse().ok()?, Outcome::NotWritten),
            "maybe" => Self::Answer(word()?, word()?.parse().ok()?, Outcome::Maybe),
            "handled" => Self::Handled(word()?, word()?, word()?),
            "problem" => Self::Problem(rest),
            _ => return None,
        })
    }
}

/// The arguments of a client: its number, the addresses of the nsqds and of the nsqlookupds.
pub fn arguments(number: usize, nsqds: &[SocketAddr], lookupds: &[SocketAddr]) -> Vec<String> {
    let list = |addresses: &[SocketAddr]| {
        let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        addresses.join(",")
    };
    vec![number.to_string(), list(nsqds), list(lookupds)]
}

/// The values of [`arguments`].
pub fn parse_arguments(arguments: &[String]) -> (usize, Vec<String>, Vec<String>) {
    let [number, nsqds, lookupds] = arguments else {
        panic!("three arguments: {arguments:?}");
    };
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    (
        number.parse().expect("a number"),
        list(nsqds),
        list(lookupds),
    )
}

/// Ends when standard input ends.
pub fn stopped() -> impl Future<Output = ()> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        drop(stop);
    });
    async { drop(stopped.await) }
}

pub fn connection() -> ConnectionConfig {
    ConnectionConfig::builder()
        .heartbeat_interval(HEARTBEAT_INTERVAL)
        .dial_timeout(DIAL_TIMEOUT)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .max_reconnect_backoff(MAX_RECONNECT_BACKOFF)
        .build()
        .expect("a valid configuration")
}

/// Reports the connections.
pub fn report_up<'a>(addresses: impl Iterator<Item = &'a str>) {
    println!("up {}", addresses.collect::<Vec<_>>().join(","));
}

/// Reports lost connections.
pub struct Observer {
    /// Called after each report.
    pub then: Box<dyn Fn()>,
}

impl Actor for Observer {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Observer {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        if let ConnectionEvent::Disconnected { address, .. } = event {
            println!("lost {address}");
            (self.then)();
        }
    }
}
