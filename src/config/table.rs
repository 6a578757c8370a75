//! The tables of options, one per scope. Everything that knows an option by its name reads it here.
//!
//! `connection_options!`, `producer_options!` and `consumer_options!` hold the rows. Each is called
//! with the name of a macro that makes something of every row: `define` the struct of values,
//! `setters` the methods of a builder, `getters` those of a configuration. A further scope is a
//! further macro with rows, and a builder that calls it.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use serde::Serialize;

use super::{
    backoff_strategy::BackoffStrategy,
    duration,
    redact::shown,
    strategy::Strategy,
    value::{Kind, TlsVersion, Value},
    wait_for_connection::WaitForConnection,
};
use crate::{
    conn::MAX_HOST,
    error::{ConfigCause, ConfigError},
    secret::Secret,
};

/// What an option configures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConfigScope {
    /// A connection to nsqd: an option of [`ConnectionConfig`](crate::ConnectionConfig).
    Connection,
    /// A producer: an option of [`ProducerConfig`](crate::ProducerConfig).
    Producer,
    /// A consumer: an option of [`ConsumerConfig`](crate::ConsumerConfig).
    Consumer,
    /// A pool of producers: an option of [`PoolConfig`](crate::PoolConfig).
    Pool,
}

impl ConfigScope {
    /// Returns the name in snake case, such as `connection`. `Display` and `Serialize` use the same
    /// text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Pool => "pool",
        }
    }
}

impl fmt::Display for ConfigScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One row of the table of options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConfigOption {
    /// The name: that of go-nsq's option if there is one with the same meaning.
    pub name: &'static str,
    /// What it configures.
    pub scope: ConfigScope,
    /// The default, as `set` accepts it.
    pub default: &'static str,
    /// What a value must be.
    pub bounds: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// The feature of this crate that it needs.
    pub feature: Option<&'static str>,
    #[serde(skip)]
    pub(super) kind: Kind,
}

impl ConfigOption {
    /// Returns whether a value is either `true` or `false`. In a URL its name alone means `true`.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        self.kind == Kind::Switch
    }

    /// Checks a value that has the right type.
    fn check<T: Value>(&'static self, value: T, bounds: &T::Bounds) -> Result<T, ConfigError> {
        self.check_feature()?;
        if value.within(bounds) {
            Ok(value)
        } else {
            Err(self.rejects(&value.show(), self.bounds))
        }
    }

    /// Reads a value from text.
    fn parse<T: Value>(&'static self, text: &str, bounds: &T::Bounds) -> Result<T, ConfigError> {
        self.check_feature()?;
        T::parse(T::trim(text))
            .filter(|value| value.within(bounds))
            .ok_or_else(|| self.rejects(text.trim(), self.bounds))
    }

    fn check_feature(&self) -> Result<(), ConfigError> {
        match self.feature {
            Some(feature) if !FEATURES.contains(&(feature, true)) => Err(ConfigCause::Feature {
                name: self.name,
                feature,
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// Returns the error for a value that must be something else.
    pub(super) fn rejects(&self, value: &str, must_be: &'static str) -> ConfigError {
        let value = match self.kind {
            Kind::Secret if value.is_empty() => String::new(),
            Kind::Secret => "***".into(),
            Kind::Switch | Kind::Duration | Kind::Other => shown(value),
        };
        let lacks_unit = || duration::parse(&value).is_none() && duration::is_number(&value);
        let hint = if self.kind == Kind::Duration && lacks_unit() {
            "; a number needs a unit, such as 500ms"
        } else {
            ""
        };
        ConfigCause::Value {
            name: self.name,
            value,
            bounds: must_be,
            hint,
        }
        .into()
    }
}

/// The features that options need, and whether they are compiled in.
const FEATURES: &[(&str, bool)] = &[
    ("tls", cfg!(feature = "rustls")),
    ("snappy", cfg!(feature = "snappy")),
    ("deflate", cfg!(feature = "deflate")),
];

/// The values of all options of a scope.
#[derive(Debug, Clone, Default)]
pub(super) struct Values<O> {
    pub(super) options: O,
    /// The options that were set.
    given: Vec<&'static str>,
}

impl<O> Values<O> {
    /// Returns whether the option was set, possibly to its default.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.contains(&name)
    }

    pub(super) fn store<T: Value>(
        &mut self,
        row: &'static ConfigOption,
        value: T,
        bounds: &T::Bounds,
        slot: impl FnOnce(&mut O) -> &mut T,
    ) -> Result<(), ConfigError> {
        *slot(&mut self.options) = row.check(value, bounds)?;
        self.given.push(row.name);
        Ok(())
    }
}

/// The options of one scope, by name.
pub(super) trait ByName {
    const TABLE: &'static [ConfigOption];

    /// Sets an option by its name. Returns `None` if this scope has no such option.
    fn set(&mut self, name: &str, text: &str) -> Option<Result<(), ConfigError>>;
}

/// Returns the row of an option, whatever its scope.
pub(super) fn row(name: &str) -> Option<&'static ConfigOption> {
    let tables = [
        <Values<ConnectionOptions> as ByName>::TABLE,
        <Values<ProducerOptions> as ByName>::TABLE,
        <Values<ConsumerOptions> as ByName>::TABLE,
        <Values<PoolOptions> as ByName>::TABLE,
    ];
    tables.into_iter().flatten().find(|row| row.name == name)
}

macro_rules! default_text {
    (USER_AGENT) => {
        concat!("actix-nsq/", env!("CARGO_PKG_VERSION"))
    };
    ($text:literal) => {
        $text
    };
}

macro_rules! default_doc {
    ("") => {
        "Default: empty."
    };
    (USER_AGENT) => {
        "Default: `actix-nsq/` and the version of this crate."
    };
    ($text:literal) => {
        concat!("Default: `", $text, "`.")
    };
}

/// Defines the struct of the values of a scope.
macro_rules! define {
    ([$Options:ident, $scope:ident] $(
        $(#[doc = $meaning:literal])+
        $name:ident: $kind:ty [$taken:ty] = $default:expr => $default_text:tt,
            in $bounds:expr => $bounds_text:literal $(, feature $feature:literal)?;
    )+) => {
        /// The value of each option of the scope.
        #[derive(Debug, Clone)]
        pub(super) struct $Options {
            $(pub(super) $name: $kind,)+
        }

        impl Default for $Options {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// The rows of the table, under the names of their options.
        #[allow(non_upper_case_globals)]
        impl $Options {
            $(pub(super) const $name: &'static ConfigOption = &ConfigOption {
                name: stringify!($name),
                scope: ConfigScope::$scope,
                default: default_text!($default_text),
                bounds: $bounds_text,
                meaning: concat!($($meaning,)+).trim_ascii(),
                feature: features!($($feature)?),
                kind: <$kind as Value>::KIND,
            };)+
        }

        impl ByName for Values<$Options> {
            const TABLE: &'static [ConfigOption] = &[$(*$Options::$name,)+];

            fn set(&mut self, name: &str, text: &str) -> Option<Result<(), ConfigError>> {
                Some(match name {
                    $(stringify!($name) => $Options::$name
                        .parse(text, &$bounds)
                        .and_then(|value| {
                            self.store($Options::$name, value, &$bounds, |options| {
                                &mut options.$name
                            })
                        }),)+
                    _ => return None,
                })
            }
        }

        /// Default and bounds of each option as text, computed from the values.
        #[cfg(test)]
        impl $Options {
            pub(super) fn computed() -> Vec<(&'static ConfigOption, String, String)> {
                use super::tests::Describe;
                let defaults = Self::default();
                vec![$(($Options::$name, defaults.$name.show(), <$kind>::describe(&$bounds)),)+]
            }
        }
    };
}

macro_rules! features {
    () => {
        None
    };
    ($feature:literal) => {
        Some($feature)
    };
}

/// Defines the methods of a builder that set the options. The builder has a method `$values`, which
/// returns the [`Values`] of the scope, and a method `note`, which keeps the first error.
macro_rules! setters {
    ([$Builder:ident, $values:ident, $Options:ident] $(
        $(#[doc = $meaning:literal])+
        $name:ident: $kind:ty [$taken:ty] = $default:expr => $default_text:tt,
            in $bounds:expr => $bounds_text:literal $(, feature $feature:literal)?;
    )+) => {
        impl super::$Builder {
            $(
                $(#[doc = $meaning])+
                ///
                #[doc = default_doc!($default_text)]
                #[doc = concat!("A value must be ", $bounds_text, ".")]
                /// [`build`](Self::build) rejects others.
                $(
                    ///
                    #[doc = concat!("Needs the feature `", $feature, "`.")]
                    /// `build` fails without it.
                )?
                pub fn $name(mut self, value: $taken) -> Self {
                    let values = self.$values();
                    let set = values.store($Options::$name, value.into(), &$bounds, |options| {
                        &mut options.$name
                    });
                    self.note(set)
                }
            )+
        }
    };
}

/// Defines the methods of a configuration that return the values.
macro_rules! getters {
    ([$Config:ident, $values:ident] $(
        $(#[doc = $meaning:literal])+
        $name:ident: $kind:ty [$taken:ty] = $default:expr => $default_text:tt,
            in $bounds:expr => $bounds_text:literal $(, feature $feature:literal)?;
    )+) => {
        impl super::$Config {
            $(
                $(#[doc = $meaning])+
                #[must_use]
                pub fn $name(&self) -> $kind {
                    self.$values().$name.clone()
                }
            )+
        }
    };
}

/// Largest length that nsqd's wire format can carry: half of what nsqd would read as negative.
const MAX_LENGTH: usize = 1 << 30;

/// Maximum length of a secret in bytes. nsqd passes it to its auth server in a URL, which is
/// shorter than this.
pub(super) const MAX_SECRET: usize = 64 << 10;

const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

macro_rules! connection_options {
    ($make:ident $arguments:tt) => {
        $make! { $arguments
            /// Timeout for resolving the host name of nsqd and connecting to the first of its
            /// addresses that accepts.
            dial_timeout: Duration [Duration] = secs(1) => "1s",
                in millis(1)..=secs(300) => "a duration from 1ms to 5m";
            /// Local address to connect from. Empty: the operating system chooses.
            local_addr: Option<SocketAddr> [impl Into<Option<SocketAddr>>] = None => "",
                in () => "an IP address, with or without a port";
            /// Timeout for the whole handshake, after the connection is established.
            handshake_timeout: Duration [Duration] = secs(5) => "5s",
                in millis(1)..=secs(300) => "a duration from 1ms to 5m";
            /// Time within which the peer must accept 64 KiB on average, or everything that waits
            /// to be written. Otherwise the connection counts as lost.
            write_timeout: Duration [Duration] = secs(5) => "5s",
                in millis(1)..=secs(300) => "a duration from 1ms to 5m";
            /// Interval of nsqd's heartbeats. If nothing arrives for two intervals, the connection
            /// counts as lost. If a command takes longer than two intervals to arrive, nsqd closes
            /// the connection. Off: neither side checks. nsqd rejects more than its
            /// `--max-heartbeat-interval` (1m by default).
            heartbeat_interval: Option<Duration> [impl Into<Option<Duration>>]
                = Some(secs(30)) => "30s",
                in secs(1)..=secs(3_600) => "a duration from 1s to 1h, or off (-1)";
            /// Range of the first delay before reconnecting: the delay is random between zero and
            /// this. Each further attempt doubles the range.
            reconnect_backoff: Duration [Duration] = millis(100) => "100ms",
                in millis(1)..=secs(3_600) => "a duration from 1ms to 1h";
            /// Maximum delay before reconnecting.
            max_reconnect_backoff: Duration [Duration] = secs(5) => "5s",
                in millis(1)..=secs(3_600) => "a duration from 1ms to 1h";
            /// Maximum size in bytes of a frame from nsqd.
            max_msg_size: usize [usize] = (1 << 20) + 64 => "1048640",
                in 4_096..=MAX_LENGTH => "a number from 4096 to 1073741824";
            /// Idle time after which the operating system probes the peer (TCP keepalive).
            tcp_keepalive: Option<Duration> [impl Into<Option<Duration>>] = Some(secs(30)) => "30s",
                in secs(1)..=secs(32_767) => "a duration from 1s to 9h6m7s, or off (-1)";
            /// Name of this client in nsqd's statistics. Empty: the host name up to its first dot.
            client_id: String [impl Into<String>] = String::new() => "",
                in 1_024 => "at most 1024 bytes long";
            /// Host name of this client in nsqd's statistics. Empty: the name of the host.
            hostname: String [impl Into<String>] = String::new() => "",
                in 1_024 => "at most 1024 bytes long";
            /// Name and version of this program in nsqd's statistics.
            user_agent: String [impl Into<String>] = default_text!(USER_AGENT).into() => USER_AGENT,
                in 1_024 => "at most 1024 bytes long";
            /// Region of this client, sent in IDENTIFY. nsqd up to 1.3.0 ignores it.
            topology_region: String [impl Into<String>] = String::new() => "",
                in 1_024 => "at most 1024 bytes long";
            /// Zone of this client in its region, sent in IDENTIFY. nsqd up to 1.3.0 ignores it.
            topology_zone: String [impl Into<String>] = String::new() => "",
                in 1_024 => "at most 1024 bytes long";
            /// Size in bytes of nsqd's buffer for messages to this client. Responses to publishes
            /// do not wait in it. It is sent to nsqd only if it is set.
            output_buffer_size: Option<usize> [impl Into<Option<usize>>] = Some(16_384) => "16384",
                in 64..=65_536 => "a number from 64 to 65536, or off (-1)";
            /// Maximum time that messages to this client wait in nsqd's buffer. Responses to
            /// publishes do not wait. A producer sends it to nsqd only if it is set; a consumer
            /// requests 25ms if it is not set.
            output_buffer_timeout: Option<Duration> [impl Into<Option<Duration>>]
                = Some(millis(250)) => "250ms",
                in millis(25)..=secs(30) => "a duration from 25ms to 30s, or off (-1)";
            /// Whether to encrypt the connection. If nsqd does not offer TLS, connecting fails;
            /// nothing but the IDENTIFY that asks for TLS is ever sent in clear text.
            tls_v1: bool [bool] = false => "false",
                in () => "true or false", feature "tls";
            /// PEM file with the CA certificates that may have issued nsqd's certificate, instead
            /// of those that the system trusts.
            tls_root_ca_file: PathBuf [impl Into<PathBuf>] = PathBuf::new() => "",
                in () => "the path of a PEM file", feature "tls";
            /// PEM file with the client certificate, followed by its intermediate certificates.
            /// Needs `tls_key`. `build` reads all files once; for certificates that are renewed
            /// while the program runs, use `rustls_0_23_config` with a certificate resolver.
            tls_cert: PathBuf [impl Into<PathBuf>] = PathBuf::new() => "",
                in () => "the path of a PEM file", feature "tls";
            /// PEM file with the private key of `tls_cert`.
            tls_key: PathBuf [impl Into<PathBuf>] = PathBuf::new() => "",
                in () => "the path of a PEM file", feature "tls";
            /// Name that nsqd's certificate must be valid for. Empty: the host of the address.
            tls_server_name: String [impl Into<String>] = String::new() => "",
                in MAX_HOST => "at most 255 bytes long", feature "tls";
            /// Minimum version of TLS.
            tls_min_version: TlsVersion [TlsVersion] = TlsVersion::Tls12 => "tls1.2",
                in () => "tls1.2 or tls1.3", feature "tls";
            /// Whether to accept any server certificate; for tests only. Anyone between this client
            /// and nsqd can then read and change everything, including the AUTH secret. Building a
            /// `ProducerConfig` with it logs a warning.
            tls_insecure_skip_verify: bool [bool] = false => "false",
                in () => "true or false", feature "tls";
            /// Whether to compress the connection with snappy, which takes little CPU time.
            snappy: bool [bool] = false => "false",
                in () => "true or false", feature "snappy";
            /// Whether to compress the connection with deflate, which compresses more and takes
            /// several times the CPU time. Not together with `snappy`.
            deflate: bool [bool] = false => "false",
                in () => "true or false", feature "deflate";
            /// Compression level of deflate, from 1 (fastest) to 9 (smallest). nsqd limits it to
            /// its `--max-deflate-level`, in both directions.
            deflate_level: usize [usize] = 6 => "6",
                in 1..=9 => "a number from 1 to 9", feature "deflate";
            /// Whether to connect without compression if nsqd does not offer it. Otherwise
            /// connecting fails.
            allow_uncompressed: bool [bool] = false => "false",
                in () => "true or false";
            /// Secret for AUTH. It is sent only to an nsqd that requires AUTH, and with `tls_v1`
            /// only inside TLS.
            auth_secret: Secret [impl Into<Secret>] = Secret::default() => "",
                in MAX_SECRET => "at most 65536 bytes long";
        }
    };
}

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
            /// Whether publishes of one topic that wait at the same time are written as one MPUB,
            /// with one response.
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
            /// Whether to retry publishes that may be stored when the connection is lost:
            /// at-least-once delivery, with possible duplicates.
            retry_maybe_written: bool [bool] = false => "false",
                in () => "true or false";
        }
    };
}

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

macro_rules! pool_options {
    ($make:ident $arguments:tt) => {
        $make! { $arguments
            /// How a member is chosen: `spread` (all share the load), `primary` (the first that is
            /// up) or `per_topic` (for each topic the first that is up in an order of its own).
            strategy: Strategy [Strategy] = Strategy::Spread => "spread",
                in () => "spread, primary or per_topic";
            /// Time that a member must be up again before a topic returns to it, with `primary` and
            /// `per_topic`.
            failback_after: Duration [Duration] = secs(5) => "5s",
                in millis(0)..=secs(86_400) => "a duration from 0s to 24h";
            /// Maximum number of members. What nsqlookupds name beyond that is not used.
            max_members: usize [usize] = 64 => "64",
                in 1..=64 => "a number from 1 to 64";
        }
    };
}

connection_options!(define[ConnectionOptions, Connection]);
connection_options!(setters[ConnectionConfigBuilder, values, ConnectionOptions]);
connection_options!(setters[ProducerConfigBuilder, connection_values, ConnectionOptions]);
connection_options!(setters[ConsumerConfigBuilder, connection_values, ConnectionOptions]);
connection_options!(setters[PoolConfigBuilder, connection_values, ConnectionOptions]);
connection_options!(getters[ConnectionConfig, values]);

producer_options!(define[ProducerOptions, Producer]);
producer_options!(setters[ProducerConfigBuilder, values, ProducerOptions]);
producer_options!(setters[PoolConfigBuilder, producer_values, ProducerOptions]);
producer_options!(getters[ProducerConfig, values]);

pool_options!(define[PoolOptions, Pool]);
pool_options!(setters[PoolConfigBuilder, values, PoolOptions]);
pool_options!(getters[PoolConfig, values]);

consumer_options!(define[ConsumerOptions, Consumer]);
consumer_options!(setters[ConsumerConfigBuilder, values, ConsumerOptions]);
consumer_options!(getters[ConsumerConfig, values]);
