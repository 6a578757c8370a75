//! The flag `--consumer-opt`.

use actix_nsq::ConsumerConfig;

use crate::name_and_value::name_and_value;

/// Splits name and value of an option of consumers.
pub(crate) fn consumer_opt(text: &str) -> Result<(String, String), String> {
    name_and_value(text, &ConsumerConfig::options())
}
