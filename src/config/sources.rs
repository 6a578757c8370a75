//! Configuration from URLs and environment variables, both by way of the tables of options.

use log::debug;
use percent_encoding::percent_decode_str;

use super::{
    go_nsq,
    lookup_settings::LOOKUPDS,
    redact::{shown_address, shown_name},
    rows::row,
    table::ConfigScope,
    validate::{address_error, incomplete},
};
use crate::{
    conn::SCHEME,
    error::{ConfigCause, ConfigError},
};

/// The variable with the address of nsqd.
const ADDRESS: &str = "NSQD_TCP_ADDRESS";

/// The prefix of the variables with options.
const OPTION: &str = "NSQ_";

/// What a variable is for.
enum Variable {
    Address,
    Option(String),
    Other,
}

impl Variable {
    fn of(name: &str, prefix: &str) -> Self {
        let Some(own) = name.strip_prefix(prefix) else {
            return Self::Other;
        };
        if own == ADDRESS {
            return Self::Address;
        }
        let Some(option) = own.strip_prefix(OPTION).map(str::to_ascii_lowercase) else {
            return Self::Other;
        };
        if option == LOOKUPDS {
            return Self::Option(option);
        }
        if row(&option).is_none() && go_nsq::unsupported(&option).is_none() {
            debug!("environment variable {} is not an option", shown_name(name));
            return Self::Other;
        }
        Self::Option(option)
    }
}

/// Returns the variables of the process. Those that are not UTF-8 are an error if they are for this
/// crate.
pub(super) fn environment(prefix: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let mut vars = Vec::new();
    for (name, value) in std::env::vars_os() {
        // The names of this crate's variables are UTF-8.
        let Ok(name) = name.into_string() else {
            continue;
        };
        match value.into_string() {
            Ok(value) => vars.push((name, value)),
            Err(value) => check_not_utf_8(prefix, &name, &value.to_string_lossy())?,
        }
    }
    Ok(vars)
}

fn check_not_utf_8(prefix: &str, name: &str, value: &str) -> Result<(), ConfigError> {
    match Variable::of(name, prefix) {
        Variable::Address => Err(address_error(value, "not UTF-8")),
        Variable::Option(option) => match (row(&option), go_nsq::unsupported(&option)) {
            (Some(row), _) => Err(row.rejects(value, "UTF-8")),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(()),
        },
        Variable::Other => Ok(()),
    }
}

/// What a URL or the environment sets, in order: a later value replaces an earlier one.
pub(super) struct Given {
    pub(super) addresses: Vec<String>,
    pub(super) options: Vec<(String, String)>,
}

impl Given {
    fn has_lookupds(&self) -> bool {
        let mut options = self.options.iter();
        options.any(|(name, value)| name.replace('-', "_") == LOOKUPDS && !value.is_empty())
    }
}

/// Returns the options that the variables set.
pub(super) fn options(
    prefix: &str,
    vars: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    vars.into_iter()
        .filter_map(|(name, value)| match Variable::of(&name, prefix) {
            Variable::Option(option) => Some((option, value)),
            Variable::Address | Variable::Other => None,
        })
        .collect()
}

/// Whether an option configures another kind of actor than `scope`. A program with producers and
/// consumers has the variables of both.
fn is_of_another_actor(option: &str, scope: ConfigScope) -> bool {
    let is_discovered = matches!(scope, ConfigScope::Consumer | ConfigScope::Pool);
    if option == LOOKUPDS {
        return !is_discovered;
    }
    let is_own = |of: ConfigScope| match of {
        ConfigScope::Connection => true,
        ConfigScope::Lookup => is_discovered,
        ConfigScope::Producer if scope == ConfigScope::Pool => true,
        _ => of == scope,
    };
    row(option).is_some_and(|row| !is_own(row.scope))
}

/// Returns the addresses and options that the variables set for an actor. Variables for another
/// kind of actor are ignored.
pub(super) fn variables(
    prefix: &str,
    scope: ConfigScope,
    vars: impl IntoIterator<Item = (String, String)>,
) -> Result<Given, ConfigError> {
    let vars: Vec<_> = vars.into_iter().collect();
    let address = format!("{prefix}{ADDRESS}");
    let is_address = |(name, value): &&(String, String)| *name == address && !value.is_empty();
    let address_given = vars.iter().rfind(is_address);
    let mut given = match address_given.map(|(_, value)| value) {
        Some(value) if value.starts_with(SCHEME) => url(value)?,
        Some(value) => Given {
            addresses: addresses(value),
            options: Vec::new(),
        },
        None => Given {
            addresses: Vec::new(),
            options: Vec::new(),
        },
    };
    let own = options(prefix, vars).into_iter();
    let own = own.filter(|(option, _)| !is_of_another_actor(option, scope));
    given.options.extend(own);
    if given.addresses.is_empty() && !given.has_lookupds() {
        return Err(ConfigCause::NoAddress { variable: address }.into());
    }
    Ok(given)
}

/// Reads `nsq://host:port,host:port?option=value&option=value`.
pub(super) fn url(url: &str) -> Result<Given, ConfigError> {
    let Some(rest) = url.strip_prefix(SCHEME) else {
        return Err(url_error(url, "it must start with nsq://"));
    };
    let (list, query) = rest.split_once('?').unwrap_or((rest, ""));
    let list = list.strip_suffix('/').unwrap_or(list);
    let has_path = |address: &String| address.contains('/') && !address.starts_with("unix:");
    if addresses(list).iter().any(has_path) {
        return Err(url_error(url, "a path is not supported"));
    }
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let options = pairs
        .map(|pair| option(url, pair))
        .collect::<Result<_, _>>()?;
    let mut given = Given {
        addresses: addresses(list),
        options,
    };
    if list.is_empty() && given.has_lookupds() {
        given.addresses.clear();
    }
    Ok(given)
}

/// Reads `option=value`, or `option` for a switch that is on.
fn option(url: &str, pair: &str) -> Result<(String, String), ConfigError> {
    let Some((name, value)) = pair.split_once('=') else {
        let name = pair.replace('-', "_");
        if name == LOOKUPDS {
            return Err(incomplete(LOOKUPDS, "a value: only a switch may omit it"));
        }
        return match row(&name) {
            Some(row) if !row.is_switch() => {
                Err(incomplete(row.name, "a value: only a switch may omit it"))
            }
            _ => Ok((pair.to_owned(), "true".to_owned())),
        };
    };
    match percent_decode_str(value).decode_utf8() {
        Ok(value) => Ok((name.to_owned(), value.into_owned())),
        Err(_) => Err(url_error(url, "a value is not UTF-8")),
    }
}

fn url_error(url: &str, problem: &'static str) -> ConfigError {
    ConfigCause::Url {
        url: shown_address(url),
        problem,
    }
    .into()
}

/// Splits a list of addresses at its commas. A list with an `@` is not split: it is invalid, and a
/// password before the `@` may contain a comma.
fn addresses(list: &str) -> Vec<String> {
    if list.contains('@') {
        vec![list.to_owned()]
    } else {
        let addresses = list.split(',').map(str::trim);
        addresses.map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{ConnectionConfig, ConsumerConfig, ProducerConfig};

    fn owned(vars: &[(&str, &str)]) -> Vec<(String, String)> {
        vars.iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    fn from_vars(vars: &[(&str, &str)]) -> Result<ProducerConfig, ConfigError> {
        ProducerConfig::from_vars(owned(vars))
    }

    /// checklist: 4
    #[test]
    fn url_has_address_and_options() {
        let url = "nsq://[::1]:4150/?max-pending=7&client_id=a%20b%26c&retry_maybe_written";
        let config = ProducerConfig::from_url(url).unwrap();
        assert_eq!(config.address(), "[::1]:4150");
        assert_eq!(config.max_pending(), 7);
        assert_eq!(config.connection().client_id(), "a b&c");
        assert!(config.retry_maybe_written());
        let config = ProducerConfig::from_url("nsq://nsqd:4150").unwrap();
        assert_eq!(config.address(), "nsqd:4150");
        #[cfg(unix)]
        {
            let config = ProducerConfig::from_url("nsq://unix:/run/nsqd.sock?max_pending=7");
            assert_eq!(config.unwrap().address(), "unix:/run/nsqd.sock");
        }
    }

    /// checklist: 4
    #[test]
    fn invalid_url_error_states_the_reason() {
        for (url, reason) in [
            (
                "nsqd:4150",
                "URL \"nsqd:4150\": it must start with nsq://; expected nsq://",
            ),
            ("http://nsqd:4150", "it must start with nsq://"),
            ("nsq://nsqd", "no port"),
            ("nsq://user:word@nsqd:4150", "invalid host name"),
            ("nsq://nsqd:4150/topic", "a path is not supported"),
            ("nsq://nsqd:4150?client_id=%ff", "a value is not UTF-8"),
            (
                "nsq://nsqd:4150?auth_secret",
                "option auth_secret needs a value: only a switch may omit it",
            ),
            (
                "nsq://nsqd:4150?max-pending",
                "option max_pending needs a value",
            ),
            (
                "nsq://nsqd:4150?publish_timeout=never",
                "option publish_timeout = \"never\"",
            ),
            (
                "nsq://nsqd:4150?publish_timeuot=1s",
                "unknown option \"publish_timeuot\"",
            ),
        ] {
            let error = ProducerConfig::from_url(url).unwrap_err();
            assert!(error.to_string().contains(reason), "{url}: {error}");
        }
    }

    /// checklist: 4
    #[test]
    fn environment_has_address_options_and_unrelated_variables() {
        let config = from_vars(&[
            ("NSQ_PUBLISH_TIMEOUT", "10s"),
            ("NSQD_TCP_ADDRESS", "nsqd:4150"),
            ("NSQ_SERVICE_HOST", "10.0.0.1"),
            ("PATH", "/bin"),
        ]);
        let config = config.unwrap();
        assert_eq!(config.address(), "nsqd:4150");
        assert_eq!(config.publish_timeout(), Duration::from_secs(10));
    }

    /// checklist: 4
    #[test]
    fn variable_takes_precedence_over_the_url() {
        let address = (
            "NSQD_TCP_ADDRESS",
            "nsq://nsqd:4150?max_pending=1&publish_window=2",
        );
        let config = from_vars(&[("NSQ_MAX_PENDING", "3"), address]).unwrap();
        assert_eq!((config.max_pending(), config.publish_window()), (3, 2));
    }

    /// checklist: 4
    #[test]
    fn prefix_selects_the_variables() {
        let vars = [
            ("NSQD_TCP_ADDRESS", "other:4150"),
            ("NSQ_MAX_PENDING", "1"),
            ("NSQ_DIAL_TIMEOUT", "1s"),
            ("ORDERS_NSQD_TCP_ADDRESS", "orders:4150"),
            ("ORDERS_NSQ_DIAL_TIMEOUT", "2s"),
        ];
        let config = ProducerConfig::from_prefixed_vars("ORDERS_", owned(&vars)).unwrap();
        assert_eq!(config.address(), "orders:4150");
        assert_eq!(config.max_pending(), 100_000);
        assert_eq!(config.connection().dial_timeout(), Duration::from_secs(2));
        let config = ConnectionConfig::from_prefixed_vars("ORDERS_", owned(&vars)).unwrap();
        assert_eq!(config.dial_timeout(), Duration::from_secs(2));
        let error = ProducerConfig::from_prefixed_vars("STOCK_", owned(&vars)).unwrap_err();
        let text = "environment variable STOCK_NSQD_TCP_ADDRESS is not set or empty; ";
        assert!(error.to_string().starts_with(text), "{error}");
    }

    /// checklist: 4
    #[test]
    fn connection_rejects_variables_of_producers() {
        let error = ConnectionConfig::from_vars(owned(&[("NSQ_MAX_PENDING", "3")])).unwrap_err();
        assert_eq!(error.option(), Some("max_pending"));
        let vars = [("NSQD_TCP_ADDRESS", "not read"), ("NSQ_DIAL_TIMEOUT", "3s")];
        let config = ConnectionConfig::from_vars(owned(&vars)).unwrap();
        assert_eq!(config.dial_timeout(), Duration::from_secs(3));
    }

    /// checklist: 4
    #[test]
    fn one_environment_configures_producers_and_consumers() {
        let vars = [
            ("NSQD_TCP_ADDRESS", "a:4150,b:4150"),
            ("NSQ_MAX_IN_FLIGHT", "7"),
            ("NSQ_MAX_PENDING", "3"),
        ];
        let config = ConsumerConfig::from_vars(owned(&vars)).unwrap();
        assert_eq!(config.addresses().collect::<Vec<_>>(), ["a:4150", "b:4150"]);
        assert_eq!(config.max_in_flight(), 7);
        let vars = [("NSQD_TCP_ADDRESS", "a:4150"), vars[1], vars[2]];
        assert_eq!(from_vars(&vars).unwrap().max_pending(), 3);
        let url = ConsumerConfig::from_url("nsq://a:4150?max_pending=3").unwrap_err();
        assert_eq!(url.option(), Some("max_pending"));
    }

    /// checklist: 4
    #[test]
    fn environment_error_names_the_variable_or_option() {
        let error = from_vars(&[("NSQ_MAX_PENDING", "3")]).unwrap_err();
        let text = "environment variable NSQD_TCP_ADDRESS is not set or empty; ";
        assert!(error.to_string().starts_with(text), "{error}");
        let address = ("NSQD_TCP_ADDRESS", "nsqd:4150");
        let error = from_vars(&[address, ("NSQ_MAX_PENDING", "many")]).unwrap_err();
        let text = "option max_pending = \"many\"";
        assert!(error.to_string().starts_with(text), "{error}");
        let error = from_vars(&[address, ("NSQ_TLS_CONFIG", "hunter2")]).unwrap_err();
        let text = "unsupported option tls_config of go-nsq: use the tls_* options";
        assert!(error.to_string().starts_with(text), "{error}");
    }

    /// contract: 11
    #[test]
    fn no_debug_or_error_shows_a_secret() {
        let address = ("NSQD_TCP_ADDRESS", "nsqd:4150");
        let config = from_vars(&[address, ("NSQ_AUTH_SECRET", "hunter2")]).unwrap();
        assert_eq!(config.connection().auth_secret().expose(), b"hunter2");
        let builder = ProducerConfig::builder("nsqd:4150").auth_secret("hunter2");
        let too_long = "hunter2".repeat(20_000);
        let by_name = ProducerConfig::builder("nsqd:4150").set("auth_secret", &too_long);
        let mut texts = vec![
            format!("{config:?}"),
            format!("{builder:?}"),
            format!("{:?}", ConnectionConfig::builder().auth_secret("hunter2")),
        ];
        for error in [
            by_name.unwrap_err(),
            builder.clone().auth_secret(too_long).build().unwrap_err(),
            check_not_utf_8("", "NSQ_AUTH_SECRET", "hunter2\u{fffd}").unwrap_err(),
        ] {
            let text = format!("{error} {error:?}");
            assert!(text.contains("option auth_secret = \"***\""), "{text}");
            texts.push(text);
        }
        for slip in [
            "auth_secret=hunter2",
            "auth-secret:hunter2",
            "auth_secret hunter2",
        ] {
            let error = builder.clone().set(slip, "").unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(
                text.starts_with("unknown option \"auth_secret***\""),
                "{text}"
            );
            texts.push(text);
        }
        for text in texts {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    /// contract: 11
    #[test]
    fn invalid_address_error_redacts_passwords_and_options() {
        for (address, shown) in [
            ("h:4150?auth_secret=hunter2", r#""h:4150?***""#),
            ("h?auth_secret=hunter2:4150", r#""h?***""#),
            ("nsq://h:0?auth_secret=hunter2", r#""nsq://h:0?***""#),
            ("http://me:hunter2@h:4150?a=b", r#""***@h:4150?***""#),
            ("me:hunter2?hunter2@h:4150", r#""***""#),
            ("me:hunter2@h:4150?hunter2@h", r#""***""#),
            ("h:4150#hunter2", r#""h:4150#***""#),
            ("h:4150;auth_secret=hunter2", r#""h:4150;***""#),
            ("h#hunter2:4150", r#""h#***""#),
            ("h:4150 hunter2", r#""h:4150 ***""#),
            ("nsq://h:4150/hunter2@h", r#""***""#),
            ("h:4150/", r#""h:4150/""#),
        ] {
            let error = ProducerConfig::new(address).unwrap_err();
            assert!(error.to_string().contains(shown), "{error}");
            let builder = format!("{:?}", ProducerConfig::builder(address));
            assert!(builder.contains(shown), "{builder}");
        }
        for address in [
            "nsq://h?auth_secret=hunter2",
            "nsq://h:4150?my_secret=hunter2",
            "nsq://me:hunter2@h:4150",
            "nsq://me:pass,hunter2@h:4150",
            "nsq://me:hunter2,pass@h:4150",
            "nsq://h:4150?auth_secret%3Dhunter2",
            "nsq://h:4150?auth_secret:hunter2",
            "nsq://h:4150?auth_secret,hunter2=1",
            "nsq://h:4150#auth_secret=hunter2",
            "nsq://h/?max_pending=1&auth_secret=hunter2#x",
            "h:4150?auth_secret=hunter2",
            "h:4150%3Fauth_secret=hunter2",
            "h:4150/hunter2",
            "me:hunter2,pass@h:4150",
        ] {
            for error in [
                ProducerConfig::new(address).unwrap_err(),
                ProducerConfig::from_url(address).unwrap_err(),
                from_vars(&[("NSQD_TCP_ADDRESS", address)]).unwrap_err(),
            ] {
                assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            }
        }
    }
}
