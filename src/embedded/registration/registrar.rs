//! What the state of nsqd tells the tasks that speak with nsqlookupds.

use std::sync::Arc;

use tokio::sync::{
    Notify,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// A topic or channel that was created or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) exists: bool,
    pub(super) topic: String,
    pub(super) channel: Option<String>,
}

impl Change {
    /// Returns the command for nsqlookupd.
    pub(super) fn command(&self) -> Vec<u8> {
        let name = if self.exists {
            "REGISTER"
        } else {
            "UNREGISTER"
        };
        match &self.channel {
            Some(channel) => format!("{name} {} {channel}\n", self.topic),
            None => format!("{name} {}\n", self.topic),
        }
        .into_bytes()
    }
}

/// The requests of a [`Registrar`].
#[derive(Debug)]
pub(in crate::embedded) struct RegistrarRequests {
    pub(super) changes: UnboundedReceiver<Change>,
    /// Topics that start when their channels are known.
    pub(super) queries: UnboundedReceiver<String>,
}

/// Announces topics and channels. Without an nsqlookupd it does nothing.
#[derive(Debug, Default)]
pub(in crate::embedded) struct Registrar {
    senders: Option<(UnboundedSender<Change>, UnboundedSender<String>)>,
    /// The HTTP addresses that the nsqlookupds have announced, in the order of the addresses that
    /// are configured.
    pub(super) http_addresses: Vec<Option<String>>,
}

impl Registrar {
    /// Returns one for this number of nsqlookupds.
    pub(in crate::embedded) fn new(lookupds: usize) -> (Self, RegistrarRequests) {
        let (change, changes) = unbounded_channel();
        let (query, queries) = unbounded_channel();
        let registrar = Self {
            senders: Some((change, query)),
            http_addresses: vec![None; lookupds],
        };
        (registrar, RegistrarRequests { changes, queries })
    }

    /// Announces a new topic. If an nsqlookupd can be queried for its channels, the topic must not
    /// start before that is done.
    pub(in crate::embedded) fn topic_created(&self, topic: &str) -> Option<Starting> {
        let (_, query) = self.senders.as_ref()?;
        self.announce(true, topic, None);
        let known = self.http_addresses.iter().any(Option::is_some);
        if !known {
            log::warn!("embedded nsqd: no nsqlookupd knows the channels of topic {topic}");
        }
        let queried = known && query.send(topic.to_owned()).is_ok();
        queried.then(Starting::default)
    }

    /// Announces a topic or channel that was deleted, or a new channel.
    pub(in crate::embedded) fn announce(&self, exists: bool, topic: &str, channel: Option<&str>) {
        if let Some((change, _)) = &self.senders {
            // Fails when the thread has ended.
            let _ = change.send(Change {
                exists,
                topic: topic.to_owned(),
                channel: channel.map(str::to_owned),
            });
        }
    }
}

/// A topic whose channels are not known yet: its messages stay in the topic. The connection that
/// has created it waits, and is woken when this is dropped.
#[derive(Debug, Default)]
pub(in crate::embedded) struct Starting {
    waiting: Option<(u64, Arc<Notify>)>,
}

impl Starting {
    /// Makes a connection wait, if it is the first.
    pub(in crate::embedded) fn hold(&mut self, connection: u64, wake: &Arc<Notify>) {
        self.waiting
            .get_or_insert_with(|| (connection, Arc::clone(wake)));
    }

    pub(in crate::embedded) fn holds(&self, connection: u64) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|(number, _)| *number == connection)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some((_, wake)) = &self.waiting {
            wake.notify_one();
        }
    }
}
