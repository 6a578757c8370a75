//! The record of a campaign: numbered, checksummed messages, what was answered to each, and whether what the broker holds
//! bears the answers out. Pure, and indifferent to how messages travel, be it alone or in batches.

use std::fmt;
use std::ops::Range;

use actix_nsq::bytes::Bytes;
use actix_nsq::{Delivery, PublishError};

/// One message: who published it, and its number there, counted from 0.
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

/// What was answered to a message, and how often it was found.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    answer: Option<Answer>,
    found: u16,
    /// It may have been sent again because its first answer was lost, by one who was asked for that.
    may_repeat: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Ok,
    NotWritten,
    /// Or, of a batch, perhaps in part: of a single message that says the same.
    Maybe,
}

#[derive(Debug)]
struct Publisher {
    topic: String,
    fates: Vec<Fate>,
    /// All messages before that are answered.
    settled: usize,
}

/// What publishers have offered and heard. Every message of a publisher goes to the publisher's topic.
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

    /// Another publisher, who publishes to this topic.
    pub fn publisher(&mut self, topic: &str) -> usize {
        self.publishers.push(Publisher {
            topic: topic.to_owned(),
            fates: Vec::new(),
            settled: 0,
        });
        self.publishers.len() - 1
    }

    /// The publisher's next message, which is `size` bytes long where that is long enough for what it says of itself.
    pub fn offer(&mut self, publisher: usize, size: usize) -> (Id, Bytes) {
        let Publisher { topic, fates, .. } = &mut self.publishers[publisher];
        let id = Id {
            publisher,
            number: fates.len(),
        };
        fates.push(Fate::default());
        self.outstanding += 1;
        (id, body(topic, id, size))
    }

    /// What the publisher of a message was told.
    pub fn answer(&mut self, id: Id, answer: &Result<(), PublishError>) {
        let answer = match answer {
            Ok(()) => Answer::Ok,
            Err(error) if error.delivery() == Delivery::NotWritten => Answer::NotWritten,
            Err(_) => Answer::Maybe,
        };
        let fate = &mut self.publishers[id.publisher].fates[id.number];
        match fate.answer.replace(answer) {
            None => self.outstanding -= 1,
            Some(_) => self.answered_twice.push(id),
        }
    }

    /// A connection was lost under these publishers' client, which was asked to send again what may be stored: of what is
    /// not answered now, several copies are no fault.
    pub fn may_repeat(&mut self, publishers: Range<usize>) {
        for Publisher { fates, settled, .. } in &mut self.publishers[publishers] {
            let open = |fate: &Fate| fate.answer.is_none();
            let rest = fates.get(*settled..).unwrap_or_default();
            *settled += rest.iter().position(open).unwrap_or(rest.len());
            for fate in fates.iter_mut().skip(*settled).filter(|fate| open(fate)) {
                fate.may_repeat = true;
            }
        }
    }

    /// The same for all that have no answer yet: for publishers who hear of nothing but failures.
    pub fn answer_outstanding(&mut self, answer: &Result<(), PublishError>) {
        let open: Vec<_> = self
            .fates()
            .filter(|(_, fate)| fate.answer.is_none())
            .map(|(id, _)| id)
            .collect();
        for id in open {
            self.answer(id, answer);
        }
    }

    /// How many messages were answered `Ok`.
    pub fn answered_ok(&self) -> usize {
        self.fates()
            .filter(|(_, fate)| fate.answer == Some(Answer::Ok))
            .count()
    }

    /// How many messages are offered and not answered.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// How many messages to this topic were answered `Ok`: so many at least are there.
    pub fn ok_in(&self, topic: &str) -> usize {
        let publishers = self.publishers.iter().filter(|p| p.topic == topic);
        let fates = publishers.flat_map(|publisher| &publisher.fates);
        fates.filter(|fate| fate.answer == Some(Answer::Ok)).count()
    }

    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<_> = self.publishers.iter().map(|p| p.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    fn fates(&self) -> impl Iterator<Item = (Id, Fate)> {
        let publishers = self.publishers.iter().enumerate();
        publishers.flat_map(|(publisher, Publisher { fates, .. })| {
            let numbered = fates.iter().enumerate();
            numbered.map(move |(number, fate)| (Id { publisher, number }, *fate))
        })
    }

    /// The broker holds this message: found in it, or seen as it came in.
    pub fn found(&mut self, topic: &str, message: &[u8]) {
        self.stored += 1;
        let id = read(topic, message);
        let publisher = id.and_then(|id| Some((id, self.publishers.get_mut(id.publisher)?)));
        let fate = publisher
            .filter(|(_, publisher)| publisher.topic == topic)
            .and_then(|(id, publisher)| publisher.fates.get_mut(id.number));
        match fate {
            Some(fate) => fate.found = fate.found.saturating_add(1),
            // Damaged; or whole, but nobody published it here.
            None => self.corrupt.push(abridged(topic, message)),
        }
    }

    /// Holds the answers against what the broker gave out: each message with the topic it was found in.
    pub fn judge<'a>(mut self, found: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Verdict {
        for (topic, message) in found {
            self.found(topic, message);
        }
        self.verdict()
    }

    /// Holds the answers against what was [`found`](Self::found).
    pub fn verdict(mut self) -> Verdict {
        let mut verdict = Verdict {
            stored: self.stored,
            corrupt: std::mem::take(&mut self.corrupt),
            ..Verdict::default()
        };
        for (id, fate) in self.fates() {
            let Fate { answer, found, .. } = fate;
            verdict.offered += 1;
            match found > 1 {
                true if fate.may_repeat => verdict.repeated += 1,
                true => verdict.duplicate.push(id),
                false => {}
            }
            match answer {
                None => verdict.unanswered.push(id),
                Some(Answer::Ok) => {
                    verdict.ok += 1;
                    if found == 0 {
                        verdict.lost.push(id);
                    }
                }
                Some(Answer::NotWritten) => {
                    verdict.not_written += 1;
                    if found > 0 {
                        verdict.misattributed.push(id);
                    }
                }
                Some(Answer::Maybe) => {
                    verdict.maybe += 1;
                    verdict.maybe_stored += usize::from(found > 0);
                }
            }
        }
        verdict.answered_twice = self.answered_twice;
        verdict
    }
}

/// What a [`Record`] comes to. Clean when the lists are empty.
#[derive(Debug, Default)]
pub struct Verdict {
    pub offered: usize,
    pub ok: usize,
    pub not_written: usize,
    pub maybe: usize,
    /// So many of `maybe` are stored.
    pub maybe_stored: usize,
    /// Messages found, whatever they are.
    pub stored: usize,
    /// Messages found more than once that [may be](Record::may_repeat).
    pub repeated: usize,

    /// Answered `Ok`, and not found.
    pub lost: Vec<Id>,
    /// Found more than once.
    pub duplicate: Vec<Id>,
    /// Answered `NotWritten`, and found: the answer was another publish's, or a lie.
    pub misattributed: Vec<Id>,
    pub unanswered: Vec<Id>,
    pub answered_twice: Vec<Id>,
    /// Found, and not what anybody published there.
    pub corrupt: Vec<String>,
}

impl Verdict {
    /// Whether every answer was the truth, and each was given once.
    pub fn is_clean(&self) -> bool {
        let faults = self.faults();
        faults.iter().all(|(_, count, _)| *count == 0)
    }

    /// What is wrong, by name: how often, and examples.
    fn faults(&self) -> [(&'static str, usize, String); 6] {
        let ids = |ids: &Vec<Id>| (ids.len(), some(ids));
        let named = |name, (count, examples)| (name, count, examples);
        [
            named("lost", ids(&self.lost)),
            named("duplicate", ids(&self.duplicate)),
            named("misattributed", ids(&self.misattributed)),
            named("unanswered", ids(&self.unanswered)),
            named("answered twice", ids(&self.answered_twice)),
            named("corrupt", (self.corrupt.len(), some(&self.corrupt))),
        ]
    }

    /// Fails a test with what is wrong.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            offered,
            ok,
            not_written,
            maybe,
            maybe_stored,
            stored,
            repeated,
            ..
        } = self;
        writeln!(
            f,
            "{offered} offered: {ok} ok, {not_written} not written, {maybe} maybe written ({maybe_stored} of them stored); {stored} stored"
        )?;
        if *repeated > 0 {
            writeln!(
                f,
                "{repeated} stored several times, as may be where unknown ones are sent again"
            )?;
        }
        let mut first = true;
        for (name, count, examples) in self.faults() {
            let comma = if std::mem::take(&mut first) { "" } else { ", " };
            write!(f, "{comma}{count} {name}{examples}")?;
        }
        Ok(())
    }
}

/// A few examples, in parentheses, if there are any.
fn some<T: fmt::Display>(all: &[T]) -> String {
    let examples: Vec<_> = all.iter().take(5).map(T::to_string).collect();
    let more = if all.len() > 5 { ", ..." } else { "" };
    match examples.is_empty() {
        true => String::new(),
        false => format!(" ({}{more})", examples.join(", ")),
    }
}

fn abridged(topic: &str, message: &[u8]) -> String {
    format!("{:.60?} in {topic}", String::from_utf8_lossy(message))
}

/// A message that says who published it, and with what checksum: over its topic, its number and its padding.
fn body(topic: &str, id: Id, size: usize) -> Bytes {
    let head = |checksum: u32| format!("{id} {checksum:08x} ");
    let padding = size.saturating_sub(head(0).len());
    let seed = id.publisher.wrapping_mul(31).wrapping_add(id.number);
    // Not all alike, so that what is shifted is seen.
    let padding: Vec<u8> = (0..padding)
        .map(|place| b'a' + (seed.wrapping_add(place) % 26) as u8)
        .collect();
    let mut body = head(checksum(topic, id, &padding)).into_bytes();
    body.extend_from_slice(&padding);
    body.into()
}

/// Which message this is, if it is whole, and was meant for this topic.
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

    /// Two publishers' messages, answered Ok.
    fn two_messages() -> (Record, [(Id, Bytes); 2]) {
        let mut record = Record::new();
        let messages = ["one", "two"].map(|topic| {
            let publisher = record.publisher(topic);
            record.offer(publisher, 40)
        });
        for (id, _) in &messages {
            record.answer(*id, &Ok(()));
        }
        (record, messages)
    }

    #[test]
    fn messages_that_were_answered_ok_and_are_found_once_are_clean() {
        let (record, [(_, one), (_, two)]) = two_messages();
        assert_eq!((one.len(), two.len()), (40, 40));
        let verdict = record.judge([("one", &one[..]), ("two", &two[..])]);
        assert!(verdict.is_clean(), "{verdict}");
        assert_eq!((verdict.offered, verdict.ok, verdict.stored), (2, 2, 2));
    }

    #[test]
    fn each_fault_is_seen_and_named() {
        let (record, [(_, one), (two, _)]) = two_messages();
        let verdict = record.judge([("one", &one[..]), ("one", &one[..])]);
        assert_eq!(verdict.lost, [two]);
        assert_eq!(verdict.duplicate.len(), 1);
        assert!(
            verdict
                .to_string()
                .contains("1 lost (1:0), 1 duplicate (0:0)"),
            "{verdict}"
        );

        let (record, [(_, one), (_, two)]) = two_messages();
        let mut damaged = two.to_vec();
        damaged[39] ^= 1;
        // Found, but in another topic, and damaged.
        let verdict = record.judge([("two", &one[..]), ("two", &damaged)]);
        assert_eq!((verdict.corrupt.len(), verdict.lost.len()), (2, 2));

        let mut record = Record::new();
        let publisher = record.publisher("t");
        let (id, body) = record.offer(publisher, 0);
        let (silent, _) = record.offer(publisher, 0);
        let refused = "".parse::<actix_nsq::Topic>().unwrap_err();
        record.answer(id, &Err(refused.into()));
        let verdict = record.judge([("t", &body[..])]);
        assert_eq!(
            (verdict.misattributed, verdict.unanswered),
            (vec![id], vec![silent])
        );
    }

    #[test]
    fn an_answer_given_twice_is_seen() {
        let (mut record, [(id, one), (_, two)]) = two_messages();
        record.answer(id, &Ok(()));
        let verdict = record.judge([("one", &one[..]), ("two", &two[..])]);
        assert_eq!(verdict.answered_twice, [id]);
        assert!(!verdict.is_clean());
    }

    #[test]
    fn only_what_was_outstanding_when_a_connection_was_lost_may_be_found_twice() {
        let mut record = Record::new();
        let publisher = record.publisher("t");
        let (before, old) = record.offer(publisher, 0);
        record.answer(before, &Ok(()));
        let (during, sent) = record.offer(publisher, 0);
        assert_eq!(record.outstanding(), 1);
        record.may_repeat(0..1);
        record.answer(during, &Ok(()));
        let (after, new) = record.offer(publisher, 0);
        record.answer(after, &Ok(()));
        assert_eq!(record.outstanding(), 0);
        let twice = [&old, &old, &sent, &sent, &new, &new].map(|body| ("t", &body[..]));
        let verdict = record.judge(twice);
        assert_eq!(verdict.repeated, 1);
        assert_eq!(verdict.duplicate, [before, after]);
    }
}
