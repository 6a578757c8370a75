//! The reader's address of the owner.

use std::{task::Context, time::Duration};

use actix::{Recipient, WeakRecipient};
use tokio::time::Instant;

use super::{counter::ReadsSent, message::Frames, timer::LazyTimer};

/// How long a strong address is kept. An owner without other addresses stops up to this much later.
const KEEP: Duration = Duration::from_millis(100);

/// A weak address, so that the owner stops when its users have dropped theirs. To upgrade it takes
/// three allocations, so a strong one is kept for a short time while responses follow each other.
pub(super) struct OwnerAddress {
    weak: WeakRecipient<Frames>,
    kept: Option<(Recipient<Frames>, LazyTimer)>,
    sent: ReadsSent,
}

impl OwnerAddress {
    pub(super) fn new(weak: WeakRecipient<Frames>, sent: ReadsSent) -> Self {
        Self {
            weak,
            kept: None,
            sent,
        }
    }

    /// Sends frames, unless the owner was dropped. `keep`: more will follow soon.
    pub(super) fn send(&mut self, frames: Frames, keep: bool) {
        if let Some((owner, _)) = &self.kept {
            owner.do_send(frames);
        } else if let Some(owner) = self.weak.upgrade() {
            owner.do_send(frames);
            if keep {
                let timer = LazyTimer::new(Instant::now() + KEEP);
                self.kept = Some((owner, timer));
            }
        } else {
            return;
        }
        self.sent.add_one();
    }

    /// Drops the strong address when its timer fires. A response that follows may upgrade again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        let kept = self.kept.as_mut();
        if kept.is_some_and(|(_, timer)| timer.poll(cx).is_ready()) {
            self.kept = None;
        }
    }
}
