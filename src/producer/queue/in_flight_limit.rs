//! How much is kept in flight when publishes are batched.
//!
//! Enough to keep nsqd busy, and so little that queued publishes form large batches and that a
//! single publish of another topic has little before it.

use std::time::Duration;

/// The limits of a connection, from its shortest round trip.
///
/// The constants are measured: a local nsqd reaches its highest rate with about 8 commands and 256
/// publishes in flight; each microsecond of round trip needs about one publish more.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InFlightLimit {
    round_trip: Duration,
}

impl InFlightLimit {
    /// Limits of a new connection, whose handshake took `round_trip` for one response.
    pub(super) fn new(round_trip: Duration) -> Self {
        Self { round_trip }
    }

    /// A command was answered after `round_trip`.
    pub(super) fn on_response(&mut self, round_trip: Duration) {
        self.round_trip = self.round_trip.min(round_trip);
    }

    /// Maximum number of commands in flight.
    pub(super) fn commands(self) -> usize {
        self.micros().div_euclid(50).saturating_add(8)
    }

    /// Another command is sent while fewer publishes than this are in flight.
    pub(super) fn publishes(self) -> usize {
        self.micros().saturating_add(256)
    }

    /// Number of queued publishes from which a topic sends its next batch: as many as one of its
    /// commands in flight has on average, and so never more than fit into a batch.
    pub(super) fn batch_from(self, in_flight: usize) -> usize {
        in_flight / self.commands()
    }

    fn micros(self) -> usize {
        self.round_trip.as_micros().try_into().unwrap_or(usize::MAX)
    }
}
