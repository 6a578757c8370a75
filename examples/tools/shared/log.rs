//! What a tool prints to standard error: lines that begin with its name, and the warnings of the
//! crate, such as a lost connection.

use std::{
    fmt,
    io::{self, Write},
    sync::OnceLock,
};

use log::{LevelFilter, Metadata, Record};

/// The logger of a tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    /// Precedes each line.
    prefix: &'static str,
}

impl Log {
    /// Begins to print what the crate logs, up to this level.
    pub(crate) fn start(prefix: &'static str, level: LevelFilter) -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        let log = LOG.get_or_init(|| Self { prefix });
        // Cannot fail: this is the only logger.
        let _ = log::set_logger(log);
        log::set_max_level(level);
        *log
    }

    /// Prints a line.
    pub(crate) fn line(self, text: impl fmt::Display) {
        // A closed standard error stops nothing.
        let _ = writeln!(io::stderr(), "{}{text}", self.prefix);
    }
}

impl log::Log for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // A tool that also prints what it does tells failures from that.
        if log::max_level() > LevelFilter::Warn {
            self.line(format_args!("{}: {}", record.level(), record.args()));
        } else {
            self.line(record.args());
        }
    }

    fn flush(&self) {}
}
