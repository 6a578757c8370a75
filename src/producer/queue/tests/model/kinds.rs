//! The limits and publishes of one schedule.

use super::*;

/// nsqd rejects the first two; many schedules do not publish to them.
const TOPICS: [&str; 12] = [
    "bad", "locked", "a", "b", "a", "b", "a", "b", "a", "b", "a", "c",
];

pub(super) struct Kind {
    pub(super) limits: Limits,
    pub(super) topics: &'static [&'static str],
    /// Maximum number of publishes at once.
    pub(super) burst: usize,
    /// One of this many publishes is a `MultiPublish`, another one is deferred.
    pub(super) plain: usize,
    /// One of this many commands fails; 0 for none.
    pub(super) trouble: u32,
    /// Maximum timeout in milliseconds.
    pub(super) timeout_ms: u64,
}

impl Kind {
    pub(super) fn any(rng: &mut fastrand::Rng) -> Self {
        match rng.u32(0..30) {
            0..10 => Self::without_batching(rng),
            10 => Self::flood(rng),
            _ => Self::with_batching(rng),
        }
    }

    fn without_batching(rng: &mut fastrand::Rng) -> Self {
        Self {
            limits: Limits {
                pending: usage(
                    [3, 10, 100][rng.usize(0..3)],
                    [200, 6000, 1 << 20][rng.usize(0..3)],
                ),
                window: usage(rng.usize(1..10), [1, 100, 1 << 20][rng.usize(0..3)]),
                retry_maybe_written: rng.bool(),
                pending_per_topic: any_per_topic(rng),
                topic_stats: None,
                budget: any_budget(rng),
                is_pooled: rng.bool(),
                batch_time: Duration::from_millis([1, 1_000][rng.usize(0..2)]),
                batch: None,
            },
            topics: &TOPICS[[0, 2][rng.usize(0..2)]..],
            burst: 1,
            plain: 4,
            trouble: [0, 4, 4, 15][rng.usize(0..4)],
            timeout_ms: 500,
        }
    }

    fn with_batching(rng: &mut fastrand::Rng) -> Self {
        Self {
            limits: Limits {
                pending: usage(
                    [10, 30, 150][rng.usize(0..3)],
                    [2000, 1 << 20, 1 << 20][rng.usize(0..3)],
                ),
                window: usage(
                    [rng.usize(1..20), 100, 1000][rng.usize(0..3)],
                    [rng.usize(1..1000), 1 << 20, 1 << 20][rng.usize(0..3)],
                ),
                retry_maybe_written: rng.bool(),
                pending_per_topic: any_per_topic(rng),
                topic_stats: None,
                budget: any_budget(rng),
                is_pooled: rng.bool(),
                batch_time: Duration::from_millis([1, 1_000][rng.usize(0..2)]),
                batch: Some(Batch {
                    messages: [rng.usize(2..9), 256][rng.usize(0..2)],
                    bytes: [9, 100, 900_000, 900_000][rng.usize(0..4)],
                }),
            },
            topics: &TOPICS[[0, 0, 2, 10][rng.usize(0..4)]..],
            burst: [3, 10, 30][rng.usize(0..3)],
            plain: [4, 20, 100][rng.usize(0..3)],
            trouble: [0, 4, 4, 15][rng.usize(0..4)],
            timeout_ms: 500,
        }
    }

    /// Large batches of few topics, which reach the limit of publishes in flight.
    fn flood(rng: &mut fastrand::Rng) -> Self {
        let wide = usage(600, 1 << 20);
        Self {
            limits: Limits {
                pending: wide,
                window: wide,
                retry_maybe_written: rng.bool(),
                pending_per_topic: any_per_topic(rng),
                topic_stats: None,
                budget: any_budget(rng),
                is_pooled: rng.bool(),
                batch_time: Duration::from_millis([1, 1_000][rng.usize(0..2)]),
                batch: Some(Batch {
                    messages: [rng.usize(10..100), 256][rng.usize(0..2)],
                    bytes: 900_000,
                }),
            },
            topics: &TOPICS[10..],
            burst: 120,
            plain: 400,
            trouble: [0, 100][rng.usize(0..2)],
            timeout_ms: 5000,
        }
    }
}

/// Mostly no limit per topic.
fn any_per_topic(rng: &mut fastrand::Rng) -> Option<usize> {
    [None, None, Some(rng.usize(1..4)), Some(rng.usize(1..30))][rng.usize(0..4)]
}

/// Mostly such that every job takes one poll.
fn any_budget(rng: &mut fastrand::Rng) -> usize {
    [usize::MAX, usize::MAX, rng.usize(1..4), rng.usize(1..40)][rng.usize(0..4)]
}
