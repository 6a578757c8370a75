//! The configurations of schedules.

use std::time::Duration;

use actix_nsq::ProducerConfigBuilder;
use fastrand::Rng;

use super::world::ms;

/// The order in which publishes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// In arrival order, over all topics.
    All,
    /// In arrival order within each topic, with automatic batches.
    PerTopic,
}

/// The configuration of a producer.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) variant: &'static str,
    pub(crate) order: Order,
    pub(crate) batch_messages: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) retry_maybe_written: bool,
    pub(crate) connect_at_start: bool,
    pub(crate) max_pending: usize,
    pub(crate) max_pending_bytes: usize,
    pub(crate) window: usize,
    pub(crate) window_bytes: usize,
    pub(crate) max_publish_size: usize,
    pub(crate) max_batch_size: usize,
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) ack_timeout: Duration,
    pub(crate) publish_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) dial_timeout: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) backoff: Duration,
    pub(crate) max_backoff: Duration,
}

type Change = fn(&mut Setup, &mut Rng);

/// Each variant changes the default setup.
const VARIANTS: &[(&str, Change)] = &[
    ("plain", |_, _| {}),
    ("retry_maybe_written", |setup, _| {
        setup.retry_maybe_written = true
    }),
    ("small window", |setup, rng| {
        setup.window = rng.usize(1..5);
        setup.window_bytes = [1, 200, 5000][rng.usize(0..3)];
        setup.retry_maybe_written = rng.bool();
    }),
    ("small capacity", |setup, rng| {
        setup.max_pending = rng.usize(1..6);
        (setup.max_publish_size, setup.max_batch_size) = (500, 900);
        setup.max_pending_bytes = [900, 2000, 1 << 20][rng.usize(0..3)];
    }),
    ("no heartbeats", |setup, rng| {
        setup.heartbeat = None;
        setup.retry_maybe_written = rng.bool();
    }),
    ("short times", |setup, rng| {
        setup.ack_timeout = ms(rng.u64(20..300));
        setup.write_timeout = ms(rng.u64(20..300));
        setup.dial_timeout = ms(rng.u64(5..100));
        setup.handshake_timeout = ms(rng.u64(5..100));
        setup.publish_timeout = ms(rng.u64(700..2000));
    }),
    ("patient", |setup, _| {
        setup.publish_timeout = ms(60_000);
        setup.ack_timeout = ms(10_000);
        setup.max_backoff = ms(5_000);
    }),
    ("lazy", |setup, rng| {
        setup.connect_at_start = false;
        setup.retry_maybe_written = rng.bool();
    }),
    ("small messages", |setup, rng| {
        setup.max_publish_size = rng.usize(100..400);
        setup.max_batch_size = rng.usize(100..600);
    }),
    ("small batches", |setup, rng| {
        setup.order = Order::PerTopic;
        setup.batch_messages = rng.usize(2..5);
        setup.batch_bytes = [100, 300, 900_000][rng.usize(0..3)];
    }),
    ("large messages", |setup, _| {
        setup.max_publish_size = 100_000;
        setup.max_batch_size = 200_000;
    }),
];

impl Setup {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let (variant, change) = VARIANTS[rng.usize(0..VARIANTS.len())];
        let mut setup = Self {
            variant,
            order: [Order::All, Order::PerTopic, Order::PerTopic][rng.usize(0..3)],
            batch_messages: 256,
            batch_bytes: 900_000,
            retry_maybe_written: false,
            connect_at_start: rng.bool(),
            max_pending: 1000,
            max_pending_bytes: 1 << 20,
            window: [10, 1000][rng.usize(0..2)],
            window_bytes: 1 << 20,
            max_publish_size: 6000,
            max_batch_size: 9000,
            heartbeat: Some(ms([1000, 2000, 5000][rng.usize(0..3)])),
            ack_timeout: ms(rng.u64(500..3000)),
            publish_timeout: ms(rng.u64(6000..12_000)),
            write_timeout: ms(rng.u64(500..3000)),
            dial_timeout: ms(rng.u64(100..1000)),
            handshake_timeout: ms(rng.u64(100..1000)),
            backoff: ms([1, 20, 100][rng.usize(0..3)]),
            max_backoff: ms([200, 1000][rng.usize(0..2)]),
        };
        change(&mut setup, rng);
        setup
    }

    pub(crate) fn apply(&self, builder: ProducerConfigBuilder) -> ProducerConfigBuilder {
        builder
            .auto_batch(self.order == Order::PerTopic)
            .auto_batch_messages(self.batch_messages)
            .auto_batch_bytes(self.batch_bytes)
            .retry_maybe_written(self.retry_maybe_written)
            .connect_at_start(self.connect_at_start)
            .max_pending(self.max_pending)
            .max_pending_bytes(self.max_pending_bytes)
            .publish_window(self.window)
            .publish_window_bytes(self.window_bytes)
            .max_publish_size(self.max_publish_size)
            .max_batch_size(self.max_batch_size)
            .heartbeat_interval(self.heartbeat)
            .ack_timeout(self.ack_timeout)
            .publish_timeout(self.publish_timeout)
            .write_timeout(self.write_timeout)
            .dial_timeout(self.dial_timeout)
            .handshake_timeout(self.handshake_timeout)
            .reconnect_backoff(self.backoff)
            .max_reconnect_backoff(self.max_backoff)
    }
}
