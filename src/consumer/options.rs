//! The options of a consumer's parts, from its configuration.

use std::time::Duration;

use super::{
    backoff::{BackoffOptions, BackoffStrategy},
    flow::FlowOptions,
    subscription::{DeadLetters, Subscription},
};
use crate::config::{self, ConsumerConfig};

/// How messages are treated.
pub(super) struct Rules {
    /// Topic and channel, for the log.
    pub(super) name: String,
    /// Maximum number of messages with handlers; 0: `max_in_flight`.
    pub(super) concurrency: usize,
    pub(super) max_attempts: usize,
    pub(super) default_requeue_delay: Duration,
    pub(super) max_requeue_delay: Duration,
    pub(super) backoff_on_expired: bool,
    pub(super) dead_letters: Option<DeadLetters>,
}

impl Rules {
    pub(super) fn new(config: &ConsumerConfig, subscription: &Subscription) -> Self {
        Self {
            name: format!("{}/{}", subscription.topic(), subscription.channel()),
            concurrency: config.concurrency(),
            max_attempts: config.max_attempts(),
            default_requeue_delay: config.default_requeue_delay(),
            max_requeue_delay: config.max_requeue_delay(),
            backoff_on_expired: config.backoff_on_expired(),
            dead_letters: subscription.dead_letter_receiver().cloned(),
        }
    }
}

pub(super) fn flow_options(config: &ConsumerConfig) -> FlowOptions {
    FlowOptions {
        max_in_flight: as_u32(config.max_in_flight()),
        low_rdy_idle_timeout: config.low_rdy_idle_timeout(),
        low_rdy_timeout: config.low_rdy_timeout(),
        backoff: BackoffOptions {
            strategy: match (config.backoff_function(), config.backoff_strategy()) {
                (Some(function), _) => BackoffStrategy::Custom(function),
                (None, config::BackoffStrategy::Exponential) => BackoffStrategy::Exponential,
                (None, config::BackoffStrategy::FullJitter) => BackoffStrategy::FullJitter,
            },
            multiplier: config.backoff_multiplier(),
            max: config.max_backoff_duration(),
        },
    }
}

/// `max_in_flight` for flow control.
pub(super) fn as_u32(count: usize) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}
