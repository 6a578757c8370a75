//! What a trial must find, done on purpose: the proof that it would.

use std::io;

use actix_nsq::{PublishError, Topic};
use clap::ValueEnum;

use crate::{
    board::Board,
    support::{
        raw_client,
        real_nsqd::{DURABLE, RealNsqd},
    },
};

/// Who is named here lies, and the trial has to find it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// nsqd says OK while it holds messages in memory only; with --kill9-every they are gone
    Lost,
    /// A message is published twice and answered ok once
    Duplicate,
    /// A byte of a message is changed on its way
    Corrupt,
    /// A message is published, and answered not written
    Misattributed,
    /// A message is published, and never answered
    Unanswered,
    /// A message is answered twice
    Twice,
    /// Faults strike while nothing is in flight
    Idle,
}

impl Sabotage {
    /// The flags that nsqd is started with.
    pub(crate) fn flags(sabotage: Option<Self>) -> &'static [&'static str] {
        match sabotage {
            Some(Self::Lost) => &[],
            _ => DURABLE,
        }
    }

    /// Plays one publisher's message false, behind the backs of the producers.
    pub(crate) fn commit(self, board: &Board, topic: &str, nsqd: &RealNsqd) -> io::Result<()> {
        let (id, body) = board.meddle(|record| record.offer(0, 100));
        let mut damaged = body.to_vec();
        if let Some(last) = damaged.last_mut() {
            *last ^= 1;
        }
        let stored: &[&[u8]] = match self {
            Self::Lost | Self::Idle | Self::Unanswered | Self::Misattributed | Self::Twice => {
                &[&body]
            }
            Self::Duplicate => &[&body, &body],
            Self::Corrupt => &[&body, &damaged],
        };
        raw_client::publish(&nsqd.address(), topic, stored)?;
        let answers: &[Result<(), PublishError>] = match self {
            Self::Unanswered => &[],
            Self::Misattributed => &[Topic::new("no name").map(drop).map_err(PublishError::from)],
            Self::Twice => &[Ok(()), Ok(())],
            Self::Lost | Self::Duplicate | Self::Corrupt | Self::Idle => &[Ok(())],
        };
        for answer in answers {
            board.meddle(|record| record.answer(id, answer));
        }
        Ok(())
    }
}
