//! The consumer's use of one connection: subscribing, and leaving.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{answers::Source, connection_key::ConnectionKey, flow::settle_time, in_flight::Timing};
use crate::{
    conn::Connected,
    error::ConnectionError,
    link::Session,
    protocol::{Command, IdentifyResponse},
};

/// Time that nsqd has for `CLOSE_WAIT` when the time of a drain is over. What it sent before it
/// read `CLS` is still returned; an nsqd that does not respond must not delay the end for longer.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// nsqd's defaults, for an nsqd that does not send them.
const MSG_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_MSG_TIMEOUT: Duration = Duration::from_secs(900);
const OUTPUT_BUFFER_TIMEOUT: Duration = Duration::from_millis(250);

/// What the consumer keeps for a connection.
///
/// ```text
///        SUB written           OK            CLS written       CLOSE_WAIT        all answered
///   Fresh ----------> Subscribing --> Subscribed -----> Leaving -------> Settled -----> finished
/// ```
pub(crate) struct Subscribed {
    pub(super) key: ConnectionKey,
    pub(super) source: Arc<Source>,
    pub(super) timing: Timing,
    pub(super) max_rdy: u32,
    pub(super) round_trip: Duration,
    pub(super) phase: Phase,
    /// A write has failed; what nsqd has sent is still read.
    pub(super) is_lost: bool,
    /// Flow control and the held messages know that the connection is lost.
    pub(super) is_detached: bool,
    /// When the last message arrived.
    pub(super) last_message: Option<Instant>,
    /// Answers written since the drain began.
    pub(super) answers_in_drain: u64,
    /// The largest `max_in_flight` during the connection, which limits what nsqd may send.
    pub(super) largest_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Fresh,
    /// nsqd must respond until then.
    Subscribing {
        until: Instant,
    },
    Subscribed,
    Leaving {
        /// `CLOSE_WAIT` is not waited for any longer.
        until: Instant,
        /// When everything has arrived that nsqd sent before `CLOSE_WAIT`.
        settled: Option<Instant>,
    },
    /// Nothing arrives any more; handlers may still answer.
    Settled,
}

impl Subscribed {
    pub(super) fn new(key: ConnectionKey, source: Source, timing: Timing, up: &Connected) -> Self {
        Self {
            key,
            source: Arc::new(source),
            timing,
            max_rdy: up.negotiated.max_rdy_count.try_into().unwrap_or(u32::MAX),
            round_trip: up.round_trip,
            phase: Phase::Fresh,
            is_lost: false,
            is_detached: false,
            last_message: None,
            answers_in_drain: 0,
            largest_max: 0,
        }
    }

    /// Whether messages may arrive.
    pub(super) fn is_subscribed(&self) -> bool {
        self.phase == Phase::Subscribed || self.is_leaving()
    }

    /// When the session has to be looked at.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Fresh | Phase::Subscribed | Phase::Settled => None,
            Phase::Subscribing { until } => Some(until),
            Phase::Leaving { until, settled } => Some(settled.map_or(until, |it| it.min(until))),
        }
    }

    /// nsqd has confirmed `CLS`.
    pub(super) fn on_close_wait(&mut self, now: Instant) -> bool {
        let settle_time = settle_time(self.round_trip);
        match &mut self.phase {
            Phase::Leaving { settled, .. } if settled.is_none() => {
                *settled = Some(now + settle_time);
                true
            }
            _ => false,
        }
    }

    /// Notes that everything has arrived that nsqd sent before it stopped, if that is so at `due`.
    pub(super) fn settle(&mut self, due: Instant) {
        if let Phase::Leaving { until, settled } = self.phase
            && (until <= due || settled.is_some_and(|settled| settled <= due))
        {
            self.phase = Phase::Settled;
        }
    }

    /// Waits for less than before: the time of a drain is over at `now`.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Phase::Leaving { until, .. } = &mut self.phase {
            *until = (now + LAST_WAIT).min(*until);
        }
    }

    /// A write has failed: answers of the connection's messages cannot be written any more.
    pub(super) fn on_write_failed(&mut self) {
        self.source.set_lost();
        self.is_lost = true;
    }

    /// Whether messages are taken although a write has failed.
    pub(super) fn is_read_after_loss(&self) -> bool {
        self.is_lost && !self.is_detached && self.phase == Phase::Subscribed
    }

    /// Whether nsqd was asked to send nothing more.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. } | Phase::Settled)
    }
}

/// When messages of a connection expire, from what was negotiated.
pub(super) fn timing(negotiated: &IdentifyResponse, round_trip: Duration) -> Timing {
    let or = |milliseconds: i64, default| match u64::try_from(milliseconds) {
        Ok(1..) => Duration::from_millis(milliseconds.unsigned_abs()),
        _ => default,
    };
    let msg_timeout = or(negotiated.msg_timeout, MSG_TIMEOUT);
    let max_timeout = or(negotiated.max_msg_timeout, MAX_MSG_TIMEOUT).max(msg_timeout);
    let buffered = if negotiated.output_buffer_size < 0 {
        Duration::ZERO
    } else {
        or(negotiated.output_buffer_timeout, OUTPUT_BUFFER_TIMEOUT)
    };
    // With a long buffer and a short timeout the rest is what remains reasonable.
    let on_the_way = (buffered + round_trip).min(msg_timeout / 2);
    Timing {
        timeout: msg_timeout - on_the_way,
        max_timeout: max_timeout - on_the_way,
        margin: (buffered + round_trip * 2).min(msg_timeout / 4),
    }
}

impl Session<Subscribed> {
    /// Subscribes a new connection; nsqd must respond within `timeout`.
    pub(super) fn subscribe(&mut self, now: Instant, timeout: Duration) {
        if self.state.phase == Phase::Fresh && !self.is_closing() {
            let Source { topic, channel, .. } = &*self.state.source;
            Command::Subscribe { topic, channel }.encode(&mut self.out);
            let until = now + timeout;
            self.state.phase = Phase::Subscribing { until };
        }
    }

    /// Asks nsqd to send nothing more. A connection that is not subscribed yet is closed.
    pub(super) fn leave(&mut self, now: Instant, timeout: Duration) {
        match self.state.phase {
            _ if self.is_closing() => {}
            Phase::Subscribed => {
                Command::Close.encode(&mut self.out);
                self.state.phase = Phase::Leaving {
                    until: now + timeout,
                    settled: None,
                };
            }
            Phase::Leaving { .. } | Phase::Settled => {}
            Phase::Fresh | Phase::Subscribing { .. } => {
                self.finish(ConnectionError::ClosedLocally, now);
            }
        }
    }

    /// Closes a connection on which nsqd has not responded to SUB at `due`.
    pub(super) fn check_subscribing(&mut self, due: Instant, now: Instant, after: Duration) {
        if let Phase::Subscribing { until } = self.state.phase
            && until <= due
            && !self.is_closing()
        {
            self.close(ConnectionError::HandshakeTimeout { after }, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// consumer contract: 7
    #[test]
    fn deadline_precedes_that_of_nsqd_by_the_time_on_the_way() {
        let mut negotiated = IdentifyResponse::legacy();
        let legacy = timing(&negotiated, MS(1));
        assert_eq!(legacy.timeout, MS(60_000 - 251));
        assert_eq!(legacy.max_timeout, MS(900_000 - 251));
        assert_eq!(legacy.margin, MS(252));
        negotiated.msg_timeout = 1_000;
        negotiated.max_msg_timeout = 5_000;
        negotiated.output_buffer_timeout = 25;
        let short = timing(&negotiated, MS(5));
        assert_eq!((short.timeout, short.max_timeout), (MS(970), MS(4_970)));
        assert_eq!(short.margin, MS(35));
        // Without a buffer nothing waits in it.
        negotiated.output_buffer_size = -1;
        assert_eq!(timing(&negotiated, MS(5)).timeout, MS(995));
        // A buffer that holds messages for longer than their timeout.
        negotiated.output_buffer_size = 16_384;
        negotiated.output_buffer_timeout = 30_000;
        assert_eq!(timing(&negotiated, MS(5)).timeout, MS(500));
        assert_eq!(timing(&negotiated, MS(5)).margin, MS(250));
    }
}
