//! The options of go-nsq that this crate does not have.

use crate::error::{ConfigCause, ConfigError};

/// The options of go-nsq that this crate does not have, and the alternatives.
const GO_NSQ: &[(&str, &str)] = &[
    (
        "read_timeout",
        "use heartbeat_interval and handshake_timeout",
    ),
    (
        "rdy_redistribute_interval",
        "capacity moves to the connections that need it at once",
    ),
    (
        "tls_config",
        "use the tls_* options, or the builder's method rustls_0_23_config",
    ),
    (
        "skip_lookupd_authorization",
        "in go-nsq true means that the secret is sent; use lookupd_authorization, where true means \
         the same",
    ),
];

/// Returns the error for an option of go-nsq that this crate does not have.
pub(super) fn unsupported(name: &str) -> Option<ConfigError> {
    let (name, alternative) = GO_NSQ.iter().find(|(known, _)| *known == name)?;
    Some(ConfigCause::GoNsq { name, alternative }.into())
}
