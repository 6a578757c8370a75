//! The options of go-nsq 1.1.0, as in its `config.go`, compared with those of this crate.

pub(super) struct GoOption {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
    pub(super) bounds: &'static str,
    pub(super) here: Here,
}

/// What this crate has for an option of go-nsq.
pub(super) enum Here {
    /// The same name, meaning and default.
    Same,
    /// The same name and meaning, but another default: the reason.
    Differs(&'static str),
    /// These options instead: the reason.
    Instead(&'static [&'static str], &'static str),
    /// It will never come: the reason.
    Never(&'static str),
}

use Here::{Differs, Instead, Never, Same};

const fn option(
    name: &'static str,
    default: &'static str,
    bounds: &'static str,
    here: Here,
) -> GoOption {
    GoOption {
        name,
        default,
        bounds,
        here,
    }
}

pub(super) const GO_NSQ: &[GoOption] = &[
    option("dial_timeout", "1s", "none", Same),
    option("local_addr", "none", "an address", Same),
    option(
        "read_timeout",
        "60s",
        "100ms to 5m",
        Instead(
            &["heartbeat_interval", "handshake_timeout"],
            "the connection counts as lost if nothing arrives for two heartbeat intervals, and the \
             handshake has its own timeout",
        ),
    ),
    option(
        "write_timeout",
        "1s",
        "100ms to 5m",
        Differs(
            "That of go-nsq limits a whole write; this one each 64 KiB, so that a large batch can \
             take longer",
        ),
    ),
    option("lookupd_poll_interval", "1m", "10ms to 5m", Same),
    option("lookupd_poll_jitter", "0.3", "0 to 1", Same),
    option(
        "lookupd_poll_timeout",
        "1m",
        "none",
        Differs("An nsqlookupd that does not answer is known sooner"),
    ),
    option("max_requeue_delay", "15m", "0 to 60m", Same),
    option("default_requeue_delay", "1m30s", "0 to 60m", Same),
    option(
        "backoff_strategy",
        "exponential",
        "exponential or full_jitter",
        Same,
    ),
    option("max_backoff_duration", "2m", "0 to 60m", Same),
    option("backoff_multiplier", "1s", "0 to 60m", Same),
    option(
        "max_attempts",
        "5",
        "0 to 65535",
        Differs("5 loses messages unless the program logs them: set it together with dead letters"),
    ),
    option(
        "low_rdy_idle_timeout",
        "10s",
        "1s to 5m",
        Differs("Turns are short, so that every nsqd has its turn soon"),
    ),
    option(
        "low_rdy_timeout",
        "30s",
        "1s to 5m",
        Differs("Turns are short, so that every nsqd has its turn soon"),
    ),
    option(
        "rdy_redistribute_interval",
        "5s",
        "1ms to 5s",
        Never("capacity moves to the connections that need it at once"),
    ),
    option("client_id", "the host's short name", "none", Same),
    option("hostname", "the host's name", "none", Same),
    option(
        "user_agent",
        "go-nsq/1.1.0",
        "none",
        Differs("It is the name of this crate"),
    ),
    option(
        "heartbeat_interval",
        "30s",
        "at most `read_timeout`; -1 is off",
        Same,
    ),
    option("sample_rate", "0", "0 to 99", Same),
    option("tls_v1", "false", "true or false", Same),
    option(
        "tls_config",
        "none",
        "a `*tls.Config`",
        Never(
            "use the `tls_*` options, or `rustls_0_23_config` for a whole configuration of rustls",
        ),
    ),
    option("tls_root_ca_file", "none", "a file", Same),
    option("tls_cert", "none", "a file", Same),
    option("tls_key", "none", "a file", Same),
    option("tls_insecure_skip_verify", "false", "true or false", Same),
    option(
        "tls_min_version",
        "tls1.0",
        "ssl3.0, tls1.0, tls1.1, tls1.2",
        Differs("Older versions are not secure and not supported"),
    ),
    option("deflate", "false", "true or false", Same),
    option("deflate_level", "6", "1 to 9", Same),
    option("snappy", "false", "true or false", Same),
    option("output_buffer_size", "16384", "nsqd's", Same),
    option("output_buffer_timeout", "250ms", "nsqd's", Same),
    option("max_in_flight", "1", "0 or more", Same),
    option("msg_timeout", "0s", "0 or more", Same),
    option(
        "max_msg_size",
        "0, no limit",
        "0 or more",
        Differs(
            "A frame always has a limit. It applies to frames from nsqd; `max_publish_size` and \
             `max_batch_size` limit what is sent",
        ),
    ),
    option("auth_secret", "empty", "none", Same),
    option(
        "skip_lookupd_authorization",
        "true",
        "true or false",
        Instead(
            &["lookupd_authorization"],
            "its name says the opposite of what it does: `true` sends the secret, also in clear \
             text. Ours has the default `false`",
        ),
    ),
];
