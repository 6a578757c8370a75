//! The limits of a queue by a configuration.

use super::queue::{Batch, Limits, Usage};
use crate::{config::ProducerConfig, link::BURST};

/// Maximum number of publishes that one poll of the producer visits, which takes a few milliseconds
/// at most: 4,096 together with those that a burst of messages brings.
const BUDGET: usize = 4_096 - BURST;

/// The limits of a queue by a configuration.
pub(crate) fn limits(config: &ProducerConfig) -> Limits {
    Limits {
        pending: Usage {
            publishes: config.max_pending(),
            bytes: config.max_pending_bytes(),
        },
        pending_per_topic: config.max_pending_per_topic(),
        topic_stats: config.topic_stats(),
        window: Usage {
            publishes: config.publish_window(),
            bytes: config.publish_window_bytes(),
        },
        batch: config.auto_batch().then(|| batch_limits(config)),
        batch_time: config.ack_timeout() / 4,
        retry_maybe_written: config.retry_maybe_written(),
        budget: BUDGET,
        is_pooled: false,
    }
}

/// The limits of one automatic batch by a configuration, whether or not batching is on.
pub(crate) fn batch_limits(config: &ProducerConfig) -> Batch {
    Batch {
        messages: config.auto_batch_messages(),
        bytes: config.auto_batch_bytes().min(config.max_batch_size()),
    }
}
