//! NAME=VALUE, or NAME,VALUE as in NSQ's own tools, or the name of a boolean option alone, which
//! means true.

use actix_nsq::ConfigOption;

/// Splits name and value. clap prints a rejected argument in full, so an argument that may contain
/// a secret is accepted here; the configuration rejects it without its value.
pub(crate) fn name_and_value(
    text: &str,
    options: &[ConfigOption],
) -> Result<(String, String), String> {
    let (name, value) = match text.split_once(['=', ',']) {
        Some(("", _)) => return Err("must be NAME=VALUE".into()),
        Some(pair) => pair,
        None if needs_value(text, options) => return Err(format!("must be {text}=VALUE")),
        None => (text, "true"),
    };
    Ok((name.into(), value.into()))
}

/// Returns whether this is an option that is not boolean.
fn needs_value(name: &str, options: &[ConfigOption]) -> bool {
    let name = name.replace('-', "_");
    options
        .iter()
        .any(|option| option.name == name && !option.is_switch())
}
