//! The rows of all tables, by name.

use super::{
    connection_options::ConnectionOptions,
    consumer_options::ConsumerOptions,
    lookup_options::LookupOptions,
    pool_options::PoolOptions,
    producer_options::ProducerOptions,
    table::{ByName, ConfigOption, Values},
};

/// Returns the row of an option, whatever its scope.
pub(super) fn row(name: &str) -> Option<&'static ConfigOption> {
    let tables = [
        <Values<ConnectionOptions> as ByName>::TABLE,
        <Values<ProducerOptions> as ByName>::TABLE,
        <Values<ConsumerOptions> as ByName>::TABLE,
        <Values<PoolOptions> as ByName>::TABLE,
        <Values<LookupOptions> as ByName>::TABLE,
    ];
    tables.into_iter().flatten().find(|row| row.name == name)
}
