//! Registering by hand, and what nsqlookupd's POST requests do.

use std::time::Instant;

use super::{handle::EmbeddedLookupd, node::LookupdNode};

/// Registrations by hand, without an nsqd. Names and addresses are not validated.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use actix_nsq::embedded::{EmbeddedLookupd, LookupdNode};
///
/// let lookupd = EmbeddedLookupd::start()?;
/// let node = LookupdNode::new("nsqd-1.example", 4150);
/// lookupd.register("orders", &node);
/// lookupd.tombstone("orders", "nsqd-1.example:4151");
/// assert!(lookupd.producers("orders").is_some_and(|nodes| nodes.is_empty()));
/// lookupd.forget(&node);
/// assert!(lookupd.nodes().is_empty());
/// # Ok(())
/// # }
/// ```
impl EmbeddedLookupd {
    /// Registers a topic of a node, which stays listed until [`forget`](Self::forget) or
    /// [`stop`](Self::stop). Registering the same address again updates the node, unless its
    /// `remote_address` differs: then it is listed twice, as two nsqds with one address are.
    pub fn register(&self, topic: &str, node: impl Into<LookupdNode>) {
        self.register_by_hand(node.into(), Some((topic, None)));
    }

    /// Registers a channel of a node, with its topic.
    pub fn register_channel(&self, topic: &str, channel: &str, node: impl Into<LookupdNode>) {
        self.register_by_hand(node.into(), Some((topic, Some(channel))));
    }

    /// Registers a node without topics: only `/nodes` lists it.
    pub fn register_node(&self, node: impl Into<LookupdNode>) {
        self.register_by_hand(node.into(), None);
    }

    fn register_by_hand(&self, node: LookupdNode, topic: Option<(&str, Option<&str>)>) {
        self.shared.change(|state| {
            let number = state.registry.by_hand(node);
            if let Some((topic, channel)) = topic {
                state.registry.register(number, topic, channel);
            }
        });
    }

    /// Unregisters a topic with its channels from all nodes with this address. The topic stays:
    /// `/lookup` returns an empty list, unless it is ephemeral.
    pub fn unregister(&self, topic: &str, node: impl Into<LookupdNode>) {
        let node = node.into();
        self.shared.change(|state| {
            for number in state.registry.with_address(&node) {
                state.registry.unregister(number, topic, None);
            }
        });
    }

    /// Removes all nodes with this address, and closes the connections of their nsqds, as if each
    /// nsqd was killed. Waits until that is done. Topics and channels stay. A running nsqd
    /// registers again with its next ping.
    pub fn forget(&self, node: impl Into<LookupdNode>) {
        let numbers = self.shared.state().registry.with_address(&node.into());
        self.close_some(|connection| {
            let peer = connection.peer;
            peer.is_some_and(|peer| numbers.contains(&peer))
        });
        self.shared.change(|state| {
            for number in &numbers {
                state.registry.disconnect(*number);
            }
        });
    }

    /// Sets a tombstone, as `/topic/tombstone`: the node is not listed for this topic for
    /// [`tombstone_lifetime`](super::EmbeddedLookupdBuilder::tombstone_lifetime). `node` is
    /// `broadcast_address:http_port`, without brackets around an IPv6 address. Returns whether a
    /// node has this name.
    pub fn tombstone(&self, topic: &str, node: &str) -> bool {
        self.shared
            .change(|state| state.registry.tombstone(topic, node, Instant::now()))
    }

    /// Creates a topic without nsqds, as `/topic/create`.
    pub fn create_topic(&self, topic: &str) {
        self.shared
            .change(|state| state.registry.create_topic(topic));
    }

    /// Creates a channel with its topic, as `/channel/create`.
    pub fn create_channel(&self, topic: &str, channel: &str) {
        self.shared
            .change(|state| state.registry.create_channel(topic, channel));
    }

    /// Deletes a topic, as `/topic/delete`: nsqds keep it, and register it again only with their
    /// next connection. Returns whether it existed.
    pub fn delete_topic(&self, topic: &str) -> bool {
        self.shared
            .change(|state| state.registry.delete_topic(topic))
    }

    /// Deletes a channel, as `/channel/delete`. Returns whether it existed.
    pub fn delete_channel(&self, topic: &str, channel: &str) -> bool {
        self.shared
            .change(|state| state.registry.delete_channel(topic, channel))
    }
}
