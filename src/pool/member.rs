//! The members of a pool, each a producer, and how publishes get to them.

use std::{rc::Rc, sync::Arc, time::Instant};

use actix::Addr;

use super::{
    health::Observed,
    route::{MAX_MEMBERS, Router},
    stats::{Member, MemberState, MoveCounts},
};
use crate::{
    conn::address_key,
    link::ConnectionEvent,
    producer::{
        MemberId, MemberView, Moving, Pending, Producer, ReplyTo, Route, Routed, TakeIn, Usage,
    },
};

/// A member of a pool.
pub(super) struct PoolMember {
    pub(super) id: MemberId,
    pub(super) address: Arc<str>,
    /// The address in the form in which addresses are compared.
    pub(super) key: Arc<str>,
    pub(super) producer: Addr<Producer>,
    pub(super) view: Rc<MemberView>,
    pub(super) is_discovered: bool,
    /// No nsqlookupd names it any more: it is removed when its connection is lost.
    pub(super) is_dropped: bool,
    /// It is being removed, and gets no publish.
    pub(super) is_leaving: bool,
    /// The latest event about it was that it is suspect.
    pub(super) was_suspect: bool,
    /// Publishes that the pool gave it.
    pub(super) moved_to: u64,
    /// Publishes that it gave back.
    pub(super) moved_from: u64,
    /// The same, by the reason.
    pub(super) moves: MoveCounts,
    /// What goes to it at the end of the burst.
    outgoing: Moving<ReplyTo>,
    /// Its latest event, for new subscribers.
    pub(super) event: ConnectionEvent,
    /// Commands answered when its present connection was made.
    pub(super) answered_before: u64,
    /// It has become slow, or got publishes because no member was trusted, and was not asked yet to
    /// give back what is queued.
    pub(super) is_slow: bool,
}

impl PoolMember {
    pub(super) fn new(
        id: MemberId,
        address: Arc<str>,
        producer: Addr<Producer>,
        view: Rc<MemberView>,
        is_discovered: bool,
    ) -> Self {
        Self {
            id,
            event: ConnectionEvent::Idle {
                address: Arc::clone(&address),
            },
            key: address_key(&address),
            address,
            producer,
            view,
            is_discovered,
            is_dropped: false,
            is_leaving: false,
            was_suspect: false,
            moved_to: 0,
            moved_from: 0,
            moves: MoveCounts::default(),
            outgoing: Moving::new(Vec::new()),
            answered_before: 0,
            is_slow: false,
        }
    }

    /// Publishes that it has, or that are on their way to it.
    pub(super) fn outstanding(&self) -> usize {
        let on_the_way = self.moved_to.saturating_sub(self.view.taken_in.get());
        let on_the_way = usize::try_from(on_the_way).unwrap_or(usize::MAX);
        self.view.outstanding.get().saturating_add(on_the_way)
    }

    /// Whether it has answered everything that it was given, and nothing is on its way back.
    pub(super) fn is_idle(&self) -> bool {
        let view = &self.view;
        view.is_idle.get()
            && self.moved_to == view.taken_in.get()
            && self.moved_from == view.given_back.get()
    }

    pub(super) fn observed(&self) -> Observed {
        let view = &self.view;
        Observed {
            is_up: view.is_up.get(),
            is_replacing: view.is_replacing.get(),
            outstanding: self.outstanding(),
            oldest: view.oldest.get(),
            answers: view.answers.get(),
        }
    }

    /// What it does, for those who ask.
    pub(super) fn describe(&self, is_suspect: bool) -> Member {
        let state = if self.is_leaving {
            MemberState::Leaving
        } else if !self.view.is_up.get() {
            MemberState::Down
        } else if is_suspect {
            MemberState::Suspect
        } else {
            MemberState::Up
        };
        let address = Arc::clone(&self.address);
        Member::new(address, state, self.outstanding(), self.is_discovered)
    }

    /// Sends it the publishes that were routed to it.
    fn send(&mut self) {
        if self.outgoing.is_empty() {
            return;
        }
        self.moved_to += self.outgoing.len() as u64;
        let next = self.view.spare.take();
        let next = next.unwrap_or_else(|| Moving::new(Vec::new()));
        let publishes = std::mem::replace(&mut self.outgoing, next);
        self.producer.do_send(TakeIn(publishes));
    }
}

/// All members, by their slots.
#[derive(Default)]
pub(super) struct Members {
    slots: Vec<Option<PoolMember>>,
    /// Where the search for a free slot begins: a publish remembers for a second which slots it was
    /// at, so a slot is not used again at once.
    next: usize,
}

impl Members {
    /// Returns a slot that is not used; [`MAX_MEMBERS`] if there is none.
    pub(super) fn free_slot(&self) -> usize {
        let is_free = |slot: &usize| self.slots.get(*slot).is_none_or(Option::is_none);
        let mut slots = (self.next..MAX_MEMBERS).chain(0..self.next);
        slots.find(is_free).unwrap_or(MAX_MEMBERS)
    }

    pub(super) fn insert(&mut self, slot: usize, member: PoolMember) {
        self.next = (slot + 1) % MAX_MEMBERS;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(member);
        }
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<PoolMember> {
        self.slots.get_mut(slot)?.take()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut PoolMember> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &PoolMember)> + Clone {
        let members = self.slots.iter().enumerate();
        members.filter_map(|(slot, member)| Some((slot, member.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut PoolMember)> {
        let members = self.slots.iter_mut().enumerate();
        members.filter_map(|(slot, member)| Some((slot, member.as_mut()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns the slot of a member that is not leaving.
    pub(super) fn by_address(&self, address: &str) -> Option<usize> {
        let key = address_key(address);
        let mut members = self.iter();
        let found = members.find(|(_, member)| !member.is_leaving && member.key == key);
        found.map(|(slot, _)| slot)
    }

    pub(super) fn by_id(&self, id: MemberId) -> Option<usize> {
        let found = self.iter().find(|(_, member)| member.id == id);
        found.map(|(slot, _)| slot)
    }

    /// Sends each member the publishes that were routed to it: one message per burst.
    pub(super) fn send(&mut self) {
        self.slots.iter_mut().flatten().for_each(PoolMember::send);
    }
}

/// Passes the publishes of a burst to the members that the router chooses.
pub(super) struct Routing<'a> {
    pub(super) router: &'a mut Router,
    pub(super) members: &'a mut Members,
    pub(super) now: Instant,
    /// When a publish that waits may go to a member again that had it before.
    pub(super) retry_at: Option<Instant>,
}

impl Route<ReplyTo> for Routing<'_> {
    fn route(&mut self, publish: &Pending<ReplyTo>, queued: usize) -> Routed {
        let mut excluded = 0;
        if let Some(tried) = publish.tried() {
            let up = self.router.up_for(publish.topic());
            if up != 0
                && let Some(error) = tried.rejected_by_all(up)
            {
                return Routed::Rejected(error.clone());
            }
            let until;
            (excluded, until) = tried.excluded(up, self.now);
            if excluded != 0 {
                self.retry_at = Some(self.retry_at.map_or(until, |at| at.min(until)));
            }
        }
        let (topic, size) = (publish.topic(), publish.size());
        match self.router.route(topic, size, queued, excluded, self.now) {
            Some((slot, further)) => Routed::To { slot, further },
            None => Routed::Stays,
        }
    }

    fn outgoing(&mut self, slot: usize, further: Usage) -> Option<&mut Moving<ReplyTo>> {
        self.router.on_routed_further(slot, further);
        let member = self.members.get_mut(slot)?;
        if !self.router.has_trusted() && self.router.is_suspect(slot) {
            member.is_slow = true;
        }
        Some(&mut member.outgoing)
    }
}
