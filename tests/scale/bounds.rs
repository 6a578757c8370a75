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

#[rustfmt::skip]
pub const BOUNDS: &[Bound] = &[
    // A buffer of 8 KiB for reads and one of 4 KiB for commands, which grow with bursts. The rest
    // are three actors, and a histogram of 1.5 KiB.
    bound("producer", "heap, bytes", 23_500.0, 15_000.0..=26_000.0),
    bound("producer", "resident, bytes", 22_700.0, 10_000.0..=32_000.0),
    // A heartbeat is a read, a write and a few polls. Debug builds take the most.
    bound("producer", "CPU per heartbeat, µs", 57.0, 0.0..=300.0),
    // Compression and decompression each have buffers of 64 KiB for a block and for its result.
    bound("producer with snappy", "heap, bytes", 326_500.0, 100_000.0..=360_000.0),
    bound("producer with deflate", "heap, bytes", 500_800.0, 100_000.0..=550_000.0),
    // Its buffer for reads has 2 KiB.
    bound("consumer", "heap, bytes", 22_400.0, 12_000.0..=24_000.0),
    bound("consumer", "resident, bytes", 23_700.0, 10_000.0..=32_000.0),
    bound("consumer", "CPU per heartbeat, µs", 19.0, 0.0..=300.0),
    // The last one waits for up to one delay, and for its handshake.
    bound("reconnect", "time, maximum delays", 1.01, 0.5..=2.0),
    // All at once would be 25, and 5 with the smaller numbers.
    bound("reconnect", "most attempts in 100 ms, even shares", 1.35, 0.5..=3.0),
    // Queues that are empty are reused.
    bound("topic used once", "heap, bytes", 0.0, 0.0..=200.0),
    bound("topic used once, with topic_stats", "heap, bytes", 441.0, 100.0..=700.0),
    // Space for the first four publishes of a topic is reserved together.
    bound("topic with a pending publish", "heap, bytes", 1_098.0, 500.0..=1_300.0),
    // The same number of publishes to ten times as many topics at the same time: they use more
    // memory than caches have. It would be 10 if a poll visited all topics.
    bound("topics", "CPU per publish, that of a tenth", 1.7, 0.3..=4.0),
    // The caller's channel is a part of it.
    bound("pending publish", "heap, bytes", 224.0, 180.0..=240.0),
    // Besides, what its message took in the mailbox, and the caller's future.
    bound("pending publish", "resident, bytes", 488.0, 200.0..=600.0),
    // A few attempts to connect, most in the first second. Debug builds with a busy machine take
    // 20,000; a pass over all publishes every 20 ms would take far more.
    bound("pending publishes", "CPU per second, µs", 396.0, 0.0..=50_000.0),
    // The load was there, and the faults were.
    bound("soak", "share of the rate", 1.0, 0.95..=1.05),
    bound("soak", "connections lost per minute", 235.0, 100.0..=1_000.0),
    bound("soak", "without a result", 0.0, 0.0..=0.0),
    // Beyond what nsqd itself may lose when it is stopped.
    bound("soak", "ok and not handled", 0.0, 0.0..=0.0),
    bound("soak", "not written, and handled", 0.0, 0.0..=0.0),
    bound("soak", "handled with another body", 0.0, 0.0..=0.0),
    // The allocator keeps what a larger backlog than before has needed.
    bound("soak", "growth of memory, kB", 76.0, -65_536.0..=8_192.0),
    // Far fewer than the connections that are lost.
    bound("soak", "growth of descriptors", 0.0, -16.0..=16.0),
    bound("soak", "growth of threads", 0.0, -2.0..=2.0),
    // After all clients are drained.
    bound("soak", "descriptors left", 0.0, -2.0..=0.0),
    bound("soak", "threads left", 0.0, -2.0..=0.0),
    // Less than 1 kB per connection that was lost.
    bound("soak", "heap left, bytes", 15_000.0, 0.0..=100_000.0),
];
