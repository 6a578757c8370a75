//! What can happen. Each step returns the answers that are due after it.

use super::*;

impl World<'_> {
    /// One publish or, where piles are to come about, some.
    pub(super) fn push(&mut self) -> Due {
        let some = match self.rng.bool() {
            true => self.rng.usize(1..=self.kind.burst),
            false => 1,
        };
        let mut due = Due::new();
        for _ in 0..some {
            due.extend(self.push_one());
        }
        due
    }

    fn size(&mut self) -> usize {
        match self.rng.u32(0..40) {
            // Above what is copied, so that the body travels as a piece of its own.
            0 | 1 => 5000,
            // The largest that is folded, and the smallest that is not.
            2 if self.rng.u32(0..4) == 0 => (64 << 10) + self.rng.usize(0..2),
            2..8 => self.rng.usize(30..300),
            _ => self.rng.usize(5..30),
        }
    }

    fn push_one(&mut self) -> Due {
        let id = self.gone.len();
        let verb = match self.rng.usize(0..self.kind.plain) {
            0 => Verb::Mpub,
            1 => Verb::Dpub,
            _ => Verb::Pub,
        };
        let messages = if verb == Verb::Mpub {
            self.rng.usize(1..5)
        } else {
            1
        };
        let unwelcome = self.rng.u32(0..100) == 0;
        let sizes: Vec<_> = (0..messages).map(|_| self.size()).collect();
        let mut bodies = sizes.iter().map(|size| {
            let mut body = vec![b'.'; *size];
            body[..4].copy_from_slice(&(id as u32).to_be_bytes());
            if unwelcome {
                body[4] = UNWELCOME;
            }
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
        let topic = self.kind.topics[self.rng.usize(0..self.kind.topics.len())];
        let timeout = Duration::from_millis(self.rng.u64(0..self.kind.patience));
        let gone = Rc::new(Cell::new(false));
        self.gone.push(Rc::clone(&gone));
        self.fates.push(Fate {
            copies: vec![0; sizes.len()],
            guilty: unwelcome || sizes.iter().any(|size| *size > SMALLEST_LIMIT),
            batch: verb == Verb::Mpub,
            topic,
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
            delay,
            sizes,
            ..Entry::new(id, verb, topic, self.now + timeout)
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

    /// All that waits and that nobody waits for is let go of.
    pub(super) fn forget_gone(&mut self) -> Due {
        self.queue.forget_gone();
        let due = self.reference.forget_gone();
        self.count.add_some("forgotten", due.len());
        due
    }

    pub(super) fn time_passes(&mut self) -> Due {
        self.now += Duration::from_millis(self.rng.u64(0..60));
        self.reference.now = self.now;
        if self.rng.bool() {
            // Dead-lines were looked at a short while ago.
            return Due::new();
        }
        self.queue
            .expire(self.now, Some(&ConnectionError::ClosedByPeer));
        let due = self.reference.expire(self.now);
        self.count.add_some("timed out", due.len());
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
