//! Durations as text, in the format of Go: `1m30s`.

use std::time::Duration;

/// Go's units, from the largest to the smallest, in nanoseconds.
const UNITS: &[(&str, u64)] = &[
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A duration that may be negative, as all are in Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signed {
    Positive(Duration),
    /// Below zero, by any amount.
    Negative,
}

/// Reads a duration as Go's `time.ParseDuration` does: an optional sign, and numbers with a unit,
/// each with an optional fraction. Only zero needs no unit.
pub(super) fn parse(text: &str) -> Option<Signed> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Signed::Positive(Duration::ZERO));
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, behind) = split(rest, |c| c.is_ascii_digit());
        let (fraction, behind) = match behind.strip_prefix('.') {
            Some(behind) => split(behind, |c| c.is_ascii_digit()),
            None => ("", behind),
        };
        let (unit, behind) = split(behind, |c| !c.is_ascii_digit() && c != '.');
        let unit = nanoseconds(unit)?;
        let whole: u64 = match (whole, fraction) {
            ("", "") => return None,
            ("", _) => 0,
            _ => whole.parse().ok()?,
        };
        total = total
            .checked_add(whole.checked_mul(unit)?)?
            .checked_add(share(fraction, unit))?;
        rest = behind;
    }
    // Go's durations are signed.
    let nanoseconds = i64::try_from(total).ok()?;
    Some(if is_negative && nanoseconds > 0 {
        Signed::Negative
    } else {
        Signed::Positive(Duration::from_nanos(total))
    })
}

/// Returns a text that [`parse`] accepts, such as `1m30s`, if Go can represent the duration.
pub(super) fn show(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    let mut text = String::new();
    for (unit, nanoseconds) in UNITS {
        let nanoseconds = u128::from(*nanoseconds);
        let count = rest / nanoseconds;
        if count > 0 {
            text += &format!("{count}{unit}");
            rest %= nanoseconds;
        }
    }
    if text.is_empty() {
        text += "0s";
    }
    text
}

/// Returns whether a text is a number.
pub(super) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.contains(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// Splits behind the characters at the beginning that match.
fn split(text: &str, matches: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !matches(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn nanoseconds(unit: &str) -> Option<u64> {
    let unit = match unit {
        // The micro sign and the Greek letter mu.
        "\u{b5}s" | "\u{3bc}s" => "us",
        other => other,
    };
    UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, nanoseconds)| *nanoseconds)
}

/// Returns the digits behind a decimal point, as nanoseconds.
fn share(fraction: &str, unit: u64) -> u64 {
    let unit = u128::from(unit);
    // More digits are below a nanosecond of every unit.
    let digits = fraction.bytes().take(18);
    let (numerator, denominator) = digits.fold((0, 1), |(numerator, denominator), digit| {
        (numerator * 10 + u128::from(digit - b'0'), denominator * 10)
    });
    u64::try_from(numerator * unit / denominator).unwrap_or(u64::MAX)
}
