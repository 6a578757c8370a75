//! What errors and logs show of untrusted text: one line, limited in length, and without secrets.

use std::borrow::Cow;

use crate::{conn::is_host_char, protocol::one_line};

/// Shortens a value to one line of at most 80 bytes.
pub(super) fn shown(value: &str) -> String {
    const MAX_SHOWN: usize = 80;
    one_line(value.chars(), MAX_SHOWN)
}

/// Returns the name of an unknown option up to the first character that no option name has. What
/// follows may be a value, and a value may be a secret.
pub(super) fn shown_name(name: &str) -> Cow<'_, str> {
    let is_odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    match name.split_once(is_odd) {
        Some((plain, _)) => format!("{plain}***").into(),
        None => name.into(),
    }
}

/// Returns what can be shown of an unchecked address. The part before an `@` may be a secret, and
/// so may the part after the first character that does not belong to `host:port`, such as the
/// options of a URL.
pub(super) fn shown_address(address: &str) -> String {
    let is_odd = |c: char| !is_host_char(c) && !matches!(c, ':' | '[' | ']');
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(is_odd) => (format!("{scheme}://"), rest),
        _ => (String::new(), address),
    };
    let (front, rest) = match rest.rsplit_once('@') {
        // The `@` may belong to a later part, and what precedes it to a password.
        Some((user, _)) if user.contains(is_odd) => return "***".into(),
        Some((_, host)) => ("***@".into(), host),
        None => (scheme, rest),
    };
    let mut parts = rest.split_inclusive(is_odd);
    let host = parts.next().unwrap_or_default();
    let more = parts.next().map_or("", |_| "***");
    shown(&format!("{front}{host}{more}"))
}
