//! The types of options: how a value is read from text, checked and shown.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use crate::secret::Secret;

/// What distinguishes a type where only the name and a text are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// True or false.
    Switch,
    /// Never shown.
    Secret,
    Other,
}

/// The type of an option.
pub(super) trait Value: Sized {
    /// The limits of a value.
    type Bounds;

    const KIND: Kind = Kind::Other;

    fn parse(text: &str) -> Option<Self>;
    fn within(&self, bounds: &Self::Bounds) -> bool;
    /// Returns a text that `parse` accepts, unless it is a secret.
    fn show(&self) -> String;

    /// Removes what does not belong to the value: surrounding whitespace.
    fn trim(text: &str) -> &str {
        text.trim()
    }
}

/// A number is milliseconds; otherwise each number has a unit, such as `250ms` or `1m30s`. go-nsq
/// reads durations the same way.
impl Value for Duration {
    type Bounds = RangeInclusive<Duration>;

    fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(milliseconds) => Some(Duration::from_millis(milliseconds)),
            Err(_) => humantime::parse_duration(text).ok(),
        }
    }

    fn within(&self, bounds: &Self::Bounds) -> bool {
        bounds.contains(self)
    }

    fn show(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

/// A duration, or off. NSQ writes off as `-1`.
impl Value for Option<Duration> {
    type Bounds = RangeInclusive<Duration>;

    fn parse(text: &str) -> Option<Self> {
        match text {
            "-1" | "off" => Some(None),
            time => Duration::parse(time).map(Some),
        }
    }

    fn within(&self, bounds: &Self::Bounds) -> bool {
        self.is_none_or(|time| bounds.contains(&time))
    }

    fn show(&self) -> String {
        self.as_ref().map_or("off".into(), Value::show)
    }
}

impl Value for usize {
    type Bounds = RangeInclusive<usize>;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn within(&self, bounds: &Self::Bounds) -> bool {
        bounds.contains(self)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// A size, or off. NSQ writes off as `-1`.
impl Value for Option<usize> {
    type Bounds = RangeInclusive<usize>;

    fn parse(text: &str) -> Option<Self> {
        match text {
            "-1" | "off" => Some(None),
            size => size.parse().ok().map(Some),
        }
    }

    fn within(&self, bounds: &Self::Bounds) -> bool {
        self.is_none_or(|size| bounds.contains(&size))
    }

    fn show(&self) -> String {
        self.map_or("off".into(), |size| size.to_string())
    }
}

impl Value for bool {
    type Bounds = ();

    const KIND: Kind = Kind::Switch;

    fn parse(text: &str) -> Option<Self> {
        match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }

    fn within(&self, (): &Self::Bounds) -> bool {
        true
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    /// Maximum length in bytes.
    type Bounds = usize;

    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }

    fn within(&self, bounds: &Self::Bounds) -> bool {
        self.len() <= *bounds
    }

    fn show(&self) -> String {
        self.clone()
    }
}

/// A local address. Without a port, or with port 0, the operating system chooses the port.
impl Value for Option<SocketAddr> {
    type Bounds = ();

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(None);
        }
        let address = text
            .parse()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0)));
        address.map(Some)
    }

    fn within(&self, (): &Self::Bounds) -> bool {
        true
    }

    fn show(&self) -> String {
        self.map_or_else(String::new, |address| address.to_string())
    }
}

impl Value for PathBuf {
    type Bounds = ();

    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }

    fn within(&self, (): &Self::Bounds) -> bool {
        true
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for Secret {
    /// Maximum length in bytes.
    type Bounds = usize;

    const KIND: Kind = Kind::Secret;

    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }

    fn within(&self, bounds: &Self::Bounds) -> bool {
        self.expose().len() <= *bounds
    }

    fn show(&self) -> String {
        if self.is_empty() { "" } else { "***" }.into()
    }

    /// Returns the whole text: whitespace may be part of a secret.
    fn trim(text: &str) -> &str {
        text
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl Value for TlsVersion {
    type Bounds = ();

    fn parse(text: &str) -> Option<Self> {
        match text {
            "tls1.2" => Some(Self::Tls12),
            "tls1.3" => Some(Self::Tls13),
            _ => None,
        }
    }

    fn within(&self, (): &Self::Bounds) -> bool {
        true
    }

    fn show(&self) -> String {
        match self {
            Self::Tls12 => "tls1.2".into(),
            Self::Tls13 => "tls1.3".into(),
        }
    }
}
