//! Commands as nsqd reads them, typed by hand: whole ones, and what can be told of half a one.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Pub,
    Mpub,
    Dpub,
    Identify,
    Nop,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pub => "PUB",
            Self::Mpub => "MPUB",
            Self::Dpub => "DPUB",
            Self::Identify => "IDENTIFY",
            Self::Nop => "NOP",
        }
    }
}

/// A command, as far as it is there.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) verb: Verb,
    pub(crate) topic: String,
    pub(crate) delay: Option<u64>,
    /// The length behind the line.
    pub(crate) size: Option<usize>,
    /// The lengths of its messages that are there, the last perhaps without its message.
    pub(crate) lengths: Vec<usize>,
    /// Where its messages are, in all that was read from.
    pub(crate) bodies: Vec<Range<usize>>,
    /// Where it begins, and where it ends if it is whole.
    pub(crate) start: usize,
    pub(crate) end: Option<usize>,
}

/// The command that begins at `start`: nothing before its line is whole.
pub(crate) fn read(bytes: &[u8], start: usize) -> Option<Command> {
    let length = bytes[start..].iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[start..start + length]).expect("a line of text");
    let mut words = line.split(' ');
    let verb = match words.next() {
        Some("PUB") => Verb::Pub,
        Some("MPUB") => Verb::Mpub,
        Some("DPUB") => Verb::Dpub,
        Some("IDENTIFY") => Verb::Identify,
        Some("NOP") => Verb::Nop,
        _ => panic!("no command: {line:?}"),
    };
    let topic = match verb {
        Verb::Pub | Verb::Mpub | Verb::Dpub => words.next().expect("a topic"),
        Verb::Identify | Verb::Nop => "",
    };
    let delay = (verb == Verb::Dpub).then(|| {
        let delay = words.next().expect("a delay");
        delay.parse().expect("milliseconds")
    });
    assert_eq!(words.next(), None, "{line:?}");
    let mut command = Command {
        verb,
        topic: topic.to_owned(),
        delay,
        size: None,
        lengths: Vec::new(),
        bodies: Vec::new(),
        start,
        end: None,
    };
    let mut cursor = Cursor {
        bytes,
        at: start + length + 1,
    };
    command.end = fill(&mut command, &mut cursor);
    Some(command)
}

fn fill(command: &mut Command, cursor: &mut Cursor<'_>) -> Option<usize> {
    if command.verb == Verb::Nop {
        return Some(cursor.at);
    }
    let size = cursor.number()?;
    command.size = Some(size);
    if command.verb != Verb::Mpub {
        command.lengths.push(size);
        command.bodies.push(cursor.body(size)?);
        return Some(cursor.at);
    }
    let start = cursor.at;
    for _ in 0..cursor.number()? {
        let length = cursor.number()?;
        command.lengths.push(length);
        command.bodies.push(cursor.body(length)?);
    }
    assert_eq!(cursor.at - start, size, "MPUB's length is wrong");
    Some(cursor.at)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn number(&mut self) -> Option<usize> {
        let place = self.body(4)?;
        let number = self.bytes[place].try_into().expect("four bytes");
        Some(u32::from_be_bytes(number) as usize)
    }

    fn body(&mut self, length: usize) -> Option<Range<usize>> {
        let place = self.at..self.at + length;
        self.bytes.get(place.clone())?;
        self.at = place.end;
        Some(place)
    }
}
