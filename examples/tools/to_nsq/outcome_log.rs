//! The outcome log: one line per record and address.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use actix_nsq::Delivery;

use crate::record::Failure;

/// `<record> <outcome>[ <error>]` for each result.
#[derive(Debug)]
pub(crate) struct OutcomeLog {
    file: BufWriter<File>,
    /// First error, after which nothing is written.
    failure: Option<io::Error>,
}

impl OutcomeLog {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("--outcome-log {}: {error}", path.display()),
            )
        })?;
        Ok(Self {
            file: BufWriter::new(file),
            failure: None,
        })
    }

    pub(crate) fn write(
        &mut self,
        record: u64,
        address: Option<&str>,
        result: &Result<(), Failure>,
    ) {
        self.attempt(|file| {
            let Err(failure) = result else {
                return writeln!(file, "{record} ok");
            };
            let outcome = match failure.delivery() {
                Delivery::NotWritten => "not_written",
                Delivery::MaybeWritten => "maybe_written",
                Delivery::MaybePartial => "maybe_partial",
            };
            match address {
                None => writeln!(file, "{record} {outcome} {failure}"),
                Some(address) => writeln!(file, "{record} {outcome} {address}: {failure}"),
            }
        });
    }

    pub(crate) fn flush(&mut self) {
        self.attempt(BufWriter::flush);
    }

    /// Completes the log. Returns its first error.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush();
        self.failure.map_or(Ok(()), Err)
    }

    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if self.failure.is_none() {
            self.failure = write(&mut self.file).err();
        }
    }
}
