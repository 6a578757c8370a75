//! The consumer's use of a discovery: which nsqds are connected to.

use std::{sync::Arc, time::Instant};

use actix::{AsyncContext, Context, Handler};
use log::warn;

use super::{actor::Consumer, nsqds::Found};
use crate::{
    error::ConnectionError,
    link::{ConnectionEvent, Ended, LinkOwner, LinkState, Pumped, deadline_after, now},
    lookup::{Change, Discovered, Discovery, LookupEvent, Node, Query, handle_lookup_messages},
};

impl Consumer {
    /// Starts the discovery, if there are nsqlookupds.
    pub(super) fn start_discovery(&mut self, ctx: &mut Context<Self>) {
        let has_lookupds = self.config.lookup().lookupds().next().is_some();
        if has_lookupds && self.discovering.discovery.is_none() {
            self.discovery(ctx);
        }
    }

    /// Returns the discovery, which is started if there is none.
    fn discovery(&mut self, ctx: &mut Context<Self>) -> &Discovery {
        self.discovering.discovery.get_or_insert_with(|| {
            let query = Query::Topic(self.subscription.topic().clone());
            let owner = ctx.address().downgrade().recipient();
            Discovery::start(self.config.lookup().clone(), query, owner)
        })
    }

    /// Takes the end of a connection to an nsqd that was discovered. Returns whether it was one.
    pub(super) fn on_discovered_lost(
        &mut self,
        index: u32,
        ended: &Ended,
        ctx: &mut Context<Self>,
    ) -> bool {
        let Some(discovery) = &self.discovering.discovery else {
            return false;
        };
        let Some(nsqd) = self.nsqds.get_mut(index) else {
            return false;
        };
        let Some(found) = &mut nsqd.discovered else {
            return false;
        };
        let delay = nsqd.link.after_end_of_discovered(ended);
        found.retry_at = Some(deadline_after(now(), delay));
        let is_dropped = found.is_dropped;
        let event = ConnectionEvent::Disconnected {
            address: nsqd.link.shared_address(),
            reason: ended.reason.clone(),
        };
        discovery.lost(Arc::clone(&nsqd.key));
        self.emit(index, event);
        if is_dropped {
            self.forget(index, ctx);
        }
        true
    }

    /// An attempt to connect to an nsqd has failed: if its announced name cannot be resolved, says
    /// so once.
    pub(super) fn report_unresolvable(&mut self, index: u32) {
        let Some(nsqd) = self.nsqds.get_mut(index) else {
            return;
        };
        let (Some(found), Some(error)) = (&mut nsqd.discovered, nsqd.link.last_error()) else {
            return;
        };
        let is_resolve = matches!(error, ConnectionError::Resolve { .. });
        if is_resolve && !std::mem::replace(&mut found.is_unresolvable, true) {
            let event = LookupEvent::Unresolvable {
                address: nsqd.link.shared_address(),
                error: error.clone(),
            };
            warn!("{event}");
            self.discovering.observers.emit(&event);
        }
    }

    fn dial(&mut self, node: &Node, now: Instant, ctx: &mut Context<Self>) {
        let address = &node.address;
        self.discovering.named.insert(Arc::clone(address));
        if self.discovering.removed.contains(address) {
            return;
        }
        let Some(index) = self.nsqds.by_address(address) else {
            return self.add_discovered(node, ctx);
        };
        let Some(nsqd) = self.nsqds.get_mut(index) else {
            return;
        };
        // One that was configured or added is connected to anyhow.
        let Some(found) = &mut nsqd.discovered else {
            return;
        };
        found.is_dropped = false;
        let retry_at = found.retry_at.take();
        if nsqd.link.is_connected() {
            self.discovering.on_connected(&nsqd.key);
        } else if nsqd.link.state() == LinkState::Idle {
            let delay = retry_at.map(|at| at.saturating_duration_since(now));
            self.connect(index, delay.unwrap_or_default(), ctx);
        }
    }

    fn add_discovered(&mut self, node: &Node, ctx: &mut Context<Self>) {
        match self.config.conn_options(&node.address) {
            Ok(options) => {
                let index = self.add_link(options);
                if let Some(nsqd) = self.nsqds.get_mut(index) {
                    nsqd.discovered = Some(Found::default());
                }
                self.connect_now(index, ctx);
            }
            Err(problem) => warn!("{node}: not connected to: {problem}"),
        }
    }

    fn drop_discovered(&mut self, address: &Arc<str>, ctx: &mut Context<Self>) {
        self.discovering.named.remove(address);
        let Some(index) = self.nsqds.by_address(address) else {
            return;
        };
        let Some(nsqd) = self.nsqds.get_mut(index) else {
            return;
        };
        let Some(found) = &mut nsqd.discovered else {
            return;
        };
        // The connection may have been made since the decision: then it is kept.
        found.is_dropped = true;
        if nsqd.link.up().is_none() {
            self.forget(index, ctx);
        }
    }

    /// The program has added an nsqd that is there: it is treated as one that was configured.
    pub(super) fn keep_discovered(&mut self, index: u32, ctx: &mut Context<Self>) {
        let nsqd = self.nsqds.get_mut(index);
        let Some(nsqd) = nsqd.filter(|nsqd| nsqd.discovered.is_some()) else {
            return;
        };
        nsqd.discovered = None;
        if nsqd.link.state() == LinkState::Idle {
            self.connect_now(index, ctx);
        }
    }

    /// Forgets an nsqd without a connection.
    fn forget(&mut self, index: u32, ctx: &mut Context<Self>) {
        if let Some(nsqd) = self.nsqds.get_mut(index) {
            nsqd.is_removed = true;
        }
        self.close_link(index, ctx);
    }
}

impl Handler<Discovered> for Consumer {
    type Result = ();

    fn handle(&mut self, Discovered(changes): Discovered, ctx: &mut Context<Self>) {
        let now = self.on_message(ctx);
        for change in changes {
            match change {
                Change::Event(event) => self.discovering.observers.emit(&event),
                _ if self.drain.has_begun() => {}
                Change::Dial(node) => self.dial(&node, now, ctx),
                Change::Drop(address) => self.drop_discovered(&address, ctx),
                // A consumer needs only the address.
                Change::Changed(_) => {}
            }
        }
        self.forget_subscribers_if_drained();
    }
}

handle_lookup_messages!(Consumer);
