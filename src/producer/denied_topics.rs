//! Topics for which nsqd has denied authorization a moment ago.

use std::time::{Duration, Instant};

use crate::{
    error::Cause,
    protocol::{ErrorCode, ServerError, Topic},
};

/// How long a denial is remembered: each one costs a connection, and each connection makes nsqd
/// query its auth server.
const REMEMBERED: Duration = Duration::from_secs(1);

/// Maximum number of denied topics that are remembered, to bound memory.
const MAX_TOPICS: usize = 256;

/// Publishes to a denied topic fail at once. After [`REMEMBERED`] the next one is sent, so that a
/// new authorization is noticed.
#[derive(Debug, Default)]
pub(super) struct DeniedTopics(Vec<Denial>);

#[derive(Debug)]
struct Denial {
    topic: Topic,
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
    pub(super) fn on_error(&mut self, topic: Topic, error: ServerError, now: Instant) {
        if error.code() != ErrorCode::Unauthorized {
            return;
        }
        self.0
            .retain(|denial| denial.topic != topic && denial.is_fresh(now));
        if self.0.len() < MAX_TOPICS {
            self.0.push(Denial {
                topic,
                error,
                since: now,
            });
        }
    }

    /// Fails if the topic was denied a moment ago.
    pub(super) fn check(&self, topic: &Topic, now: Instant) -> Result<(), Cause> {
        let denial = self
            .0
            .iter()
            .find(|denial| denial.topic == *topic && denial.is_fresh(now));
        match denial {
            Some(denial) => Err(Cause::TopicDenied {
                within: REMEMBERED,
                error: denial.error.clone(),
            }),
            None => Ok(()),
        }
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
        let error = ServerError::parse(b"E_UNAUTHORIZED AUTH failed");
        for round in 0..3 {
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
