//! `--sabotage`: violations on purpose, which prove that the verifier detects them.

use std::io;

use actix_nsq::{PublishError, Topic};
use clap::ValueEnum;

use crate::{
    support::{
        raw_client,
        real_nsqd::{DURABLE, RealNsqd},
    },
    tracker::Tracker,
};

/// A violation that the run must report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Violation {
    /// nsqd acknowledges messages that are in memory only, and loses them with --kill9-every
    Lost,
    /// A message is stored twice and answered ok once
    Duplicate,
    /// A byte of a message is changed
    Corrupt,
    /// A message is stored and answered not written
    Misattributed,
    /// A message is stored and never answered
    Unanswered,
    /// A message is answered twice
    Twice,
    /// Faults are injected while nothing is in flight
    Idle,
    /// A consumer finishes a message that it has not handled, with --consume
    Unhandled,
}

impl Violation {
    /// The flags of nsqd.
    pub(crate) fn nsqd_flags(violation: Option<Self>) -> &'static [&'static str] {
        match violation {
            Some(Self::Lost) => &[],
            _ => DURABLE,
        }
    }

    /// Publishes a message without the producers, and records a result that does not match.
    pub(crate) fn commit(self, tracker: &Tracker, topic: &str, nsqd: &RealNsqd) -> io::Result<()> {
        if self == Self::Unhandled {
            return Ok(());
        }
        let (id, body) = tracker.with_record(|record| record.offer(0, 100));
        let mut damaged = body.to_vec();
        if let Some(last) = damaged.last_mut() {
            *last ^= 1;
        }
        let stored: &[&[u8]] = match self {
            Self::Lost | Self::Idle | Self::Unanswered | Self::Misattributed | Self::Twice => {
                &[&body]
            }
            Self::Unhandled => &[],
            Self::Duplicate => &[&body, &body],
            Self::Corrupt => &[&body, &damaged],
        };
        raw_client::publish(&nsqd.address(), topic, stored)?;
        let results: &[Result<(), PublishError>] = match self {
            Self::Unanswered | Self::Unhandled => &[],
            Self::Misattributed => &[Topic::new("not a topic")
                .map(drop)
                .map_err(PublishError::from)],
            Self::Twice => &[Ok(()), Ok(())],
            Self::Lost | Self::Duplicate | Self::Corrupt | Self::Idle => &[Ok(())],
        };
        for result in results {
            tracker.with_record(|record| record.answer(id, result));
        }
        Ok(())
    }
}
