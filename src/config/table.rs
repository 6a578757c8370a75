//! What the tables of options are made of, one table per scope. Everything that knows an option by
//! its name reads it there.
//!
//! `connection_options`, `producer_options`, `consumer_options`, `pool_options` and
//! `lookup_options` hold the rows, each file in a macro. That is called with the name of a macro of
//! this file that makes something of every row: `define` the struct of values, `setters` the
//! methods of a builder, `getters` those of a configuration. A further scope is a further file with
//! rows, and a builder that calls it.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{
    duration,
    redact::shown,
    value::{Kind, Value},
};
use crate::error::{ConfigCause, ConfigError};

/// What an option configures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConfigScope {
    /// A connection to nsqd: an option of [`ConnectionConfig`](crate::ConnectionConfig).
    Connection,
    /// A producer: an option of [`ProducerConfig`](crate::ProducerConfig).
    Producer,
    /// A consumer: an option of [`ConsumerConfig`](crate::ConsumerConfig).
    Consumer,
    /// A pool of producers: an option of [`PoolConfig`](crate::PoolConfig).
    Pool,
    /// Discovery by nsqlookupd: an option of every configuration that takes addresses of
    /// nsqlookupds.
    Lookup,
}

impl ConfigScope {
    /// Returns the name in snake case, such as `connection`. `Display` and `Serialize` use the same
    /// text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Pool => "pool",
            Self::Lookup => "lookup",
        }
    }
}

impl fmt::Display for ConfigScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One row of the table of options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConfigOption {
    /// The name: that of go-nsq's option if there is one with the same meaning.
    pub name: &'static str,
    /// What it configures.
    pub scope: ConfigScope,
    /// The default, as `set` accepts it.
    pub default: &'static str,
    /// What a value must be.
    pub bounds: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// The feature of this crate that it needs.
    pub feature: Option<&'static str>,
    #[serde(skip)]
    pub(super) kind: Kind,
}

impl ConfigOption {
    /// Returns whether a value is either `true` or `false`. In a URL its name alone means `true`.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        self.kind == Kind::Switch
    }

    /// Checks a value that has the right type.
    pub(super) fn check<T: Value>(
        &'static self,
        value: T,
        bounds: &T::Bounds,
    ) -> Result<T, ConfigError> {
        self.check_feature()?;
        if value.within(bounds) {
            Ok(value)
        } else {
            Err(self.rejects(&value.show(), self.bounds))
        }
    }

    /// Reads a value from text.
    pub(super) fn parse<T: Value>(
        &'static self,
        text: &str,
        bounds: &T::Bounds,
    ) -> Result<T, ConfigError> {
        self.check_feature()?;
        T::parse(T::trim(text))
            .filter(|value| value.within(bounds))
            .ok_or_else(|| self.rejects(text.trim(), self.bounds))
    }

    fn check_feature(&self) -> Result<(), ConfigError> {
        match self.feature {
            Some(feature) if !FEATURES.contains(&(feature, true)) => Err(ConfigCause::Feature {
                name: self.name,
                feature,
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// Returns the error for a value that must be something else.
    pub(super) fn rejects(&self, value: &str, must_be: &'static str) -> ConfigError {
        let value = match self.kind {
            Kind::Secret if value.is_empty() => String::new(),
            Kind::Secret => "***".into(),
            Kind::Switch | Kind::Duration | Kind::Other => shown(value),
        };
        let lacks_unit = || duration::parse(&value).is_none() && duration::is_number(&value);
        let hint = if self.kind == Kind::Duration && lacks_unit() {
            "; a number needs a unit, such as 500ms"
        } else {
            ""
        };
        ConfigCause::Value {
            name: self.name,
            value,
            bounds: must_be,
            hint,
        }
        .into()
    }
}

/// The features that options need, and whether they are compiled in.
const FEATURES: &[(&str, bool)] = &[
    ("tls", cfg!(feature = "rustls")),
    ("snappy", cfg!(feature = "snappy")),
    ("deflate", cfg!(feature = "deflate")),
    ("lookup", cfg!(feature = "lookup")),
];

/// The values of all options of a scope.
#[derive(Debug, Clone, Default)]
pub(super) struct Values<O> {
    pub(super) options: O,
    /// The options that were set.
    given: Vec<&'static str>,
}

impl<O> Values<O> {
    /// Returns whether the option was set, possibly to its default.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.contains(&name)
    }

    pub(super) fn store<T: Value>(
        &mut self,
        row: &'static ConfigOption,
        value: T,
        bounds: &T::Bounds,
        slot: impl FnOnce(&mut O) -> &mut T,
    ) -> Result<(), ConfigError> {
        *slot(&mut self.options) = row.check(value, bounds)?;
        self.given.push(row.name);
        Ok(())
    }
}

/// The options of one scope, by name.
pub(super) trait ByName {
    const TABLE: &'static [ConfigOption];

    /// Sets an option by its name. Returns `None` if this scope has no such option.
    fn set(&mut self, name: &str, text: &str) -> Option<Result<(), ConfigError>>;
}

macro_rules! default_text {
    (USER_AGENT) => {
        concat!("actix-nsq/", env!("CARGO_PKG_VERSION"))
    };
    ($text:literal) => {
        $text
    };
}

macro_rules! default_doc {
    ("") => {
        "Default: empty."
    };
    (USER_AGENT) => {
        "Default: `actix-nsq/` and the version of this crate."
    };
    ($text:literal) => {
        concat!("Default: `", $text, "`.")
    };
}

/// Defines the struct of the values of a scope.
macro_rules! define {
    ([$Options:ident, $scope:ident] $(
        $(#[doc = $meaning:literal])+
        $name:ident: $kind:ty [$taken:ty] = $default:expr => $default_text:tt,
            in $bounds:expr => $bounds_text:literal $(, feature $feature:literal)?;
    )+) => {
        /// The value of each option of the scope.
        #[derive(Debug, Clone)]
        pub(super) struct $Options {
            $(pub(super) $name: $kind,)+
        }

        impl Default for $Options {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// The rows of the table, under the names of their options.
        #[allow(non_upper_case_globals)]
        impl $Options {
            $(pub(super) const $name: &'static ConfigOption = &ConfigOption {
                name: stringify!($name),
                scope: ConfigScope::$scope,
                default: default_text!($default_text),
                bounds: $bounds_text,
                meaning: concat!($($meaning,)+).trim_ascii(),
                feature: features!($($feature)?),
                kind: <$kind as Value>::KIND,
            };)+
        }

        impl ByName for Values<$Options> {
            const TABLE: &'static [ConfigOption] = &[$(*$Options::$name,)+];

            fn set(&mut self, name: &str, text: &str) -> Option<Result<(), ConfigError>> {
                Some(match name {
                    $(stringify!($name) => $Options::$name
                        .parse(text, &$bounds)
                        .and_then(|value| {
                            self.store($Options::$name, value, &$bounds, |options| {
                                &mut options.$name
                            })
                        }),)+
                    _ => return None,
                })
            }
        }

        /// Default and bounds of each option as text, computed from the values.
        #[cfg(test)]
        impl $Options {
            pub(super) fn computed() -> Vec<(&'static ConfigOption, String, String)> {
                use crate::config::tests::Describe;
                let defaults = Self::default();
                vec![$(($Options::$name, defaults.$name.show(), <$kind>::describe(&$bounds)),)+]
            }
        }
    };
}

macro_rules! features {
    () => {
        None
    };
    ($feature:literal) => {
        Some($feature)
    };
}

/// Defines the methods of a builder that set the options. The builder has a method `$values`, which
/// returns the [`Values`] of the scope, and a method `note`, which keeps the first error.
macro_rules! setters {
    ([$Builder:ident, $values:ident, $Options:ident] $(
        $(#[doc = $meaning:literal])+
        $name:ident: $kind:ty [$taken:ty] = $default:expr => $default_text:tt,
            in $bounds:expr => $bounds_text:literal $(, feature $feature:literal)?;
    )+) => {
        impl crate::config::$Builder {
            $(
                $(#[doc = $meaning])+
                ///
                #[doc = default_doc!($default_text)]
                #[doc = concat!("A value must be ", $bounds_text, ".")]
                /// [`build`](Self::build) rejects others.
                $(
                    ///
                    #[doc = concat!("Needs the feature `", $feature, "`.")]
                    /// `build` fails without it.
                )?
                pub fn $name(mut self, value: $taken) -> Self {
                    let values = self.$values();
                    let set = values.store($Options::$name, value.into(), &$bounds, |options| {
                        &mut options.$name
                    });
                    self.note(set)
                }
            )+
        }
    };
}

/// Defines the methods of a configuration that return the values.
macro_rules! getters {
    ([$Config:ident, $values:ident] $(
        $(#[doc = $meaning:literal])+
        $name:ident: $kind:ty [$taken:ty] = $default:expr => $default_text:tt,
            in $bounds:expr => $bounds_text:literal $(, feature $feature:literal)?;
    )+) => {
        impl crate::config::$Config {
            $(
                $(#[doc = $meaning])+
                #[must_use]
                pub fn $name(&self) -> $kind {
                    self.$values().$name.clone()
                }
            )+
        }
    };
}

pub(super) use {default_doc, default_text, define, features, getters, setters};

/// Largest length that nsqd's wire format can carry: half of what nsqd would read as negative.
pub(super) const MAX_LENGTH: usize = 1 << 30;

pub(super) const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
