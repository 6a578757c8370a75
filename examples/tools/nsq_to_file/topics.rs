//! The topics: those that are given, and those that nsqlookupd knows.

use std::{collections::HashSet, time::Duration};

use actix_nsq::{LookupConfig, Topic, actix, lookup};
use log::{debug, error, warn};
use regex_lite::Regex;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

/// Which topics are written.
#[derive(Debug)]
pub(crate) enum Topics {
    /// These, each once, without those that do not match the pattern.
    Given {
        topics: Vec<Topic>,
        skipped: Vec<Topic>,
    },
    /// Those that nsqlookupd knows, also later.
    Discovered(Discovery),
}

/// How topics are found.
#[derive(Debug)]
pub(crate) struct Discovery {
    pub(crate) config: LookupConfig,
    pub(crate) pattern: Regex,
    /// Time between two queries.
    pub(crate) refresh: Duration,
}

impl Topics {
    /// Returns the topics, each once. Those that nsqlookupd knows already come soon.
    pub(crate) fn start(self) -> mpsc::UnboundedReceiver<Topic> {
        let (sender, topics) = mpsc::unbounded_channel();
        match self {
            Self::Given { topics, skipped } => {
                for topic in skipped {
                    warn!("topic {topic} is skipped: it does not match --topic-pattern");
                }
                for topic in topics {
                    // The receiver exists.
                    let _ = sender.send(topic);
                }
            }
            Self::Discovered(discovery) => {
                actix::spawn(discovery.run(sender));
            }
        }
        topics
    }
}

impl Discovery {
    async fn run(self, topics: mpsc::UnboundedSender<Topic>) {
        let mut known = HashSet::new();
        let mut queries = interval(self.refresh);
        queries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            queries.tick().await;
            let found = match lookup::topics(&self.config).await {
                Ok(found) => found,
                Err(reason) => {
                    error!("cannot find topics: {reason}");
                    continue;
                }
            };
            for topic in found {
                if !known.insert(topic.clone()) {
                    continue;
                }
                if !self.pattern.is_match(topic.as_str()) {
                    let pattern = &self.pattern;
                    debug!("topic {topic} does not match {pattern}");
                } else if topics.send(topic).is_err() {
                    return;
                }
            }
        }
    }
}
