//! What a command may carry, and in which order: one publish, or several of one topic that the producer has folded.

use super::{
    command::{Command, Verb, read},
    line::Refusal,
    network::Wire,
    record,
    setup::Order,
    world::{TOPICS, World},
};

/// A longer body goes by itself.
pub(crate) const LARGE: usize = 64 << 10;

/// What forbids to fold, or to fold as much as the configuration allows.
#[derive(Debug, Default)]
pub(crate) struct Folding {
    /// nsqd had trouble to store: until it says OK, and for these topics until it says OK to one of their own.
    trouble: bool,
    troubled: [bool; TOPICS.len()],
    /// The longest batch that nsqd takes, by its own words.
    limit: Option<usize>,
}

impl Folding {
    fn forbids(&self, topic: usize) -> bool {
        self.trouble || self.troubled[topic]
    }

    /// The next nsqd may be another one.
    pub(crate) fn forget_limit(&mut self) {
        self.limit = None;
    }
}

/// The batch that nsqd may have refused is the producer's own, and nothing of it is stored: its members go by themselves.
fn is_nobodys_fault(refusal: &Refusal) -> bool {
    let open = ["E_BAD_TOPIC", "E_UNAUTHORIZED", "E_MPUB_FAILED", "E_SHINY"];
    !open.contains(&refusal.code()) && !refusal.is_slow_upload()
}

impl World {
    /// To whom messages belong, each once; all of them must be in what is read.
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

    /// Whether it was the producer who made one command of them.
    pub(crate) fn is_folded(&self, verb: Verb, publishes: &[usize]) -> bool {
        let mut publishes = publishes.iter().map(|number| &self.publishes[*number]);
        verb == Verb::Mpub && publishes.any(|publish| publish.verb != Verb::Mpub)
    }

    /// Several publishes in one command: only such as may be, in their order, within all limits, and only while nsqd is well.
    pub(crate) fn check_batch(&mut self, place: usize, command: &Command, publishes: &[usize]) {
        // What was handed over before a refusal may go on being written, but nothing is made of it any more.
        let refusal = self.lines[place].refusal.as_ref();
        let fresh = refusal.is_none_or(|refusal| refusal.heard.is_none());
        let setup = &self.setup;
        assert_eq!(setup.order, Order::PerTopic, "{publishes:?} are folded");
        let [first, second, ..] = publishes else {
            panic!("{publishes:?}: a batch of one");
        };
        assert!(
            publishes.is_sorted_by(|one, next| one < next),
            "{publishes:?} are folded in a wrong order"
        );
        assert!(publishes.len() <= setup.batch_messages, "{publishes:?}");
        let size = command.size.expect("a whole command");
        let most = setup.batch_bytes.min(setup.max_batch_size);
        assert!(size <= most, "{publishes:?} are {size} bytes, not {most}");
        assert!(
            !fresh || self.folding.limit.is_none_or(|limit| size <= limit),
            "{publishes:?} are {size} bytes, and nsqd has said {:?}",
            self.folding
        );
        for number in publishes {
            let publish = &self.publishes[*number];
            let may_be = publish.verb == Verb::Pub && publish.longest <= LARGE;
            assert!(
                may_be && !(publish.alone && fresh),
                "{number} is folded into {publishes:?}"
            );
        }
        let topic = self.publishes[*first].topic;
        assert!(
            !fresh || !self.folding.forbids(topic),
            "{publishes:?} are folded while nsqd has trouble: {:?}",
            self.folding
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
                && (publish.cancelled.is_some() || publish.told.is_some())
        }) {
            self.count.add("a batch passes over who has left");
        }
    }

    /// A single publish goes by itself although others could go with it.
    pub(crate) fn count_alone(&mut self, number: usize) {
        let publish = &self.publishes[number];
        if self.setup.order == Order::All || publish.verb != Verb::Pub {
            return;
        }
        if publish.alone {
            self.count.add("a member of a refused batch goes alone");
        }
        let waits = |other: &usize| {
            let other = &self.publishes[*other];
            let alike = (other.topic, other.verb) == (publish.topic, publish.verb);
            alike && !other.alone && other.refused.is_none() && other.written.is_empty()
        };
        let (rest, alone) = (&self.open, publish.alone);
        let forbidden = self.folding.forbids(publish.topic);
        if !alone && forbidden && rest.iter().any(|other| *other > number && waits(other)) {
            self.count.add("nothing is folded while nsqd has trouble");
        }
    }

    /// An OK was heard.
    pub(crate) fn all_is_well_with(&mut self, publishes: &[usize]) {
        if let Some(first) = publishes.first() {
            self.folding.trouble = false;
            self.folding.troubled[self.publishes[*first].topic] = false;
        }
    }

    /// An error was heard: what follows from it for what is folded.
    pub(crate) fn refusal_heard(&mut self, place: usize) {
        let network = self.network.clone();
        let network = network.lock();
        let wire = &network.wires[place];
        let refusal = self.lines[place].refusal.as_ref().expect("a refusal");
        let Some(topic) = TOPICS.iter().position(|topic| *topic == refusal.topic) else {
            // Of a ping.
            return;
        };
        let folded = self.folded_at(wire, refusal.start);
        let (code, limit) = (refusal.code().to_owned(), refusal.limit());
        let apart = !folded.is_empty() && is_nobodys_fault(refusal);
        let slow = refusal.is_slow_upload();
        self.lines[place]
            .refusal
            .as_mut()
            .expect("a refusal")
            .folded = !folded.is_empty();
        if !folded.is_empty() {
            let what = if slow { "slow upload" } else { &code };
            self.note(|| format!("line {place}: {folded:?} are refused together: {what}"));
            self.count.add(format!("a batch is refused: {what}"));
        }
        for number in folded.into_iter().filter(|_| apart) {
            self.publishes[number].alone = true;
        }
        if ["E_PUB_FAILED", "E_MPUB_FAILED", "E_DPUB_FAILED"].contains(&&code[..]) {
            self.folding.trouble = true;
            self.folding.troubled[topic] = true;
        }
        if code == "E_BAD_BODY" && limit.is_some() {
            self.folding.limit = limit;
        }
    }

    /// The publishes of the batch that begins there and is the producer's own, as far as they are there.
    pub(crate) fn folded_at(&self, wire: &Wire, start: usize) -> Vec<usize> {
        let command = read(&wire.taken, start).expect("a line");
        let bodies = command.bodies.iter().map(|body| &wire.taken[body.clone()]);
        let publishes = self.owners(&command.topic, &bodies.collect::<Vec<_>>());
        match self.is_folded(command.verb, &publishes) {
            true => publishes,
            false => Vec::new(),
        }
    }

    /// What is on its way when a connection is lost.
    pub(crate) fn count_lost_batches(&mut self, place: usize) {
        let network = self.network.clone();
        let network = network.lock();
        let (line, wire) = (&self.lines[place], &network.wires[place]);
        let mut open = line
            .commands
            .iter()
            .filter(|command| command.confirmed.is_none());
        let whole = !line.is_refused() && open.any(|command| command.folded);
        let half =
            read(&wire.taken, line.seen).is_some() && !self.folded_at(wire, line.seen).is_empty();
        if whole {
            self.count.add("a batch is lost");
        }
        if half {
            self.count.add("half a batch is lost");
        }
    }
}
