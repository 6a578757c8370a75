//! The options of a connection.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    table::{
        ByName, ConfigOption, ConfigScope, MAX_LENGTH, Values, default_doc, default_text, define,
        features, getters, millis, secs, setters,
    },
    value::{TlsVersion, Value},
};
use crate::{conn::MAX_HOST, error::ConfigError, secret::Secret};

/// Maximum length of a secret in bytes. nsqd passes it to its auth server in a URL, which is
/// shorter than this.
pub(super) const MAX_SECRET: usize = 64 << 10;

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

connection_options!(define[ConnectionOptions, Connection]);
connection_options!(setters[ConnectionConfigBuilder, values, ConnectionOptions]);
connection_options!(setters[ProducerConfigBuilder, connection_values, ConnectionOptions]);
connection_options!(setters[ConsumerConfigBuilder, connection_values, ConnectionOptions]);
connection_options!(setters[PoolConfigBuilder, connection_values, ConnectionOptions]);
connection_options!(getters[ConnectionConfig, values]);
