//! The error for a name that is not an option.

use super::{
    go_nsq,
    redact::{shown, shown_name},
    rows::row,
    table::ConfigOption,
};
use crate::error::{ConfigCause, ConfigError};

/// Returns the error for a name that is not one of the options of a configuration.
pub(super) fn not_an_option(
    name: &str,
    config: &'static str,
    options: Vec<ConfigOption>,
) -> ConfigError {
    if let Some(error) = go_nsq::unsupported(name) {
        return error;
    }
    if let Some(row) = row(name) {
        return ConfigCause::OtherScope {
            name: row.name,
            scope: row.scope.as_str(),
            config,
        }
        .into();
    }
    let known: Vec<_> = options.iter().map(|option| option.name).collect();
    ConfigCause::Unknown {
        name: shown(&shown_name(name)),
        known: known.join(", "),
    }
    .into()
}
