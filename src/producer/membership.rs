//! A producer as a member of a pool: what the pool asks of it, and what the pool sees of it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Message, WeakRecipient};

use super::{
    denied_topics::DeniedTopics,
    failures::{FailureSink, ReplyTo},
    queue::{Capacity, Counters, Moving},
    session::Queue,
};
use crate::link::ConnectionEvent;

/// Gives a member publishes of the pool: one message per burst.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TakeIn(pub(crate) Moving<ReplyTo>);

/// Makes a member give back what is queued and not in flight.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct GiveBack;

/// What a member reports to its pool.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct FromMember {
    pub(crate) member: MemberId,
    pub(crate) report: MemberReport,
}

/// Tells the members apart that a pool has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemberId(pub(crate) u64);

pub(crate) enum MemberReport {
    /// Its connection has changed.
    Connection(ConnectionEvent),
    /// These publishes are to go to another member: this one has no connection, or the pool has
    /// asked for them.
    GivenBack(Moving<ReplyTo>),
}

/// What the pool sees of a member without a message. The member writes it after each burst.
pub(crate) struct MemberView {
    /// The connection is up, and not closing.
    pub(crate) is_up: Cell<bool>,
    /// The connection ends with a rejection that concerns one message or topic, or on request. It
    /// is replaced at once, and what is queued stays.
    pub(crate) is_replacing: Cell<bool>,
    /// Every publish is answered.
    pub(crate) is_idle: Cell<bool>,
    /// Publishes queued and in flight.
    pub(crate) outstanding: Cell<usize>,
    /// When the oldest command in flight was sent.
    pub(crate) oldest: Cell<Option<Instant>>,
    /// Commands that nsqd has answered with `OK`, and the time of all their answers.
    pub(crate) answers: Cell<(u64, Duration)>,
    /// Number of publishes that it has taken in.
    pub(crate) taken_in: Cell<u64>,
    /// Number of publishes that it has given back.
    pub(crate) given_back: Cell<u64>,
    pub(crate) counters: Cell<Counters>,
    /// The memory of the list that it has taken in last, for the next one.
    pub(crate) spare: RefCell<Option<Moving<ReplyTo>>>,
}

impl MemberView {
    pub(crate) fn new() -> Self {
        Self {
            is_up: Cell::new(false),
            is_replacing: Cell::new(false),
            is_idle: Cell::new(true),
            outstanding: Cell::new(0),
            oldest: Cell::new(None),
            answers: Cell::new((0, Duration::ZERO)),
            taken_in: Cell::new(0),
            given_back: Cell::new(0),
            counters: Cell::new(Counters::default()),
            spare: RefCell::default(),
        }
    }

    /// Shows the present state of the queue.
    pub(super) fn show(&self, queue: &mut Queue) {
        self.is_idle.set(queue.is_empty());
        let held = queue.queued().plus(queue.in_flight());
        self.outstanding.set(held.publishes);
        self.oldest.set(queue.oldest_since());
        if let Some(pooled) = queue.pooled() {
            self.answers.set(pooled.answers);
        }
        self.counters.set(queue.counters());
        queue.capacity().wake();
    }
}

/// What a member has of its pool.
pub(crate) struct Membership {
    pub(crate) member: MemberId,
    pub(crate) pool: WeakRecipient<FromMember>,
    pub(crate) view: Rc<MemberView>,
    /// What the queues of the pool may hold together.
    pub(crate) capacity: Rc<Capacity>,
    /// The topics that the nsqds of all members have denied.
    pub(crate) denied_topics: Rc<RefCell<DeniedTopics>>,
    /// Where the pool's failures go.
    pub(crate) failures: Arc<FailureSink>,
}

impl Membership {
    /// Reports to the pool, unless it has ended. Returns whether it has not.
    pub(super) fn report(&self, report: MemberReport) -> bool {
        let Some(pool) = self.pool.upgrade() else {
            return false;
        };
        pool.do_send(FromMember {
            member: self.member,
            report,
        });
        true
    }

    /// Gives publishes back to the pool.
    pub(super) fn give_back(&self, publishes: Moving<ReplyTo>) {
        let given_back = &self.view.given_back;
        given_back.set(given_back.get() + publishes.len() as u64);
        self.report(MemberReport::GivenBack(publishes));
    }

    /// Whether the pool can take publishes back.
    pub(super) fn has_pool(&self) -> bool {
        self.pool.upgrade().is_some_and(|pool| pool.connected())
    }
}
