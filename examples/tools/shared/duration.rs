//! Durations as Go writes them: `500ms`, `1.5s`, `1m30s`, `0`.

use std::time::Duration;

/// The units and their nanoseconds; `ms` precedes `m`.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("h", 3.6e12),
    ("m", 6e10),
    ("s", 1e9),
];

/// Parses a duration that is not negative.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse(text).ok_or_else(|| "must be a duration such as 500ms, 1.5s or 1m30s".into())
}

/// Parses a duration that is not negative and not zero.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be positive".into()),
        duration => Ok(duration),
    }
}

fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut sum = Duration::ZERO;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let mut units = UNITS.iter();
        let unit = |(unit, nanoseconds)| Some((behind.strip_prefix(unit)?, nanoseconds));
        let (after, nanoseconds) = units.find_map(|it| unit(*it))?;
        let seconds = number.parse::<f64>().ok()? * nanoseconds / 1e9;
        sum = sum.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = after;
        if rest.is_empty() {
            return Some(sum);
        }
    }
}
