//! The options of a pool of producers.

use std::time::Duration;

use super::{
    strategy::Strategy,
    table::{
        ByName, ConfigOption, ConfigScope, Values, default_doc, default_text, define, features,
        getters, millis, secs, setters,
    },
    value::Value,
};
use crate::error::ConfigError;

macro_rules! pool_options {
    ($make:ident $arguments:tt) => {
        $make! { $arguments
            /// How a member is chosen: `spread` (all share the load), `primary` (the first that is
            /// up) or `per_topic` (for each topic the first that is up in an order of its own).
            strategy: Strategy [Strategy] = Strategy::Spread => "spread",
                in () => "spread, primary or per_topic";
            /// Time that a member must be up again before a topic returns to it, with `primary` and
            /// `per_topic`.
            failback_after: Duration [Duration] = secs(5) => "5s",
                in millis(0)..=secs(86_400) => "a duration from 0s to 24h";
            /// Maximum number of members. What nsqlookupds name beyond that is not used.
            max_members: usize [usize] = 64 => "64",
                in 1..=64 => "a number from 1 to 64";
        }
    };
}

pool_options!(define[PoolOptions, Pool]);
pool_options!(setters[PoolConfigBuilder, values, PoolOptions]);
pool_options!(getters[PoolConfig, values]);
