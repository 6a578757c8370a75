//! The pool's use of a discovery: which nsqds are members.

use std::sync::Arc;

use actix::{AsyncContext, Context, Handler};
use log::warn;

use super::actor::ProducerPool;
use crate::{
    error::AddMemberError,
    link::Pumped,
    lookup::{Change, Discovered, Discovery, Node, Query, handle_lookup_messages},
};

impl ProducerPool {
    /// Starts the discovery, if there are nsqlookupds.
    pub(super) fn start_discovery(&mut self, ctx: &mut Context<Self>) {
        if self.config.lookup().lookupds().next().is_some() && !self.drain.has_begun() {
            self.discovery(ctx);
        }
    }

    /// Returns the discovery, which is started if there is none.
    fn discovery(&mut self, ctx: &mut Context<Self>) -> &Discovery {
        self.discovering.discovery.get_or_insert_with(|| {
            let owner = ctx.address().downgrade().recipient();
            Discovery::start(self.config.lookup().clone(), Query::Nodes, owner)
        })
    }

    /// Adds a member that was named, or notes that it is named again.
    fn on_named(&mut self, node: &Node, ctx: &mut Context<Self>) {
        if self.discovering.is_removed(&node.address) {
            return;
        }
        if let Some(slot) = self.members.by_address(&node.address) {
            if let Some(member) = self.members.get_mut(slot) {
                member.is_dropped = false;
                if member.is_discovered && member.view.is_up.get() {
                    self.discovering.on_up(&member.key);
                }
            }
        } else {
            let added = match self.config.member(&node.address) {
                Ok(config) => self.add_member(config, true, ctx),
                Err(problem) => return warn!("{node}: not added to the pool: {problem}"),
            };
            if let Err(error @ AddMemberError::TooMany { .. }) = &added {
                let waiting = &mut self.discovering.waiting;
                if waiting.is_empty() {
                    warn!("{node}: not added to the pool: {error}");
                }
                waiting.insert(Arc::clone(&node.address), node.clone());
            }
        }
        self.set_topics(node);
    }

    /// Adds the nodes that were named while the pool was full, as far as there is capacity now.
    pub(super) fn admit_waiting(&mut self, ctx: &mut Context<Self>) {
        while self.has_capacity()
            && let Some((_, node)) = self.discovering.waiting.pop_first()
        {
            self.on_named(&node, ctx);
        }
    }

    /// A topic that is tombstoned on a node is not published there.
    fn set_topics(&mut self, node: &Node) {
        if let Some(waiting) = self.discovering.waiting.get_mut(&node.address) {
            waiting.clone_from(node);
        }
        if let Some(slot) = self.members.by_address(&node.address) {
            let topics = node.topics.iter().filter(|it| it.is_tombstoned);
            let topics = topics.map(|it| it.topic.clone()).collect();
            self.router.set_tombstones(slot, topics);
        }
    }

    /// Forgets a discovered member whose connection is down.
    fn on_dropped(&mut self, address: &str, ctx: &mut Context<Self>) {
        self.discovering.waiting.remove(address);
        self.discovering.unresolvable.remove(address);
        let Some(slot) = self.members.by_address(address) else {
            return;
        };
        let member = self.members.get_mut(slot);
        let Some(member) = member.filter(|member| member.is_discovered) else {
            return;
        };
        // The connection may have been made since the decision: then it is kept until it is lost.
        member.is_dropped = true;
        if !member.view.is_up.get() {
            self.remove_dropped(slot, ctx);
        }
    }
}

impl Handler<Discovered> for ProducerPool {
    type Result = ();

    fn handle(&mut self, Discovered(changes): Discovered, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        for change in changes {
            match change {
                Change::Event(event) => self.discovering.observers.emit(&event),
                _ if self.drain.has_begun() => {}
                Change::Dial(node) => self.on_named(&node, ctx),
                Change::Changed(node) => self.set_topics(&node),
                Change::Drop(address) => self.on_dropped(&address, ctx),
            }
        }
        self.forget_subscribers_if_drained();
    }
}

handle_lookup_messages!(ProducerPool);
