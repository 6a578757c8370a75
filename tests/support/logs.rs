//! Captures log records per thread. A test in virtual time runs, with its producers, on one thread.

use std::{cell::RefCell, sync::Once};

use log::{Level, LevelFilter, Log, Metadata, Record};

thread_local! {
    static LINES: RefCell<Option<Vec<(Level, String)>>> = const { RefCell::new(None) };
}

struct Capture;

impl Log for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("actix_nsq")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.with_borrow_mut(|lines| {
                if let Some(lines) = lines {
                    lines.push((record.level(), record.args().to_string()));
                }
            });
        }
    }

    fn flush(&self) {}
}

/// Captures the records of this thread from now on.
pub fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Capture).expect("no other logger is set");
        log::set_max_level(LevelFilter::Trace);
    });
    LINES.set(Some(Vec::new()));
}

/// The records of this thread since the last call.
pub fn take() -> Vec<(Level, String)> {
    LINES.with_borrow_mut(|lines| lines.replace(Vec::new()).expect("captured"))
}

/// The same, without levels below `Info`.
pub fn take_info() -> Vec<(Level, String)> {
    let mut lines = take();
    lines.retain(|(level, _)| *level <= Level::Info);
    lines
}
