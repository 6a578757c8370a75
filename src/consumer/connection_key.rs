//! Identity of a connection of a consumer.

/// A connection, open or lost.
///
/// Each connection to an nsqd has another serial number, so that an event of a lost connection
/// never reaches its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionKey {
    /// Index of the nsqd in the consumer's list. Connections that are open at the same time differ
    /// in it. Indexes are small: a table is as long as the largest one.
    pub(crate) nsqd: u32,
    /// Number of the connection to this nsqd.
    pub(crate) serial: u32,
}
