//! The one table of options. Everything that knows an option by name reads it here.

use std::{borrow::Cow, net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    ProducerConfigBuilder, shown,
    value::{TlsVersion, Value},
};
use crate::{
    error::{ConfigCause, ConfigError},
    secret::Secret,
};

const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const CONSUMER: &str = "it is an option of consumers, which this crate does not have yet";
const LOOKUP: &str = "it is an option of nsqlookupd, which this crate does not support yet";

/// The options of go-nsq that this crate does not support, and what to do instead.
const UNSUPPORTED: &[(&str, &str)] = &[
    (
        "read_timeout",
        "use heartbeat_interval and handshake_timeout",
    ),
    (
        "lookupd_poll_interval",
        "use reconnect_backoff and max_reconnect_backoff for the delay between attempts to connect",
    ),
    ("lookupd_poll_jitter", LOOKUP),
    ("lookupd_poll_timeout", LOOKUP),
    ("max_requeue_delay", CONSUMER),
    ("default_requeue_delay", CONSUMER),
    ("backoff_strategy", CONSUMER),
    ("max_backoff_duration", CONSUMER),
    ("backoff_multiplier", CONSUMER),
    ("max_attempts", CONSUMER),
    ("low_rdy_idle_timeout", CONSUMER),
    ("low_rdy_timeout", CONSUMER),
    ("rdy_redistribute_interval", CONSUMER),
    ("sample_rate", CONSUMER),
    (
        "tls_config",
        "use the tls_* options or the builder's method rustls_0_23_config",
    ),
    (
        "max_in_flight",
        "it is an option of consumers; a producer has max_pending and publish_window",
    ),
    ("msg_timeout", CONSUMER),
    ("skip_lookupd_authorization", LOOKUP),
];

/// Returns the name in the table and the alternative, if `name` is an unsupported option of go-nsq.
pub(super) fn go_nsq(name: &str) -> Option<&'static (&'static str, &'static str)> {
    UNSUPPORTED.iter().find(|(known, _)| *known == name)
}

/// The largest length that nsqd's wire format can carry, and half of what it would read as negative.
const LONGEST: usize = 1 << 30;

/// The longest name that DNS has is 253 bytes.
pub(super) const LONGEST_NAME: usize = 255;

/// nsqd asks its auth server with the secret in a URL, for which this is plenty.
pub(super) const LONGEST_SECRET: usize = 64 << 10;

macro_rules! options {
    ($(
        $(#[doc = $meaning:literal])+
        $name:ident: $kind:ty [$taken:ty] = $default:expr, $bounds:expr $(, feature $feature:literal)?;
    )+) => {
        /// The value of every option.
        #[derive(Debug, Clone)]
        pub(super) struct Options {
            $(pub(super) $name: $kind,)+
        }

        impl Default for Options {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// One row of the table of options.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct ConfigOption {
            /// Its name, go-nsq's where go-nsq has it and means the same.
            pub name: &'static str,
            /// The value where none is given.
            pub default: String,
            /// What a value must be.
            pub bounds: String,
            /// What it decides.
            pub meaning: &'static str,
            /// The feature of this crate without which it is refused.
            pub feature: Option<&'static str>,
        }

        pub(super) fn table() -> Vec<ConfigOption> {
            let defaults = Options::default();
            vec![$(ConfigOption {
                name: stringify!($name),
                default: defaults.$name.show(),
                bounds: <$kind as Value>::describe(&$bounds),
                meaning: concat!($($meaning,)+).trim_ascii(),
                feature: [$($feature)?].first().copied(),
            },)+]
        }

        pub(super) fn is_known(name: &str) -> bool {
            [$(stringify!($name)),+].contains(&name)
        }

        /// That the option `name` cannot have this value; `None` where there is no such option.
        pub(super) fn refused_by_name(name: &str, text: &str, bounds: &str) -> Option<ConfigError> {
            match name {
                $(stringify!($name) => {
                    let text = <$kind as Value>::quote(text);
                    Some(refused(stringify!($name), text, bounds.into()))
                })+
                _ => None,
            }
        }

        /// The value of an option whose name stands alone.
        pub(super) fn alone(name: &str) -> Result<&'static str, ConfigError> {
            match name {
                $(stringify!($name) if !<$kind as Value>::IS_SWITCH => Err(valueless(stringify!($name))),)+
                _ => Ok("true"),
            }
        }

        /// Reads `text` as the value of the option `name`.
        pub(super) fn set(builder: ProducerConfigBuilder, name: &str, text: &str) -> Result<ProducerConfigBuilder, ConfigError> {
            match name {
                $(stringify!($name) => match <$kind as Value>::parse(<$kind as Value>::trim(text)) {
                    $(_ if !is_built_with($feature) => Err(needs(stringify!($name), $feature)),)?
                    Some(value) if value.within(&$bounds) => Ok(builder.$name(value)),
                    _ => {
                        let bounds = <$kind as Value>::describe(&$bounds);
                        let text = <$kind as Value>::quote(text.trim());
                        Err(refused(stringify!($name), text, bounds))
                    }
                },)+
                _ if let Some((name, alternative)) = go_nsq(name) => Err(missing(name, alternative)),
                _ => Err(ConfigError::from(ConfigCause::Unknown {
                        name: shown(&plain_name(name)),
                        known: [$(stringify!($name)),+].join(", "),
                    })),
            }
        }

        impl ProducerConfigBuilder {
            $(
                $(#[doc = $meaning])+
                ///
                #[doc = concat!("Default: `", stringify!($default), "`; bounds: `", stringify!($bounds), "`.")]
                /// A value out of bounds is reported by [`build`](ProducerConfigBuilder::build).
                $(#[doc = concat!("\n\nNeeds the feature `", $feature, "`; `build` says so where it is missing.")])?
                pub fn $name(mut self, value: $taken) -> Self {
                    $(if !is_built_with($feature) {
                        self.problem.get_or_insert_with(|| needs(stringify!($name), $feature));
                        return self;
                    })?
                    let value: $kind = value.into();
                    if value.within(&$bounds) {
                        self.options.$name = value;
                        self.given.push(stringify!($name));
                    } else {
                        let bounds = <$kind as Value>::describe(&$bounds);
                        self.problem.get_or_insert_with(|| refused(stringify!($name), &value.show(), bounds));
                    }
                    self
                }
            )+
        }

        impl super::ProducerConfig {
            $(
                $(#[doc = $meaning])+
                pub fn $name(&self) -> $kind {
                    self.options.$name.clone()
                }
            )+
        }
    };
}

/// The features that options need, and whether this is a build with them.
const FEATURES: &[(&str, bool)] = &[
    ("tls", cfg!(feature = "tls")),
    ("snappy", cfg!(feature = "snappy")),
    ("deflate", cfg!(feature = "deflate")),
];

fn is_built_with(feature: &str) -> bool {
    FEATURES.contains(&(feature, true))
}

fn needs(name: &'static str, feature: &'static str) -> ConfigError {
    ConfigError::from(ConfigCause::Feature { name, feature })
}

fn valueless(name: &'static str) -> ConfigError {
    let needs = "a value: only a switch may stand alone";
    ConfigError::from(ConfigCause::Incomplete { name, needs })
}

/// The beginning of a name that is not known, up to what no name of an option has: a value may stand behind it, and be a secret.
pub(super) fn plain_name(name: &str) -> Cow<'_, str> {
    let is_odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    match name.split_once(is_odd) {
        Some((plain, _)) => format!("{plain}***").into(),
        None => name.into(),
    }
}

/// An option of go-nsq that is asked for, whatever its value.
pub(super) fn missing(name: &'static str, alternative: &'static str) -> ConfigError {
    ConfigCause::GoNsq { name, alternative }.into()
}

fn refused(name: &'static str, value: &str, bounds: String) -> ConfigError {
    ConfigError::from(ConfigCause::Value {
        name,
        value: shown(value),
        bounds,
    })
}

options! {
    /// Time for resolving nsqd's name and for a connection to one of its addresses.
    dial_timeout: Duration [Duration] = secs(1), millis(1)..=secs(300);
    /// The local address to connect from; by default the system's choice.
    local_addr: Option<SocketAddr> [impl Into<Option<SocketAddr>>] = None, ();
    /// Time for the whole handshake, once the connection stands.
    handshake_timeout: Duration [Duration] = secs(5), millis(1)..=secs(300);
    /// The socket must take 64 KiB, or all that waits to be written, within each such time: so a large batch has
    /// its time, and a peer that stopped reading is found.
    write_timeout: Duration [Duration] = secs(5), millis(1)..=secs(300);
    /// How often nsqd sends a heartbeat. When nothing came for twice this time, the connection counts as lost.
    /// nsqd cuts a command that takes longer than that to arrive, too. Off: neither side looks.
    heartbeat_interval: Option<Duration> [impl Into<Option<Duration>>] = Some(secs(30)), secs(1)..=secs(60);
    /// Time for the answer to a publish that is wholly sent, when nothing else is answered either; then the
    /// connection counts as lost. At most half of `publish_timeout`, and by default less where that is short.
    ack_timeout: Duration [Duration] = secs(10), millis(1)..=secs(3_600);
    /// Time from the acceptance of a publish to its answer, whatever happens. A publish may shorten its own.
    publish_timeout: Duration [Duration] = secs(30), millis(1)..=secs(86_400);
    /// The first delay before connecting again is drawn between nothing and this; each further one from
    /// twice the range.
    reconnect_backoff: Duration [Duration] = millis(100), millis(1)..=secs(3_600);
    /// The longest delay before connecting again.
    max_reconnect_backoff: Duration [Duration] = secs(5), millis(1)..=secs(3_600);
    /// Connect at the start; otherwise (go-nsq's way) at the first publish.
    connect_at_start: bool [bool] = true, ();
    /// How many publishes may be accepted and not answered yet.
    max_pending: usize [usize] = 100_000, 1..=100_000_000;
    /// How many bytes of bodies may be accepted and not answered yet. What holds them is not counted: some 200 bytes
    /// for each publish, and 32 for each message of a batch.
    max_pending_bytes: usize [usize] = 64 << 20, 1..=usize::MAX;
    /// How many publishes may be sent and not answered yet.
    publish_window: usize [usize] = 20_000, 1..=1_000_000;
    /// How many bytes of bodies may be sent and not answered yet. A single publish may always be.
    publish_window_bytes: usize [usize] = 8 << 20, 1..=usize::MAX;
    /// The largest body that is sent, in bytes; not above nsqd's `--max-msg-size`, or nsqd closes the connection.
    max_publish_size: usize [usize] = 1 << 20, 1..=LONGEST;
    /// The largest batch that is sent, in bytes as on the wire: 4 for the count and 4 for each message beside the
    /// bodies; not above nsqd's `--max-body-size`.
    max_batch_size: usize [usize] = 5 << 20, 9..=LONGEST;
    /// Whether publishes of one topic that wait at the same moment leave as one MPUB, answered by one `OK`.
    auto_batch: bool [bool] = true, ();
    /// How many publishes such a batch carries at most.
    auto_batch_messages: usize [usize] = 256, 2..=100_000;
    /// How large such a batch may be, in bytes as for `max_batch_size`, which is the limit where it is smaller.
    auto_batch_bytes: usize [usize] = 900_000, 9..=LONGEST;
    /// The longest delay of a deferred publish; not above nsqd's `--max-req-timeout`.
    max_req_timeout: Duration [Duration] = secs(3_600), millis(0)..=secs(30 * 86_400);
    /// Whether what may be stored is published again after a lost connection: at least once, and perhaps twice.
    retry_maybe_written: bool [bool] = false, ();
    /// The largest frame that is taken from nsqd, in bytes.
    max_msg_size: usize [usize] = (1 << 20) + 64, 4_096..=LONGEST;
    /// When a connection is idle for so long, the operating system probes the peer.
    tcp_keepalive: Option<Duration> [impl Into<Option<Duration>>] = Some(secs(30)), secs(1)..=secs(32_767);
    /// What nsqd's statistics call this client; by default the host's name up to its first dot.
    client_id: String [impl Into<String>] = String::new(), 0..=1_024;
    /// What nsqd's statistics call this host; by default its name.
    hostname: String [impl Into<String>] = String::new(), 0..=1_024;
    /// What nsqd's statistics call this program.
    user_agent: String [impl Into<String>] = concat!("actix-nsq/", env!("CARGO_PKG_VERSION")).into(), 0..=1_024;
    /// Where this client runs, for nsqd's topology-aware delivery.
    topology_region: String [impl Into<String>] = String::new(), 0..=1_024;
    /// Where in the region this client runs, for nsqd's topology-aware delivery.
    topology_zone: String [impl Into<String>] = String::new(), 0..=1_024;
    /// nsqd's buffer for messages to this client, in bytes. Answers to publishes do not wait in it.
    output_buffer_size: Option<usize> [impl Into<Option<usize>>] = Some(16_384), 64..=65_536;
    /// How long messages to this client may wait in nsqd's buffer. Answers to publishes do not.
    output_buffer_timeout: Option<Duration> [impl Into<Option<Duration>>] = Some(millis(250)), millis(25)..=secs(30);
    /// Encrypt the connection. Where nsqd has no TLS to offer there is no connection: nothing goes in clear text but the
    /// IDENTIFY that asks for it.
    tls_v1: bool [bool] = false, (), feature "tls";
    /// Certificates of those who may vouch for nsqd, in place of those whom the system trusts.
    tls_root_ca_file: PathBuf [impl Into<PathBuf>] = PathBuf::new(), (), feature "tls";
    /// This client's certificate, with what stands between it and its root behind it; together with `tls_key`. Like all files
    /// it is read once, by `build`: one that is renewed often is for `rustls_0_23_config`, with a resolver of its own.
    tls_cert: PathBuf [impl Into<PathBuf>] = PathBuf::new(), (), feature "tls";
    /// The key of `tls_cert`.
    tls_key: PathBuf [impl Into<PathBuf>] = PathBuf::new(), (), feature "tls";
    /// The name that nsqd's certificate must be for; by default the host of its address.
    tls_server_name: String [impl Into<String>] = String::new(), 0..=LONGEST_NAME, feature "tls";
    /// The oldest version of TLS that is spoken.
    tls_min_version: TlsVersion [TlsVersion] = TlsVersion::Tls12, (), feature "tls";
    /// Take whatever certificate is shown: for tests. Anybody on the way can then read and change everything, the secret of
    /// AUTH too; `build` says so in the log each time.
    tls_insecure_skip_verify: bool [bool] = false, (), feature "tls";
    /// Compress the connection by snappy: cheap.
    snappy: bool [bool] = false, (), feature "snappy";
    /// Compress the connection by deflate: smaller, and several times as dear. Not together with `snappy`.
    deflate: bool [bool] = false, (), feature "deflate";
    /// From 1, the fastest, to 9, the smallest. nsqd may hold it down to its `--max-deflate-level`, both ways.
    deflate_level: usize [usize] = 6, 1..=9, feature "deflate";
    /// Go on without compression where nsqd declines it; otherwise there is no connection then.
    allow_uncompressed: bool [bool] = false, ();
    /// The secret for an nsqd that requires AUTH. It is sent to no other, and after TLS is in force where that is asked for.
    auth_secret: Secret [impl Into<Secret>] = Secret::default(), 0..=LONGEST_SECRET;
}
