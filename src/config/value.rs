//! The types of options: how a value is read from text, checked and shown.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use super::duration::{self, Signed};
use crate::secret::Secret;

/// What distinguishes a type where only the name and a text are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// True or false.
    Switch,
    /// Never shown.
    Secret,
    /// Needs a unit.
    Duration,
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

impl Value for Duration {
    type Bounds = RangeInclusive<Duration>;

    const KIND: Kind = Kind::Duration;

    fn parse(text: &str) -> Option<Self> {
        match duration::parse(text)? {
            Signed::Positive(time) => Some(time),
            Signed::Negative => None,
        }
    }

    fn within(&self, bounds: &Self::Bounds) -> bool {
        bounds.contains(self)
    }

    fn show(&self) -> String {
        duration::show(*self)
    }
}

/// A duration, or off. NSQ writes off as `-1`, and as text with a unit, such as `-1ms`.
impl Value for Option<Duration> {
    type Bounds = RangeInclusive<Duration>;

    const KIND: Kind = Kind::Duration;

    fn parse(text: &str) -> Option<Self> {
        if let "-1" | "off" = text {
            return Some(None);
        }
        Some(match duration::parse(text)? {
            Signed::Positive(time) => Some(time),
            Signed::Negative => None,
        })
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

impl Value for f64 {
    type Bounds = RangeInclusive<f64>;

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
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
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

/// A local address. Without a port, or with port 0, the operating system chooses the port; without
/// an IP address it chooses that.
impl Value for Option<SocketAddr> {
    type Bounds = ();

    fn parse(text: &str) -> Option<Self> {
        if let "" | ":" | ":0" = text {
            return Some(None);
        }
        let ip = |text: &str| text.parse::<IpAddr>().ok();
        let with_port = || match text.strip_suffix(':') {
            Some(_) => format!("{text}0").parse().ok(),
            None => text.parse::<SocketAddr>().ok(),
        };
        let without_port = || ip(text).map(|ip| SocketAddr::new(ip, 0));
        let port_alone = || {
            let port = text.strip_prefix(':')?.parse().ok()?;
            Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
        };
        with_port()
            .or_else(without_port)
            .or_else(port_alone)
            .map(Some)
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(microseconds: u64) -> Option<Option<Duration>> {
        Some(Some(Duration::from_micros(microseconds)))
    }

    const OFF: Option<Option<Duration>> = Some(None);
    const INVALID: Option<Option<Duration>> = None;

    /// The results are those of `Config.Set` of go-nsq 1.1.0, unless a comment says otherwise.
    /// checklist: 4
    #[test]
    fn duration_is_read_as_go_nsq_reads_it() {
        for (text, value) in [
            ("1s", micros(1_000_000)),
            ("+2s", micros(2_000_000)),
            (".5s", micros(500_000)),
            ("1.s", micros(1_000_000)),
            ("500us", micros(500)),
            ("500\u{b5}s", micros(500)),
            ("500\u{3bc}s", micros(500)),
            ("1500000ns", micros(1_500)),
            ("1h1m1.5s", micros(3_661_500_000)),
            ("1s1s", micros(2_000_000)),
            ("0.0000000019s", Some(Some(Duration::from_nanos(1)))),
            ("0", micros(0)),
            ("-0s", micros(0)),
            ("9223372036s", micros(9_223_372_036_000_000)),
            ("-1ns", OFF),
            ("-1ms", OFF),
            ("-.5s", OFF),
            // go-nsq rejects these two.
            ("-1", OFF),
            ("off", OFF),
            ("2500", INVALID),
            ("2.5", INVALID),
            ("", INVALID),
            ("+", INVALID),
            (".", INVALID),
            ("s", INVALID),
            (".s", INVALID),
            ("1 s", INVALID),
            ("1S", INVALID),
            ("1M", INVALID),
            ("1min", INVALID),
            ("1day", INVALID),
            ("1e3s", INVALID),
            ("1_000s", INVALID),
            ("--1s", INVALID),
            ("1s-2s", INVALID),
            ("9223372037s", INVALID),
            ("2562048h", INVALID),
            ("99999999999999999999s", INVALID),
        ] {
            assert_eq!(<Option<Duration>>::parse(text), value, "{text}");
            // Without an off, a negative duration is not valid.
            assert_eq!(Duration::parse(text), value.flatten(), "{text}");
        }
    }

    /// checklist: 4
    #[test]
    fn duration_is_shown_as_it_is_read() {
        for text in [
            "0s", "1ns", "1us1ns", "250ms", "1s500ms", "1m30s", "9h6m7s", "720h",
        ] {
            assert_eq!(Duration::parse(text).unwrap().show(), text);
        }
    }

    /// The results are those of `Config.Set` of go-nsq 1.1.0, unless a comment says otherwise.
    /// checklist: 4
    #[test]
    fn switch_number_and_address_are_read_as_go_nsq_reads_them() {
        for text in ["1", "t", "T", "true", "True", "TRUE"] {
            assert_eq!(bool::parse(text), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "False", "FALSE"] {
            assert_eq!(bool::parse(text), Some(false), "{text}");
        }
        for text in ["", "tRUE", "yes", "on", "2"] {
            assert_eq!(bool::parse(text), None, "{text}");
        }
        for (text, number) in [
            ("16384", Some(Some(16_384))),
            ("+16384", Some(Some(16_384))),
            ("016384", Some(Some(16_384))),
            ("-1", Some(None)),
            ("16_384", None),
            ("0x4000", None),
            ("16384.0", None),
        ] {
            assert_eq!(<Option<usize>>::parse(text), number, "{text}");
        }
        for (text, address) in [
            ("", Some(None)),
            (":", Some(None)),
            (":0", Some(None)),
            (":5000", Some(Some("0.0.0.0:5000"))),
            ("127.0.0.1:0", Some(Some("127.0.0.1:0"))),
            ("127.0.0.1:", Some(Some("127.0.0.1:0"))),
            ("[::1]:0", Some(Some("[::1]:0"))),
            ("[::1]:", Some(Some("[::1]:0"))),
            // go-nsq requires a port.
            ("127.0.0.1", Some(Some("127.0.0.1:0"))),
            ("::1", Some(Some("[::1]:0"))),
            ("::", Some(Some("[::]:0"))),
            // go-nsq resolves names.
            ("localhost:0", None),
            ("127.0.0.1:65536", None),
            (":65536", None),
            (":x", None),
        ] {
            let parsed = address.map(|it| it.map(|it| it.parse::<SocketAddr>().unwrap()));
            assert_eq!(<Option<SocketAddr>>::parse(text), parsed, "{text}");
        }
    }
}
