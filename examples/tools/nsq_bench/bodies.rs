//! The bodies of the messages.

use std::{
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::Path,
};

use actix_nsq::bytes::Bytes;

/// Maximum size in bytes of the file of bodies: they are all in memory, and a device has no end.
const MAX_FILE_SIZE: usize = 64 << 20;

/// At least one body. The messages use the bodies in turn.
#[derive(Debug, Clone)]
pub(crate) struct Bodies(Vec<Bytes>);

impl Bodies {
    /// A single body of `size` bytes with varying values.
    pub(crate) fn of_size(size: usize) -> Self {
        Self(vec![(0..size).map(|index| (index % 251) as u8).collect()])
    }

    /// The lines of a file.
    pub(crate) fn of_file(file: &Path) -> Result<Self, String> {
        let named = |error: &dyn Display| format!("--bodies {}: {error}", file.display());
        let text = read(file).map_err(|error| named(&error))?;
        if text.len() > MAX_FILE_SIZE {
            return Err(named(&format_args!("exceeds {MAX_FILE_SIZE} bytes")));
        }
        Self::of_lines(text.into()).map_err(|error| named(&error))
    }

    fn of_lines(text: Bytes) -> Result<Self, String> {
        let lines = text.strip_suffix(b"\n").unwrap_or(&text);
        let lines = lines.split(|byte| *byte == b'\n');
        let bodies: Vec<_> = lines.map(|line| text.slice_ref(line)).collect();
        match bodies.iter().position(Bytes::is_empty) {
            None => Ok(Self(bodies)),
            Some(index) => Err(format!(
                "line {} is empty: nsqd rejects empty messages",
                index + 1
            )),
        }
    }

    /// The body of a message.
    pub(crate) fn of(&self, message: u64) -> Bytes {
        let index = message % self.0.len() as u64;
        self.0.get(index as usize).cloned().unwrap_or_default()
    }

    /// Mean size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(Bytes::len).sum::<usize>() / self.0.len()
    }

    /// Size of the largest body in bytes.
    pub(crate) fn largest(&self) -> usize {
        self.0.iter().map(Bytes::len).max().unwrap_or_default()
    }
}

/// Reads a file, up to one byte more than its maximum size.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let limit = MAX_FILE_SIZE as u64 + 1;
    File::open(file)?.take(limit).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_use_the_lines_in_turn() {
        for text in ["one\nthree", "one\nthree\n"] {
            let bodies = Bodies::of_lines(text.into()).unwrap();
            let used: Vec<_> = (0..3).map(|message| bodies.of(message)).collect();
            assert_eq!(used, ["one", "three", "one"]);
            assert_eq!((bodies.size(), bodies.largest()), (4, 5));
        }
    }

    #[test]
    fn empty_line_is_rejected_with_its_number() {
        for (text, line) in [("", 1), ("one\n\nthree", 2), ("one\n\n", 2)] {
            let error = Bodies::of_lines(text.into()).unwrap_err();
            assert!(
                error.starts_with(&format!("line {line} is empty")),
                "{error}"
            );
        }
    }

    #[test]
    fn endless_file_is_rejected() {
        let error = Bodies::of_file(Path::new("/dev/zero")).map(drop);
        let expected = "--bodies /dev/zero: exceeds 67108864 bytes";
        assert_eq!(error, Err(expected.to_owned()));
    }
}
