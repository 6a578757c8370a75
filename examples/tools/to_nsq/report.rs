//! The outcomes of the records: outcome log, progress line and summary.

use std::{
    cell::RefCell,
    convert::Infallible,
    fmt,
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use actix_nsq::{Delivery, PublishError};
use tokio::time::sleep;

/// Interval at which the progress line and the outcome log are updated.
const INTERVAL: Duration = Duration::from_millis(500);

/// Clears the progress line on a terminal.
const CLEAR: &str = "\r\x1b[K";

/// The outcomes so far.
pub(crate) struct Report {
    ok: u64,
    not_written: u64,
    maybe_written: u64,
    log: Option<BufWriter<File>>,
    /// Whether the first failure was printed; with a log none is.
    printed_failure: bool,
    /// First error of the log, after which nothing is written to it.
    log_failure: Option<io::Error>,
}

impl Report {
    /// Creates a report, with an outcome log if a path is given.
    pub(crate) fn new(outcome_log: Option<&Path>) -> io::Result<Self> {
        let create = |path: &Path| {
            let file = File::create(path).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?;
            Ok::<_, io::Error>(BufWriter::new(file))
        };
        Ok(Self {
            ok: 0,
            not_written: 0,
            maybe_written: 0,
            log: outcome_log.map(create).transpose()?,
            printed_failure: false,
            log_failure: None,
        })
    }

    /// Counts and logs the result of one record at one address.
    pub(crate) fn outcome(
        &mut self,
        record: u64,
        address: Option<&str>,
        result: Result<(), PublishError>,
    ) {
        match result.as_ref().map_err(PublishError::delivery) {
            Ok(()) => self.ok += 1,
            Err(Delivery::NotWritten) => self.not_written += 1,
            Err(Delivery::MaybeWritten | Delivery::MaybePartial) => self.maybe_written += 1,
        }
        if let Err(error) = &result
            && self.log.is_none()
            && !std::mem::replace(&mut self.printed_failure, true)
        {
            print_line(format_args!("first failure, record {record}: {error}"));
        }
        self.log(|log| write_line(log, record, address, &result));
    }

    fn log(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if let Some(log) = &mut self.log
            && let Err(error) = write(log)
        {
            self.log_failure = Some(error);
            self.log = None;
        }
    }

    /// Prints the summary. Returns whether everything was read, published and logged.
    pub(crate) fn finish(mut self, read: io::Result<()>) -> bool {
        self.log(BufWriter::flush);
        let read = read.map_err(|error| print_line(format_args!("cannot read the input: {error}")));
        let failure = self.log_failure.take();
        if let Some(error) = &failure {
            print_line(format_args!("the outcome log is incomplete: {error}"));
        }
        print(format_args!("{}{self}\n", clear()));
        let all_ok = self.not_written == 0 && self.maybe_written == 0;
        all_ok && read.is_ok() && failure.is_none()
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

fn write_line(
    log: &mut impl Write,
    record: u64,
    address: Option<&str>,
    result: &Result<(), PublishError>,
) -> io::Result<()> {
    let Err(error) = result else {
        return writeln!(log, "{record} ok");
    };
    let outcome = match error.delivery() {
        Delivery::NotWritten => "not_written",
        Delivery::MaybeWritten => "maybe_written",
        Delivery::MaybePartial => "maybe_partial",
    };
    match address {
        None => writeln!(log, "{record} {outcome} {error}"),
        Some(address) => writeln!(log, "{record} {outcome} {address}: {error}"),
    }
}

/// Updates the outcome log, and on a terminal the progress line, at regular intervals.
pub(crate) async fn keep_current(report: &RefCell<Report>) -> Infallible {
    let is_terminal = io::stderr().is_terminal();
    loop {
        sleep(INTERVAL).await;
        report.borrow_mut().log(BufWriter::flush);
        if is_terminal {
            print(format_args!("{CLEAR}{}", report.borrow()));
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
