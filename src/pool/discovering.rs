//! What a pool keeps for its discovery.

use std::sync::Arc;

use crate::{
    link::{ConnectionEvent, Subscribers},
    lookup::{Discovery, LookupEvent},
};

/// What a pool keeps for its discovery.
#[derive(Default)]
pub(super) struct Discovering {
    /// `None`: there was no nsqlookupd yet, or a drain has begun.
    pub(super) discovery: Option<Discovery>,
    pub(super) observers: Subscribers<LookupEvent>,
    /// More members were named than the pool may have.
    pub(super) has_too_many: bool,
}

impl Discovering {
    /// Ends the discovery.
    pub(super) fn end(&mut self) {
        self.discovery = None;
    }

    /// The program removes a member.
    pub(super) fn on_removed(&self, address: &Arc<str>) {
        if let Some(discovery) = &self.discovery {
            discovery.ignore(Arc::clone(address));
        }
    }

    /// The connection to a discovered member has changed.
    pub(super) fn on_event(&self, address: &Arc<str>, event: &ConnectionEvent) {
        let Some(discovery) = &self.discovery else {
            return;
        };
        match event {
            ConnectionEvent::Connected { .. } => discovery.connected(Arc::clone(address)),
            ConnectionEvent::Disconnected { .. } => discovery.lost(Arc::clone(address)),
            _ => {}
        }
    }
}
