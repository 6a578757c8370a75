//! The nsqds of a consumer, each with its link.

use std::sync::Arc;
#[cfg(feature = "lookup")]
use std::time::Instant;

use super::{connection_key::ConnectionKey, session::Subscribed};
use crate::{
    conn::{ConnId, address_key},
    link::{Link, Session},
};

/// One nsqd.
pub(super) struct Nsqd {
    pub(super) link: Link<Subscribed>,
    /// Its address in the form in which addresses are compared.
    pub(super) key: Arc<str>,
    /// `None`: it was configured or added.
    #[cfg(feature = "lookup")]
    pub(super) discovered: Option<Found>,
    /// It is forgotten when its connection has ended.
    pub(super) is_removed: bool,
}

/// What the consumer keeps for an nsqd that was discovered.
#[cfg(feature = "lookup")]
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Not to be dialled before then, after a lost connection.
    pub(super) retry_at: Option<Instant>,
    /// The discovery has forgotten it: so does the consumer when its connection ends.
    pub(super) is_dropped: bool,
    /// That its name cannot be resolved was reported.
    pub(super) is_unresolvable: bool,
}

/// All nsqds, by small indexes.
#[derive(Default)]
pub(super) struct Nsqds(Vec<Option<Nsqd>>);

impl Nsqds {
    /// Adds an nsqd and returns its index.
    pub(super) fn add(&mut self, link: Link<Subscribed>) -> u32 {
        let nsqd = Some(Nsqd {
            key: address_key(&link.shared_address()),
            link,
            #[cfg(feature = "lookup")]
            discovered: None,
            is_removed: false,
        });
        let index = match self.0.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.0.push(None);
                self.0.len() - 1
            }
        };
        if let Some(place) = self.0.get_mut(index) {
            *place = nsqd;
        }
        index.try_into().unwrap_or(u32::MAX)
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Nsqd> {
        self.0.get_mut(as_usize(index))?.take()
    }

    pub(super) fn get(&self, index: u32) -> Option<&Nsqd> {
        self.0.get(as_usize(index))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Nsqd> {
        self.0.get_mut(as_usize(index))?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Nsqd> {
        self.0.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Nsqd> {
        self.0.iter_mut().flatten()
    }

    pub(super) fn indexes(&self) -> Vec<u32> {
        let nsqds = (0..).zip(&self.0);
        nsqds
            .filter_map(|(index, nsqd)| nsqd.as_ref().map(|_| index))
            .collect()
    }

    /// The index of the nsqd with this address that is not removed.
    pub(super) fn by_address(&self, address: &str) -> Option<u32> {
        let key = address_key(address);
        let is_it = |nsqd: &Nsqd| !nsqd.is_removed && nsqd.key == key;
        let mut nsqds = (0..).zip(&self.0);
        let found = nsqds.find(|(_, nsqd)| nsqd.as_ref().is_some_and(is_it));
        found.map(|(index, _)| index)
    }

    /// The index of the nsqd with this connection.
    pub(super) fn by_connection(&mut self, id: ConnId) -> Option<u32> {
        let mut nsqds = (0..).zip(&mut self.0);
        let has_it = |nsqd: &mut Nsqd| nsqd.link.session(id).is_some();
        nsqds.find_map(|(index, nsqd)| nsqd.as_mut().is_some_and(has_it).then_some(index))
    }

    /// The connections that are up or closing.
    pub(super) fn sessions(&self) -> impl Iterator<Item = &Session<Subscribed>> {
        self.iter().filter_map(|nsqd| nsqd.link.up())
    }

    /// The connections that are up or closing.
    pub(super) fn sessions_mut(&mut self) -> impl Iterator<Item = &mut Session<Subscribed>> {
        self.iter_mut().filter_map(|nsqd| nsqd.link.up_mut())
    }

    /// A connection on which commands can be written.
    pub(super) fn open(&mut self, key: ConnectionKey) -> Option<&mut Session<Subscribed>> {
        let session = self.get_mut(key.nsqd)?.link.up_mut()?;
        (session.state.key == key && !session.is_closing()).then_some(session)
    }
}

fn as_usize(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
