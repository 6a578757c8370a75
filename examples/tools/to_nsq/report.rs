//! What became of the records: the outcome log, the progress line, and the last word.

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

/// How often the progress line and the outcome log are brought up to date.
const INTERVAL: Duration = Duration::from_millis(500);

/// On a terminal, clears the progress line.
const CLEAR: &str = "\r\x1b[K";

/// The outcomes so far.
pub(crate) struct Report {
    ok: u64,
    not_written: u64,
    maybe_written: u64,
    log: Option<BufWriter<File>>,
    /// The first failure was shown, for want of a log.
    told: bool,
    /// The first failure of the log; nothing is written to it any more.
    log_failure: Option<io::Error>,
}

impl Report {
    /// Starts a report, with an outcome log if one is wanted.
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
            told: false,
            log_failure: None,
        })
    }

    /// Takes note of the answer for one record from one address, which is named if there are several.
    pub(crate) fn outcome(
        &mut self,
        record: u64,
        address: Option<&str>,
        answer: Result<(), PublishError>,
    ) {
        match answer.as_ref().map_err(PublishError::delivery) {
            Ok(()) => self.ok += 1,
            Err(Delivery::NotWritten) => self.not_written += 1,
            Err(Delivery::MaybeWritten | Delivery::MaybePartial) => self.maybe_written += 1,
        }
        if let Err(error) = &answer
            && self.log.is_none()
            && !std::mem::replace(&mut self.told, true)
        {
            say(format_args!(
                "record {record}, the first that failed: {error}"
            ));
        }
        self.log(|log| write_line(log, record, address, &answer));
    }

    fn log(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if let Some(log) = &mut self.log
            && let Err(error) = write(log)
        {
            self.log_failure = Some(error);
            self.log = None;
        }
    }

    /// The last word, with how the reading ended; returns whether all is well.
    pub(crate) fn finish(mut self, read: io::Result<()>) -> bool {
        self.log(BufWriter::flush);
        let read_all = read.map_err(|error| say(format_args!("reading stopped: {error}")));
        let failure = self.log_failure.take();
        if let Some(error) = &failure {
            say(format_args!("the outcome log is not complete: {error}"));
        }
        show(format_args!("{}{self}\n", clear()));
        self.is_clean() && read_all.is_ok() && failure.is_none()
    }

    fn is_clean(&self) -> bool {
        self.not_written == 0 && self.maybe_written == 0
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
    answer: &Result<(), PublishError>,
) -> io::Result<()> {
    let Err(error) = answer else {
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

/// Brings the progress line, if standard error is a terminal, and the outcome log up to date, again and again.
pub(crate) async fn keep_current(report: &RefCell<Report>) -> Infallible {
    let is_terminal = io::stderr().is_terminal();
    loop {
        sleep(INTERVAL).await;
        report.borrow_mut().log(BufWriter::flush);
        if is_terminal {
            show(format_args!("{CLEAR}{}", report.borrow()));
        }
    }
}

/// Shows the crate's warnings, such as a lost connection, on standard error.
pub(crate) fn log_warnings() {
    // Nobody else sets a logger here.
    let _ = log::set_logger(&Warnings);
    log::set_max_level(log::LevelFilter::Warn);
}

struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        say(*record.args());
    }

    fn flush(&self) {}
}

/// Says something on a line of its own.
pub(crate) fn say(what: fmt::Arguments<'_>) {
    show(format_args!("{}to_nsq: {what}\n", clear()));
}

fn show(text: fmt::Arguments<'_>) {
    // When nobody reads it, the publishing goes on all the same.
    let _ = io::stderr().write_fmt(text);
}

fn clear() -> &'static str {
    if io::stderr().is_terminal() {
        CLEAR
    } else {
        ""
    }
}
