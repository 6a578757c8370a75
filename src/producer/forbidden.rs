//! Topics that nsqd does not let this producer publish to, as it said a moment ago.

use std::time::{Duration, Instant};

use crate::{
    error::Cause,
    protocol::{ErrorCode, ServerError, Topic},
};

/// For so long nsqd is not asked again: each refusal costs the connection, and each connection asks the auth server.
const REMEMBERED: Duration = Duration::from_secs(1);

/// So many are remembered; nobody is meant to publish to more topics that are closed to him.
const MOST: usize = 256;

/// What a publish to such a topic is told at once. One each second is let through, and hears nsqd's word of today.
#[derive(Debug, Default)]
pub(super) struct Forbidden(Vec<(Instant, Topic, ServerError)>);

impl Forbidden {
    /// Takes note of a refusal of a publish to `topic`.
    pub(super) fn note(&mut self, topic: Topic, refusal: &ServerError, now: Instant) {
        if refusal.code() != ErrorCode::Unauthorized {
            return;
        }
        self.0
            .retain(|(since, of, _)| *of != topic && is_fresh(*since, now));
        if self.0.len() < MOST {
            self.0.push((now, topic, refusal.clone()));
        }
    }

    /// What is known of `topic`.
    pub(super) fn cause(&self, topic: &Topic, now: Instant) -> Option<Cause> {
        let known =
            |(since, of, _): &&(Instant, Topic, ServerError)| of == topic && is_fresh(*since, now);
        let (_, _, refusal) = self.0.iter().find(known)?;
        Some(Cause::TopicDenied {
            within: REMEMBERED,
            error: refusal.clone(),
        })
    }
}

fn is_fresh(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < REMEMBERED
}
