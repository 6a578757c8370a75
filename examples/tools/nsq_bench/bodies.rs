//! What the messages hold.

use std::{fmt::Display, fs, path::Path};

use actix_nsq::bytes::Bytes;

/// At least one body: the first is that of the first message, and so on, round and round.
#[derive(Debug, Clone)]
pub(crate) struct Bodies(Vec<Bytes>);

impl Bodies {
    /// One of so many bytes, not all alike.
    pub(crate) fn of_size(size: usize) -> Self {
        Self(vec![(0..size).map(|place| (place % 251) as u8).collect()])
    }

    /// The lines of a file.
    pub(crate) fn of_file(file: &Path) -> Result<Self, String> {
        let wrong = |error: &dyn Display| format!("--bodies {}: {error}", file.display());
        let text = fs::read(file).map_err(|error| wrong(&error))?;
        Self::of_lines(text.into()).map_err(|error| wrong(&error))
    }

    fn of_lines(text: Bytes) -> Result<Self, String> {
        let lines = text.strip_suffix(b"\n").unwrap_or(&text);
        let lines = lines.split(|byte| *byte == b'\n');
        let bodies: Vec<_> = lines.map(|line| text.slice_ref(line)).collect();
        match bodies.iter().position(Bytes::is_empty) {
            None => Ok(Self(bodies)),
            Some(place) => Err(format!(
                "line {} is empty, and nsqd takes no empty message",
                place + 1
            )),
        }
    }

    /// That of this message.
    pub(crate) fn of(&self, message: u64) -> Bytes {
        let place = message % self.0.len() as u64;
        self.0.get(place as usize).cloned().unwrap_or_default()
    }

    /// Bytes of a body, in the mean.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(Bytes::len).sum::<usize>() / self.0.len()
    }

    /// Bytes of the largest.
    pub(crate) fn largest(&self) -> usize {
        self.0.iter().map(Bytes::len).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_the_lines_in_turn() {
        for text in ["one\nthree", "one\nthree\n"] {
            let bodies = Bodies::of_lines(text.into()).unwrap();
            let held: Vec<_> = (0..3).map(|message| bodies.of(message)).collect();
            assert_eq!(held, ["one", "three", "one"]);
            assert_eq!((bodies.size(), bodies.largest()), (4, 5));
        }
    }

    #[test]
    fn a_line_that_nsqd_would_refuse_is_refused_by_its_number() {
        for (text, line) in [("", 1), ("one\n\nthree", 2), ("one\n\n", 2)] {
            let wrong = Bodies::of_lines(text.into()).unwrap_err();
            assert!(
                wrong.starts_with(&format!("line {line} is empty")),
                "{wrong}"
            );
        }
    }
}
