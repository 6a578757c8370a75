//! Records which messages were published and how each publish was answered, and compares the
//! answers with the messages that the broker stored.

use std::fmt;
use std::ops::Range;

use actix_nsq::bytes::Bytes;
use actix_nsq::{Delivery, PublishError};

/// Identifies a message: its publisher, and its number there, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub publisher: usize,
    pub number: usize,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.publisher, self.number)
    }
}

/// What the answer to a publish says about its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    NotWritten,
    /// May be stored. `MaybePartial` says the same of each message of a batch.
    Maybe,
}

impl From<&Result<(), PublishError>> for Outcome {
    fn from(answer: &Result<(), PublishError>) -> Self {
        match answer {
            Ok(()) => Self::Ok,
            Err(error) if error.delivery() == Delivery::NotWritten => Self::NotWritten,
            Err(_) => Self::Maybe,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Message {
    outcome: Option<Outcome>,
    /// How often the broker stored it.
    found: u16,
    /// It was unanswered when a connection was lost, and its client retries ambiguous publishes.
    may_repeat: bool,
}

#[derive(Debug)]
struct Publisher {
    topic: String,
    messages: Vec<Message>,
    /// All messages before this one are answered.
    first_open: usize,
}

/// The messages of all publishers. Every publisher has one topic.
#[derive(Debug, Default)]
pub struct Record {
    publishers: Vec<Publisher>,
    outstanding: usize,
    answered_twice: Vec<Id>,
    stored: usize,
    corrupt: Vec<String>,
}

impl Record {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a publisher and returns its number.
    pub fn publisher(&mut self, topic: &str) -> usize {
        self.publishers.push(Publisher {
            topic: topic.to_owned(),
            messages: Vec::new(),
            first_open: 0,
        });
        self.publishers.len() - 1
    }

    /// Creates the publisher's next message: `size` bytes, or more if id and checksum need more.
    pub fn offer(&mut self, publisher: usize, size: usize) -> (Id, Bytes) {
        let Publisher {
            topic, messages, ..
        } = &mut self.publishers[publisher];
        let id = Id {
            publisher,
            number: messages.len(),
        };
        messages.push(Message::default());
        self.outstanding += 1;
        (id, body(topic, id, size))
    }

    /// Records the answer to the publish of a message.
    pub fn answer(&mut self, id: Id, answer: impl Into<Outcome>) {
        let message = &mut self.publishers[id.publisher].messages[id.number];
        match message.outcome.replace(answer.into()) {
            None => self.outstanding -= 1,
            Some(_) => self.answered_twice.push(id),
        }
    }

    /// Allows duplicates of the messages that are unanswered now. To be called when the connection
    /// of a client with `retry_maybe_written` is lost.
    pub fn may_repeat(&mut self, publishers: Range<usize>) {
        for publisher in &mut self.publishers[publishers] {
            let open = |message: &Message| message.outcome.is_none();
            let rest = &publisher.messages[publisher.first_open..];
            publisher.first_open += rest.iter().position(open).unwrap_or(rest.len());
            let rest = &mut publisher.messages[publisher.first_open..];
            for message in rest.iter_mut().filter(|message| open(message)) {
                message.may_repeat = true;
            }
        }
    }

    /// Records the same answer for all unanswered messages.
    pub fn answer_outstanding(&mut self, outcome: Outcome) {
        let open = self.messages().filter(|(_, it)| it.outcome.is_none());
        for id in open.map(|(id, _)| id).collect::<Vec<_>>() {
            self.answer(id, outcome);
        }
    }

    /// Number of messages answered `Ok`.
    pub fn answered_ok(&self) -> usize {
        let is_ok = |(_, message): &(Id, Message)| message.outcome == Some(Outcome::Ok);
        self.messages().filter(is_ok).count()
    }

    /// Number of messages that are not answered.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Number of messages to this topic that were answered `Ok`.
    pub fn ok_in(&self, topic: &str) -> usize {
        let publishers = self.publishers.iter().filter(|it| it.topic == topic);
        let messages = publishers.flat_map(|publisher| &publisher.messages);
        let is_ok = |message: &&Message| message.outcome == Some(Outcome::Ok);
        messages.filter(is_ok).count()
    }

    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<_> = self.publishers.iter().map(|it| it.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    fn messages(&self) -> impl Iterator<Item = (Id, Message)> {
        let publishers = self.publishers.iter().enumerate();
        publishers.flat_map(|(publisher, Publisher { messages, .. })| {
            let numbered = messages.iter().enumerate();
            numbered.map(move |(number, message)| (Id { publisher, number }, *message))
        })
    }

    /// Records that the broker stored this message in this topic.
    pub fn found(&mut self, topic: &str, message: &[u8]) {
        self.stored += 1;
        let id = read(topic, message);
        let publisher = id.and_then(|id| Some((id, self.publishers.get_mut(id.publisher)?)));
        let known = publisher
            .filter(|(_, publisher)| publisher.topic == topic)
            .and_then(|(id, publisher)| publisher.messages.get_mut(id.number));
        match known {
            Some(known) => known.found = known.found.saturating_add(1),
            None => {
                let text = String::from_utf8_lossy(message);
                self.corrupt.push(format!("{text:.60?} in {topic}"));
            }
        }
    }

    /// Compares the answers with what the broker stored: pairs of topic and body.
    pub fn audit<'a>(mut self, stored: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Audit {
        for (topic, message) in stored {
            self.found(topic, message);
        }
        self.finish()
    }

    /// Compares the answers with what was [`found`](Self::found).
    pub fn finish(mut self) -> Audit {
        let mut audit = Audit {
            stored: self.stored,
            corrupt: std::mem::take(&mut self.corrupt),
            ..Audit::default()
        };
        for (id, message) in self.messages() {
            let found = message.found;
            audit.offered += 1;
            if found > 1 && message.may_repeat {
                audit.repeated += 1;
            } else if found > 1 {
                audit.duplicate.push(id);
            }
            match message.outcome {
                None => audit.unanswered.push(id),
                Some(Outcome::Ok) => {
                    audit.ok += 1;
                    if found == 0 {
                        audit.lost.push(id);
                    }
                }
                Some(Outcome::NotWritten) => {
                    audit.not_written += 1;
                    if found > 0 {
                        audit.misattributed.push(id);
                    }
                }
                Some(Outcome::Maybe) => {
                    audit.maybe += 1;
                    audit.maybe_stored += usize::from(found > 0);
                }
            }
        }
        audit.answered_twice = self.answered_twice;
        audit
    }
}

/// Result of comparing a [`Record`] with what the broker stored. Clean if all lists are empty.
#[derive(Debug, Default)]
pub struct Audit {
    pub offered: usize,
    pub ok: usize,
    pub not_written: usize,
    pub maybe: usize,
    /// Messages counted in `maybe` that are stored.
    pub maybe_stored: usize,
    /// Stored messages, valid or not.
    pub stored: usize,
    /// Messages stored more than once where [that is allowed](Record::may_repeat).
    pub repeated: usize,

    /// Answered `Ok`, and not stored.
    pub lost: Vec<Id>,
    /// Stored more than once.
    pub duplicate: Vec<Id>,
    /// Answered `NotWritten`, and stored.
    pub misattributed: Vec<Id>,
    pub unanswered: Vec<Id>,
    pub answered_twice: Vec<Id>,
    /// Stored, and not equal to any message published to that topic.
    pub corrupt: Vec<String>,
}

impl Audit {
    /// Whether every message has exactly one answer, and every answer is correct.
    pub fn is_clean(&self) -> bool {
        self.problems().iter().all(|(_, count, _)| *count == 0)
    }

    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }

    /// Name, count and examples of each kind of problem.
    fn problems(&self) -> [(&'static str, usize, String); 6] {
        let ids = |name, ids: &Vec<Id>| (name, ids.len(), examples(ids));
        [
            ids("lost", &self.lost),
            ids("duplicate", &self.duplicate),
            ids("misattributed", &self.misattributed),
            ids("unanswered", &self.unanswered),
            ids("answered twice", &self.answered_twice),
            ("corrupt", self.corrupt.len(), examples(&self.corrupt)),
        ]
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            offered,
            ok,
            stored,
            ..
        } = self;
        let (not_written, maybe, maybe_stored) = (self.not_written, self.maybe, self.maybe_stored);
        writeln!(
            f,
            "{offered} offered: {ok} ok, {not_written} not written, {maybe} maybe written \
             ({maybe_stored} of them stored); {stored} stored"
        )?;
        if self.repeated > 0 {
            writeln!(f, "{} retried and stored more than once", self.repeated)?;
        }
        let problems = self
            .problems()
            .map(|(name, count, examples)| format!("{count} {name}{examples}"));
        f.write_str(&problems.join(", "))
    }
}

/// The first few items in parentheses, or nothing.
fn examples<T: fmt::Display>(all: &[T]) -> String {
    let first: Vec<_> = all.iter().take(5).map(T::to_string).collect();
    let more = if all.len() > 5 { ", ..." } else { "" };
    if first.is_empty() {
        String::new()
    } else {
        format!(" ({}{more})", first.join(", "))
    }
}

/// A message that contains its id and a checksum over topic, id and padding.
fn body(topic: &str, id: Id, size: usize) -> Bytes {
    let head = |checksum: u32| format!("{id} {checksum:08x} ");
    let padding = size.saturating_sub(head(0).len());
    let seed = id.publisher.wrapping_mul(31).wrapping_add(id.number);
    // Varies with the position, so that shifted bytes are detected.
    let padding: Vec<u8> = (0..padding)
        .map(|place| b'a' + (seed.wrapping_add(place) % 26) as u8)
        .collect();
    let mut body = head(checksum(topic, id, &padding)).into_bytes();
    body.extend_from_slice(&padding);
    body.into()
}

/// Returns the id of a message if it is undamaged and was published to this topic.
pub fn read(topic: &str, message: &[u8]) -> Option<Id> {
    let mut words = message.splitn(3, |byte| *byte == b' ');
    let mut text = || std::str::from_utf8(words.next()?).ok();
    let (publisher, number) = text()?.split_once(':')?;
    let id = Id {
        publisher: publisher.parse().ok()?,
        number: number.parse().ok()?,
    };
    let sum = u32::from_str_radix(text()?, 16).ok()?;
    let padding = words.next()?;
    (sum == checksum(topic, id, padding)).then_some(id)
}

fn checksum(topic: &str, id: Id, padding: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(format!("{topic} {id} ").as_bytes());
    hasher.update(padding);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two publishers with one message each, answered `Ok`.
    fn two_messages() -> (Record, [(Id, Bytes); 2]) {
        let mut record = Record::new();
        let messages = ["one", "two"].map(|topic| {
            let publisher = record.publisher(topic);
            record.offer(publisher, 40)
        });
        for (id, _) in &messages {
            record.answer(*id, Outcome::Ok);
        }
        (record, messages)
    }

    #[test]
    fn record_of_stored_messages_is_clean() {
        let (record, [(_, one), (_, two)]) = two_messages();
        assert_eq!((one.len(), two.len()), (40, 40));
        let audit = record.audit([("one", &one[..]), ("two", &two[..])]);
        audit.assert_clean();
        assert_eq!((audit.offered, audit.ok, audit.stored), (2, 2, 2));
    }

    #[test]
    fn every_kind_of_problem_is_reported() {
        let (record, [(_, one), (two, _)]) = two_messages();
        let audit = record.audit([("one", &one[..]), ("one", &one[..])]);
        assert_eq!((&audit.lost[..], audit.duplicate.len()), (&[two][..], 1));
        let text = audit.to_string();
        assert!(text.contains("1 lost (1:0), 1 duplicate (0:0)"), "{text}");

        let (record, [(_, one), (_, two)]) = two_messages();
        let mut damaged = two.to_vec();
        damaged[39] ^= 1;
        let in_the_wrong_topic = &one[..];
        let audit = record.audit([("two", in_the_wrong_topic), ("two", &damaged)]);
        assert_eq!((audit.corrupt.len(), audit.lost.len()), (2, 2));

        let mut record = Record::new();
        let publisher = record.publisher("t");
        let (stored, body) = record.offer(publisher, 0);
        let (unanswered, _) = record.offer(publisher, 0);
        record.answer(stored, Outcome::NotWritten);
        let audit = record.audit([("t", &body[..])]);
        assert_eq!(audit.misattributed, [stored]);
        assert_eq!(audit.unanswered, [unanswered]);

        let (mut record, [(id, one), (_, two)]) = two_messages();
        record.answer(id, Outcome::Ok);
        let audit = record.audit([("one", &one[..]), ("two", &two[..])]);
        assert_eq!(
            (&audit.answered_twice[..], audit.is_clean()),
            (&[id][..], false)
        );
    }

    #[test]
    fn only_unanswered_messages_may_repeat() {
        let mut record = Record::new();
        let publisher = record.publisher("t");
        let (before, first) = record.offer(publisher, 0);
        record.answer(before, Outcome::Ok);
        let (during, second) = record.offer(publisher, 0);
        assert_eq!(record.outstanding(), 1);
        record.may_repeat(0..1);
        record.answer(during, Outcome::Ok);
        let (after, third) = record.offer(publisher, 0);
        record.answer(after, Outcome::Ok);
        let twice = [&first, &first, &second, &second, &third, &third];
        let audit = record.audit(twice.map(|body| ("t", &body[..])));
        assert_eq!(
            (audit.repeated, &audit.duplicate[..]),
            (1, &[before, after][..])
        );
    }
}
