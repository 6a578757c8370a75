//! What can happen. Each step returns the answers that are due after it.

use super::*;

impl World<'_> {
    pub(super) fn push(&mut self) -> Due {
        let id = self.gone.len();
        let verb = [Verb::Pub, Verb::Pub, Verb::Mpub, Verb::Dpub][self.rng.usize(0..4)];
        let messages = if verb == Verb::Mpub {
            self.rng.usize(1..5)
        } else {
            1
        };
        let sizes: Vec<_> = (0..messages)
            .map(|_| match self.rng.u32(0..20) {
                // Above what is copied, so that the body travels as a piece of its own.
                0 => 5000,
                1..4 => self.rng.usize(30..300),
                _ => self.rng.usize(4..30),
            })
            .collect();
        let mut bodies = sizes.iter().map(|size| {
            let mut body = vec![b'.'; *size];
            body[..4].copy_from_slice(&(id as u32).to_be_bytes());
            Bytes::from(body)
        });
        let delay = self.rng.u64(0..3_600_000);
        let payload = match verb {
            Verb::Pub => Payload::Publish(bodies.next().unwrap()),
            Verb::Mpub => Payload::Batch(bodies.collect()),
            Verb::Dpub => Payload::Deferred {
                body: bodies.next().unwrap(),
                delay_ms: delay,
            },
            Verb::Identify => unreachable!("it publishes nothing"),
        };
        let topic = TOPICS[self.rng.usize(self.topics_from..TOPICS.len())];
        let timeout = Duration::from_millis(self.rng.u64(0..500));
        let gone = Rc::new(Cell::new(false));
        self.gone.push(Rc::clone(&gone));
        self.fates.push(Fate {
            copies: vec![0; sizes.len()],
            ..Fate::default()
        });
        let caller = Caller {
            id,
            gone,
            book: Rc::clone(&self.book),
        };
        let transaction = Transaction {
            topic: Topic::new(topic).unwrap(),
            payload,
            timeout,
        };
        self.count.add("published");
        let entry = Entry {
            id,
            verb,
            topic,
            delay,
            sizes,
            deadline: self.now + timeout,
            cancelled: false,
            unknown: false,
            place: Place::Waiting,
        };
        if self.rng.u32(0..4) == 0 {
            self.queue.push_patiently(transaction, self.now, caller);
            let due = self.reference.push_patiently(entry);
            if !self.reference.line.is_empty() {
                self.count.add("waited for room");
            }
            return due;
        }
        self.queue.push(transaction, self.now, caller);
        let due = self.reference.push(entry);
        self.count.add_some("full", due.len());
        due
    }

    pub(super) fn cancel(&mut self) -> Due {
        if self.rng.u32(0..4) == 0 {
            self.leave_the_line();
            return Due::new();
        }
        let entries = &mut self.reference.entries;
        if !entries.is_empty() {
            let place = self.rng.usize(0..entries.len());
            let entry = &mut entries[place];
            entry.cancelled = true;
            self.gone[entry.id].set(true);
            self.count.add("cancelled");
        }
        Due::new()
    }

    fn leave_the_line(&mut self) {
        let line = &mut self.reference.line;
        if !line.is_empty() {
            let entry = line.remove(self.rng.usize(0..line.len()));
            self.gone[entry.id].set(true);
            self.fates[entry.id].forgotten = true;
            self.count.add("left the line");
        }
    }

    pub(super) fn time_passes(&mut self) -> Due {
        self.now += Duration::from_millis(self.rng.u64(0..60));
        self.reference.now = self.now;
        if self.rng.bool() {
            // Dead-lines were looked at a short while ago.
            return Due::new();
        }
        self.queue.expire(self.now, Some(&ConnectionError::Closed));
        let due = self.reference.expire(self.now);
        self.count.add_some("timed out", due.len());
        due
    }

    pub(super) fn hand_over(&mut self) -> Due {
        let link = self.link.get_or_insert_with(|| {
            self.count.add("connected");
            if self.rng.u32(0..4) == 0 {
                reconfigure(&mut self.nsqd, &mut self.rng);
            }
            Link {
                out: Outbox::new(),
                handed: Vec::new(),
                taken: 0,
                peer: Peer::default(),
                frames: Vec::new(),
                starts: Vec::new(),
                state: State::Open,
            }
        });
        // As the session does: after an error frame, or while it closes, nothing is handed over.
        if link.state != State::Open {
            return Due::new();
        }
        let mut due = Due::new();
        self.forget_pings();
        self.queue.admit();
        self.reference.admit();
        let Some(link) = &mut self.link else {
            return due;
        };
        loop {
            let handed = self.queue.next_command(b"{}", &mut link.out, self.now);
            let told = self.book.told.borrow();
            for (id, said) in told.iter().skip(due.len()) {
                self.reference.purged(*id, *said);
                due.push((*id, *said));
                self.count.add("purged");
            }
            let next = self.reference.next();
            assert_eq!(handed, next.is_some(), "whether there is a command");
            let Some(entry) = next else { break };
            let (id, start) = (entry.id, link.handed.len());
            let bytes = link.out.take().concat();
            assert_is(entry, &bytes);
            link.starts.push((start, id));
            link.handed.extend(bytes);
            let is_ping = entry.is_ping();
            self.reference.handed_over(id, link.handed.len() as u64);
            let again = std::mem::replace(&mut self.fates[id].handed_over, true);
            if is_ping {
                let what = if again { "ping asked again" } else { "pinged" };
                self.count.add(what);
            } else if again {
                self.tally.resent += 1;
                self.count.add("handed over again");
            } else {
                assert!(self.last_first < Some(id), "{id} was written out of order");
                self.last_first = Some(id);
                self.count.add("handed over");
            }
        }
        due
    }

    pub(super) fn socket_takes(&mut self) -> Due {
        if let Some(link) = &mut self.link {
            let waiting = link.handed.len() - link.taken;
            link.taken += some_of(waiting, &mut self.rng);
        }
        Due::new()
    }

    pub(super) fn nsqd_works(&mut self) -> Due {
        if let Some(link) = &mut self.link {
            let answers = work(
                &mut self.nsqd,
                &mut link.peer,
                &link.handed[..link.taken],
                &mut self.rng,
                self.count,
            );
            link.frames.extend(answers);
        }
        Due::new()
    }

    pub(super) fn frame_arrives(&mut self) -> Due {
        let Some(link) = &mut self.link else {
            return Due::new();
        };
        if link.frames.is_empty() {
            return Due::new();
        }
        let Answer { start, error } = link.frames.remove(0);
        let starts = &link.starts;
        let id = starts.iter().find(|(at, _)| *at == start).unwrap().1;
        assert_eq!(self.reference.entries[0].id, id, "whose answer it is");
        let Some(text) = error else {
            self.queue.ok(link.taken as u64, self.now).unwrap();
            let due = self.reference.ok();
            self.count
                .add(if due.is_empty() { "late OK" } else { "OK" });
            return due;
        };
        link.state = if self.rng.u32(0..10) > 0 {
            State::Refused
        } else {
            // More frames follow: so it is no nsqd, and nothing behind the refusal is sure.
            self.count.add("more after a refusal");
            State::Closing
        };
        self.queue.refused(&refusal(&text)).unwrap();
        let due = self.reference.refused(&text);
        self.count.add(if text.starts_with("E_INVALID") {
            "ping refused"
        } else if text.contains("failed to read") {
            "slow upload"
        } else if text.contains(" > ") {
            "named limit"
        } else if text.contains("_FAILED") || text.contains("SHINY") {
            "refused for trouble"
        } else {
            "refused for its topic"
        });
        due
    }

    /// A frame that belongs to nothing, or to what is not wholly sent: it answers nothing, and the connection is lost.
    pub(super) fn out_of_step(&mut self) -> Due {
        let Some(link) = &mut self.link else {
            return Due::new();
        };
        let oldest = self.queue.oldest_end();
        if oldest.is_none_or(|end| end > link.taken as u64) && link.state == State::Open {
            self.queue.ok(link.taken as u64, self.now).unwrap_err();
            if oldest.is_none() {
                self.queue.refused(&refusal("E_INVALID")).unwrap_err();
            }
            link.state = State::Closing;
            // Nothing that such a peer says is believed.
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

    /// Both sides of the connection have ended.
    pub(super) fn settle(&mut self) -> Due {
        let Some(link) = self.link.take_if(|link| link.state != State::Open) else {
            return Due::new();
        };
        let mut peer = link.peer;
        let taken = link.taken as u64;
        let retry = self.reference.limits.retry_unknown;
        let again = self
            .reference
            .entries
            .iter()
            .filter(|entry| !entry.is_ping())
            .filter(|entry| match entry.place {
                Place::Flying(end) => link.state == State::Refused || end > taken || retry,
                _ => false,
            });
        let mut expected = Settlement {
            resent: again.count(),
            unknown: 0,
        };
        let due = match link.state {
            State::Refused => {
                let settlement = self.queue.end(Ending::Refused);
                assert_eq!(settlement, expected);
                self.count.add("ended by a refusal");
                self.reference.end_refused()
            }
            _ => {
                for entry in &self.reference.entries {
                    match entry.place {
                        Place::Flying(_) if entry.is_ping() => {}
                        Place::Flying(end) if end <= taken => {
                            self.count.add("lost whole");
                            expected.unknown += 1;
                            self.fates[entry.id].may_repeat = retry;
                        }
                        Place::Flying(_) => self.count.add("lost half or unsent"),
                        _ => {}
                    }
                }
                let cause = Cause::Lost(ConnectionError::Closed);
                let cause = &cause;
                let settlement = self.queue.end(Ending::Lost { taken, cause });
                assert_eq!(settlement, expected);
                self.count.add("connection lost");
                self.reference.end_lost(taken)
            }
        };
        // What the socket took may still arrive.
        let arrived = peer.arrived.len();
        peer.arrived.extend(&link.handed[arrived..link.taken]);
        self.ghosts.push(peer);
        due
    }

    pub(super) fn a_ghost_works(&mut self) -> Due {
        if !self.ghosts.is_empty() {
            let place = self.rng.usize(0..self.ghosts.len());
            let ghost = &mut self.ghosts[place];
            if !ghost.dead
                && self
                    .nsqd
                    .execute(ghost, &mut self.rng, self.count)
                    .is_some()
            {
                self.count.add("executed after the end");
            }
        }
        Due::new()
    }
}

/// Nothing, all, or any part.
fn some_of(all: usize, rng: &mut fastrand::Rng) -> usize {
    match rng.u32(0..3) {
        0 => all,
        _ => rng.usize(0..=all),
    }
}

/// Some of what the socket took arrives, and nsqd executes some of that.
fn work(
    nsqd: &mut Nsqd,
    peer: &mut Peer,
    taken: &[u8],
    rng: &mut fastrand::Rng,
    count: &mut Count,
) -> Vec<Answer> {
    let more = some_of(taken.len() - peer.arrived.len(), rng);
    let arrived = peer.arrived.len();
    peer.arrived.extend(&taken[arrived..arrived + more]);
    let mut answers = Vec::new();
    for _ in 0..rng.u32(0..8) {
        answers.extend(nsqd.execute(peer, rng, count));
    }
    if rng.u32(0..20) == 0 {
        answers.extend(nsqd.lose_patience(peer));
    }
    answers
}

/// The bytes are this publish, whole and nothing else.
fn assert_is(entry: &Entry, bytes: &[u8]) {
    let [command] = &commands(bytes)[..] else {
        panic!("{} commands", commands(bytes).len());
    };
    assert_eq!((command.verb, command.topic), (entry.verb, entry.topic));
    if entry.is_ping() {
        assert_eq!(command.bodies, [b"{}"]);
        return;
    }
    if entry.verb == Verb::Dpub {
        assert_eq!(command.delay, entry.delay.to_string());
    }
    let sizes = command.bodies.iter().map(|body| body.len());
    assert!(sizes.eq(entry.sizes.iter().copied()));
    assert!(command.bodies.iter().all(|body| number(body) == entry.id));
}
