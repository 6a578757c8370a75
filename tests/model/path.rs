//! Checks that each event of the producer is possible and has a cause.

use std::time::Duration;

use actix_nsq::{
    ConnectionError, ConnectionEvent, ErrorKind, ProducerEvent, producer::DrainReport,
};
use tokio::time::Instant;

use super::{
    line::Line,
    network::{Last, Wire},
    notes::Event,
    nsqd::{Oddity, Stage},
    world::{World, ms},
};

/// Timers fire on the next whole millisecond.
const TICK: Duration = ms(2);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum At {
    #[default]
    Idle,
    Dialling,
    Up,
    Lost,
    BackingOff,
    Drained,
}

impl At {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Dialling => "connecting",
            Self::Up => "up",
            Self::Lost => "lost",
            Self::BackingOff => "backing off",
            Self::Drained => "drained",
        }
    }
}

/// The state of the producer according to its events.
#[derive(Debug, Default)]
pub(crate) struct Path {
    pub(crate) at: At,
    since: Option<Instant>,
    delay: Duration,
    failed: u32,
    /// The outcome that the latest connect must have.
    pub(crate) dial: &'static str,
    pub(crate) connects: u64,
    pub(crate) disconnects: u64,
    /// Why the connection ended whose publishes are not settled yet.
    reason: Option<ConnectionError>,
    pub(crate) draining: bool,
    pub(crate) report: Option<DrainReport>,
    /// Whether the last connection ended with an error response after an `OK`.
    flat: bool,
    /// It may have lasted long enough to reset the backoff.
    may_start_over: bool,
    may_leave: bool,
    must_leave: bool,
    /// The current or latest line, and the number of lines seen.
    line: usize,
    lines_seen: usize,
    /// The name of the last failure.
    pub(crate) last_error: String,
}

impl Path {
    fn go(&mut self, at: At) {
        self.at = at;
        self.since = Some(Instant::now());
    }
}

impl World {
    pub(crate) fn see_events(&mut self) {
        for event in self.events.take() {
            self.note(|| {
                let event = format!("{event:?}");
                event.replace("address: \"nsqd in memory\", ", "")
            });
            self.go(event);
        }
    }

    fn go(&mut self, event: Event) {
        let now = Instant::now();
        let from = self.path.at;
        let since = self.path.since.unwrap_or(self.began);
        assert_ne!(from, At::Drained, "{event:?} after the last event");
        let event = match event {
            Event::Connection(event) => event,
            Event::Producer(event) => return self.go_producer(event),
        };
        match event {
            ConnectionEvent::Connecting {
                failures: failed, ..
            } => {
                let starts_over = from == At::Lost && self.path.may_start_over && failed == 0;
                assert!(failed == self.path.failed || starts_over);
                self.path.failed = failed;
                let asked = self.reconnect.is_some_and(|at| at >= since);
                match from {
                    At::Idle => self.count.add("idle -> connecting"),
                    At::BackingOff if now >= since + self.path.delay => {
                        assert!(now <= since + self.path.delay + TICK, "connects late");
                        self.count.add("backing off -> connecting");
                    }
                    At::BackingOff => {
                        assert!(asked, "connects early");
                        self.count.add("backing off -> connecting, requested");
                    }
                    At::Lost => {
                        assert!(self.path.may_leave, "connects at once");
                        self.count.add("lost -> connecting, requested");
                    }
                    _ => panic!("connects while {}", from.name()),
                }
                self.path.go(At::Dialling);
            }
            ConnectionEvent::Connected { .. } => {
                assert_eq!((from, self.path.dial), (At::Dialling, "fine"));
                self.count.add("connecting -> up");
                self.path.connects += 1;
                let fresh = self.lines.iter().skip(self.path.lines_seen);
                let place = fresh.take_while(|line| !line.is_greeted()).count();
                self.path.line = self.path.lines_seen + place;
                self.path.lines_seen = self.path.line + 1;
                self.path.go(At::Up);
            }
            ConnectionEvent::BackingOff {
                delay,
                failures: failed,
                ..
            } => {
                let (unit, cap) = (self.setup.backoff, self.setup.max_backoff);
                let most = unit
                    .saturating_mul(1 << failed.saturating_sub(1).min(20))
                    .min(cap)
                    .max(ms(1));
                match from {
                    At::Dialling => {
                        let dial = self.dial_failure();
                        self.path.last_error = name_of(dial).into();
                        // A failure that is likely to repeat is retried after a long delay.
                        let most = if dial == "auth" { cap } else { most };
                        self.batching.forget_limit();
                        self.path.lines_seen = self.lines.len();
                        self.count.add(format!("connecting -> backing off: {dial}"));
                        assert_eq!(failed, self.path.failed + 1);
                        assert!(ms(1) <= delay && delay <= most, "{delay:?} after {failed}");
                    }
                    At::Lost => {
                        assert!(
                            !self.path.must_leave,
                            "{delay:?} although a reconnect was requested"
                        );
                        let flat = self.path.flat;
                        let grown = u32::from(!flat);
                        assert!(
                            failed == self.path.failed + grown
                                || self.path.may_start_over && failed == grown
                        );
                        match flat {
                            true => assert_eq!(delay, ms(20)),
                            false => {
                                assert!(ms(1) <= delay && delay <= most, "{delay:?} after {failed}")
                            }
                        }
                        let how = if flat { "soon" } else { "with growing delays" };
                        self.count.add(format!("lost -> backing off {how}"));
                    }
                    _ => panic!("backs off while {}", from.name()),
                }
                (self.path.delay, self.path.failed) = (delay, failed);
                self.path.go(At::BackingOff);
            }
            ConnectionEvent::Disconnected { reason, .. } => {
                assert_eq!(from, At::Up);
                self.count.add(format!("up -> lost: {}", variant(&reason)));
                self.path.reason = Some(reason);
            }
            // The state before the first event, or the end of a connection before `Drained`.
            ConnectionEvent::Idle { .. } | ConnectionEvent::Closed { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn go_producer(&mut self, event: ProducerEvent) {
        let from = self.path.at;
        let since = self.path.since.unwrap_or(self.began);
        match event {
            ProducerEvent::Accepting { .. } => {}
            ProducerEvent::Settled {
                requeued,
                maybe_written,
                ..
            } => {
                let reason = self
                    .path
                    .reason
                    .take()
                    .expect("`Disconnected` comes before");
                self.lost(since, &reason, requeued, maybe_written);
                self.path.last_error = variant(&reason);
                self.path.disconnects += 1;
                self.path.go(At::Lost);
            }
            ProducerEvent::Draining { .. } => {
                assert!(self.stopping.is_draining() && !self.path.draining);
                self.path.draining = true;
                self.count.add(format!("a drain begins: {}", from.name()));
            }
            ProducerEvent::Drained { report, .. } => {
                assert!(self.path.draining);
                self.path.report = Some(report);
                self.count.add(format!("{} -> drained", from.name()));
                self.path.go(At::Drained);
            }
            other => panic!("{other:?}"),
        }
    }

    /// The failure of the latest connect.
    fn dial_failure(&self) -> &'static str {
        let dial = self.path.dial;
        if dial == "rejected" || dial == "timeout" {
            return dial;
        }
        let line = self.lines.last().expect("a connection");
        let network = self.network.lock();
        let wire = network.wires.last().expect("a connection");
        match (line.peer.stage, wire.last) {
            _ if wire.write_failed => "handshake reset",
            (_, Some(Last::Fin)) if dial == "fine" => "handshake closed",
            (_, Some(Last::Reset)) if dial == "fine" => "handshake reset",
            // nsqd did not read it.
            (Stage::Magic | Stage::Identify, None) => "handshake timeout",
            // The client could not write its NOP and so did not read the response.
            (Stage::Open, None) if wire.is_full() && !line.is_greeted() => "handshake timeout",
            _ => dial,
        }
    }

    fn lost(&mut self, since: Instant, why: &ConnectionError, resent: usize, unknown: usize) {
        let now = Instant::now();
        let network = self.network.lock();
        let place = self.path.line;
        let (line, wire) = (&self.lines[place], &network.wires[place]);
        assert!(wire.gone, "the socket is closed");
        self.may_be_lost(line, wire, why);
        let served = line.answer_heard.is_some();
        let good_life = if served {
            self.setup.backoff.min(ms(1000))
        } else {
            ms(1000)
        };
        let flat = line.is_refused() && served;
        // The lifetime ends when closing begins, at most a second before the event.
        let reset = flat || now >= since + good_life + ms(1000);
        let may_reset = reset || now >= since + good_life;
        let perhaps = line
            .commands
            .iter()
            .filter(|command| command.confirmed.is_none());
        let perhaps = perhaps
            .flat_map(|command| &command.publishes)
            .map(|number| &self.publishes[*number]);
        let perhaps: Vec<_> = perhaps
            .filter(|publish| match &publish.answered {
                None => true,
                Some((at, Err(error))) => *at == now && error.kind() == ErrorKind::ConnectionLost,
                Some((_, Ok(()))) => false,
            })
            .collect();
        let expected = if line.is_refused() { 0 } else { perhaps.len() };
        // A cancelled publish may have timed out unobserved.
        let gone = perhaps
            .iter()
            .filter(|publish| publish.cancelled.is_some())
            .count();
        assert!(
            unknown <= expected && expected <= unknown + gone,
            "{unknown} may be stored, and not {expected}"
        );
        assert!(!self.setup.retry_maybe_written || resent >= unknown);
        let refused = line.is_refused();
        drop(network);
        if !refused {
            self.batching.forget_limit();
        }
        self.count_lost_batches(place);
        self.path.flat = flat;
        if reset {
            self.path.failed = 0;
        }
        self.path.may_start_over = may_reset;
        self.path.may_leave = self.reconnect.is_some_and(|at| at >= since);
        self.path.must_leave = self.reconnect.is_some_and(|at| at > since && at < now);
    }

    /// Checks that the connection was closed for a reason.
    fn may_be_lost(&self, line: &Line, wire: &Wire, why: &ConnectionError) {
        let now = Instant::now();
        let opened = line.opened.expect("a connection that was up");
        let quiet = |since: Option<Instant>, time: Duration| now >= since.unwrap_or(opened) + time;
        let justified = match why {
            ConnectionError::Rejected(refused) => line
                .refusal
                .as_ref()
                .is_some_and(|refusal| refusal.heard.is_some() && refusal.text == refused.text()),
            // Between two frames, or within one.
            ConnectionError::ClosedByPeer | ConnectionError::Truncated => {
                wire.end_heard && wire.last == Some(Last::Fin)
            }
            ConnectionError::Io(_) => {
                wire.write_failed || (wire.end_heard && wire.last == Some(Last::Reset))
            }
            ConnectionError::HeartbeatTimeout { .. } => {
                let interval = self.setup.heartbeat.expect("heartbeats");
                quiet(line.frame_heard, interval * 2)
            }
            ConnectionError::AckTimeout { .. } => {
                let oldest = line
                    .commands
                    .iter()
                    .find(|command| command.confirmed.is_none() && command.bytes > 0);
                oldest.is_some()
                    && quiet(line.answer_heard, self.setup.ack_timeout)
                    && quiet(None, self.setup.ack_timeout)
            }
            ConnectionError::WriteTimeout { .. } => {
                wire.was_full && quiet(None, self.setup.write_timeout)
            }
            ConnectionError::UnexpectedResponse { .. } => line.odd() == Some(Oddity::OutOfStep),
            ConnectionError::Protocol(_) => line.odd() == Some(Oddity::Garbage),
            ConnectionError::HttpServer => line.odd() == Some(Oddity::Http),
            ConnectionError::ClosedLocally => {
                self.reconnect.is_some_and(|at| at >= opened) || self.stopping.is_draining()
            }
            _ => false,
        };
        // After a failed write the read side is drained for a second.
        if let Some(failed) = wire.failed_at
            && !wire.end_heard
            && line.odd().is_none()
        {
            let interval = self.setup.heartbeat.unwrap_or(Duration::MAX);
            let silent = interval
                .checked_mul(2)
                .is_some_and(|after| quiet(line.frame_heard, after));
            assert!(
                now >= failed + ms(1000) || silent,
                "the read side was not drained"
            );
        }
        assert!(justified, "disconnected because of {why:?}; {line:?}");
    }
}

/// The error variant of a failed connect.
fn name_of(failure: &str) -> &'static str {
    match failure {
        "rejected" => "Dial",
        "timeout" => "DialTimeout",
        "handshake timeout" => "HandshakeTimeout",
        "handshake closed" => "HandshakeClosed",
        "handshake reset" => "Io",
        "handshake rejected" => "HandshakeRejected",
        "handshake invalid" => "HandshakeResponse",
        "http" => "HttpServer",
        "absurd frame" => "Protocol",
        "auth" => "AuthSecretMissing",
        _ => panic!("unexpected failure: {failure}"),
    }
}

pub(crate) fn variant(why: &ConnectionError) -> String {
    let name = format!("{why:?}");
    name.chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect()
}
