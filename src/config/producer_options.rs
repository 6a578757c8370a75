//! The options of a producer.

use std::time::Duration;

use super::{
    table::{
        ByName, ConfigOption, ConfigScope, MAX_LENGTH, Values, default_doc, default_text, define,
        features, getters, millis, secs, setters,
    },
    value::Value,
    wait_for_connection::WaitForConnection,
};
use crate::error::ConfigError;

macro_rules! producer_options {
    ($make:ident $arguments:tt) => {
        $make! { $arguments
            /// Time from accepting a publish to its result, in every state of the connection. A
            /// publish can have a shorter one.
            publish_timeout: Duration [Duration] = secs(30) => "30s",
                in millis(1)..=secs(86_400) => "a duration from 1ms to 24h";
            /// Time without any response while publishes are in flight, after which the connection
            /// counts as lost. At most half of `publish_timeout`; the default is lowered to that.
            ack_timeout: Duration [Duration] = secs(10) => "10s",
                in millis(1)..=secs(3_600) => "a duration from 1ms to 1h";
            /// Whether to connect when the producer starts. Otherwise it connects at the first
            /// publish, as go-nsq does, or at the first `Ping` or `WaitConnected`.
            connect_at_start: bool [bool] = true => "true",
                in () => "true or false";
            /// Whether a publish that arrives while there is no connection is queued: `always`;
            /// until the `first` connection was made; or `never`. Otherwise it fails at once with
            /// `NotConnected`. It does not concern publishes that are queued already, nor a
            /// connection that is replaced after nsqd rejected a publish or on request.
            wait_for_connection: WaitForConnection [WaitForConnection]
                = WaitForConnection::Always => "always",
                in () => "always, first or never";
            /// Maximum number of publishes that are accepted and have no result yet.
            max_pending: usize [usize] = 100_000 => "100000",
                in 1..=100_000_000 => "a number from 1 to 100000000";
            /// Maximum total size in bytes of the bodies that are accepted and have no result yet.
            /// Overhead does not count: about 200 bytes for each publish and 32 for each message of
            /// a batch.
            max_pending_bytes: usize [usize] = 64 << 20 => "67108864",
                in 1..=usize::MAX => "a number of at least 1";
            /// Maximum number of publishes of one topic that are accepted and have no result yet:
            /// one topic leaves capacity for the others. Off: only `max_pending` counts.
            max_pending_per_topic: Option<usize> [impl Into<Option<usize>>] = None => "off",
                in 1..=100_000_000 => "a number from 1 to 100000000, or off (-1)";
            /// Maximum number of publishes in flight: written, but without a response.
            publish_window: usize [usize] = 20_000 => "20000",
                in 1..=1_000_000 => "a number from 1 to 1000000";
            /// Maximum total size in bytes of the bodies in flight. A single publish may exceed it.
            publish_window_bytes: usize [usize] = 8 << 20 => "8388608",
                in 1..=usize::MAX => "a number of at least 1";
            /// Maximum size of a body in bytes. It must not exceed nsqd's `--max-msg-size`, because
            /// nsqd closes the connection for a larger body.
            max_publish_size: usize [usize] = 1 << 20 => "1048576",
                in 1..=MAX_LENGTH => "a number from 1 to 1073741824";
            /// Maximum size of a batch in bytes on the wire: the bodies, 4 bytes for the count and
            /// 4 for each message. It must not exceed nsqd's `--max-body-size`.
            max_batch_size: usize [usize] = 5 << 20 => "5242880",
                in 9..=MAX_LENGTH => "a number from 9 to 1073741824";
            /// Whether publishes of one topic that wait at the same time share MPUBs, each with one
            /// response.
            auto_batch: bool [bool] = true => "true",
                in () => "true or false";
            /// Maximum number of publishes in an automatic batch. One has at most 3904.
            auto_batch_messages: usize [usize] = 256 => "256",
                in 2..=100_000 => "a number from 2 to 100000";
            /// Maximum size of an automatic batch in bytes, counted as for `max_batch_size`, which
            /// limits it as well.
            auto_batch_bytes: usize [usize] = 900_000 => "900000",
                in 9..=MAX_LENGTH => "a number from 9 to 1073741824";
            /// Maximum delay of a deferred publish. It must not exceed nsqd's `--max-req-timeout`.
            max_req_timeout: Duration [Duration] = secs(3_600) => "1h",
                in millis(0)..=secs(30 * 86_400) => "a duration from 0s to 720h";
            /// Maximum number of topics whose results are counted separately in the statistics; the
            /// others are counted together. It costs a look-up per publish. Off: no results are
            /// counted by topic.
            topic_stats: Option<usize> [impl Into<Option<usize>>] = None => "off",
                in 1..=10_000 => "a number from 1 to 10000, or off (-1)";
            /// Whether to retry publishes that may be stored when the connection is lost:
            /// at-least-once delivery, with possible duplicates.
            retry_maybe_written: bool [bool] = false => "false",
                in () => "true or false";
        }
    };
}

producer_options!(define[ProducerOptions, Producer]);
producer_options!(setters[ProducerConfigBuilder, values, ProducerOptions]);
producer_options!(setters[PoolConfigBuilder, producer_values, ProducerOptions]);
producer_options!(getters[ProducerConfig, values]);
