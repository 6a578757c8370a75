//! The option `strategy`.

use std::fmt;

use serde::Serialize;

use super::value::Value;

/// How a [`ProducerPool`](crate::ProducerPool) chooses the member that gets a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// All members share the load. The publishes of a topic go to one member in runs
    /// (`auto_batch_messages`, `auto_batch_bytes`), so that they are batched; the next run goes to
    /// the member with the least outstanding publishes and the shortest answer times, and members
    /// that are about alike take turns.
    #[default]
    Spread,
    /// The first member that is up, in the order in which they were given: for example the nsqd on
    /// the same machine, and others in case it fails.
    Primary,
    /// Each topic has an order of the members of its own (rendezvous hash of topic and address),
    /// and goes to the first that is up. Pools with the same members choose alike.
    PerTopic,
}

impl Strategy {
    /// Returns the name in snake case, such as `per_topic`. `Display` and `Serialize` use the same
    /// text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Primary => "primary",
            Self::PerTopic => "per_topic",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Value for Strategy {
    type Bounds = ();

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Spread, Self::Primary, Self::PerTopic];
        all.into_iter().find(|strategy| strategy.as_str() == text)
    }

    fn within(&self, (): &Self::Bounds) -> bool {
        true
    }

    fn show(&self) -> String {
        self.as_str().into()
    }
}
