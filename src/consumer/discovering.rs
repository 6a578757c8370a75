//! What a consumer keeps for its discovery of nsqds.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    conn::address_key,
    link::Subscribers,
    lookup::{Discovery, LookupEvent},
};

/// What a consumer keeps for its discovery.
#[derive(Default)]
pub(super) struct Discovering {
    /// `None`: there was no nsqlookupd yet, or a drain has begun.
    pub(super) discovery: Option<Discovery>,
    /// The addresses that are named at present.
    pub(super) named: BTreeSet<Arc<str>>,
    /// Those that were removed by the program, until it adds them.
    pub(super) removed: BTreeSet<Arc<str>>,
    pub(super) observers: Subscribers<LookupEvent>,
}

impl Discovering {
    /// Ends the discovery.
    pub(super) fn end(&mut self) {
        self.discovery = None;
    }

    /// The program adds an nsqd.
    pub(super) fn on_added(&mut self, address: &str) {
        self.removed.remove(&address_key(address));
    }

    /// The program removes an nsqd.
    pub(super) fn on_removed(&mut self, address: &str) {
        let key = address_key(address);
        if let Some(discovery) = &self.discovery
            && self.named.contains(&key)
        {
            discovery.ignore(Arc::clone(&key));
            self.removed.insert(key);
        }
    }

    pub(super) fn on_connected(&self, key: &Arc<str>) {
        if let Some(discovery) = &self.discovery {
            discovery.connected(Arc::clone(key));
        }
    }
}
