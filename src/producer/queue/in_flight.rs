//! How much is kept in flight where publishes are folded: enough to keep nsqd busy, and so little that what waits can pile up
//! to large batches, and that a lone publish has not much before it.

use std::time::Duration;

/// The pace of a connection, by its shortest round trip.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InFlightLimit {
    round_trip: Duration,
}

impl InFlightLimit {
    /// A new connection; its handshake took so long for one answer.
    pub(super) fn begin(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// A command was answered after so long.
    pub(super) fn heard(&mut self, after: Duration) {
        self.round_trip = self.round_trip.min(after);
    }

    /// At most so many commands in flight.
    pub(super) fn commands(self) -> usize {
        self.micros().div_euclid(50).saturating_add(8)
    }

    /// A further command is formed while fewer publishes than this are in flight.
    pub(super) fn publishes(self) -> usize {
        self.micros().saturating_add(256)
    }

    fn micros(self) -> usize {
        self.round_trip.as_micros().try_into().unwrap_or(usize::MAX)
    }
}
