//! How nsqd reads names and numbers, and how Go formats them in error texts and JSON.

use std::time::Duration;

/// Returns the name if it is valid for a topic or channel: `^[.a-zA-Z0-9_-]+(#ephemeral)?$`, 1 to
/// 64 bytes with the suffix.
pub(super) fn valid_name(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let stem = name.strip_suffix("#ephemeral").unwrap_or(name);
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (name.len() <= 64 && !stem.is_empty() && stem.bytes().all(legal)).then_some(name)
}

/// Parses digits like nsqd: an empty text is 0, and overflow wraps.
pub(super) fn base10(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |n, digit| {
        let value = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(n.wrapping_mul(10).wrapping_add(value))
    })
}

/// Converts milliseconds to Go's `time.Duration`: 64 bits of nanoseconds, wrapping. `None` if the
/// result is negative.
pub(super) fn go_milliseconds(ms: u64) -> Option<Duration> {
    let nanos = ms.wrapping_mul(1_000_000).cast_signed();
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// Quotes like Go's `%q`, as nsqd does with invalid names.
pub(super) fn go_quote(name: &[u8]) -> String {
    let mut quoted = String::from('"');
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\x07' => quoted.push_str("\\a"),
                '\x08' => quoted.push_str("\\b"),
                '\x0c' => quoted.push_str("\\f"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\x0b' => quoted.push_str("\\v"),
                c if c < ' ' || c == '\x7f' => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if printable(c) => quoted.push(c),
                c if u32::from(c) < 0x1_0000 => {
                    quoted.push_str(&format!("\\u{:04x}", u32::from(c)))
                }
                c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
            }
        }
        for byte in chunk.invalid() {
            quoted.push_str(&format!("\\x{byte:02x}"));
        }
    }
    quoted.push('"');
    quoted
}

/// Whether Go prints this character as it is. The `a` in front keeps `escape_debug` from escaping a
/// combining mark because it comes first.
fn printable(c: char) -> bool {
    c == '\'' || format!("a{c}").escape_debug().count() == 2
}

/// Formats a JSON string like Go, which escapes for HTML.
pub(super) fn go_json(text: &str) -> String {
    let mut json = serde_json::Value::from(text).to_string();
    for (c, escaped) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        json = json.replace(c, escaped);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_name_accepts_what_the_regular_expression_matches() {
        let long = |n: usize| "a".repeat(n);
        let suffixed = |n: usize| format!("{}#ephemeral", "a".repeat(n));
        for good in [
            "a",
            ".",
            "-",
            "a.b_c-D9",
            &long(64),
            "a#ephemeral",
            &suffixed(54),
        ] {
            assert_eq!(valid_name(good.as_bytes()), Some(good));
        }
        for bad in [
            "",
            "a b",
            "a/b",
            "#ephemeral",
            "a#ephemera",
            "a#ephemeral#ephemeral",
            "é",
            "a\0",
            &long(65),
            &suffixed(55),
        ] {
            assert_eq!(valid_name(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(valid_name(b"a\xff"), None);
    }

    #[test]
    fn base10_accepts_only_digits_and_wraps() {
        assert_eq!(base10(b""), Some(0));
        assert_eq!(base10(b"007"), Some(7));
        assert_eq!(base10(b"-1"), None);
        assert_eq!(base10(b"1x"), None);
        assert_eq!(base10(b"18446744073709551616"), Some(0));
        assert_eq!(go_milliseconds(1_500), Some(Duration::from_millis(1_500)));
        assert_eq!(
            go_milliseconds(9_223_372_036_855),
            None,
            "one above the largest i64 of nanoseconds"
        );
    }

    #[test]
    fn go_quote_escapes_like_go() {
        assert_eq!(go_quote(b"plain"), r#""plain""#);
        assert_eq!(go_quote(b"a\"b\\c'd"), r#""a\"b\\c'd""#);
        assert_eq!(go_quote(b"\x00\x07\t\x1f\x7f"), r#""\x00\a\t\x1f\x7f""#);
        assert_eq!(
            go_quote("é\u{a0}\u{feff}\u{e0001}e\u{301}".as_bytes()),
            "\"é\\u00a0\\ufeff\\U000e0001e\u{301}\""
        );
        assert_eq!(go_quote(b"\xff\xc3"), r#""\xff\xc3""#);
    }

    #[test]
    fn go_json_escapes_for_html() {
        assert_eq!(
            go_json("a\"<b>&\u{2028}é\n"),
            r#""a\"\u003cb\u003e\u0026\u2028é\n""#
        );
    }
}
