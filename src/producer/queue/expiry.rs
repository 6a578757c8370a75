//! When the next deadline passes.

use std::time::Instant;

/// The earliest deadline of all that is unanswered, or a time before it.
///
/// A publish that is answered leaves its deadline here until the next pass, so that an answer costs
/// nothing.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    next: Option<Instant>,
}

impl Expiry {
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn add(&mut self, deadline: Instant) {
        if self.next.is_none_or(|next| deadline < next) {
            self.next = Some(deadline);
        }
    }

    pub(super) fn clear(&mut self) {
        self.next = None;
    }

    /// Starts a pass over all deadlines, if one of them may have passed.
    pub(super) fn start_pass(&mut self, now: Instant) -> bool {
        let is_due = self.next.is_some_and(|next| next <= now);
        if is_due {
            self.next = None;
        }
        is_due
    }

    /// Returns whether `deadline` has passed; otherwise adds it again.
    pub(super) fn has_passed(&mut self, deadline: Instant, now: Instant) -> bool {
        if deadline > now {
            self.add(deadline);
        }
        deadline <= now
    }
}
