//! The kinds of values that options take: how each is read from text, bounded, and shown.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use crate::secret::Secret;

/// A kind of value an option can have. Times are read as go-nsq reads them: a number is milliseconds, and a
/// number with a unit (`250ms`, `1m30s`) is what it says.
pub(super) trait Value: Sized {
    /// What limits it.
    type Bounds;

    /// Whether a name alone means that it is on.
    const IS_SWITCH: bool = false;

    fn parse(text: &str) -> Option<Self>;
    fn within(&self, bounds: &Self::Bounds) -> bool;
    fn show(&self) -> String;
    /// The bounds in words that follow "must be".
    fn describe(bounds: &Self::Bounds) -> String;

    /// What of a text is the value: the blanks around it are nobody's intention.
    fn trim(text: &str) -> &str {
        text.trim()
    }

    /// What an error shows of a text that cannot be read.
    fn quote(text: &str) -> &str {
        text
    }
}

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

    fn describe(bounds: &Self::Bounds) -> String {
        format!(
            "a time from {} to {}",
            bounds.start().show(),
            bounds.end().show()
        )
    }
}

/// A time that can be switched off, which NSQ's options spell `-1`.
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

    fn describe(bounds: &Self::Bounds) -> String {
        format!("{}, or off (-1)", Duration::describe(bounds))
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

    fn describe(bounds: &Self::Bounds) -> String {
        format!("a number from {} to {}", bounds.start(), bounds.end())
    }
}

/// A size that can be switched off, which NSQ's options spell `-1`.
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

    fn describe(bounds: &Self::Bounds) -> String {
        format!("{}, or off (-1)", usize::describe(bounds))
    }
}

impl Value for bool {
    type Bounds = ();

    const IS_SWITCH: bool = true;

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

    fn describe((): &Self::Bounds) -> String {
        "true or false".into()
    }
}

impl Value for String {
    /// Its length in bytes.
    type Bounds = RangeInclusive<usize>;

    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }

    fn within(&self, bounds: &Self::Bounds) -> bool {
        bounds.contains(&self.len())
    }

    fn show(&self) -> String {
        self.clone()
    }

    fn describe(bounds: &Self::Bounds) -> String {
        format!("{} to {} bytes long", bounds.start(), bounds.end())
    }
}

/// A local address to bind to; the port may be left out, and is then the system's choice.
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
        self.map_or("any".into(), |address| address.to_string())
    }

    fn describe((): &Self::Bounds) -> String {
        "an IP address, with a port or without".into()
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

    fn describe((): &Self::Bounds) -> String {
        "the path of a PEM file".into()
    }
}

/// What may be seen of it is whether there is one.
impl Value for Secret {
    /// Its length in bytes.
    type Bounds = RangeInclusive<usize>;

    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }

    fn within(&self, bounds: &Self::Bounds) -> bool {
        bounds.contains(&self.expose().len())
    }

    fn show(&self) -> String {
        if self.is_empty() { "" } else { "***" }.into()
    }

    fn describe(bounds: &Self::Bounds) -> String {
        String::describe(bounds)
    }

    /// It is taken as it is, whichever way it comes: a blank may be a part of it.
    fn trim(text: &str) -> &str {
        text
    }

    fn quote(text: &str) -> &str {
        if text.is_empty() { "" } else { "***" }
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

    fn describe((): &Self::Bounds) -> String {
        "tls1.2 or tls1.3".into()
    }
}
