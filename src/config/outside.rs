//! Configuration from outside of the program: a URL, or the environment. Both go through the one table of options.

use log::debug;
use percent_encoding::percent_decode_str;

use super::{ProducerConfig, ProducerConfigBuilder, address::address_error, options};
use crate::error::ConfigError;

/// The variable with nsqd's address.
const ADDRESS: &str = "NSQD_TCP_ADDRESS";

/// What the variables of the options begin with.
const PREFIX: &str = "NSQ_";

const SCHEME: &str = "nsq://";

impl ProducerConfig {
    /// A configuration from a URL: `nsq://host:port?option=value&option=value`, values percent-encoded. A switch alone
    /// is one that is on.
    ///
    /// ```
    /// let config = actix_nsq::ProducerConfig::from_url("nsq://nsqd.example.org:4150?publish_timeout=10s")?;
    /// assert_eq!(config.publish_timeout().as_secs(), 10);
    /// # Ok::<_, actix_nsq::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is no such URL, or by an option as with [`ProducerConfigBuilder::set`].
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        builder(url)?.build()
    }

    /// A configuration from the environment: the address from `NSQD_TCP_ADDRESS`, which may be a `host:port` or a URL as
    /// [`from_url`](Self::from_url) takes, and options from `NSQ_<OPTION>`, such as `NSQ_PUBLISH_TIMEOUT=10s`.
    ///
    /// A variable for an option of go-nsq that this crate does not have, such as `NSQ_MAX_IN_FLIGHT`, is an error. Others that begin
    /// with `NSQ_` are left alone: they may be anyone's.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is no address, or by an option as with [`ProducerConfigBuilder::set`].
    pub fn from_env() -> Result<Self, ConfigError> {
        let mut vars = Vec::new();
        for (name, value) in std::env::vars_os() {
            // The names that matter are.
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => vars.push((name, value)),
                Err(value) => check_ignored(&name, &value.to_string_lossy())?,
            }
        }
        Self::from_vars(vars)
    }

    /// The same from other variables than the process's own.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_vars(
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut address = None;
        let mut set = Vec::new();
        for (name, value) in vars {
            match name.strip_prefix(PREFIX).map(str::to_ascii_lowercase) {
                _ if name == ADDRESS => address = Some(value),
                Some(option)
                    if options::is_known(&option) || options::go_nsq(&option).is_some() =>
                {
                    set.push((option, value));
                }
                Some(_) => debug!(
                    "{} in the environment names no option",
                    options::plain_name(&name)
                ),
                None => {}
            }
        }
        let address = address.ok_or_else(|| address_error("", "NSQD_TCP_ADDRESS is not set"))?;
        let start = match address.starts_with(SCHEME) {
            true => builder(&address)?,
            false => Self::builder(address),
        };
        set.iter()
            .try_fold(start, |builder, (name, value)| builder.set(name, value))?
            .build()
    }
}

/// A value that is not UTF-8 can be ignored only where it is not for this crate.
fn check_ignored(name: &str, value: &str) -> Result<(), ConfigError> {
    const PROBLEM: &str = "not UTF-8";
    if name == ADDRESS {
        return Err(address_error(value, PROBLEM));
    }
    let Some(option) = name.strip_prefix(PREFIX).map(str::to_ascii_lowercase) else {
        return Ok(());
    };
    if let Some((name, alternative)) = options::go_nsq(&option) {
        return Err(options::missing(name, alternative));
    }
    match options::refused_by_name(&option, value, "UTF-8") {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn builder(url: &str) -> Result<ProducerConfigBuilder, ConfigError> {
    let refused = |problem| Err(address_error(url, problem));
    let Some(rest) = url.strip_prefix(SCHEME) else {
        return refused("no nsq:// in front");
    };
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let address = address.strip_suffix('/').unwrap_or(address);
    query.split('&').filter(|pair| !pair.is_empty()).try_fold(
        ProducerConfig::builder(address),
        |builder, pair| {
            let (name, value) = match pair.split_once('=') {
                Some(pair) => pair,
                None => (pair, options::alone(&pair.replace('-', "_"))?),
            };
            match percent_decode_str(value).decode_utf8() {
                Ok(value) => builder.set(name, &value),
                Err(_) => refused("a value is not UTF-8"),
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn vars(vars: &[(&str, &str)]) -> Result<ProducerConfig, ConfigError> {
        ProducerConfig::from_vars(
            vars.iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        )
    }

    #[test]
    fn a_url_has_address_and_options() {
        let config = ProducerConfig::from_url(
            "nsq://[::1]:4150/?max-pending=7&client_id=a%20b%26c&retry_maybe_written",
        )
        .unwrap();
        assert_eq!(config.address(), "[::1]:4150");
        assert_eq!(config.max_pending(), 7);
        assert_eq!(config.client_id(), "a b&c");
        assert!(config.retry_maybe_written());
        assert_eq!(
            ProducerConfig::from_url("nsq://nsqd:4150")
                .unwrap()
                .address(),
            "nsqd:4150"
        );
    }

    #[test]
    fn a_url_that_is_none_is_refused_with_the_reason() {
        for (url, reason) in [
            ("nsqd:4150", "no nsq:// in front"),
            ("http://nsqd:4150", "no nsq:// in front"),
            ("nsq://nsqd", "no port"),
            ("nsq://user:word@nsqd:4150", "not a host name"),
            ("nsq://nsqd:4150/topic", "not a port number"),
            ("nsq://nsqd:4150?client_id=%ff", "a value is not UTF-8"),
            (
                "nsq://nsqd:4150?auth_secret",
                "option auth_secret needs a value: only a switch may stand alone",
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

    #[test]
    fn the_environment_has_address_and_options_and_may_have_more() {
        let config = vars(&[
            ("NSQ_PUBLISH_TIMEOUT", "10s"),
            ("NSQD_TCP_ADDRESS", "nsqd:4150"),
            ("NSQ_SERVICE_HOST", "10.0.0.1"),
            ("PATH", "/bin"),
        ]);
        let config = config.unwrap();
        assert_eq!(config.address(), "nsqd:4150");
        assert_eq!(config.publish_timeout(), Duration::from_secs(10));
    }

    #[test]
    fn the_environment_may_have_a_url_whose_options_give_way_to_variables() {
        let address = (
            "NSQD_TCP_ADDRESS",
            "nsq://nsqd:4150?max_pending=1&publish_window=2",
        );
        let config = vars(&[("NSQ_MAX_PENDING", "3"), address]).unwrap();
        assert_eq!((config.max_pending(), config.publish_window()), (3, 2));
    }

    #[test]
    fn an_environment_without_an_address_or_with_a_bad_option_is_refused() {
        let error = vars(&[("NSQ_MAX_PENDING", "3")]).unwrap_err();
        assert!(
            error.to_string().contains("NSQD_TCP_ADDRESS is not set"),
            "{error}"
        );
        let error = vars(&[
            ("NSQD_TCP_ADDRESS", "nsqd:4150"),
            ("NSQ_MAX_PENDING", "many"),
        ])
        .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("option max_pending = \"many\""),
            "{error}"
        );
    }

    #[test]
    fn who_asks_for_what_there_is_not_is_told_so_and_no_secret_is_repeated() {
        let address = ("NSQD_TCP_ADDRESS", "nsqd:4150");
        let error = vars(&[address, ("NSQ_TLS_CONFIG", "hunter2")]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("unsupported option tls_config of go-nsq: use "),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
        for url in [
            "nsq://h?auth_secret=hunter2",
            "nsq://h:4150?my_secret=hunter2",
            "nsq://me:hunter2@h:4150",
            "h:4150?auth_secret=hunter2",
            "nsq://h:4150?auth_secret%3Dhunter2",
            "nsq://h:4150?auth_secret:hunter2",
            "nsq://h:4150?auth_secret,hunter2=1",
            "nsq://h:4150#auth_secret=hunter2",
        ] {
            let error = ProducerConfig::from_url(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    /// contract: 11
    #[test]
    fn a_secret_from_outside_is_shown_by_nothing() {
        let address = ("NSQD_TCP_ADDRESS", "nsqd:4150");
        let config = vars(&[address, ("NSQ_AUTH_SECRET", "hunter2")]).unwrap();
        assert_eq!(config.auth_secret().expose(), b"hunter2");
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
        let builder = ProducerConfig::builder("nsqd:4150").auth_secret("hunter2");
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
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(!format!("{builder:?}").contains("hunter2"), "{builder:?}");
        let too_long = "hunter2".repeat(20_000);
        let by_name = ProducerConfig::builder("nsqd:4150").set("auth_secret", &too_long);
        for error in [
            by_name.unwrap_err(),
            builder.auth_secret(too_long).build().unwrap_err(),
            check_ignored("NSQ_AUTH_SECRET", "hunter2\u{fffd}").unwrap_err(),
        ] {
            let text = format!("{error} {error:?}");
            assert!(text.contains("option auth_secret = \"***\""), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn an_address_that_is_refused_shows_neither_password_nor_options_of_a_url() {
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
            for error in [
                ProducerConfig::new(address).unwrap_err(),
                vars(&[("NSQD_TCP_ADDRESS", address)]).unwrap_err(),
            ] {
                let text = format!("{error} {error:?}");
                assert!(!text.contains("hunter2"), "{error}");
            }
            let error = ProducerConfig::new(address).unwrap_err().to_string();
            assert!(error.contains(shown), "{error}");
            let builder = format!("{:?}", ProducerConfig::builder(address));
            assert!(builder.contains(shown), "{builder}");
        }
    }
}
