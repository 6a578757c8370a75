//! The parts of the queue that a job works on.

use super::{
    accounting::Accounting, admission::Admission, budget::Budget, expiry::Expiry, pooled::Pooled,
    server_limits::ServerLimits, topic_queue::TopicQueues,
};

/// The parts of the queue that jobs work on.
pub(super) struct Parts<'a, R> {
    pub(super) topics: &'a mut TopicQueues<R>,
    pub(super) admission: &'a mut Admission<R>,
    pub(super) accounting: &'a mut Accounting,
    pub(super) expiry: &'a mut Expiry,
    pub(super) server_limits: &'a ServerLimits,
    pub(super) budget: &'a mut Budget,
    pub(super) pooled: &'a mut Option<Pooled<R>>,
}
