//! The topics, channels and nsqds that are registered, as in nsqlookupd's database.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::node::LookupdNode;
use crate::embedded::topic::is_ephemeral;

/// How long nsqds and tombstones are remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetimes {
    pub(super) inactive_producer_timeout: Duration,
    pub(super) tombstone_lifetime: Duration,
}

/// All registrations. Topics and channels stay when their last nsqd leaves.
#[derive(Debug, Default)]
pub(super) struct Registry {
    peers: BTreeMap<u64, Peer>,
    last_peer: u64,
    topics: BTreeMap<String, Topic>,
}

/// An nsqd: a connection, or one that was registered by hand.
#[derive(Debug)]
struct Peer {
    node: LookupdNode,
    /// `None`: registered by hand, and always active.
    last_update: Option<Instant>,
}

#[derive(Debug, Default)]
struct Topic {
    /// The nsqds, with the time of their tombstones.
    producers: BTreeMap<u64, Option<Instant>>,
    channels: BTreeMap<String, BTreeSet<u64>>,
}

/// A node in the answer of `/nodes`.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    pub(super) node: &'a LookupdNode,
    /// With whether the node has a tombstone there.
    pub(super) topics: Vec<(&'a str, bool)>,
}

impl Registry {
    /// Adds an nsqd and returns its number.
    pub(super) fn connect(&mut self, node: LookupdNode, now: Instant) -> u64 {
        self.add(node, Some(now))
    }

    /// Returns the number of an nsqd that is registered by hand; adds it if necessary.
    pub(super) fn by_hand(&mut self, node: LookupdNode) -> u64 {
        let known = self.peers.iter_mut().find(|(_, peer)| {
            peer.last_update.is_none()
                && peer.node.has_same_address(&node)
                && peer.node.remote_address == node.remote_address
        });
        match known {
            Some((number, peer)) => {
                peer.node = node;
                *number
            }
            None => self.add(node, None),
        }
    }

    fn add(&mut self, node: LookupdNode, last_update: Option<Instant>) -> u64 {
        self.last_peer += 1;
        let number = self.last_peer;
        self.peers.insert(number, Peer { node, last_update });
        number
    }

    /// Records a PING.
    pub(super) fn ping(&mut self, number: u64, now: Instant) {
        if let Some(Peer {
            last_update: Some(last_update),
            ..
        }) = self.peers.get_mut(&number)
        {
            *last_update = now;
        }
    }

    /// Removes an nsqd. Its topics and channels stay.
    pub(super) fn disconnect(&mut self, number: u64) {
        self.peers.remove(&number);
        for topic in self.topics.values_mut() {
            topic.remove(number);
        }
    }

    /// Returns the nsqds with this address.
    pub(super) fn with_address(&self, node: &LookupdNode) -> Vec<u64> {
        let found = self.peers.iter();
        let found = found.filter(|(_, peer)| peer.node.has_same_address(node));
        found.map(|(number, _)| *number).collect()
    }

    /// Registers a topic of an nsqd, or a channel with its topic. Does not lift a tombstone.
    pub(super) fn register(&mut self, number: u64, topic: &str, channel: Option<&str>) {
        let topic = self.topics.entry(topic.to_owned()).or_default();
        topic.producers.entry(number).or_default();
        if let Some(channel) = channel {
            let channel = topic.channels.entry(channel.to_owned()).or_default();
            channel.insert(number);
        }
    }

    /// Unregisters a channel of an nsqd, or a topic with its channels. Ephemeral ones are removed
    /// with their last nsqd.
    pub(super) fn unregister(&mut self, number: u64, name: &str, channel: Option<&str>) {
        let Some(topic) = self.topics.get_mut(name) else {
            return;
        };
        let Some(channel) = channel else {
            topic.remove(number);
            if topic.producers.is_empty() && is_ephemeral(name) {
                self.topics.remove(name);
            }
            return;
        };
        if let Some(producers) = topic.channels.get_mut(channel) {
            producers.remove(&number);
            if producers.is_empty() && is_ephemeral(channel) {
                topic.channels.remove(channel);
            }
        }
    }

    pub(super) fn create_topic(&mut self, topic: &str) {
        self.topics.entry(topic.to_owned()).or_default();
    }

    pub(super) fn create_channel(&mut self, topic: &str, channel: &str) {
        let topic = self.topics.entry(topic.to_owned()).or_default();
        topic.channels.entry(channel.to_owned()).or_default();
    }

    /// Returns whether it existed.
    pub(super) fn delete_topic(&mut self, topic: &str) -> bool {
        self.topics.remove(topic).is_some()
    }

    /// Returns whether it existed.
    pub(super) fn delete_channel(&mut self, topic: &str, channel: &str) -> bool {
        let topic = self.topics.get_mut(topic);
        topic.is_some_and(|topic| topic.channels.remove(channel).is_some())
    }

    /// Sets a tombstone on the nsqds of a topic with this name, `broadcast_address:http_port`.
    /// Returns whether there is any.
    pub(super) fn tombstone(&mut self, topic: &str, node: &str, now: Instant) -> bool {
        let Some(topic) = self.topics.get_mut(topic) else {
            return false;
        };
        let mut any = false;
        for (number, tombstone) in &mut topic.producers {
            let peer = self.peers.get(number);
            if peer.is_some_and(|peer| peer.node.name() == node) {
                *tombstone = Some(now);
                any = true;
            }
        }
        any
    }

    pub(super) fn topics(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    /// Returns the channels of a topic; none if it does not exist.
    pub(super) fn channels(&self, topic: &str) -> Vec<String> {
        let channels = self.topics.get(topic).map(|topic| topic.channels.keys());
        channels.into_iter().flatten().cloned().collect()
    }

    /// Returns the nsqds of a topic that are active and have no tombstone; `None` if the topic does
    /// not exist.
    pub(super) fn lookup(
        &self,
        topic: &str,
        now: Instant,
        lifetimes: Lifetimes,
    ) -> Option<Vec<&LookupdNode>> {
        let topic = self.topics.get(topic)?;
        let live = topic.producers.iter().filter_map(|(number, tombstone)| {
            let peer = self.peers.get(number)?;
            let listed = peer.is_active(now, lifetimes) && !is_set(*tombstone, now, lifetimes);
            listed.then_some(&peer.node)
        });
        Some(live.collect())
    }

    /// Returns all active nsqds, including those without topics.
    pub(super) fn nodes(&self, now: Instant, lifetimes: Lifetimes) -> Vec<Listed<'_>> {
        let active = self.peers.iter();
        let active = active.filter(|(_, peer)| peer.is_active(now, lifetimes));
        let listed = active.map(|(number, peer)| {
            let topics = self.topics.iter().filter_map(|(name, topic)| {
                let tombstone = topic.producers.get(number)?;
                Some((name.as_str(), is_set(*tombstone, now, lifetimes)))
            });
            Listed {
                node: &peer.node,
                topics: topics.collect(),
            }
        });
        listed.collect()
    }
}

impl Topic {
    fn remove(&mut self, number: u64) {
        self.producers.remove(&number);
        for producers in self.channels.values_mut() {
            producers.remove(&number);
        }
    }
}

impl Peer {
    fn is_active(&self, now: Instant, lifetimes: Lifetimes) -> bool {
        let silent = |since: Instant| now.saturating_duration_since(since);
        self.last_update
            .is_none_or(|last| silent(last) <= lifetimes.inactive_producer_timeout)
    }
}

fn is_set(tombstone: Option<Instant>, now: Instant, lifetimes: Lifetimes) -> bool {
    tombstone
        .is_some_and(|since| now.saturating_duration_since(since) < lifetimes.tombstone_lifetime)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIFETIMES: Lifetimes = Lifetimes {
        inactive_producer_timeout: Duration::from_secs(300),
        tombstone_lifetime: Duration::from_secs(45),
    };

    fn node(port: i64) -> LookupdNode {
        LookupdNode::new("127.0.0.1", port)
    }

    fn ports(registry: &Registry, topic: &str, now: Instant) -> Option<Vec<i64>> {
        let found = registry.lookup(topic, now, LIFETIMES)?;
        Some(found.iter().map(|node| node.tcp_port).collect())
    }

    #[test]
    fn silent_nsqd_is_listed_until_the_inactive_timeout() {
        let (mut registry, start) = (Registry::default(), Instant::now());
        let number = registry.connect(node(1), start);
        registry.register(number, "t", None);
        let by_hand = registry.by_hand(node(2));
        registry.register(by_hand, "t", None);
        let later = start + 300 * SECOND;
        assert_eq!(ports(&registry, "t", later), Some(vec![1, 2]));
        assert_eq!(ports(&registry, "t", later + SECOND), Some(vec![2]));
        assert_eq!(registry.nodes(later + SECOND, LIFETIMES).len(), 1);
        registry.ping(number, later + SECOND);
        assert_eq!(ports(&registry, "t", later + SECOND), Some(vec![1, 2]));
    }

    #[test]
    fn tombstone_hides_one_topic_of_one_node_for_its_lifetime() {
        let (mut registry, start) = (Registry::default(), Instant::now());
        for port in [1, 5] {
            let number = registry.connect(node(port), start);
            registry.register(number, "t", None);
            registry.register(number, "u", None);
        }
        assert!(!registry.tombstone("t", "[127.0.0.1]:2", start));
        assert!(!registry.tombstone("none", "127.0.0.1:2", start));
        assert!(registry.tombstone("t", "127.0.0.1:2", start));
        let later = start + 44 * SECOND;
        assert_eq!(ports(&registry, "t", later), Some(vec![5]));
        assert_eq!(ports(&registry, "u", later), Some(vec![1, 5]));
        let listed = registry.nodes(later, LIFETIMES);
        assert_eq!(listed[0].topics, [("t", true), ("u", false)]);
        assert_eq!(ports(&registry, "t", later + SECOND), Some(vec![1, 5]));
    }

    #[test]
    fn registering_again_does_not_lift_a_tombstone() {
        let (mut registry, start) = (Registry::default(), Instant::now());
        let number = registry.connect(node(1), start);
        registry.register(number, "t", None);
        registry.tombstone("t", "127.0.0.1:2", start);
        registry.register(number, "t", Some("c"));
        assert_eq!(ports(&registry, "t", start), Some(vec![]));
        registry.disconnect(number);
        let number = registry.connect(node(1), start);
        registry.register(number, "t", None);
        assert_eq!(ports(&registry, "t", start), Some(vec![1]));
    }

    #[test]
    fn topic_outlives_its_nsqds_unless_it_is_ephemeral() {
        let (mut registry, now) = (Registry::default(), Instant::now());
        let number = registry.connect(node(1), now);
        for topic in ["t", "t#ephemeral"] {
            registry.register(number, topic, Some("c"));
            registry.register(number, topic, Some("c#ephemeral"));
            registry.unregister(number, topic, Some("c"));
            registry.unregister(number, topic, Some("c#ephemeral"));
            assert_eq!(registry.channels(topic), ["c"]);
            registry.unregister(number, topic, None);
        }
        assert_eq!(registry.topics(), ["t"]);
        assert_eq!(ports(&registry, "t", now), Some(vec![]));
        registry.register(number, "u#ephemeral", None);
        registry.disconnect(number);
        assert_eq!(ports(&registry, "u#ephemeral", now), Some(vec![]));
    }
}
