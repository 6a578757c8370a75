//! Automatic batches: which publishes a command may carry, and when.

use super::{
    command::{Command, Verb, read},
    line::Refusal,
    network::Wire,
    record,
    setup::Order,
    world::{TOPICS, World},
};

/// Longer bodies are not batched.
pub(crate) const LARGE: usize = 64 << 10;

/// What suspends batching, or limits it below the configuration.
#[derive(Debug, Default)]
pub(crate) struct Batching {
    /// nsqd failed to store: until its next `OK`, and for these topics until their own `OK`.
    trouble: bool,
    troubled: [bool; TOPICS.len()],
    /// The largest batch that nsqd accepts, as it reported.
    limit: Option<usize>,
}

impl Batching {
    fn forbids(&self, topic: usize) -> bool {
        self.trouble || self.troubled[topic]
    }

    /// The next nsqd may be another one.
    pub(crate) fn forget_limit(&mut self) {
        self.limit = None;
    }
}

/// Whether nothing of a rejected automatic batch is stored, so that its members are retried one by
/// one.
fn is_nobodys_fault(refusal: &Refusal) -> bool {
    let open = ["E_BAD_TOPIC", "E_UNAUTHORIZED", "E_MPUB_FAILED", "E_SHINY"];
    !open.contains(&refusal.code()) && !refusal.is_slow_upload()
}

impl World {
    /// The publishes that the messages belong to, each once.
    pub(crate) fn owners(&self, topic: &str, bodies: &[impl AsRef<[u8]>]) -> Vec<usize> {
        let mut owners = Vec::new();
        for body in bodies {
            let id = record::read(topic, body.as_ref()).expect("a whole message, of this topic");
            let owner = self.owners[id.publisher][id.number];
            if owners.last() != Some(&owner) {
                owners.push(owner);
            }
        }
        owners
    }

    /// Whether the command is an automatic batch.
    pub(crate) fn is_batched(&self, verb: Verb, publishes: &[usize]) -> bool {
        let mut publishes = publishes.iter().map(|number| &self.publishes[*number]);
        verb == Verb::Mpub && publishes.any(|publish| publish.verb != Verb::Mpub)
    }

    /// An automatic batch: only plain publishes, in order, within all limits, and not while
    /// suspended.
    pub(crate) fn check_batch(&mut self, place: usize, command: &Command, publishes: &[usize]) {
        // Commands made before an error response may still be written.
        let refusal = self.lines[place].refusal.as_ref();
        let fresh = refusal.is_none_or(|refusal| refusal.heard.is_none());
        let setup = &self.setup;
        assert_eq!(setup.order, Order::PerTopic, "{publishes:?} are batched");
        let [first, second, ..] = publishes else {
            panic!("{publishes:?}: a batch of one");
        };
        assert!(
            publishes.is_sorted_by(|one, next| one < next || self.may_overtake(*one, *next)),
            "{publishes:?} are batched in a wrong order"
        );
        assert!(publishes.len() <= setup.batch_messages, "{publishes:?}");
        let size = command.size.expect("a whole command");
        let most = setup.batch_bytes.min(setup.max_batch_size);
        assert!(size <= most, "{publishes:?} are {size} bytes, not {most}");
        assert!(
            !fresh || self.batching.limit.is_none_or(|limit| size <= limit),
            "{publishes:?} are {size} bytes, and the limit is {:?}",
            self.batching
        );
        for number in publishes {
            let publish = &self.publishes[*number];
            let may_be = publish.verb == Verb::Pub && publish.longest <= LARGE;
            assert!(
                may_be && !(publish.alone && fresh),
                "{number} is batched with {publishes:?}"
            );
        }
        let topic = self.publishes[*first].topic;
        assert!(
            !fresh || !self.batching.forbids(topic),
            "{publishes:?} are batched while nsqd has trouble: {:?}",
            self.batching
        );
        self.count.add("a batch is written");
        let again = |number: &usize| !self.publishes[*number].written.is_empty();
        if publishes.iter().any(again) {
            self.count.add("a batch is written again");
        }
        let mut passed = (*first..*second).map(|number| &self.publishes[number]);
        if passed.any(|publish| {
            publish.topic == topic
                && publish.refused.is_none()
                && publish.written.is_empty()
                && (publish.cancelled.is_some() || publish.answered.is_some())
        }) {
            self.count.add("a batch skips a cancelled publish");
        }
    }

    /// A publish is written alone although others could join it.
    pub(crate) fn count_alone(&mut self, number: usize) {
        let publish = &self.publishes[number];
        if self.setup.order == Order::All || publish.verb != Verb::Pub {
            return;
        }
        if publish.alone {
            self.count
                .add("a member of a rejected batch is retried alone");
        }
        let waits = |other: &usize| {
            let other = &self.publishes[*other];
            let alike = (other.topic, other.verb) == (publish.topic, publish.verb);
            alike && !other.alone && other.refused.is_none() && other.written.is_empty()
        };
        let (rest, alone) = (&self.open, publish.alone);
        let forbidden = self.batching.forbids(publish.topic);
        if !alone && forbidden && rest.iter().any(|other| *other > number && waits(other)) {
            self.count.add("batching is suspended");
        }
    }

    /// The client read an `OK`.
    pub(crate) fn all_is_well_with(&mut self, publishes: &[usize]) {
        if let Some(first) = publishes.first() {
            self.batching.trouble = false;
            self.batching.troubled[self.publishes[*first].topic] = false;
        }
    }

    /// The client read an error response: its consequences for batching.
    pub(crate) fn refusal_heard(&mut self, place: usize) {
        let network = self.network.clone();
        let network = network.lock();
        let wire = &network.wires[place];
        let refusal = self.lines[place].refusal.as_ref().expect("a refusal");
        let Some(topic) = TOPICS.iter().position(|topic| *topic == refusal.topic) else {
            // A ping.
            return;
        };
        let batched = self.batch_at(wire, refusal.start);
        let (code, limit) = (refusal.code().to_owned(), refusal.limit());
        let apart = !batched.is_empty() && is_nobodys_fault(refusal);
        let slow = refusal.is_slow_upload();
        self.lines[place]
            .refusal
            .as_mut()
            .expect("a refusal")
            .batched = !batched.is_empty();
        if !batched.is_empty() {
            let what = if slow { "slow upload" } else { &code };
            self.note(|| format!("line {place}: {batched:?} are rejected together: {what}"));
            self.count.add(format!("rejected batch: {what}"));
        }
        for number in batched.into_iter().filter(|_| apart) {
            self.publishes[number].alone = true;
        }
        if ["E_PUB_FAILED", "E_MPUB_FAILED", "E_DPUB_FAILED"].contains(&&code[..]) {
            self.batching.trouble = true;
            self.batching.troubled[topic] = true;
        }
        if code == "E_BAD_BODY" && limit.is_some() {
            self.batching.limit = limit;
        }
    }

    /// The publishes of the automatic batch that begins there, as far as they were written.
    pub(crate) fn batch_at(&self, wire: &Wire, start: usize) -> Vec<usize> {
        let command = read(&wire.taken, start).expect("a line");
        let bodies = command.bodies.iter().map(|body| &wire.taken[body.clone()]);
        let publishes = self.owners(&command.topic, &bodies.collect::<Vec<_>>());
        match self.is_batched(command.verb, &publishes) {
            true => publishes,
            false => Vec::new(),
        }
    }

    /// Counts batches in flight when a connection is lost.
    pub(crate) fn count_lost_batches(&mut self, place: usize) {
        let network = self.network.clone();
        let network = network.lock();
        let (line, wire) = (&self.lines[place], &network.wires[place]);
        let mut open = line
            .commands
            .iter()
            .filter(|command| command.confirmed.is_none());
        let whole = !line.is_refused() && open.any(|command| command.batched);
        let half =
            read(&wire.taken, line.seen).is_some() && !self.batch_at(wire, line.seen).is_empty();
        if whole {
            self.count.add("a batch is lost");
        }
        if half {
            self.count.add("half a batch is lost");
        }
    }
}
