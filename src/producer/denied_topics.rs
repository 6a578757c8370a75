//! Topics that nsqd has rejected a moment ago.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    error::Cause,
    protocol::{ErrorCode, ServerError, Topic},
};

/// How long a rejection is remembered: each one costs a connection, and with AUTH each connection
/// makes nsqd query its auth server.
const REMEMBERED: Duration = Duration::from_secs(1);

/// Maximum number of rejected topics that are remembered, to bound memory.
const MAX_TOPICS: usize = 256;

/// Publishes to a denied topic fail at once. After [`REMEMBERED`] the next one is sent, so that a
/// new authorization is noticed.
#[derive(Debug, Default)]
pub(crate) struct DeniedTopics(HashMap<Topic, Denial>);

#[derive(Debug)]
struct Denial {
    error: ServerError,
    since: Instant,
}

impl Denial {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < REMEMBERED
    }
}

impl DeniedTopics {
    /// Notes that nsqd has rejected a publish to `topic`.
    pub(crate) fn on_error(&mut self, topic: Topic, error: ServerError, now: Instant) {
        if !matches!(error.code(), ErrorCode::BadTopic | ErrorCode::Unauthorized) {
            return;
        }
        self.0.retain(|_, denial| denial.is_fresh(now));
        if self.0.len() < MAX_TOPICS || self.0.contains_key(&topic) {
            self.0.insert(topic, Denial { error, since: now });
        }
    }

    /// Fails if the topic was denied a moment ago.
    #[inline]
    pub(crate) fn check(&self, topic: &Topic, now: Instant) -> Result<(), Cause> {
        if self.0.is_empty() {
            return Ok(());
        }
        let denial = self.0.get(topic).filter(|denial| denial.is_fresh(now));
        denial.map_or(Ok(()), |denial| {
            Err(Cause::TopicDenied {
                within: REMEMBERED,
                error: denial.error.clone(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(number: usize) -> Topic {
        Topic::new(format!("topic_{number}")).unwrap()
    }

    #[test]
    fn denied_topics_are_bounded_and_forgotten() {
        let mut denied = DeniedTopics::default();
        let mut now = Instant::now();
        for round in ["E_UNAUTHORIZED no", "E_BAD_TOPIC no"] {
            let error = ServerError::parse(round.as_bytes());
            for number in 0..1_000 {
                denied.on_error(topic(number), error.clone(), now);
            }
            assert_eq!(denied.0.len(), MAX_TOPICS, "{round}");
            denied.check(&topic(0), now).unwrap_err();
            denied.check(&topic(MAX_TOPICS), now).unwrap();
            now += REMEMBERED;
            denied.check(&topic(0), now).unwrap();
        }
    }
}
