//! Which members of a pool a publish went to.

use std::time::{Duration, Instant};

use crate::protocol::ServerError;

/// Shortest time between two moves of a publish to the same member.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The same if no other member is up.
const RETRY_ALONE_AFTER: Duration = Duration::from_millis(100);

/// Members of a pool, one bit for each.
pub(crate) type MemberSet = u64;

/// The members that have given a publish back.
#[derive(Debug, Clone)]
pub(crate) struct Tried {
    /// Those that gave it back at `since` or later.
    members: MemberSet,
    since: Instant,
    /// Those whose nsqd rejected it because of its own state.
    rejected_by: MemberSet,
    /// nsqd's latest rejection.
    rejection: Option<ServerError>,
    /// The rejection is not assigned to a member yet.
    is_rejected: bool,
}

impl Tried {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            members: 0,
            since: now,
            rejected_by: 0,
            rejection: None,
            is_rejected: false,
        }
    }

    pub(super) fn note_rejection(&mut self, error: &ServerError) {
        self.rejection = Some(error.clone());
        self.is_rejected = true;
    }

    /// Notes that a member has given it back. Returns whether its nsqd has rejected it.
    pub(super) fn on_given_back(&mut self, member: MemberSet, now: Instant) -> bool {
        if now >= self.since + RETRY_AFTER {
            self.members = 0;
        }
        self.members |= member;
        self.since = now;
        let is_rejected = std::mem::take(&mut self.is_rejected);
        if is_rejected {
            self.rejected_by |= member;
        }
        is_rejected
    }

    /// Returns the members that it does not go to now, and until when. `up` are those that are up.
    pub(crate) fn excluded(&self, up: MemberSet, now: Instant) -> (MemberSet, Instant) {
        let is_alone = up & !self.members == 0 && self.rejection.is_none();
        let until = self.since
            + if is_alone {
                RETRY_ALONE_AFTER
            } else {
                RETRY_AFTER
            };
        (if now < until { self.members } else { 0 }, until)
    }

    /// Returns the rejection, if all of these members have rejected it.
    pub(crate) fn rejected_by_all(&self, members: MemberSet) -> Option<&ServerError> {
        let is_by_all = members & !self.rejected_by == 0;
        self.rejection.as_ref().filter(|_| is_by_all)
    }
}
