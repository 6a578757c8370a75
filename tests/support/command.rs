//! Parses client commands, also incomplete ones. Shares no code with the crate.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Identify,
    Auth,
    Sub,
    Pub,
    Mpub,
    Dpub,
    Rdy,
    Fin,
    Req,
    Touch,
    Cls,
    Nop,
}

/// The name of each verb, the number of its parameters, and whether it has a body.
const VERBS: [(Verb, &str, usize, bool); 12] = [
    (Verb::Identify, "IDENTIFY", 0, true),
    (Verb::Auth, "AUTH", 0, true),
    (Verb::Sub, "SUB", 2, false),
    (Verb::Pub, "PUB", 1, true),
    (Verb::Mpub, "MPUB", 1, true),
    (Verb::Dpub, "DPUB", 2, true),
    (Verb::Rdy, "RDY", 1, false),
    (Verb::Fin, "FIN", 1, false),
    (Verb::Req, "REQ", 2, false),
    (Verb::Touch, "TOUCH", 1, false),
    (Verb::Cls, "CLS", 0, false),
    (Verb::Nop, "NOP", 0, false),
];

impl Verb {
    pub fn name(self) -> &'static str {
        let row = VERBS.iter().find(|(verb, ..)| *verb == self);
        row.map_or("", |(_, name, ..)| name)
    }
}

/// A command, perhaps incomplete.
#[derive(Debug)]
pub struct Command {
    pub verb: Verb,
    /// All parameters.
    pub words: Vec<String>,
    /// Empty for commands without one.
    pub topic: String,
    /// The delay of a DPUB, in milliseconds.
    pub delay: Option<u64>,
    /// The length of the body.
    pub size: Option<usize>,
    /// The lengths of its messages. The last message may be missing.
    pub lengths: Vec<usize>,
    /// The places of its messages.
    pub bodies: Vec<Range<usize>>,
    pub start: usize,
    /// Its end, if it is complete.
    pub end: Option<usize>,
}

/// The command at `start`. `None` if its line is incomplete. Panics if there is no command.
pub fn read(bytes: &[u8], start: usize) -> Option<Command> {
    try_read(bytes, start).expect("a command")
}

/// Like [`read`], with an error if there is no command.
pub fn try_read(bytes: &[u8], start: usize) -> Result<Option<Command>, String> {
    let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\n') else {
        return Ok(None);
    };
    let line = &bytes[start..start + length];
    let line = std::str::from_utf8(line).map_err(|error| format!("command line: {error}"))?;
    let mut words = line.split(' ').map(str::to_owned);
    let name = words.next().unwrap_or_default();
    let words: Vec<_> = words.collect();
    let row = VERBS
        .iter()
        .find(|row| row.1 == name && row.2 == words.len());
    let Some((verb, _, _, has_body)) = row else {
        return Err(format!("no command of the protocol: {line:?}"));
    };
    let is_topic = matches!(verb, Verb::Sub | Verb::Pub | Verb::Mpub | Verb::Dpub);
    let topic = words.first().filter(|_| is_topic).cloned();
    let delay = words.get(1).filter(|_| *verb == Verb::Dpub);
    let delay = delay.map(|delay| number(delay)).transpose()?;
    let mut command = Command {
        verb: *verb,
        words,
        topic: topic.unwrap_or_default(),
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
    command.end = if *has_body {
        fill(&mut command, &mut cursor)?
    } else {
        Some(cursor.at)
    };
    Ok(Some(command))
}

/// Reads the body. Returns its end, if it is complete.
fn fill(command: &mut Command, cursor: &mut Cursor<'_>) -> Result<Option<usize>, String> {
    let Some(size) = cursor.number() else {
        return Ok(None);
    };
    command.size = Some(size);
    let start = cursor.at;
    let mut count = 1;
    if command.verb == Verb::Mpub {
        match cursor.number() {
            Some(number) => count = number,
            None => return Ok(None),
        }
    }
    for _ in 0..count {
        let length = match command.verb {
            Verb::Mpub => cursor.number(),
            _ => Some(size),
        };
        let Some(length) = length else {
            return Ok(None);
        };
        if cursor.at - start + length > size {
            return Err(format!(
                "MPUB: a body length of {size} does not hold its messages"
            ));
        }
        command.lengths.push(length);
        match cursor.body(length) {
            Some(body) => command.bodies.push(body),
            None => return Ok(None),
        }
    }
    match size - (cursor.at - start) {
        0 => Ok(Some(cursor.at)),
        extra => Err(format!("MPUB: {extra} bytes behind its {count} messages")),
    }
}

/// A decimal parameter.
pub fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|error| format!("{word:?}: {error}"))
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn number(&mut self) -> Option<usize> {
        let place = self.body(4)?;
        let number = self.bytes[place].try_into().ok()?;
        Some(u32::from_be_bytes(number) as usize)
    }

    fn body(&mut self, length: usize) -> Option<Range<usize>> {
        let place = self.at..self.at + length;
        self.bytes.get(place.clone())?;
        self.at = place.end;
        Some(place)
    }
}
