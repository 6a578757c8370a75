//! An option of the producer on a command line: NAME=VALUE, or a name alone, which means true.

/// Reads one.
pub(crate) fn producer_opt(text: &str) -> Result<(String, String), String> {
    match text.split_once('=').unwrap_or((text, "true")) {
        ("", _) => Err("must be name=value".into()),
        (name, value) => Ok((name.into(), value.into())),
    }
}
