//! The options of go-nsq that this crate does not have.

use crate::error::{ConfigCause, ConfigError};

const LOOKUP: &str = "it is for nsqlookupd, which this crate does not support yet";

/// The options of go-nsq that this crate does not have, and the alternatives.
const GO_NSQ: &[(&str, &str)] = &[
    (
        "read_timeout",
        "use heartbeat_interval and handshake_timeout",
    ),
    (
        "lookupd_poll_interval",
        "use reconnect_backoff and max_reconnect_backoff for the delay before reconnecting; \
         nsqlookupd is not supported yet",
    ),
    ("lookupd_poll_jitter", LOOKUP),
    ("lookupd_poll_timeout", LOOKUP),
    (
        "rdy_redistribute_interval",
        "capacity moves to the connections that need it at once",
    ),
    (
        "tls_config",
        "use the tls_* options, or the builder's method rustls_0_23_config",
    ),
    ("skip_lookupd_authorization", LOOKUP),
];

/// Returns the error for an option of go-nsq that this crate does not have.
pub(super) fn unsupported(name: &str) -> Option<ConfigError> {
    let (name, alternative) = GO_NSQ.iter().find(|(known, _)| *known == name)?;
    Some(ConfigCause::GoNsq { name, alternative }.into())
}
