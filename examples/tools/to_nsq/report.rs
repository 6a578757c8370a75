//! What the program prints: failures, progress line and summary.

use std::{
    error::Error,
    fmt,
    io::{self, IsTerminal, Write},
    path::Path,
};

use actix_nsq::Delivery;

use crate::{outcome_log::OutcomeLog, record::Failure};

/// Clears the progress line on a terminal.
const CLEAR: &str = "\r\x1b[K";

/// Maximum number of failures that are printed one by one; all are counted and logged.
const PRINTED_FAILURES: u64 = 10;

/// The outcomes so far.
#[derive(Debug)]
pub(crate) struct Report {
    ok: u64,
    not_written: u64,
    maybe_written: u64,
    log: Option<OutcomeLog>,
}

impl Report {
    /// Creates a report, with an outcome log if a path is given.
    pub(crate) fn new(outcome_log: Option<&Path>) -> io::Result<Self> {
        Ok(Self {
            ok: 0,
            not_written: 0,
            maybe_written: 0,
            log: outcome_log.map(OutcomeLog::create).transpose()?,
        })
    }

    /// Counts and logs the result of one record at one address.
    pub(crate) fn outcome(
        &mut self,
        record: u64,
        address: Option<&str>,
        result: &Result<(), Failure>,
    ) {
        match result.as_ref().map_err(Failure::delivery) {
            Ok(()) => self.ok += 1,
            Err(Delivery::NotWritten) => self.not_written += 1,
            Err(Delivery::MaybeWritten | Delivery::MaybePartial) => self.maybe_written += 1,
        }
        if let Err(failure) = result {
            let failures = self.not_written + self.maybe_written;
            if failures <= PRINTED_FAILURES {
                print_line(format_args!("{}: {failure}", Place(record, address)));
            } else if failures == PRINTED_FAILURES + 1 {
                print_line(format_args!("further failures are counted and not printed"));
            }
        }
        if let Some(log) = &mut self.log {
            log.write(record, address, result);
        }
    }

    /// A record is published again until it succeeds.
    pub(crate) fn retried(&self, record: u64, address: Option<&str>, failure: &Failure) {
        let place = Place(record, address);
        print_line(format_args!("{place}: {failure}; the input waits"));
    }

    /// The program ends because of a failure.
    pub(crate) fn stopped(&self, record: u64, address: Option<&str>) {
        print_line(format_args!("stopped at {}", Place(record, address)));
    }

    /// Updates the outcome log, and on a terminal the progress line.
    pub(crate) fn show_progress(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
        if io::stderr().is_terminal() {
            print(format_args!("{CLEAR}{self}"));
        }
    }

    /// Prints the summary. Returns whether everything was read, published and logged.
    pub(crate) fn finish(mut self, published: Result<(), Box<dyn Error>>) -> bool {
        let logged = self.log.take().map_or(Ok(()), OutcomeLog::finish);
        if let Err(error) = &published {
            print_line(format_args!("{error}"));
        }
        if let Err(error) = &logged {
            print_line(format_args!("the outcome log is incomplete: {error}"));
        }
        print(format_args!("{}{self}\n", clear()));
        let all_ok = self.not_written == 0 && self.maybe_written == 0;
        all_ok && published.is_ok() && logged.is_ok()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ok,
            not_written,
            maybe_written,
            ..
        } = self;
        write!(
            f,
            "published: {ok} ok, {not_written} not written, {maybe_written} maybe written"
        )
    }
}

/// A record, and with several addresses one of them.
struct Place<'a>(u64, Option<&'a str>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(record, None) => write!(f, "record {record}"),
            Self(record, Some(address)) => write!(f, "record {record}, {address}"),
        }
    }
}

/// Prints the warnings of the crate, such as a lost connection, to standard error.
pub(crate) fn log_warnings() {
    // Cannot fail: this is the only logger.
    let _ = log::set_logger(&Warnings);
    log::set_max_level(log::LevelFilter::Warn);
}

struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        print_line(*record.args());
    }

    fn flush(&self) {}
}

/// Prints a line to standard error, above the progress line.
pub(crate) fn print_line(text: fmt::Arguments<'_>) {
    print(format_args!("{}to_nsq: {text}\n", clear()));
}

fn print(text: fmt::Arguments<'_>) {
    // A closed standard error does not stop the publishing.
    let _ = io::stderr().write_fmt(text);
}

fn clear() -> &'static str {
    if io::stderr().is_terminal() {
        CLEAR
    } else {
        ""
    }
}
