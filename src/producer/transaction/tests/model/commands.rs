//! Handing over: every command must be one that the reference allows, and there must be one if it asks for one.

use super::*;

impl World<'_> {
    fn connect(&mut self) {
        self.count.add("connected");
        if self.rng.u32(0..4) == 0 {
            reconfigure(&mut self.nsqd, &mut self.rng);
        }
        let round_trip = Duration::from_micros([0, 30, 60, 300, 20_000][self.rng.usize(0..5)]);
        self.queue.begin(round_trip);
        self.reference.begin(round_trip);
        self.link = Some(Link {
            out: Outbox::new(),
            handed: Vec::new(),
            taken: 0,
            peer: Peer::default(),
            frames: Vec::new(),
            starts: Vec::new(),
            state: State::Open,
        });
    }

    pub(super) fn hand_over(&mut self) -> Due {
        let mut due = Due::new();
        if self.link.is_none() {
            self.connect();
        }
        // As the session does: after an error frame, or while it closes, nothing is handed over.
        let Some(mut link) = self.link.take_if(|link| link.state == State::Open) else {
            return due;
        };
        self.forget_pings();
        self.queue.admit();
        self.reference.admit();
        while self.next_command(&mut link, &mut due) {}
        self.link = Some(link);
        due
    }

    fn next_command(&mut self, link: &mut Link, due: &mut Due) -> bool {
        let growing = self.reference.ask();
        self.count.add_some("a pile grows", growing);
        let handed = self.queue.next_command(b"{}", &mut link.out, self.now);
        let purged = self.book.told.borrow()[due.len()..].to_vec();
        self.reference.purged(&purged);
        self.count.add_some("purged", purged.len());
        due.extend(&purged);
        let bytes = link.out.take().concat();
        if !handed {
            assert!(bytes.is_empty(), "bytes, and no command");
            self.count.add(match self.reference.nothing_handed_over() {
                Idle::Empty => "nothing waits",
                Idle::Commands => "enough commands in flight",
                Idle::Publishes => "enough publishes in flight",
                Idle::Window => "the window is full",
                Idle::Pile => "nothing but piles that grow",
            });
            return false;
        }
        let [command] = &commands(&bytes)[..] else {
            panic!("{} commands", commands(&bytes).len());
        };
        let ids: Vec<_> = match command.verb {
            Verb::Identify => self.reference.next_ping().into_iter().collect(),
            _ => {
                let mut ids: Vec<_> = command.bodies.iter().map(|body| number(body)).collect();
                ids.dedup();
                ids
            }
        };
        assert!(!ids.is_empty(), "nobody asked for this");
        self.is_what_they_are(command, &ids);
        self.counts(&ids, !purged.is_empty());
        link.starts.push((link.handed.len(), ids[0]));
        link.handed.extend(&bytes);
        self.reference.handed_over(&ids, link.handed.len() as u64);
        let first = self.reference.entry(ids[0]);
        let lane = (!first.is_ping()).then(|| self.reference.lane_of(first));
        for id in ids {
            self.is_handed_over(id, lane);
        }
        true
    }

    /// The command is these publishes, whole and nothing else.
    fn is_what_they_are(&self, command: &Command<'_>, ids: &[usize]) {
        let first = self.reference.entry(ids[0]);
        assert_eq!(command.topic, first.topic);
        let verb = match ids.len() {
            1 => first.verb,
            _ => Verb::Mpub,
        };
        assert_eq!(command.verb, verb);
        if first.is_ping() {
            assert_eq!(command.bodies, [b"{}"]);
            return;
        }
        if first.verb == Verb::Dpub {
            assert_eq!(command.delay, first.delay.to_string());
        }
        let members: Vec<_> = self.reference.members(ids).collect();
        let bodies = members
            .iter()
            .flat_map(|entry| entry.sizes.iter().map(|size| (entry.id, *size)));
        let read = command.bodies.iter().map(|body| (number(body), body.len()));
        assert!(read.eq(bodies), "{ids:?} are not whole and in order");
        assert!(members.iter().all(|entry| entry.topic == command.topic));
        assert!(ids.len() == 1 || members.iter().all(|entry| is_foldable(entry)));
    }

    /// How often what is worth looking at happens.
    fn counts(&mut self, ids: &[usize], purged: bool) {
        let first = self.reference.entry(ids[0]);
        if first.is_ping() {
            return;
        }
        self.tally.commands += 1;
        let what = if ids.len() > 1 {
            if purged {
                self.count.add("some let go of before a fold");
            }
            self.tally.batches += 1;
            self.tally.batched += ids.len() as u64;
            "folded"
        } else if first.alone {
            "alone after a refused fold"
        } else if first.verb == Verb::Pub && self.reference.is_troubled() {
            "not folded in trouble"
        } else {
            return;
        };
        self.count.add(what);
    }

    /// A publish of this lane, or a ping.
    fn is_handed_over(&mut self, id: usize, lane: Option<Lane>) {
        let again = std::mem::replace(&mut self.fates[id].handed_over, true);
        let Some(lane) = lane else {
            let what = if again { "ping asked again" } else { "pinged" };
            return self.count.add(what);
        };
        if again {
            self.tally.resent += 1;
            self.count.add("handed over again");
        } else {
            let last = self.last_first.insert(lane, id);
            assert!(last < Some(id), "{id} was written out of order");
            self.count.add("handed over");
        }
    }
}
