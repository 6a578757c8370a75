//! Messages that were finished after their deadline. Pure.

use std::collections::{HashSet, VecDeque};

use crate::protocol::MessageId;

/// Maximum number of messages per connection that were finished too late and are remembered: a
/// redelivery is finished again instead of handled again.
const MAX_FINISHED_LATE: usize = 1_000;

/// Messages that were finished after their deadline.
#[derive(Debug, Default)]
pub(super) struct FinishedLate {
    order: VecDeque<MessageId>,
    ids: HashSet<MessageId>,
}

impl FinishedLate {
    pub(super) fn insert(&mut self, id: MessageId) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > MAX_FINISHED_LATE
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, id: MessageId) -> bool {
        self.ids.contains(&id)
    }
}
