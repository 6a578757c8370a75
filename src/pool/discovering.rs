//! What a pool keeps for its discovery.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use log::warn;

use crate::{
    error::ConnectionError,
    link::{ConnectionEvent, Subscribers},
    lookup::{Discovery, LookupEvent, Node},
};

/// What a pool keeps for its discovery.
#[derive(Default)]
pub(super) struct Discovering {
    /// `None`: there was no nsqlookupd yet, or a drain has begun.
    pub(super) discovery: Option<Discovery>,
    pub(super) observers: Subscribers<LookupEvent>,
    /// Nodes that are named while the pool has as many members as it may have.
    pub(super) waiting: BTreeMap<Arc<str>, Node>,
    /// Those that were removed by the program, until it adds them.
    removed: BTreeSet<Arc<str>>,
    /// Members whose names cannot be resolved, as was reported.
    pub(super) unresolvable: BTreeSet<Arc<str>>,
}

impl Discovering {
    /// Ends the discovery.
    pub(super) fn end(&mut self) {
        self.discovery = None;
        self.waiting.clear();
    }

    /// The program removes a member.
    pub(super) fn on_removed(&mut self, address: &Arc<str>) {
        self.waiting.remove(address);
        if let Some(discovery) = &self.discovery {
            discovery.ignore(Arc::clone(address));
            self.removed.insert(Arc::clone(address));
        }
    }

    /// The program adds a member.
    pub(super) fn on_added(&mut self, address: &Arc<str>) {
        self.removed.remove(address);
    }

    /// Whether the program has removed the member with this address.
    pub(super) fn is_removed(&self, address: &Arc<str>) -> bool {
        self.removed.contains(address)
    }

    /// A discovered member that is named is connected already.
    pub(super) fn on_up(&self, address: &Arc<str>) {
        if let Some(discovery) = &self.discovery {
            discovery.connected(Arc::clone(address));
        }
    }

    /// The connection to a discovered member has changed.
    pub(super) fn on_event(&mut self, address: &Arc<str>, event: &ConnectionEvent) {
        let Some(discovery) = &self.discovery else {
            return;
        };
        match event {
            ConnectionEvent::Connected { .. } => discovery.connected(Arc::clone(address)),
            ConnectionEvent::Disconnected { .. } => discovery.lost(Arc::clone(address)),
            ConnectionEvent::BackingOff {
                reason: Some(error @ ConnectionError::Resolve { .. }),
                ..
            } if self.unresolvable.insert(Arc::clone(address)) => {
                let event = LookupEvent::Unresolvable {
                    address: Arc::clone(address),
                    error: error.clone(),
                };
                warn!("{event}");
                self.observers.emit(&event);
            }
            _ => {}
        }
    }
}
