//! Bounds of what many producers, consumers, topics and publishes cost.
//!
//! Heap: bytes that are allocated and not freed, which are the same in each run. Resident: bytes of
//! pages that were written, by the system. CPU time includes the system's part.

use std::ops::RangeInclusive;

/// A bound of one figure. A figure below its range fails as well: either nothing was counted, or
/// the bound has to follow it.
#[derive(Clone, Debug)]
pub struct Bound {
    pub subject: &'static str,
    pub figure: &'static str,
    /// With `FULL=1`, of a release build.
    pub measured: f64,
    pub range: RangeInclusive<f64>,
}

const fn bound(
    subject: &'static str,
    figure: &'static str,
    measured: f64,
    range: RangeInclusive<f64>,
) -> Bound {
    Bound {
        subject,
        figure,
        measured,
        range,
    }
}

pub const BOUNDS: &[Bound] = &[
    // A buffer of 64 KiB for reads and one of 32 KiB for commands; the histogram has 1.5 KiB.
    bound("producer", "heap, bytes", 109_370.0, 100_000.0..=120_000.0),
    // Most of these buffers is written once more was sent or read.
    bound("producer", "resident, bytes", 23_443.0, 10_000.0..=40_000.0),
    // A heartbeat is a read, a write and three tasks. Debug builds take the most.
    bound("producer", "CPU per heartbeat, µs", 90.0, 0.0..=300.0),
    bound(
        "producer with snappy",
        "heap, bytes",
        0.0,
        100_000.0..=1_000_000.0,
    ),
    // The states of compression, and of decompression with its window of 32 KiB.
    bound(
        "producer with deflate",
        "heap, bytes",
        0.0,
        100_000.0..=1_000_000.0,
    ),
    // Its buffer for reads has 16 KiB.
    bound("consumer", "heap, bytes", 64_967.0, 50_000.0..=75_000.0),
    bound("consumer", "resident, bytes", 26_001.0, 10_000.0..=40_000.0),
    bound("consumer", "CPU per heartbeat, µs", 49.0, 0.0..=300.0),
    // The last one waits for up to one delay, and for its handshake.
    bound("reconnect", "time, maximum delays", 1.03, 0.5..=2.0),
    // All at once would be 25.
    bound(
        "reconnect",
        "most attempts in 100 ms, even shares",
        1.25,
        0.5..=3.0,
    ),
    // Queues that are empty are reused.
    bound("topic used once", "heap, bytes", 0.0, 0.0..=200.0),
    bound(
        "topic used once, with topic_stats",
        "heap, bytes",
        444.0,
        100.0..=700.0,
    ),
    // Space for the first four publishes of a topic is reserved together.
    bound(
        "topic with a pending publish",
        "heap, bytes",
        1_098.0,
        500.0..=1_300.0,
    ),
    // The same number of publishes to ten times as many topics at the same time.
    bound("topics", "CPU per publish, that of a tenth", 1.0, 0.5..=2.0),
    // The caller's channel is a part of it.
    bound("pending publish", "heap, bytes", 224.0, 180.0..=240.0),
    // Besides, what its message took in the mailbox, and the caller's future.
    bound("pending publish", "resident, bytes", 488.0, 200.0..=600.0),
    // A few attempts to connect; most in the first second. A pass over all publishes whenever a
    // deadline could have passed would take 100,000 at least.
    bound(
        "pending publishes",
        "CPU per second, µs",
        1_420.0,
        0.0..=20_000.0,
    ),
];
