//! Commands in flight on the current connection.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{
    blocks::Blocks,
    in_flight_limit::InFlightLimit,
    limits::{LARGE, Limits, Usage},
};

/// Bytes of a publish whose transmission takes no time worth mentioning.
const SMALL: usize = 4 << 10;

/// A command in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    pub(super) topic_queue: usize,
    /// It carries this many publishes of its topic queue, those behind the older commands. A ping
    /// carries none.
    pub(super) usage: Usage,
    /// Offset of its end in the bytes sent on the connection.
    pub(super) end: u64,
    pub(super) since: Instant,
    /// It carries one small publish, and no publish was in flight before it.
    pub(super) measures_round_trip: bool,
}

/// When a command was sent, and when nsqd's response was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerTime {
    sent: Instant,
    answered: Instant,
    time: Duration,
}

impl AnswerTime {
    fn new(sent: Instant, answered: Instant) -> Self {
        Self {
            sent,
            answered,
            time: answered.saturating_duration_since(sent),
        }
    }

    /// The time from sending to the response.
    pub(super) fn since_sent(&self) -> Duration {
        self.time
    }

    /// The time from `accepted` to the response. Most publishes are sent in the burst in which
    /// they are accepted, which has one time.
    pub(super) fn since(&self, accepted: Instant) -> Duration {
        if accepted == self.sent {
            self.time
        } else {
            self.answered.saturating_duration_since(accepted)
        }
    }
}

impl InFlight {
    pub(super) fn ping(end: u64, now: Instant) -> Self {
        Self {
            topic_queue: 0,
            usage: Usage::default(),
            end,
            since: now,
            measures_round_trip: false,
        }
    }

    pub(super) fn is_ping(&self) -> bool {
        self.usage.publishes == 0
    }
}

/// All commands in flight, the oldest first, and how many there may be.
///
/// nsqd answers commands in order, so each response belongs to the oldest.
pub(super) struct CommandsInFlight {
    commands: Blocks<InFlight>,
    usage: Usage,
    /// Maximum of publishes and bytes in flight.
    window: Usage,
    limit: InFlightLimit,
}

impl CommandsInFlight {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            commands: Blocks::new(),
            usage: Usage::default(),
            window: limits.window,
            limit: InFlightLimit::new(limits.batch_time),
        }
    }

    pub(super) fn oldest(&self) -> Option<&InFlight> {
        self.commands.front()
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// What the window allows beside the publishes in flight.
    pub(super) fn capacity(&self) -> Usage {
        self.window.minus(self.usage)
    }

    pub(super) fn limit(&self) -> &InFlightLimit {
        &self.limit
    }

    pub(super) fn limit_mut(&mut self) -> &mut InFlightLimit {
        &mut self.limit
    }

    /// Returns whether nothing is to be sent until all publishes in flight are answered.
    pub(super) fn waits_to_measure(&self) -> bool {
        self.limit.is_measuring() && self.usage.publishes > 0
    }

    /// Returns whether the limit for batches allows another command; pings do not count.
    pub(super) fn is_within_limit(&self, pings: usize) -> bool {
        let commands = self.commands.len().saturating_sub(pings);
        commands < self.limit.commands() && self.usage.publishes < self.limit.publishes()
    }

    /// Returns whether the publishes that are `queued` wait to be written with others.
    pub(super) fn waits_for_larger_write(&self, queued: Usage) -> bool {
        queued.publishes > 0
            && queued.bytes <= LARGE
            && self
                .limit
                .allows_to_wait(self.commands.len(), queued.publishes)
    }

    /// Adds a command that ends at `end` in the bytes sent.
    pub(super) fn push_publishes(
        &mut self,
        topic_queue: usize,
        usage: Usage,
        end: u64,
        now: Instant,
    ) {
        let latest = self.commands.back();
        if latest.is_none_or(|latest| latest.is_ping() || latest.since != now) {
            self.limit.on_burst(self.usage.publishes == 0);
        }
        let is_small = usage.fits(Usage::one(SMALL));
        let measures_round_trip = is_small && self.usage.publishes == 0;
        self.push(InFlight {
            topic_queue,
            usage,
            end,
            since: now,
            measures_round_trip,
        });
    }

    pub(super) fn push(&mut self, command: InFlight) {
        self.usage.add(command.usage);
        self.commands.push_back(command);
    }

    pub(super) fn pop_oldest(&mut self) -> Option<InFlight> {
        let command = self.commands.pop_front()?;
        self.usage.remove(command.usage);
        Some(command)
    }

    /// Removes the oldest command, for which nsqd's `OK` was read when the transport had accepted
    /// `written` bytes.
    pub(super) fn pop_ok(
        &mut self,
        written: u64,
        now: Instant,
    ) -> Result<(InFlight, AnswerTime), &'static str> {
        if self.oldest().is_some_and(|command| command.end > written) {
            return Err("OK for a command that is not completely sent");
        }
        let command = self
            .pop_oldest()
            .ok_or("OK while no command is in flight")?;
        let InFlight { usage, since, .. } = command;
        let answer_time = AnswerTime::new(since, now);
        if !command.is_ping() {
            let time = answer_time.since_sent();
            self.limit.on_response(usage, since, time, now);
            if command.measures_round_trip {
                self.limit.on_measurement(time, now);
            }
        }
        Ok((command, answer_time))
    }

    /// Removes all commands: the connection has ended.
    pub(super) fn take_all(&mut self) -> Blocks<InFlight> {
        self.usage = Usage::default();
        mem::replace(&mut self.commands, Blocks::new())
    }
}
