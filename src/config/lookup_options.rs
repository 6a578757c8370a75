//! The options of the discovery by nsqlookupd.

use std::time::Duration;

#[cfg(feature = "lookup")]
use super::table::getters;
use super::{
    table::{
        ByName, ConfigOption, ConfigScope, Values, default_doc, default_text, define, features,
        millis, secs, setters,
    },
    value::Value,
};
use crate::error::ConfigError;

macro_rules! lookup_options {
    ($make:ident $arguments:tt) => {
        $make! { $arguments
            /// Time between two rounds of queries, in each of which every nsqlookupd is asked. More
            /// rounds run after a connection is lost, and while no nsqd is found: after 0s, 1s, 2s,
            /// 4s and so on, up to this time.
            lookupd_poll_interval: Duration [Duration] = secs(60) => "1m",
                in millis(10)..=secs(300) => "a duration from 10ms to 5m", feature "lookup";
            /// Random part of the time between two rounds: up to this share of
            /// `lookupd_poll_interval` is added, drawn for each round.
            lookupd_poll_jitter: f64 [f64] = 0.3 => "0.3",
                in 0.0..=1.0 => "a number from 0 to 1", feature "lookup";
            /// Time for a whole request to an nsqlookupd: connecting, TLS, request and response.
            lookupd_poll_timeout: Duration [Duration] = secs(10) => "10s",
                in millis(1)..=secs(300) => "a duration from 1ms to 5m", feature "lookup";
            /// Whether to send `Authorization: Bearer` with the AUTH secret to each nsqlookupd, for
            /// a proxy in front of it. With an address that begins with `http://`, or with nothing,
            /// the secret is sent in clear text.
            lookupd_authorization: bool [bool] = false => "false",
                in () => "true or false", feature "lookup";
        }
    };
}

lookup_options!(define[LookupOptions, Lookup]);
lookup_options!(setters[ConsumerConfigBuilder, lookup_values, LookupOptions]);
lookup_options!(setters[PoolConfigBuilder, lookup_values, LookupOptions]);
#[cfg(feature = "lookup")]
lookup_options!(setters[LookupConfigBuilder, values, LookupOptions]);
#[cfg(feature = "lookup")]
lookup_options!(getters[LookupConfig, values]);
