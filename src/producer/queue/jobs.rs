//! Work on many publishes, which may take several polls.

use std::collections::VecDeque;

use super::{
    disconnect::{Disconnect, DisconnectOutcome},
    moving::GiveBack,
    parts::Parts,
    pending::Reply,
    sweep::Sweep,
};

/// Work that visits many publishes. It goes on as far as the budget of each poll allows. Until it
/// is complete, publishes may only be added.
#[derive(Debug)]
pub(super) enum Job {
    Sweep(Sweep),
    Disconnect(Disconnect),
    GiveBack(GiveBack),
}

/// The jobs that are not complete, in the order in which they were begun.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    jobs: VecDeque<Job>,
    disconnect_outcome: DisconnectOutcome,
}

impl Jobs {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn begin(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// Returns what became of the publishes in flight on the connection that ended last.
    pub(super) fn disconnect_outcome(&self) -> DisconnectOutcome {
        self.disconnect_outcome
    }

    /// Goes on as far as the budget allows. Returns whether all jobs are complete.
    pub(super) fn advance<R: Reply>(&mut self, parts: &mut Parts<'_, R>) -> bool {
        while let Some(job) = self.jobs.front_mut() {
            let is_complete = match job {
                Job::Sweep(sweep) => sweep.advance(parts),
                Job::GiveBack(give_back) => give_back.advance(parts),
                Job::Disconnect(disconnect) => {
                    let is_complete = disconnect.advance(parts);
                    self.disconnect_outcome = disconnect.outcome();
                    is_complete
                }
            };
            if !is_complete {
                return false;
            }
            self.jobs.pop_front();
        }
        true
    }
}
