//! One connection: commands sent, bytes written, responses, and its end.

use super::*;
use crate::{
    producer::queue::tests::nsqd::{Answer, Command, commands, number},
    protocol::ErrorCode,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing more is sent; responses may still be read.
    Closing,
    /// An error response was read.
    Rejected,
}

/// A command in flight.
struct Sent {
    ids: Vec<usize>,
    /// Where it ends among the bytes of the connection.
    end: usize,
}

/// A connection as the producer sees it.
pub(super) struct Link {
    out: Outbox,
    /// All bytes sent; the transport has accepted `written` of them.
    sent: Vec<u8>,
    written: usize,
    peer: Peer,
    /// Frames on their way to the client.
    frames: VecDeque<Answer>,
    in_flight: VecDeque<Sent>,
    /// The latest publish sent, by topic or for all.
    last: BTreeMap<&'static str, usize>,
    state: State,
}

impl Link {
    pub(super) fn write_all(&mut self) {
        self.written = self.sent.len();
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes that are written may still arrive.
    pub(super) fn into_ghost(self) -> Peer {
        let mut peer = self.peer;
        let arrived = peer.arrived.len();
        peer.arrived.extend(&self.sent[arrived..self.written]);
        peer
    }
}

impl World<'_> {
    fn connect(&mut self) -> Link {
        if self.rng.u32(0..4) == 0 {
            reconfigure(&mut self.nsqd, &mut self.rng);
        }
        let round_trip = Duration::from_micros([0, 30, 60, 300, 20_000][self.rng.usize(0..5)]);
        self.queue.on_connected(round_trip);
        Link {
            out: Outbox::new(),
            sent: Vec::new(),
            written: 0,
            peer: Peer::default(),
            frames: VecDeque::new(),
            in_flight: VecDeque::new(),
            last: BTreeMap::new(),
            state: State::Open,
        }
    }

    /// Publishes of one value keep their order among each other.
    pub(super) fn order(&self, publish: &Publish) -> &'static str {
        let Limits {
            batch,
            pending_per_topic,
            ..
        } = self.kind.limits;
        if batch.is_some() || pending_per_topic.is_some() {
            publish.topic
        } else {
            ""
        }
    }

    pub(super) fn send(&mut self) -> Due {
        let mut due = Due::new();
        let link = match self.link.take() {
            Some(link) => link,
            None => self.connect(),
        };
        let link = self.link.insert(link);
        if link.state != State::Open {
            return due;
        }
        for publish in &mut self.publishes[self.done..] {
            if publish.is_ping() && publish.stage == Stage::Queued && publish.cancelled.get() {
                publish.stage = Stage::Done;
            }
        }
        while self.next_command(&mut due) {}
        due
    }

    fn next_command(&mut self, due: &mut Due) -> bool {
        let mut link = self.link.take().expect("a connection");
        let mut is_sent = self.queue.next_command(b"{}", &mut link.out, self.now);
        while !is_sent && self.queue.renew_budget() {
            is_sent = self.queue.next_command(b"{}", &mut link.out, self.now);
        }
        let removed = self.log.answers.borrow()[due.len()..].to_vec();
        self.count
            .add_some("removed before its turn", removed.len());
        self.removed(&removed);
        due.extend(removed);
        let bytes = link.out.take().concat();
        if is_sent {
            let commands = commands(&bytes);
            assert_eq!(commands.len(), 1, "one command at a time");
            self.sent(&mut link, &commands[0], &bytes);
        } else {
            assert!(bytes.is_empty(), "bytes, and no command");
            self.may_rest(&link);
        }
        self.link = Some(link);
        is_sent
    }

    /// Publishes that were answered instead of being sent or accepted. Waiting ones receive their
    /// capacity.
    pub(super) fn removed(&mut self, removed: &[(usize, Outcome)]) {
        for (id, outcome) in removed {
            let publish = &mut self.publishes[*id];
            match publish.stage {
                Stage::Queued => {}
                // Perhaps it was accepted before.
                Stage::Waiting => self.counters.published += 1,
                stage => panic!("{id} was removed: {stage:?}"),
            }
            publish.stage = Stage::Done;
            let not_now = publish.not_now();
            let is_right = match outcome {
                Outcome::Failed(ErrorKind::Closed, _) => publish.cancelled.get(),
                Outcome::Failed(ErrorKind::Timeout, _) => publish.deadline <= self.now,
                Outcome::Failed(ErrorKind::Rejected(_), _) => {
                    publish.invalid || publish.sizes.len() > 1
                }
                _ => false,
            };
            let delivery = matches!(outcome, Outcome::Failed(_, delivery) if *delivery == not_now);
            assert!(is_right && delivery, "{id} was removed with {outcome:?}");
        }
        self.admit();
    }

    /// Nothing was sent: with nothing in flight, no response would bring the queue back.
    fn may_rest(&self, link: &Link) {
        let waits = |publish: &&Publish| publish.stage == Stage::Queued;
        let ping = |publish: &Publish| publish.is_ping();
        let mut waiting = self.publishes[self.done..].iter().filter(waits);
        let rests = if link.in_flight.is_empty() {
            waiting.next().is_none()
        } else {
            !waiting.any(ping)
        };
        assert!(rests, "something should have been sent");
    }

    fn sent(&mut self, link: &mut Link, command: &Command, bytes: &[u8]) {
        let read = |body: &std::ops::Range<usize>| (number(&bytes[body.clone()]), body.len());
        let queued = |(_, publish): &(usize, &Publish)| publish.stage == Stage::Queued;
        let active = || self.publishes.iter().enumerate().skip(self.done);
        let mut waiting = active().filter(queued);
        let mut ids: Vec<_> = match command.verb {
            Verb::Identify => waiting
                .find(|(_, publish)| publish.is_ping())
                .into_iter()
                .map(|(id, _)| id)
                .collect(),
            _ => command.bodies.iter().map(|body| read(body).0).collect(),
        };
        ids.dedup();
        let first = &self.publishes[ids[0]];
        let (order, batched) = (self.order(first), ids.len() > 1);
        let verb = if batched { Verb::Mpub } else { first.verb };
        assert_eq!(
            (command.verb, &command.topic[..], command.delay),
            (verb, first.topic, first.delay)
        );
        if !first.is_ping() {
            let sizes = ids.iter().flat_map(|id| {
                let sizes = self.publishes[*id].sizes.iter();
                sizes.map(|size| (*id, *size))
            });
            let bodies = command.bodies.iter().map(read);
            assert!(bodies.eq(sizes), "{ids:?} are whole and in order");
            // Of those that were never away: a younger one may have been sent while one was.
            let stayed = |id: &usize| !self.publishes[*id].moved;
            let ids: Vec<_> = ids.iter().copied().filter(stayed).collect();
            let others = active().filter(queued);
            let others = others.map(|(id, _)| id).filter(stayed).filter(|id| {
                let other = &self.publishes[*id];
                !other.is_ping() && self.order(other) == order
            });
            let oldest = others.take(ids.len());
            assert!(oldest.eq(ids.iter().copied()), "{ids:?} are the oldest");
            self.counters.commands += 1;
        }
        if batched {
            let batch = self.kind.limits.batch.expect("batching is on");
            let size = command.size.unwrap_or_default();
            assert!(ids.len() <= batch.messages && size <= batch.bytes);
            self.counters.batches += 1;
            self.counters.batched += ids.len() as u64;
            self.count.add("batched");
        }
        for id in &ids {
            let publish = &mut self.publishes[*id];
            let in_time = publish.is_ping() || publish.deadline > self.now;
            assert!(in_time && !publish.cancelled.get(), "{id} is sent too late");
            let may_be = publish.verb == Verb::Pub && !publish.alone && publish.size() <= 64 << 10;
            assert!(may_be || !batched, "{id} is batched");
            publish.stage = Stage::InFlight;
            let again = std::mem::replace(&mut publish.written, true);
            if publish.is_ping() {
                continue;
            }
            // Younger ones may have been sent while it was away.
            let last = link.last.get(order).copied();
            assert!(last < Some(*id) || publish.moved, "{id} is out of order");
            link.last.insert(order, last.max(Some(*id)).unwrap_or(*id));
            if publish.alone {
                self.count.add("alone after a rejected batch");
            }
            if again {
                self.counters.requeued += 1;
                self.count.add("requeued");
            }
        }
        link.sent.extend(bytes);
        link.in_flight.push_back(Sent {
            ids,
            end: link.sent.len(),
        });
    }

    pub(super) fn transport_accepts(&mut self) -> Due {
        if let Some(link) = &mut self.link {
            let waiting = link.sent.len() - link.written;
            link.written += some_of(waiting, &mut self.rng);
        }
        Due::new()
    }

    /// Some of the written bytes arrive, and nsqd executes some commands.
    pub(super) fn nsqd_works(&mut self) -> Due {
        let Some(link) = &mut self.link else {
            return Due::new();
        };
        let (peer, rng) = (&mut link.peer, &mut self.rng);
        let arrived = peer.arrived.len();
        let more = some_of(link.written - arrived, rng);
        peer.arrived.extend(&link.sent[arrived..arrived + more]);
        for _ in 0..rng.u32(0..8) {
            link.frames.extend(self.nsqd.execute(peer, rng, self.count));
        }
        if rng.u32(0..20) == 0 {
            link.frames.extend(self.nsqd.lose_patience(peer));
        }
        Due::new()
    }

    pub(super) fn frame_arrives(&mut self) -> Due {
        let Some(link) = &mut self.link else {
            return Due::new();
        };
        let Some(answer) = link.frames.pop_front() else {
            return Due::new();
        };
        match answer {
            Ok(()) => {
                let sent = link.in_flight.pop_front().expect("a command in flight");
                self.queue.on_ok(link.written as u64, self.now).unwrap();
                let due = self.complete(&sent.ids, |_| Outcome::Ok);
                let late = due.len() < sent.ids.len();
                self.count.add(if late { "late OK" } else { "OK" });
                due
            }
            Err(text) => {
                // If more frames follow, the peer is not nsqd, and nothing is certain.
                link.state = match self.rng.u32(0..10) {
                    0 => State::Closing,
                    _ => State::Rejected,
                };
                self.queue.on_error(&server_error(&text)).unwrap();
                let mut due = self.rejected(&text);
                due.extend(self.rejected_waiting(&text));
                due
            }
        }
    }

    /// The response of a command: what is still unanswered gets its answer, and its entry leaves.
    fn complete(&mut self, ids: &[usize], outcome: impl Fn(&Publish) -> Outcome) -> Due {
        let mut due = Due::new();
        for id in ids {
            let publish = &mut self.publishes[*id];
            if publish.stage == Stage::InFlight {
                due.push((*id, outcome(publish)));
            }
            publish.stage = Stage::Done;
        }
        due
    }

    /// The answers that an error response for the oldest command gives.
    fn rejected(&mut self, text: &str) -> Due {
        let link = self.link.as_mut().expect("a connection");
        let ids = link.in_flight[0].ids.clone();
        let topic = self.publishes[ids[0]].topic;
        let is_ping = self.publishes[ids[0]].is_ping();
        if !is_ping && text.contains("failed to read") {
            self.count.add("slow upload");
            return Due::new();
        }
        let code = server_error(text).code();
        if self.kind.limits.is_pooled
            && matches!(code, ErrorCode::PubFailed | ErrorCode::DpubFailed)
        {
            // Another nsqd may accept it.
            self.count.add("rejected by one nsqd");
            return Due::new();
        }
        let certain = !matches!(code, ErrorCode::MpubFailed | ErrorCode::Unknown);
        let on_topic = matches!(code, ErrorCode::BadTopic | ErrorCode::Unauthorized);
        if ids.len() > 1 && certain && !on_topic {
            // One of them is invalid, or the batch as such: each is retried by itself.
            self.count.add("rejected batch");
            for id in ids {
                self.publishes[id].alone = true;
            }
            return Due::new();
        }
        let outcome = |publish: &Publish| {
            let delivery = if certain {
                publish.not_now()
            } else {
                publish.maybe_now()
            };
            Outcome::Failed(ErrorKind::Rejected(code), delivery)
        };
        link.in_flight.pop_front();
        let mut due = self.complete(&ids, outcome);
        if on_topic {
            due.extend(self.answer(|publish| {
                let concerned = publish.topic == topic;
                concerned.then(|| outcome(publish))
            }));
        }
        due
    }

    /// Those that wait for capacity are answered if they exceed a limit that nsqd has named.
    fn rejected_waiting(&mut self, text: &str) -> Due {
        let error = server_error(text);
        let Some(named) = error.named_limit() else {
            return Due::new();
        };
        self.finish_jobs();
        let limit = named.limit as usize;
        let answers = self.log.answers.borrow().clone();
        let due = self.answer(|publish| {
            let sizes = publish.sizes.iter();
            let exceeds = match (error.code(), publish.verb) {
                (ErrorCode::BadMessage, _) => sizes.max().is_some_and(|size| *size > limit),
                (_, Verb::Mpub) => 4 + sizes.map(|size| 4 + size).sum::<usize>() > limit,
                _ => false,
            };
            let rejected = |code| Outcome::Failed(ErrorKind::Rejected(code), Delivery::NotWritten);
            let mut answers = answers.iter().filter(|(id, _)| *id == publish.id);
            match answers.next() {
                _ if publish.stage != Stage::Waiting => None,
                // Perhaps it exceeds another limit as well.
                Some((_, outcome)) if *outcome == rejected(ErrorCode::BadBody) => Some(*outcome),
                Some((_, outcome)) if *outcome == rejected(ErrorCode::BadMessage) => Some(*outcome),
                _ => exceeds.then(|| rejected(error.code())),
            }
        });
        self.count.add_some("waiting rejected", due.len());
        due
    }

    /// A response that belongs to no command, or to one that is not completely written.
    pub(super) fn out_of_step(&mut self) -> Due {
        let Some(link) = &mut self.link else {
            return Due::new();
        };
        let oldest = link.in_flight.front().map(|sent| sent.end);
        if oldest.is_none_or(|end| end > link.written) && link.state == State::Open {
            self.queue.on_ok(link.written as u64, self.now).unwrap_err();
            if oldest.is_none() {
                self.queue.on_error(&server_error("E_INVALID")).unwrap_err();
            }
            link.state = State::Closing;
            link.frames.clear();
            link.peer.dead = true;
            self.count.add("out of step");
        }
        Due::new()
    }

    pub(super) fn close(&mut self) -> Due {
        if let Some(link) = &mut self.link
            && link.state == State::Open
        {
            link.state = State::Closing;
        }
        Due::new()
    }

    /// Both halves of the connection have ended.
    pub(super) fn settle(&mut self) -> Due {
        let Some(link) = self.link.take_if(|link| link.state != State::Open) else {
            return Due::new();
        };
        let lost = link.state == State::Closing;
        let retry = self.kind.limits.retry_maybe_written;
        let mut expected = DisconnectOutcome {
            requeued: 0,
            maybe_written: 0,
        };
        let mut due = Due::new();
        for sent in &link.in_flight {
            let whole = lost && sent.end <= link.written;
            for id in &sent.ids {
                let publish = &mut self.publishes[*id];
                if publish.stage != Stage::InFlight {
                    publish.stage = Stage::Done;
                    continue;
                }
                publish.stage = Stage::Queued;
                if publish.is_ping() {
                    continue;
                }
                publish.maybe |= whole;
                expected.maybe_written += usize::from(whole);
                expected.requeued += usize::from(!whole || retry);
                if whole && !retry {
                    let delivery = publish.maybe_now();
                    due.push((*id, Outcome::Failed(ErrorKind::ConnectionLost, delivery)));
                    publish.stage = Stage::Done;
                }
                self.count.add(if whole {
                    "lost, written"
                } else {
                    "lost, not written"
                });
            }
        }
        let (written, cause) = (
            link.written as u64,
            Cause::ConnectionLost(ConnectionError::ClosedByPeer),
        );
        self.queue.on_disconnected(if lost {
            ConnectionEnd::Lost {
                written,
                cause: &cause,
            }
        } else {
            ConnectionEnd::Rejected
        });
        self.finish_jobs();
        self.count.add(if lost {
            "connection lost"
        } else {
            "ended by a rejection"
        });
        assert_eq!(self.queue.disconnect_outcome(), expected);
        self.ghosts.push(link.into_ghost());
        due
    }

    /// The oldest command in flight, by its end.
    pub(super) fn oldest_end(&self) -> Option<u64> {
        let oldest = self.link.as_ref()?.in_flight.front()?;
        Some(oldest.end as u64)
    }
}

/// Nothing, all, or any part.
fn some_of(all: usize, rng: &mut fastrand::Rng) -> usize {
    match rng.u32(0..3) {
        0 => all,
        _ => rng.usize(0..=all),
    }
}
