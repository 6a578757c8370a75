//! Why a configuration is invalid.

use std::fmt;

/// Why a configuration is invalid: an option is unknown, unreadable, out of its bounds or in
/// conflict with another one, or an address cannot be used.
///
/// The text names the option, the value and the bounds. It never shows a secret.
#[derive(Clone)]
pub struct ConfigError {
    cause: Box<ConfigCause>,
}

impl ConfigError {
    /// Returns the name of the option that the error is about, if it is about one.
    #[must_use]
    pub fn option(&self) -> Option<&str> {
        match &*self.cause {
            ConfigCause::Unknown { name, .. } => Some(name),
            ConfigCause::GoNsq { name, .. }
            | ConfigCause::Value { name, .. }
            | ConfigCause::OtherScope { name, .. }
            | ConfigCause::Feature { name, .. }
            | ConfigCause::Conflict { name, .. }
            | ConfigCause::Unused { name, .. }
            | ConfigCause::Incomplete { name, .. } => Some(name),
            #[cfg(feature = "rustls")]
            ConfigCause::File { name, .. } => Some(name),
            #[cfg(feature = "rustls")]
            ConfigCause::Tls { .. } => None,
            #[cfg(feature = "lookup")]
            ConfigCause::LookupdAddress { .. } | ConfigCause::NsqdHttpAddress { .. } => None,
            ConfigCause::Address { .. }
            | ConfigCause::Url { .. }
            | ConfigCause::Addresses(_)
            | ConfigCause::TooManyMembers { .. }
            | ConfigCause::NoAddress { .. } => None,
        }
    }
}

impl From<ConfigCause> for ConfigError {
    fn from(cause: ConfigCause) -> Self {
        Self {
            cause: Box::new(cause),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigError")
            .field("option", &self.option())
            .field("text", &format_args!("{self}"))
            .finish()
    }
}

impl std::error::Error for ConfigError {}

/// The causes of a [`ConfigError`]. Values are redacted before they get here.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ConfigCause {
    #[error("option {name} = \"{value}\": must be {bounds}{hint}")]
    Value {
        name: &'static str,
        value: String,
        bounds: &'static str,
        /// Empty, or what the value lacks.
        hint: &'static str,
    },
    #[error("unknown option \"{name}\"; known are: {known}")]
    Unknown { name: String, known: String },
    #[error("option {name} is not an option of {config}, but of a {scope}")]
    OtherScope {
        name: &'static str,
        scope: &'static str,
        config: &'static str,
    },
    #[error("unsupported option {name} of go-nsq: {alternative}")]
    GoNsq {
        name: &'static str,
        alternative: &'static str,
    },
    #[error("option {name} needs the feature `{feature}` of actix-nsq, which is not compiled in")]
    Feature {
        name: &'static str,
        feature: &'static str,
    },
    #[cfg(feature = "rustls")]
    #[error("option {name} = \"{path}\": {problem}")]
    File {
        name: &'static str,
        path: String,
        problem: String,
    },
    #[cfg(feature = "rustls")]
    #[error("TLS: {problem}")]
    Tls { problem: String },
    #[error(
        "nsqd address \"{address}\": {problem}; expected host:port, such as 127.0.0.1:4150 or \
         [::1]:4150"
    )]
    Address {
        address: String,
        problem: &'static str,
    },
    #[cfg(feature = "lookup")]
    #[error(
        "nsqlookupd address \"{address}\": {problem}; expected host:port, such as \
         127.0.0.1:4161, or a URL"
    )]
    LookupdAddress {
        address: String,
        problem: &'static str,
    },
    #[cfg(feature = "lookup")]
    #[error(
        "address \"{address}\" of nsqd's HTTP port: {problem}; expected host:port, such as \
         127.0.0.1:4151, or a URL"
    )]
    NsqdHttpAddress {
        address: String,
        problem: &'static str,
    },
    #[error("URL \"{url}\": {problem}; expected nsq://host:port, such as nsq://127.0.0.1:4150")]
    Url { url: String, problem: &'static str },
    #[error("a producer takes one nsqd address, not {0}; start a pool for several nsqds")]
    Addresses(usize),
    #[error("{members} nsqd addresses exceed max_members ({max})")]
    TooManyMembers { members: usize, max: usize },
    #[error(
        "environment variable {variable} is not set or empty; it must be the address of nsqd, such as \
         127.0.0.1:4150"
    )]
    NoAddress { variable: String },
    #[error("option {name} = {value} conflicts with {other} = {bound}: {rule}")]
    Conflict {
        name: &'static str,
        value: String,
        other: &'static str,
        bound: String,
        rule: &'static str,
    },
    #[error("option {name} conflicts with {other}: {rule}")]
    Unused {
        name: &'static str,
        other: &'static str,
        rule: &'static str,
    },
    #[error("option {name} needs {needs}")]
    Incomplete {
        name: &'static str,
        needs: &'static str,
    },
}
