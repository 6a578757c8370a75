//! What consumers do to the state: subscribe, get messages, answer for them, leave; and what time does to it.

use std::{sync::Arc, time::Instant};

use tokio::{
    select,
    sync::Notify,
    time::{Instant as TokioInstant, sleep_until},
};

use super::{
    channel::{Channel, Consumer, Terms},
    state::{Shared, State},
    topic::is_ephemeral,
};

/// Where a connection has subscribed.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) topic: String,
    pub(super) channel: String,
}

impl State {
    /// SUB. Topic and channel are made if they are not there yet.
    pub(super) fn subscribe(
        &mut self,
        connection: u64,
        topic: &str,
        channel: &str,
        wake: &Arc<Notify>,
    ) -> Subscription {
        let made = self.make_topic(topic);
        let consumers = &mut made.make_channel(channel).consumers;
        consumers.insert(connection, Consumer::new(Arc::clone(wake)));
        let due = made.next_due();
        self.look_ahead(due);
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.subscription = Some((topic.to_owned(), channel.to_owned()));
        }
        Subscription {
            topic: topic.to_owned(),
            channel: channel.to_owned(),
        }
    }

    /// The channel, unless it was deleted meanwhile; then the connection is about to be closed.
    pub(super) fn channel(&mut self, of: &Subscription) -> Option<&mut Channel> {
        let topic = self.topics.get_mut(&of.topic)?;
        topic.channels.get_mut(&of.channel)
    }

    /// Takes messages for this connection; see [`Channel::take`].
    pub(super) fn take(
        &mut self,
        connection: u64,
        from: &Subscription,
        terms: Terms,
        room: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(channel) = self.channel(from) else {
            return false;
        };
        let more = channel.take(connection, terms, room, out);
        let due = channel.next_due();
        self.look_ahead(due);
        more
    }

    /// The end of a consumer. What it has in flight stays so until it times out; an ephemeral
    /// channel goes with its last consumer, and an ephemeral topic with its last channel.
    pub(super) fn unsubscribe(&mut self, topic: &str, channel: &str, connection: u64) {
        let Some(its_topic) = self.topics.get_mut(topic) else {
            return;
        };
        let Some(its_channel) = its_topic.channels.get_mut(channel) else {
            return;
        };
        let was_there = its_channel.consumers.remove(&connection).is_some();
        if was_there && its_channel.consumers.is_empty() && is_ephemeral(channel) {
            self.remove_channel(topic, channel);
        }
    }

    /// Removes a channel, and its topic if that is ephemeral and has no other one.
    pub(super) fn remove_channel(&mut self, topic: &str, channel: &str) -> Option<Channel> {
        let its_topic = self.topics.get_mut(topic)?;
        let removed = its_topic.channels.remove(channel)?;
        if its_topic.channels.is_empty() && is_ephemeral(topic) {
            self.topics.remove(topic);
        }
        Some(removed)
    }

    /// Something is due at this time: the timekeeper shall not sleep longer.
    pub(super) fn look_ahead(&mut self, due: Option<Instant>) {
        if due.is_some() && self.next_due.is_none_or(|known| due < Some(known)) {
            self.next_due = due;
            self.sooner.notify_one();
        }
    }

    /// Lets the messages go on whose time has come. Whether there were any.
    fn expire(&mut self, now: Instant) -> bool {
        if self.next_due.is_none_or(|due| due > now) {
            return false;
        }
        let mut any = false;
        for topic in self.topics.values_mut() {
            for channel in topic.channels.values_mut() {
                any |= channel.expire(now);
            }
        }
        self.next_due = self.topics.values().filter_map(|t| t.next_due()).min();
        any
    }
}

/// Sees to time-outs and deferred messages, to the moment. (nsqd looks every 100 ms, and for up to
/// five seconds not at all at a new channel.)
pub(super) async fn keep_time(shared: Arc<Shared>) {
    let sooner = Arc::clone(&shared.state().sooner);
    let mut switched = shared.switched.subscribe();
    loop {
        let (expired, next) = {
            let mut state = shared.state();
            // A frozen one has no time; what was due meanwhile is done when it thaws.
            if state.misbehaviour.switches.freeze {
                (false, None)
            } else {
                (state.expire(Instant::now()), state.next_due)
            }
        };
        if expired {
            shared.news.send_replace(());
        }
        let wake = next.map_or_else(TokioInstant::now, TokioInstant::from_std);
        select! {
            () = sooner.notified() => {}
            _ = switched.changed() => {}
            () = sleep_until(wake), if next.is_some() => {}
        }
    }
}
