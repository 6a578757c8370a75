//! Whether nsqd executes commands while their callers publish again.

/// Publishes are divided until this many bursts found nsqd idle. One that did not counts twice.
const PATIENCE: u8 = 8;

/// Number of further bursts that find nsqd idle, until publishes are divided again in two bursts.
const RETRY: u8 = 64;

/// Whether dividing publishes among several commands keeps nsqd busy.
///
/// It does not if all commands are answered before the arbiter reads a response, because other
/// tasks hold it for longer than nsqd needs. That there was nothing to divide looks alike, and
/// delays the first division of a later load.
#[derive(Debug)]
pub(super) struct Overlap {
    /// How many more bursts may find nsqd idle.
    patience: u8,
    /// Bursts that found nsqd idle since none may any more.
    idle: u8,
}

impl Default for Overlap {
    fn default() -> Self {
        Self {
            patience: PATIENCE,
            idle: 0,
        }
    }
}

impl Overlap {
    /// A burst is sent while nothing is in flight, or not.
    pub(super) fn on_burst(&mut self, nsqd_is_idle: bool) {
        if !nsqd_is_idle {
            self.patience = PATIENCE.min(self.patience + 2);
            self.idle = 0;
        } else if self.patience > 0 {
            self.patience -= 1;
        } else {
            self.idle += 1;
            if self.idle == RETRY {
                (self.patience, self.idle) = (2, 0);
            }
        }
    }

    pub(super) fn is_likely(&self) -> bool {
        self.patience > 0
    }
}
