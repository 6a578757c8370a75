//! An option of the producer on a command line: NAME=VALUE, or NAME,VALUE as NSQ's own tools have it, or the name of a switch
//! alone, which means true.

use actix_nsq::ProducerConfig;

/// Reads one. What is refused here is shown as it was given, so nothing is that may have a secret in it: of that the
/// configuration tells.
pub(crate) fn producer_opt(text: &str) -> Result<(String, String), String> {
    let (name, value) = match text.split_once(['=', ',']) {
        Some(("", _)) => return Err("must be NAME=VALUE".into()),
        Some(pair) => pair,
        None if needs_value(text) => return Err(format!("must be {text}=VALUE")),
        None => (text, "true"),
    };
    Ok((name.into(), value.into()))
}

/// Returns whether this is an option that is not boolean.
fn needs_value(name: &str) -> bool {
    let name = name.replace('-', "_");
    ProducerConfig::options()
        .iter()
        .any(|option| option.name == name && !option.is_switch())
}
