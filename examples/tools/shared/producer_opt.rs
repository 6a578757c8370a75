//! The flag `--producer-opt`.

use actix_nsq::ProducerConfig;

use crate::name_and_value::name_and_value;

/// Splits name and value of an option of producers.
pub(crate) fn producer_opt(text: &str) -> Result<(String, String), String> {
    name_and_value(text, &ProducerConfig::options())
}
