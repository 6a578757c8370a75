//! The options of a consumer.

use std::time::Duration;

use super::{
    backoff_strategy::BackoffStrategy,
    table::{
        ByName, ConfigOption, ConfigScope, Values, default_doc, default_text, define, features,
        getters, millis, secs, setters,
    },
    value::Value,
};
use crate::error::ConfigError;

macro_rules! consumer_options {
    ($make:ident $arguments:tt) => {
        $make! { $arguments
            /// Maximum number of messages on the way or unanswered, over all nsqds. 0: paused.
            max_in_flight: usize [usize] = 1 => "1",
                in 0..=1_000_000 => "a number from 0 to 1000000";
            /// Maximum number of messages with handlers, expired ones too. 0: `max_in_flight`.
            concurrency: usize [usize] = 0 => "0",
                in 0..=1_000_000 => "a number from 0 to 1000000";
            /// Time after which nsqd delivers a message again that was not answered. 0: nsqd's
            /// `--msg-timeout` (1m by default). nsqd rejects less than 1s and more than its
            /// `--max-msg-timeout` (15m by default).
            msg_timeout: Duration [Duration] = millis(0) => "0s",
                in millis(0)..=secs(86_400) => "a duration from 0s to 24h";
            /// Percentage of the messages that nsqd sends; it discards the others. 0: all.
            sample_rate: usize [usize] = 0 => "0",
                in 0..=99 => "a number from 0 to 99";
            /// Maximum number of deliveries; beyond it a message is a dead letter. 0: no maximum.
            max_attempts: usize [usize] = 0 => "0",
                in 0..=65_535 => "a number from 0 to 65535";
            /// Delay of a failed message, multiplied by the number of its deliveries.
            default_requeue_delay: Duration [Duration] = secs(90) => "1m30s",
                in millis(0)..=secs(3_600) => "a duration from 0s to 1h";
            /// Maximum delay of a failed message. nsqd reduces it to its `--max-req-timeout`.
            max_requeue_delay: Duration [Duration] = secs(900) => "15m",
                in millis(0)..=secs(3_600) => "a duration from 0s to 1h";
            /// Pauses after consecutive failures: `exponential` (`backoff_multiplier` times 2, 4, 8
            /// and so on), or `full_jitter` (a random time up to that).
            backoff_strategy: BackoffStrategy [BackoffStrategy]
                = BackoffStrategy::Exponential => "exponential",
                in () => "exponential or full_jitter";
            /// Unit of the pauses after failures.
            backoff_multiplier: Duration [Duration] = secs(1) => "1s",
                in millis(0)..=secs(3_600) => "a duration from 0s to 1h";
            /// Maximum pause after failures. 0: failures cause no pause.
            max_backoff_duration: Duration [Duration] = secs(120) => "2m",
                in millis(0)..=secs(3_600) => "a duration from 0s to 1h";
            /// Whether a message that a handler has at its deadline counts as a failure.
            backoff_on_expired: bool [bool] = false => "false",
                in () => "true or false";
            /// Turn of a connection without messages, if there are more nsqds than `max_in_flight`.
            low_rdy_idle_timeout: Duration [Duration] = millis(50) => "50ms",
                in millis(1)..=secs(300) => "a duration from 1ms to 5m";
            /// Turn of a connection with messages, if there are more nsqds than `max_in_flight`.
            low_rdy_timeout: Duration [Duration] = millis(500) => "500ms",
                in millis(1)..=secs(300) => "a duration from 1ms to 5m";
            /// Whether messages are touched while handlers have them, up to nsqd's
            /// `--max-msg-timeout`.
            auto_touch: bool [bool] = false => "false",
                in () => "true or false";
            /// Time of an async closure for a message, which is dropped and requeued after that.
            handler_timeout: Option<Duration> [impl Into<Option<Duration>>] = None => "off",
                in millis(1)..=secs(86_400) => "a duration from 1ms to 24h, or off (-1)";
            /// Time for the handlers when the last address is dropped, as in a `Drain`.
            drain_timeout: Duration [Duration] = secs(30) => "30s",
                in millis(0)..=secs(3_600) => "a duration from 0s to 1h";
        }
    };
}

consumer_options!(define[ConsumerOptions, Consumer]);
consumer_options!(setters[ConsumerConfigBuilder, values, ConsumerOptions]);
consumer_options!(getters[ConsumerConfig, values]);
