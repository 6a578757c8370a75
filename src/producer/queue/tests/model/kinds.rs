//! What a schedule is like: the limits, and what is published.

use super::*;

/// The first two are refused, and in many a schedule not published to.
const TOPICS: [&str; 12] = [
    "bad", "locked", "a", "b", "a", "b", "a", "b", "a", "b", "a", "c",
];

pub(super) struct Kind {
    pub(super) limits: Limits,
    pub(super) topics: &'static [&'static str],
    /// As many publishes at most come at once.
    pub(super) burst: usize,
    /// Of so many publishes, one is a batch and one is deferred.
    pub(super) plain: usize,
    /// Of so many whole commands, one meets trouble; 0 for none.
    pub(super) trouble: u32,
    /// The longest time-out, in milliseconds.
    pub(super) patience: u64,
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
                pending: Usage {
                    publishes: [3, 10, 100][rng.usize(0..3)],
                    bytes: [200, 6000, 1 << 20][rng.usize(0..3)],
                },
                window: Usage {
                    publishes: rng.usize(1..10),
                    bytes: [1, 100, 1 << 20][rng.usize(0..3)],
                },
                retry_maybe_written: rng.bool(),
                batch: None,
            },
            topics: &TOPICS[[0, 2][rng.usize(0..2)]..],
            burst: 1,
            plain: 4,
            trouble: [0, 4, 15][rng.usize(0..3)],
            patience: 500,
        }
    }

    fn with_batching(rng: &mut fastrand::Rng) -> Self {
        Self {
            limits: Limits {
                pending: Usage {
                    publishes: [10, 30, 150][rng.usize(0..3)],
                    bytes: [2000, 1 << 20, 1 << 20][rng.usize(0..3)],
                },
                window: Usage {
                    publishes: [rng.usize(1..20), 100, 1000][rng.usize(0..3)],
                    bytes: [rng.usize(1..1000), 1 << 20, 1 << 20][rng.usize(0..3)],
                },
                retry_maybe_written: rng.bool(),
                batch: Some(Batch {
                    messages: [rng.usize(2..9), 256][rng.usize(0..2)],
                    bytes: [9, 100, 900_000, 900_000][rng.usize(0..4)],
                }),
            },
            topics: &TOPICS[[0, 0, 2, 10][rng.usize(0..4)]..],
            burst: [3, 10, 30][rng.usize(0..3)],
            plain: [4, 20, 100][rng.usize(0..3)],
            trouble: [0, 4, 15][rng.usize(0..3)],
            patience: 500,
        }
    }

    /// Large batches of few topics, so many that the pace holds them up.
    fn flood(rng: &mut fastrand::Rng) -> Self {
        let load = Usage {
            publishes: 600,
            bytes: 1 << 20,
        };
        Self {
            limits: Limits {
                pending: load,
                window: load,
                retry_maybe_written: rng.bool(),
                batch: Some(Batch {
                    messages: [rng.usize(10..100), 256][rng.usize(0..2)],
                    bytes: 900_000,
                }),
            },
            topics: &TOPICS[10..],
            burst: 120,
            plain: 400,
            trouble: [0, 100][rng.usize(0..2)],
            patience: 5000,
        }
    }
}
