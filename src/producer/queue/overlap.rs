//! Whether nsqd executes commands while their callers publish again.

/// Bursts in a row for which nsqd had nothing to execute, after which publishes are not divided.
const PATIENCE: u8 = 8;

/// Number of such bursts until one is divided again.
const RETRY: u8 = 64;

/// Whether dividing publishes among several commands keeps nsqd busy.
///
/// It does not if all commands are answered before the arbiter reads a response, because other
/// tasks hold it for longer than nsqd needs.
#[derive(Debug)]
pub(super) struct Overlap {
    /// How many more bursts may find nsqd idle.
    patience: u8,
    /// Bursts that were not divided.
    undivided: u8,
}

impl Default for Overlap {
    fn default() -> Self {
        Self {
            patience: PATIENCE,
            undivided: 0,
        }
    }
}

impl Overlap {
    /// A burst is sent while nothing is in flight, or not.
    pub(super) fn on_burst(&mut self, nsqd_is_idle: bool) {
        if !nsqd_is_idle {
            self.patience = PATIENCE.min(self.patience + 2);
        } else if self.patience > 0 {
            self.patience -= 1;
        } else {
            self.undivided += 1;
            if self.undivided == RETRY {
                (self.patience, self.undivided) = (1, 0);
            }
        }
    }

    pub(super) fn is_likely(&self) -> bool {
        self.patience > 0
    }
}
